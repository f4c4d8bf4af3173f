//! Whether every occurrence of every job is accounted for. Owns the words in which scenarios speak of
//! what ran and what did not.

use crate::cluster::Cluster;
use crate::poll::{PATIENCE, poll_until};
use postgres::NoTls;
use serde_json::Value;

/// Jobs of which `cron.next_runs` can say what is due: not those that follow the server's start or
/// their own runs.
const FORESEEABLE: &str = "select j.jobid, j.jobname, j.schedule, j.timezone, effective_from, cursor \
     from cron.job j join cron.job_state using (jobid) \
     where cursor > effective_from and schedule !~* '@(reboot|restart|startup)|after completion'";

/// Their instants up to the cursor.
const NOMINAL: &str = "select jobid, jobname, run_at from foreseeable, \
     cron.occurrences(jobid, effective_from, cursor) run_at";

/// The query by which docs/reliability.md lets everybody check the books; it returns what is wrong.
///
/// # Panics
/// When the page has no such query any more.
#[must_use]
pub fn documented_audit() -> &'static str {
    let page = include_str!("../../../docs/reliability.md");
    page.split(';')
        .find(|statement| statement.contains("cron.occurrences(job.jobid"))
        .expect("the audit in docs/reliability.md")
}

/// The query that answers a question of the runbook in docs/operations.md.
///
/// # Panics
/// When the page has no such question, or no query behind it.
#[must_use]
pub fn documented_answer(question: &str) -> &'static str {
    let page = include_str!("../../../docs/operations.md");
    let answer = page.split_once(&format!("**{question}**")).expect("a question of the runbook").1;
    let query = answer.split_once("```sql\n").and_then(|(_, block)| block.split_once(";\n```"));
    query.expect("a query in docs/operations.md").0
}

impl Cluster {
    /// `cron.create_job(options)` as superuser: the job's id.
    #[track_caller]
    pub fn create_job(&self, options: &Value) -> i64 {
        self.one_with("select cron.create_job($1::jsonb)", &[options])
    }

    /// Waits until the scheduler knows all jobs of `cron.job`, and their time has begun; a crash does
    /// not change that any more.
    #[track_caller]
    pub fn wait_known(&self) {
        self.wait_for(
            "not exists (select from cron.job natural left join cron.job_state \
                       where effective_from is null)",
        );
        self.flush();
        // The scheduler's notes are committed asynchronously.
        self.sql("checkpoint");
    }

    /// Has the scheduler write all it knows.
    #[track_caller]
    pub fn flush(&self) {
        self.wait_for("cron.flush()");
    }

    /// Prunes the history, and waits until that is done.
    ///
    /// # Panics
    /// When the server has no scheduler.
    #[track_caller]
    pub fn prune(&self) {
        let before: Option<String> =
            self.one("select (select pruned_at::text from cron.keeper_state)");
        assert!(self.one::<bool>("select cron.prune()"), "a scheduler");
        self.wait_for(&format!(
            "(select pruned_at::text <> '{}' from cron.keeper_state)",
            before.unwrap_or_default()
        ));
    }

    /// Waits until all rows of the ledger that have an end are counted: before, they stay.
    #[track_caller]
    pub fn wait_counted(&self) {
        self.wait_for(
            "(select counted_below from cron.engine_state) \
             > (select max(runid) from cron.job_run_details)",
        );
    }

    /// The finished runs of a job in the order of their occurrences, as in `10:10 schedule` or
    /// `10:20 catch_up crashed`; success is not mentioned.
    #[must_use]
    #[track_caller]
    pub fn story(&self, job: i64) -> Vec<String> {
        self.column(&format!(
            "select to_char(scheduled_for, 'HH24:MI') || ' ' || trigger \
                    || case outcome when 'succeeded' then '' else ' ' || outcome end \
             from cron.job_run_details where jobid = {job} and end_time is not null \
             order by scheduled_for, attempt"
        ))
    }

    /// Waits until that is a job's story.
    ///
    /// # Panics
    /// When it does not come true; what is true instead is part of the message.
    #[track_caller]
    pub fn wait_story(&self, job: i64, expected: &[&str]) {
        let mut found = Vec::new();
        let came = poll_quietly(|| {
            found = self.story(job);
            found == expected
        });
        assert!(came, "job {job} is to have run\n  {expected:?}\nand has run\n  {found:?}");
    }

    /// What of a job did not run, as in `missed 10:10 to 11:00: 6`, oldest first.
    #[must_use]
    #[track_caller]
    pub fn skipped(&self, job: i64) -> Vec<String> {
        self.flush();
        self.column(&format!(
            "select format('%s %s to %s: %s', reason, to_char(first_at, 'HH24:MI'), \
                    to_char(last_at, 'HH24:MI'), count) \
             from cron.job_skip where jobid = {job} order by first_at, last_at"
        ))
    }

    /// As [`Cluster::wait_for`], while the server goes down and comes up again by itself.
    #[track_caller]
    pub fn wait_through_crashes(&self, condition: &str) {
        poll_until(condition, PATIENCE, || {
            let mut client = self.config("postgres", "postgres").connect(NoTls).ok()?;
            let row = client.query_one(&format!("select ({condition})"), &[]).ok()?;
            row.get::<_, Option<bool>>(0).filter(|holds| *holds)
        });
    }

    /// Checks the books: every instant since a job's schedule took effect has a row in the ledger or is
    /// in `cron.job_skip`, a row there counts as many instants as it spans, and none ran twice.
    ///
    /// # Panics
    /// When one of these does not hold, with the first occurrences of which it does not.
    #[track_caller]
    pub fn accounts_balance(&self) {
        self.flush();
        let lost: Vec<String> = self.column(&format!(
            "with foreseeable as ({FORESEEABLE}), nominal as ({NOMINAL}) \
             select format('%s at %s', jobname, run_at) from nominal n \
             where not exists (select from cron.job_run_details d \
                               where d.jobid = n.jobid and d.scheduled_for = n.run_at) \
               and not exists (select from cron.job_skip s where s.jobid = n.jobid \
                               and n.run_at between s.first_at and s.last_at) \
             order by run_at limit 10"
        ));
        assert!(lost.is_empty(), "occurrences without an account: {lost:#?}");
        let miscounted: Vec<String> = self.column(&format!(
            "with foreseeable as ({FORESEEABLE}), nominal as ({NOMINAL}) \
             select format('%s: %s, there are %s', jobname, s, n) from foreseeable \
               join cron.job_skip s using (jobid), \
               lateral (select count(*) n from nominal where nominal.jobid = s.jobid \
                        and run_at between s.first_at and s.last_at) counted \
             where s.first_at > effective_from and s.last_at <= cursor and s.count <> n limit 10"
        ));
        assert!(miscounted.is_empty(), "rows of cron.job_skip that count wrongly: {miscounted:#?}");
        let twice: Vec<String> = self.column(
            "select format('job %s at %s: %s times', jobid, scheduled_for, count(*)) \
             from cron.job_run_details where status = 'succeeded' \
             group by jobid, scheduled_for having count(*) > 1 limit 10",
        );
        assert!(twice.is_empty(), "occurrences that ran more than once: {twice:#?}");
    }

    /// What the documented audit finds, a line for each occurrence.
    #[must_use]
    #[track_caller]
    pub fn found_by_audit(&self) -> Vec<String> {
        self.flush();
        self.column(&format!("select row_to_json(found)::text from ({}) found", documented_audit()))
    }

    /// What it finds of one job.
    #[must_use]
    #[track_caller]
    pub fn found_by_audit_of(&self, job: i64) -> Vec<String> {
        self.flush();
        self.column(&format!(
            "select row_to_json(found)::text from ({} and job.jobid = {job}) found",
            documented_audit()
        ))
    }

    /// The documented audit finds nothing, and that says something: there are jobs whose cursor has
    /// moved. What it leaves out is right as well: the counts of skips, and jobs that are switched off.
    ///
    /// # Panics
    /// When it does, or when no job can be checked.
    #[track_caller]
    pub fn audit(&self) {
        poll_until("a job with a cursor that has moved", PATIENCE, || {
            self.flush();
            self.one::<bool>(&format!("select exists ({FORESEEABLE} and active)")).then_some(())
        });
        let found = self.found_by_audit();
        assert!(found.is_empty(), "the audit of docs/reliability.md finds {found:#?}");
        self.accounts_balance();
    }
}

/// Looks until `holds` or the patience ends, and says which.
fn poll_quietly(mut holds: impl FnMut() -> bool) -> bool {
    let started = std::time::Instant::now();
    poll_until("an answer", PATIENCE * 2, || {
        let over = started.elapsed() > PATIENCE;
        let held = holds();
        (held || over).then_some(held)
    })
}
