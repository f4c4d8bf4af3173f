//! What must hold afterwards.

use crate::harm;
use crate::population::TOO_MANY;
use crate::world::{STEADY, World};
use pg_tock_test::{PATIENCE, poll_until};
use std::collections::BTreeSet;

/// Verdicts, in the form that ci/test.sh counts.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    said: u32,
    pub(crate) failed: u32,
}

impl Verdicts {
    /// Nothing speaks against `what`, or these do.
    fn none(&mut self, what: &str, against: &[String]) {
        self.said += 1;
        if against.is_empty() {
            println!("ok {} - {what}", self.said);
        } else {
            self.failed += 1;
            println!("not ok {} - {what}", self.said);
            against.iter().take(12).for_each(|line| println!("    {line}"));
            println!("    ({} in all)", against.len());
        }
    }
}

/// Effects of exactly-once jobs and their rows, where they differ.
const EXACTLY_ONCE: &str = "
with e as (select jobid, runid, count(*) n, count(distinct part) parts from effect group by 1, 2),
r as (select jobid, runid, guarantee from cron.job_run_details where status = 'succeeded')
select format('%s: job %s run %s has %s effects, succeeded row %s with guarantee %s', kind, jobid, runid, coalesce(n, 0), r.runid is not null, guarantee)
from owes join (e full join r using (jobid, runid)) using (jobid)
where class = 'exactly once' and (n is distinct from owes.parts or e.parts is distinct from owes.parts or r.runid is null or guarantee <> 'exactly_once')";

/// Occurrences with the effects of more than one run. Who asks for a backfill or another attempt of what
/// failed halfway asks for that.
const DOUBLED: &str = "
select format('%s: job %s at %s: runs %s', kind, jobid, at, string_agg(distinct runid::text, ','))
from effect join owes using (jobid)
where class = 'exactly once'
   or not exists (select from cron.job_run_details d where d.runid = effect.runid and trigger in ('backfill', 'retry'))
group by kind, jobid, at having count(distinct runid) > 1";

/// Effects of the others that are there twice, or without a row, or not all there in spite of success.
const AT_MOST_ONCE: &str = "
with e as (select jobid, runid, count(*) n, count(distinct part) parts from CHANGED group by 1, 2)
select format('%s: job %s run %s has %s effects, its row says %s', kind, jobid, runid, coalesce(n, 0), status)
from owes join (e full join cron.job_run_details d using (jobid, runid)) using (jobid)
where class = 'CLASS' and (n > e.parts or (n is not null and d.runid is null) or (status = 'succeeded' and coalesce(n, 0) <> owes.parts))";

const NOTHING: &str = "select format('%s: job %s run %s', kind, jobid, runid) \
     from effect join owes using (jobid) where class = 'nothing'";

const UNENDED: &str = "select format('job %s run %s at %s: %s', jobid, runid, scheduled_for, concat_ws(' ', trigger, status, attempt, start_time, job_pid)) \
     from cron.job_run_details where end_time is null or outcome is null";

const SUCCEEDED_TWICE: &str = "select format('job %s at %s: runs %s', jobid, scheduled_for, string_agg(runid::text, ',')) \
     from cron.job_run_details where status = 'succeeded' group by jobid, scheduled_for having count(*) > 1";

/// Limits on runs at once that no run has met, which says nothing about them.
const NOT_REACHED: &str = "select limited from (values ('overlapping', 2), ('paired', 2)) as limits (limited, places) \
     where places > (select coalesce(max(place), 0) from effect join owes using (jobid) where kind = limited)";

/// Whether no alert has had its handler run.
const NOT_HANDLED: &str = "select 'none of them' where not exists \
     (select from effect join owes using (jobid) where kind = 'handler')";

/// Jobs that take longer than their schedules let them: catching up they keep all places for minutes, and
/// what comes later waits behind them.
const GREEDY: &str = "jobname ~ '^(long|overlapping)'";

/// Every job that can runs on: those of steady owners whose schedule names instants soon. The greedy
/// ones first, which make room for the others then.
#[track_caller]
pub(crate) fn all_run_on(world: &World) {
    // Where the clock was set back, what has a row already does not run again.
    let latest: i64 = world.cluster.one(
        "select coalesce(max(extract(epoch from scheduled_for)), 0)::bigint from cron.job_run_details",
    );
    let behind = latest - world.cluster.now();
    if behind > 0 {
        world.cluster.step_clock(behind + 1);
    }
    these_run_on(world, GREEDY);
    world.cluster.sql(&format!("select cron.pause(jobid) from cron.job where active and {GREEDY}"));
    these_run_on(world, &format!("not {GREEDY}"));
}

#[track_caller]
fn these_run_on(world: &World, which: &str) {
    let owners = STEADY.map(|role| format!("'{role}'")).join(", ");
    let since: i64 = world.cluster.one("select coalesce(max(runid), 0) from cron.job_run_details");
    let mut silent: Vec<String> = Vec::new();
    let started = std::time::Instant::now();
    poll_until("every job has run again", PATIENCE * 3, || {
        silent = world.cluster.column(&format!(
            "select format('%s (job %s)', jobname, jobid) from cron.job where active and paused_until is null \
             and username in ({owners}, 'victim') and schedule ~ 'second' and jobname !~ '^(closed|window)' and {which} \
             and not exists (select from cron.job_run_details d where d.jobid = job.jobid and runid > {since})"
        ));
        (silent.is_empty() || started.elapsed() > PATIENCE * 2).then_some(())
    });
    if !silent.is_empty() {
        tell_about_silent(world, &silent);
    }
    assert!(silent.is_empty(), "these jobs do not run any more: {silent:#?}");
}

/// What is to be found about jobs that do not run.
fn tell_about_silent(world: &World, silent: &[String]) {
    tell_the_log(world);
    let found = world.cluster.column::<String>(&format!(
        "select concat_ws(' ', jobname, on_overlap, diagnosed) from cron.job, cron.diagnose(jobid) diagnosed \
         where format('%s (job %s)', jobname, jobid) in ({})",
        silent.iter().take(4).map(|job| format!("'{job}'")).collect::<Vec<_>>().join(", ")
    ));
    found.iter().for_each(|line| println!("    : {line}"));
}

/// Pauses every job, so that nothing is due any more, and waits until all that was has ended.
#[track_caller]
pub(crate) fn quiet(world: &World) {
    world.cluster.sql("select cron.pause(jobid) from cron.job where active");
    let mut left: Vec<String> = Vec::new();
    let started = std::time::Instant::now();
    poll_until("what waits and runs has ended", PATIENCE * 3, || {
        left = world.cluster.column(&format!(
            "{UNENDED} union all select format('executor %s is %s', pid, state) from pg_stat_activity \
             where backend_type = 'pg_tock executor' and state <> 'idle'"
        ));
        (left.is_empty() || started.elapsed() > PATIENCE * 2).then_some(())
    });
    if !left.is_empty() {
        tell_the_log(world);
    }
    assert!(left.is_empty(), "these do not come to an end: {left:#?}");
    world.cluster.flush();
}

/// What the audit finds, less the occurrences of times that came twice and have an end for each.
fn audit(world: &World) -> Vec<String> {
    world.cluster.sql(
        "create table repeated (span int8range); \
         create unique index on repeated (span)",
    );
    for (from, to) in &world.repeated {
        world
            .cluster
            .sql(&format!("insert into repeated values ('[{from},{to}]') on conflict do nothing"));
    }
    world.cluster.flush();
    world.cluster.sql(&format!(
        "create table found as select * from ({}) found where not (rows + skipped > 0 and succeeded <= 1 and under_way = 0 and exists \
           (select from repeated where span @> extract(epoch from run_at)::bigint))",
        pg_tock_test::documented_audit()
    ));
    let found = world.cluster.column("select row_to_json(found)::text from found");
    if !found.is_empty() {
        tell_about_found(world);
    }
    found
}

/// What the books and the server's log say of the time around the first occurrences found.
fn tell_about_found(world: &World) {
    let near = |table: &str, first: &str, last: &str| {
        format!(
            "from (select jobid, f.* from found f join cron.job using (jobname) order by run_at limit 6) f \
             join {table} t using (jobid) \
             where t.{first} <= run_at + interval '5 seconds' and t.{last} >= run_at - interval '5 seconds'"
        )
    };
    let rows = format!(
        "select concat_ws(' ', f.jobname, run_at, 'run', runid, t.scheduled_for, trigger, attempt, outcome, reason, start_time, end_time) {} \
         union all \
         select concat_ws(' ', f.jobname, run_at, 'skip', t.reason, t.first_at, t.last_at, t.count) {} order by 1",
        near("cron.job_run_details", "scheduled_for", "scheduled_for"),
        near("cron.job_skip", "first_at", "last_at"),
    );
    world.cluster.column::<String>(&rows).iter().for_each(|line| println!("    : {line}"));
    tell_the_log(world);
}

/// What the server's log says of the server, the launcher and the scheduler.
fn tell_the_log(world: &World) {
    let of_server = ["pg_tock: ", "database system", "was terminated"];
    let log = world.cluster.log();
    let said = log.lines().filter(|line| {
        of_server.iter().any(|words| line.contains(words)) && !line.contains("could not record run")
    });
    said.for_each(|line| println!("    : {line}"));
}

/// Kinds of jobs the audit says nothing about, because it looks at no occurrence of theirs.
fn unaudited(world: &World) -> Vec<String> {
    let looked_at = "from owes join cron.job using (jobid) join cron.job_state using (jobid) \
         left join lateral cron.occurrences(jobid, effective_from, cursor) due (run_at) on true \
         where active and schedule ~ 'second' and schedule !~ 'after completion'";
    let seen: i64 = world.cluster.one(&format!("select count(run_at) {looked_at}"));
    println!("    the audit looks at {seen} occurrences");
    if seen == 0 {
        return vec!["it looks at none at all".to_owned()];
    }
    world.cluster.column(&format!("select kind {looked_at} group by kind having count(run_at) = 0"))
}

/// Effects that runs had in the other database, in a table beside those in this one.
fn fetch_elsewhere(world: &World) {
    let rows = world
        .cluster
        .connect("elsewhere", "postgres")
        .query("select jobid, runid, part from effect", &[])
        .expect("the effects elsewhere");
    world.cluster.sql("create table effect_elsewhere (jobid bigint, runid bigint, part int)");
    let (mut jobs, mut runs, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        jobs.push(row.get::<_, i64>(0));
        runs.push(row.get::<_, i64>(1));
        parts.push(row.get::<_, i32>(2));
    }
    let _: i64 = world.cluster.one_with(
        "with added as (insert into effect_elsewhere select * from unnest($1::bigint[], $2::bigint[], $3::int[]) returning 1) \
         select count(*) from added",
        &[&jobs, &runs, &parts],
    );
}

/// The requests that came for each run, in a table beside the effects.
fn fetch_requests(world: &World) {
    let (runs, counts): (Vec<i64>, Vec<i32>) = world.web.counts().into_iter().unzip();
    world.cluster.sql("create table effect_request (jobid bigint, runid bigint, part int)");
    let sent: i64 = world.cluster.one_with(
        "with added as (insert into effect_request \
           select d.jobid, runid, 1 from unnest($1::bigint[], $2::int[]) as came (runid, count) \
             left join cron.job_run_details d using (runid), generate_series(1, count) returning 1) \
         select count(*) from added",
        &[&runs, &counts],
    );
    println!("    {sent} requests came");
}

/// Requests without a row.
const UNKNOWN_REQUESTS: &str =
    "select format('run %s', runid) from effect_request where jobid is null";

/// Lines of the log that no harm explains.
fn alarming(world: &World) -> Vec<String> {
    world
        .cluster
        .log()
        .lines()
        .filter(|line| {
            line.contains("panicked")
                || line.contains("PANIC:")
                || line.contains("signal 11")
                || line.contains("signal 6")
                || line.contains("TRAP:")
        })
        .map(str::to_owned)
        .collect()
}

/// How runs ended, to see which harms were felt.
pub(crate) fn failures(world: &World) -> Vec<String> {
    world.cluster.column(
        "select format('%s × %s', to_char(count(*), '999999'), concat_ws(' ', outcome, sqlstate, reason)) \
         from cron.job_run_details group by outcome, sqlstate, reason \
         union all select format('%s × skipped: %s', to_char(sum(count), '999999'), reason) \
         from cron.job_skip group by reason",
    )
}

/// Judges the quiet server.
pub(crate) fn judge(world: &World, verdicts: &mut Verdicts) {
    let cluster = &world.cluster;
    fetch_elsewhere(world);
    fetch_requests(world);
    let column = |query: &str| cluster.column::<String>(query);
    verdicts.none("chaos: no row without an end", &column(UNENDED));
    verdicts.none(
        "chaos: a job's runs do not overlap, and no more than its limit or its queue's are at work",
        &column(&format!(
            "select format('job %s run %s: %s', jobid, runid, jobname) \
             from cron.job_run_details where sqlstate = '{TOO_MANY}'"
        )),
    );
    verdicts.none("chaos: those limits were reached", &column(NOT_REACHED));
    verdicts.none("chaos: alerts were handled", &column(NOT_HANDLED));
    verdicts.none(
        "chaos: effects of exactly-once jobs are their succeeded rows",
        &column(EXACTLY_ONCE),
    );
    verdicts.none("chaos: no occurrence has effects twice", &column(DOUBLED));
    verdicts.none("chaos: no occurrence succeeded twice", &column(SUCCEEDED_TWICE));
    let at_most =
        |class, table| column(&AT_MOST_ONCE.replace("CHANGED", table).replace("CLASS", class));
    verdicts.none(
        "chaos: what commits on its own has effects at most once, and a row",
        &at_most("at most once", "effect"),
    );
    verdicts
        .none("chaos: so have runs in another database", &at_most("elsewhere", "effect_elsewhere"));
    verdicts.none(
        "chaos: each run's request is sent at most once",
        &at_most("request", "effect_request"),
    );
    verdicts.none("chaos: no request is sent without a row", &column(UNKNOWN_REQUESTS));
    verdicts.none("chaos: failures leave no effects", &column(NOTHING));
    verdicts.none("chaos: the audit looks at jobs of every kind", &unaudited(world));
    verdicts.none("chaos: the audit finds nothing", &audit(world));
    verdicts.none("chaos: nobody panicked", &alarming(world));
    verdicts.none("chaos: the memory of our processes is flat", &memory(world));
    verdicts.none("chaos: each harm that has to be was done", &harm::missing(world));
}

/// How much more memory than the smallest of its kind a process may have, whatever happened to it.
const LEAKED: u64 = 48 << 20;

/// Processes that have grown as only a leak lets them.
fn memory(world: &World) -> Vec<String> {
    let mut grown = Vec::new();
    let kinds: BTreeSet<&String> = world.memory.keys().map(|(kind, _)| kind).collect();
    for kind in kinds {
        let of_kind = || world.memory.iter().filter(|((other, _), _)| other == kind);
        let least = of_kind().map(|(_, seen)| seen.0).min().unwrap_or(0);
        let most = of_kind().map(|(_, seen)| seen.1).max().unwrap_or(0);
        println!(
            "    memory, {kind}: {} to {} kB, {} of them",
            least / 1024,
            most / 1024,
            of_kind().count()
        );
        grown.extend(of_kind().filter(|(_, (_, last))| *last > least + LEAKED).map(
            |((_, pid), (first, last))| {
                format!("{kind} {pid}: {} kB, then {} kB", first / 1024, last / 1024)
            },
        ));
    }
    grown
}
