//! Jobs and their runs, as rows of `cron.job_run_details`.

use crate::cluster::{Cluster, explain};
use crate::poll::{PATIENCE, poll_until};
use postgres::Row;
use serde_json::Value;
use std::time::SystemTime;

/// One row of the ledger: an attempt at an occurrence of a job.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the columns of cron.job_run_details, by their names")]
pub struct Run {
    pub runid: i64,
    pub jobid: i64,
    pub job_pid: Option<i32>,
    pub database: String,
    pub username: String,
    pub command: String,
    pub status: String,
    pub return_message: String,
    pub start_time: Option<SystemTime>,
    pub end_time: Option<SystemTime>,
    pub jobname: Option<String>,
    pub scheduled_for: Option<SystemTime>,
    pub attempt: i64,
    pub trigger: String,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub guarantee: Option<String>,
    pub sqlstate: Option<String>,
    pub error: Option<Value>,
    pub row_count: Option<i64>,
}

impl Run {
    const COLUMNS: &str = "runid, jobid, job_pid, database, username, command, status, \
        coalesce(return_message, '') as return_message, start_time, end_time, jobname, \
        scheduled_for, attempt::bigint as attempt, trigger, outcome, reason, guarantee, sqlstate, \
        error::jsonb as error, row_count::bigint as row_count";

    fn from_row(row: &Row) -> Self {
        Self {
            runid: row.get("runid"),
            jobid: row.get("jobid"),
            job_pid: row.get("job_pid"),
            database: row.get("database"),
            username: row.get("username"),
            command: row.get("command"),
            status: row.get("status"),
            return_message: row.get("return_message"),
            start_time: row.get("start_time"),
            end_time: row.get("end_time"),
            jobname: row.get("jobname"),
            scheduled_for: row.get("scheduled_for"),
            attempt: row.get("attempt"),
            trigger: row.get("trigger"),
            outcome: row.get("outcome"),
            reason: row.get("reason"),
            guarantee: row.get("guarantee"),
            sqlstate: row.get("sqlstate"),
            error: row.get("error"),
            row_count: row.get("row_count"),
        }
    }

    /// A field of the error, such as `detail`; empty where the error has none.
    #[must_use]
    pub fn error_field(&self, name: &str) -> &str {
        self.error
            .as_ref()
            .and_then(|error| error.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Checks that the run succeeded, and returns it.
    ///
    /// # Panics
    /// When it did not; the whole row is part of the message.
    #[track_caller]
    pub fn must_have_succeeded(self) -> Self {
        assert_eq!(self.status, "succeeded", "{self:#?}");
        assert_eq!(self.outcome.as_deref(), Some("succeeded"), "{self:#?}");
        assert_eq!(self.sqlstate, None, "{self:#?}");
        self.must_be_closed()
    }

    /// Checks that the run failed with that SQLSTATE, and returns it.
    ///
    /// # Panics
    /// When it did not; the whole row is part of the message.
    #[track_caller]
    pub fn must_have_failed_with(self, sqlstate: &str) -> Self {
        assert_eq!(self.status, "failed", "{self:#?}");
        assert_eq!(self.sqlstate.as_deref(), Some(sqlstate), "{self:#?}");
        self.must_be_closed()
    }

    #[track_caller]
    fn must_be_closed(self) -> Self {
        assert!(self.end_time.is_some(), "a finished run has an end: {self:#?}");
        assert!(self.start_time <= self.end_time, "a run ends after it starts: {self:#?}");
        self
    }
}

impl Cluster {
    /// `cron.schedule(name, schedule, command)` as superuser: the job's id.
    #[track_caller]
    pub fn schedule(&self, name: &str, schedule: &str, command: &str) -> i64 {
        self.one_with("select cron.schedule($1, $2, $3)", &[&name, &schedule, &command])
    }

    /// `cron.schedule(name, schedule, command)` in a session of `role`: the job's id.
    #[track_caller]
    pub fn schedule_as(&self, role: &str, name: &str, schedule: &str, command: &str) -> i64 {
        self.client_as(role)
            .query_one("select cron.schedule($1, $2, $3)", &[&name, &schedule, &command])
            .unwrap_or_else(|error| panic!("{role} cannot schedule {name}: {}", explain(&error)))
            .get(0)
    }

    /// `cron.unschedule(job)`.
    #[track_caller]
    pub fn unschedule(&self, job: i64) {
        let _: bool = self.one_with("select cron.unschedule($1::bigint)", &[&job]);
    }

    /// A role that may log in and use schema `cron`.
    #[track_caller]
    pub fn role(&self, name: &str) {
        self.sql(&format!("create role {name} login"));
        self.sql(&format!("grant usage on schema cron to {name}"));
    }

    /// All rows of a job, in the order of their occurrences.
    #[must_use]
    #[track_caller]
    pub fn runs_of(&self, job: i64) -> Vec<Run> {
        let query = format!(
            "select {} from cron.job_run_details where jobid = $1 \
             order by scheduled_for, attempt, runid",
            Run::COLUMNS
        );
        self.rows(&query, &[&job]).iter().map(Run::from_row).collect()
    }

    /// The finished rows of a job, in the order of their occurrences.
    #[must_use]
    #[track_caller]
    pub fn finished_runs_of(&self, job: i64) -> Vec<Run> {
        let mut runs = self.runs_of(job);
        runs.retain(|run| run.status == "succeeded" || run.status == "failed");
        runs
    }

    /// Waits until a job has at least `count` finished rows, and returns all it has.
    #[must_use]
    #[track_caller]
    pub fn finished_runs(&self, job: i64, count: usize) -> Vec<Run> {
        poll_until(&format!("{count} finished runs of job {job}"), PATIENCE, || {
            Some(self.finished_runs_of(job)).filter(|runs| runs.len() >= count)
        })
    }

    /// Waits for the first finished row of a job.
    #[must_use]
    #[track_caller]
    pub fn finished_run(&self, job: i64) -> Run {
        self.finished_runs(job, 1).swap_remove(0)
    }

    /// Waits for the first row of a job with that status, such as `running`.
    #[must_use]
    #[track_caller]
    pub fn run_in_status(&self, job: i64, status: &str) -> Run {
        poll_until(&format!("a run of job {job} in status {status}"), PATIENCE, || {
            self.runs_of(job).into_iter().find(|run| run.status == status)
        })
    }

    /// Schedules a command every second, waits for its first finished run, and unschedules it: what
    /// the command comes to when a job runs it. (A second run may have begun by then.)
    #[must_use]
    #[track_caller]
    pub fn run_once(&self, command: &str) -> Run {
        let job = self.schedule("once", "1 second", command);
        let run = self.finished_run(job);
        self.unschedule(job);
        run
    }

    /// As [`Cluster::run_once`], as a job of `role`.
    #[must_use]
    #[track_caller]
    pub fn run_once_as(&self, role: &str, command: &str) -> Run {
        let job = self.schedule_as(role, "once", "1 second", command);
        let run = self.finished_run(job);
        self.unschedule(job);
        run
    }

    /// Has each retry noted when it is asked for, in table `plan`: its attempt, and the seconds it is to
    /// wait from the end of the attempt before it on.
    #[track_caller]
    pub fn note_retries(&self) {
        self.sql(
            "create table plan (jobid bigint, attempt int, wait double precision); \
             create function note() returns trigger language plpgsql as $$ begin \
              insert into public.plan \
               select new.jobid, new.attempt, extract(epoch from new.not_before - d.end_time) \
               from cron.job_run_details d where d.jobid = new.jobid \
                and d.scheduled_for = new.scheduled_for and d.attempt = new.attempt - 1; \
              return new; end $$; \
             create trigger note after insert on cron.run_request for each row execute function note(); \
             alter table cron.run_request enable always trigger note",
        );
    }

    /// Waits until nothing runs: no executor is busy and no row is open.
    #[track_caller]
    pub fn wait_quiet(&self) {
        self.wait_for(
            "not exists (select from pg_stat_activity where backend_type = 'pg_tock executor' \
             and state <> 'idle') \
             and not exists (select from cron.job_run_details where end_time is null)",
        );
    }

    /// Switches every job off and waits until nothing runs any more.
    #[track_caller]
    pub fn stop_all_jobs(&self) {
        self.sql("update cron.job set active = false");
        self.wait_quiet();
    }

    /// Waits until an executor runs the job, and returns that executor's process id.
    #[must_use]
    #[track_caller]
    pub fn executor_of(&self, job: i64) -> i32 {
        poll_until(&format!("an executor that runs job {job}"), PATIENCE, || {
            self.rows(
                "select pid from pg_stat_activity where backend_type = 'pg_tock executor' \
                 and state <> 'idle' and application_name ~ ('^pg_tock job ' || $1 || '( |$)')",
                &[&job.to_string()],
            )
            .first()
            .map(|row| row.get(0))
        })
    }
}
