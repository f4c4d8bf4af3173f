//! A physical standby: it runs nothing until it is promoted. Then it goes on where the primary's
//! replicated books end, and nothing has effects twice.
#![allow(clippy::indexing_slicing, reason = "a row that is missing is a failed test")]

mod web;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use pg_tock_test::{Cluster, PATIENCE, poll_until, stays_true};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use web::Servers;

/// Ids of the jobs that tell the story.
struct Jobs {
    skip: i64,
    once: i64,
    all: i64,
    batches: i64,
    long: i64,
}

fn job(cluster: &Cluster, name: &str, command: &str, more: &Value) -> i64 {
    let mut options = json!({ "job_name": name, "schedule": "1 second", "command": command });
    if let (Some(options), Some(more)) = (options.as_object_mut(), more.as_object()) {
        options.extend(more.clone());
    }
    cluster.create_job(&options)
}

/// How many jobs there are beside those that have a name.
const LOAD: i64 = 20;

/// Some load, a job for each policy, one that commits on its own, and one that is always under way.
fn primary() -> (Cluster, Jobs) {
    // pg_rewind needs hints in WAL, and WAL from before the servers parted.
    let primary =
        Cluster::builder().conf("wal_log_hints", "on").conf("wal_keep_size", "256MB").start();
    // Run ids that were not replicated are drawn again; these ids are not.
    primary.sql(
        "create table effect (job bigint, run bigint, part int, id uuid default gen_random_uuid())",
    );
    primary.sql(
        "create procedure batches() language plpgsql as $$ begin \
           insert into effect select jobid, runid, 1 from cron.current_run(); commit; \
           insert into effect select jobid, runid, 2 from cron.current_run(); end $$",
    );
    let insert = "insert into effect select jobid, runid, 1 from cron.current_run()";
    for n in 0..LOAD {
        job(&primary, &format!("load {n}"), insert, &json!({}));
    }
    let jobs = Jobs {
        skip: job(&primary, "skip", insert, &json!({})),
        once: job(&primary, "once", insert, &json!({ "on_missed": "once" })),
        all: job(&primary, "all", insert, &json!({ "on_missed": "all" })),
        batches: job(&primary, "batches", "call batches()", &json!({})),
        long: job(&primary, "long", "select pg_sleep(3600)", &json!({})),
    };
    primary.wait_known();
    for job in [jobs.skip, jobs.once, jobs.all, jobs.batches] {
        let _ = primary.finished_runs(job, 3);
    }
    let _ = primary.run_in_status(jobs.long, "running");
    (primary, jobs)
}

fn ours(cluster: &Cluster) -> i64 {
    cluster.one(
        "select count(*) from pg_stat_activity where backend_type ~ '^pg_tock' \
         and backend_type <> 'pg_tock launcher'",
    )
}

/// Promotes once the gap is some seconds long, and sees jobs go on; `bench/run.sh failover` measures how
/// soon they do.
fn promote_after_a_gap(standby: &Cluster) {
    let died: String = standby.one("select max(start_time)::text from cron.job_run_details");
    standby.wait_for(&format!("clock_timestamp() > timestamptz '{died}' + interval '4 seconds'"));
    let called: String = standby.one("select clock_timestamp()::text");
    standby.promote();
    let promoted: String = standby.one("select clock_timestamp()::text");
    let until_first_run = format!(
        "select extract(epoch from min(start_time) - '{promoted}')::float8 \
         from cron.job_run_details where start_time > '{called}'"
    );
    standby.wait_for(&format!("({until_first_run}) is not null"));
    let seconds: f64 = standby.one(&until_first_run);
    eprintln!("first run {:.0} ms after pg_promote() has returned", seconds * 1000.0);
}

/// What each policy makes of the gap, and that effects and rows agree.
fn goes_on(standby: &Cluster, jobs: &Jobs, reason: &str) {
    let own = "start_time > (select max(r.first_at) from cron.job_skip r)";
    for job in [jobs.skip, jobs.once, jobs.all, jobs.batches] {
        standby.wait_for(&format!(
            "(select count(*) >= 3 from cron.job_run_details \
             where jobid = {job} and trigger = 'schedule' and status = 'succeeded' and {own})"
        ));
    }
    standby.flush();
    let skipped = |job: i64| -> (Vec<String>, i64) {
        let row = &standby.rows(
            "select coalesce(array_agg(distinct reason), '{}'), coalesce(sum(count), 0)::bigint \
             from cron.job_skip where jobid = $1",
            &[&job],
        )[0];
        (row.get(0), row.get(1))
    };
    let caught_up = |job: i64| -> i64 {
        standby.one_with(
            "select count(*) from cron.job_run_details \
             where jobid = $1 and trigger = 'catch_up' and status = 'succeeded'",
            &[&job],
        )
    };
    let (reasons, missed) = skipped(jobs.skip);
    assert_eq!(reasons, [reason]);
    assert!(missed >= 3, "{missed} occurrences in four seconds");
    assert_eq!(caught_up(jobs.skip), 0);
    let (reasons, missed) = skipped(jobs.once);
    assert_eq!((reasons, caught_up(jobs.once)), (vec![reason.to_owned()], 1));
    assert!(missed >= 2, "{missed} but the latest");
    assert_eq!(skipped(jobs.all), (Vec::new(), 0));
    assert!(caught_up(jobs.all) >= 3, "each of them");

    let cut = standby.finished_runs_of(jobs.long);
    assert_eq!(cut.len(), 1, "{cut:#?}");
    assert!(cut[0].return_message.ends_with("server restarted"), "{cut:#?}");
    assert_eq!(cut[0].outcome.as_deref(), Some("crashed"), "{cut:#?}");
    no_double_effects(standby);
}

fn no_double_effects(standby: &Cluster) {
    standby.audit();
    effects_are_succeeded_rows(standby);
}

fn effects_are_succeeded_rows(cluster: &Cluster) {
    let differences: Vec<String> = cluster.column(
        "select format('job %s run %s: %s effects, %s', jobid, runid, coalesce(n, 0), status) \
         from (select job jobid, run runid, count(*) n, count(distinct part) parts from effect group by 1, 2) e \
         full join (select * from cron.job_run_details where command ~ 'effect|batches' and end_time is not null) d \
           using (jobid, runid) \
         where n > parts or d.runid is null and not exists (select from cron.running r where r.runid = e.runid) \
            or status = 'succeeded' and coalesce(n, 0) <> case when jobname = 'batches' then 2 else 1 end \
            or status <> 'succeeded' and jobname <> 'batches' and n > 0",
    );
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn a_failover_goes_on_by_each_jobs_policy() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    let before = standby.runs_of(jobs.all).len();
    standby.wait_for(&format!(
        "(select count(*) >= {before} + 2 from cron.job_run_details where jobid = {})",
        jobs.all
    ));
    stays_true("nothing of ours on a standby", Duration::from_secs(2), || ours(&standby) == 0);
    // The old primary is gone for good, in the middle of everything.
    primary.kill_postmaster();
    promote_after_a_gap(&standby);
    goes_on(&standby, &jobs, "server crashed");
}

#[test]
fn a_switchover_goes_on_by_each_jobs_policy() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    // A fast stop sends all there is to the standby before it ends.
    primary.stop();
    promote_after_a_gap(&standby);
    goes_on(&standby, &jobs, "missed");
}

/// An old primary gets new runs of a job from the new one, and runs nothing itself.
fn only_follows(primary: &Cluster, job: i64) {
    let here = primary.runs_of(job).len();
    primary.wait_for(&format!(
        "(select count(*) > {here} from cron.job_run_details where jobid = {job})"
    ));
    stays_true("nothing of ours on the old primary", Duration::from_secs(2), || ours(primary) == 0);
}

#[test]
fn an_old_primary_that_follows_runs_nothing() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    primary.stop();
    standby.promote();
    let _ = standby.finished_runs(jobs.all, standby.finished_runs_of(jobs.all).len() + 2);
    primary.follow(&standby);
    only_follows(&primary, jobs.all);
    no_double_effects(&standby);
}

/// Makes `standby` a synchronous one.
fn wait_for_each_commit(primary: &Cluster, standby: &Cluster) {
    standby.catch_up_with(primary);
    primary.conf("synchronous_commit", "on");
    primary.conf("synchronous_standby_names", "*");
    primary.reload();
    primary.wait_for("exists (select from pg_stat_replication where sync_state = 'sync')");
}

/// Effects by their ids, and which job's and run's they are. Nobody sees one before its commit was
/// acknowledged.
type Effects = BTreeMap<String, (i64, i64)>;

fn effects(cluster: &Cluster) -> Effects {
    let rows = cluster.rows("select id::text, job, run from effect", &[]);
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

/// The old primary, started alone, makes no effects. Jobs and runs of those that the new one lacks.
fn left_behind(primary: &Cluster, new: &Effects) -> BTreeSet<(i64, i64)> {
    primary.conf("cron.launch_active_jobs", "off");
    primary.conf("synchronous_standby_names", "");
    primary.boot();
    let _ = primary.wait_scheduler();
    effects_are_succeeded_rows(primary);
    let old = effects(primary);
    let alone = old.iter().filter(|(id, _)| !new.contains_key(*id));
    let alone = alone.map(|(_, of)| *of).collect();
    stays_true("no more effects on the old primary", Duration::from_secs(2), || {
        effects(primary) == old
    });
    alone
}

/// What synchronous replication promises: whatever was acknowledged is on the new primary. Of each job the
/// one run at most that was waiting for that is on the old one alone.
fn nothing_acknowledged_is_lost(
    primary: &Cluster,
    standby: &Cluster,
    acknowledged: &Effects,
) -> usize {
    let new = effects(standby);
    let lost: Vec<_> = acknowledged.iter().filter(|(id, _)| !new.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{} effects that were acknowledged, of {lost:?}", lost.len());
    let alone = left_behind(primary, &new);
    eprintln!(
        "    {} effects acknowledged, {} runs on the old one alone",
        acknowledged.len(),
        alone.len()
    );
    let jobs: BTreeSet<_> = alone.iter().map(|(job, _)| *job).collect();
    assert_eq!(jobs.len(), alone.len(), "one run of each job at most: {alone:?}");
    alone.len()
}

#[test]
fn with_a_synchronous_standby_no_acknowledged_effect_is_lost() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    wait_for_each_commit(&primary, &standby);
    let _ = primary.finished_runs(jobs.all, primary.finished_runs_of(jobs.all).len() + 2);
    let acknowledged = effects(&primary);
    primary.stop_immediately();
    promote_after_a_gap(&standby);
    goes_on(&standby, &jobs, "server crashed");
    let _ = nothing_acknowledged_is_lost(&primary, &standby, &acknowledged);
}

#[test]
fn a_run_that_waits_for_the_synchronous_standby_may_stay_on_the_old_primary_alone() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    wait_for_each_commit(&primary, &standby);
    let _ = primary.finished_runs(jobs.all, primary.finished_runs_of(jobs.all).len() + 2);
    let deaf = standby.deafen();
    // The load, a job for each policy, and the one that commits on its own.
    primary.wait_for(&format!(
        "(select count(*) = {LOAD} + 4 from pg_stat_activity \
          where backend_type = 'pg_tock executor' and wait_event = 'SyncRep')"
    ));
    let acknowledged = effects(&primary);
    primary.kill_postmaster();
    deaf.for_ever();
    promote_after_a_gap(&standby);
    goes_on(&standby, &jobs, "server crashed");
    let alone = nothing_acknowledged_is_lost(&primary, &standby, &acknowledged);
    assert!(alone > 0, "nothing was under way");
}

#[test]
fn an_old_primary_that_was_killed_is_rewound_and_runs_nothing() {
    let (primary, jobs) = primary();
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    let deaf = standby.deafen();
    // Time enough to replay what it has received.
    let _ = primary.finished_runs(jobs.all, primary.finished_runs_of(jobs.all).len() + 2);
    let received = effects(&standby);
    let ahead = poll_until("the primary is ahead", PATIENCE, || {
        let here = effects(&primary);
        here.keys().any(|id| !received.contains_key(id)).then_some(here)
    });
    primary.kill_postmaster();
    deaf.for_ever();
    standby.promote();
    let _ = standby.finished_runs(jobs.all, standby.finished_runs_of(jobs.all).len() + 2);
    let new = effects(&standby);
    assert!(ahead.keys().any(|id| !new.contains_key(id)), "the old primary is not ahead");
    primary.rewind_and_follow(&standby);
    only_follows(&primary, jobs.all);
    let old = effects(&primary);
    let new = effects(&standby);
    assert!(old.keys().all(|id| new.contains_key(id)), "what it had alone is gone");
    no_double_effects(&standby);
}

#[test]
fn requests_go_on_after_a_switchover_and_none_is_sent_twice() {
    let servers = Servers::new();
    let sent = Arc::new(Mutex::new(Vec::<(i64, String)>::new()));
    let noted = Arc::clone(&sent);
    let note = move |Path((run, due)): Path<(i64, String)>| async move {
        noted.lock().unwrap().push((run, due));
        "noted"
    };
    let address = servers.http(Router::new().route("/{run}/{due}", get(note)));
    let primary = web::builder().start();
    let request = web::get(&format!("http://{address}/{{{{run_id}}}}/{{{{scheduled_for}}}}"));
    let job = web::job(&primary, "calls", "1 second", &request);
    let _ = primary.finished_runs(job, 2);
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    let _ = primary.finished_runs(job, primary.finished_runs_of(job).len() + 2);
    stays_true("nothing of ours on a standby", Duration::from_secs(1), || ours(&standby) == 0);
    primary.stop();
    standby.promote();
    let _ = standby.finished_runs(job, standby.finished_runs_of(job).len() + 3);
    standby.sql(&format!("select cron.pause({job})"));
    standby.wait_known();
    standby.wait_quiet();
    let sent = sent.lock().unwrap();
    let dues: BTreeSet<&String> = sent.iter().map(|(_, due)| due).collect();
    assert_eq!(dues.len(), sent.len(), "an occurrence that was sent twice: {sent:?}");
    let runs: BTreeSet<i64> = sent.iter().map(|(run, _)| *run).collect();
    let rows: Vec<i64> = standby.column("select runid from cron.job_run_details order by 1");
    assert_eq!(runs.into_iter().collect::<Vec<_>>(), rows, "requests and rows");
    standby.audit();
}
