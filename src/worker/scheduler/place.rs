//! As whom and where jobs run, and what was asked for while that was another role or database.
//!
//! Owns one invariant: what was asked for is run as the role and in the database of its job as it was
//! then, or not at all. Whether it still fits is read from the tables, job and request in one snapshot
//! (`Request::misplaced`); until that is known nothing of the request begins.

use std::ffi::CString;
use std::rc::Rc;

use pg_tock_core::cancel::MISPLACED;
use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::run::Outcome;
use pg_tock_core::time::{RunId, Timestamp};

use super::Scheduler;
use super::jobs::Job;
use super::pool::Current;
use super::runs::End;
use crate::catalog::load::JobRow;
use crate::catalog::request::Place;
use crate::catalog::run_now;
use crate::guc;
use crate::pg::{time, txn};

/// The SQLSTATE of a run that does not fit its job any more: object_not_in_prerequisite_state.
const STATE: [u8; 5] = *b"55000";

impl Job {
    /// As whom and where it runs.
    pub(super) fn place(&self) -> Place {
        Place { username: Rc::clone(&self.username), database: Rc::clone(&self.database) }
    }

    /// Whether it runs as this role and in this database.
    pub(super) fn is_at(&self, place: &Place) -> bool {
        self.username == place.username && self.database == place.database
    }
}

impl Scheduler {
    /// Whether a run that was asked for, if it was, is about to begin as whom and where it was asked for.
    /// If not it is seen to, and its executor has nothing to do any more.
    pub(super) fn is_in_place(
        &mut self,
        id: ExecutorId,
        occurrence: &Occurrence,
        claim: bool,
        job: &Rc<Job>,
        now: Timestamp,
    ) -> bool {
        let Some(run) = occurrence.run else { return true };
        let seen = self.asked.seen_by_dry_run(run);
        let here = (job.key.role, job.database_oid);
        if self.retries.fits(run, job) && seen.is_none_or(|seen| seen == here) {
            return true;
        }
        // What is known of the job may be older than what was asked for.
        self.database.changes.push(job.id.0);
        self.requests.doubt(job.id);
        if let Some((owner, database)) = seen {
            let compare = || run_now::is_at(job.id, owner, database);
            let same = txn::run("looking whose job it is", compare).and_then(Result::ok);
            if same == Some(false) {
                self.engine.run_finished(id, now);
                let unstarted =
                    Current::unstarted(*occurrence, run, Rc::clone(job), self.extension, now);
                let current = Current { dry: true, ..unstarted };
                self.account(&current, 0, misplaced(job, now), now);
                return false;
            }
        }
        self.not_now(id, *occurrence, claim, now);
        false
    }

    /// A run that was asked for does not fit its job any more: that is what it came to.
    pub(super) fn end_misplaced(&mut self, run: RunId, last: Occurrence, by: Option<CString>) {
        let Some(job) = self.jobs.get(last.job).map(Rc::clone) else { return };
        let now = time::now();
        let end = misplaced(&job, now);
        self.end_waiting(run, last, by, end, now);
    }
}

fn misplaced(job: &Job, now: Timestamp) -> End {
    let id = job.id;
    let message =
        format!("ERROR:  job {id} has another role or database since this run was asked for\n");
    End {
        sqlstate: Some(STATE),
        reason: Some(MISPLACED.as_bytes().to_vec()),
        ..End::not_begun(Outcome::Failed, message, now)
    }
}

/// Whether an end says that its run did not fit its job any more.
pub(super) fn is_misplaced(end: &End) -> bool {
    end.reason.as_deref() == Some(MISPLACED.as_bytes())
}

/// Where and as whom the job runs.
pub(super) fn key_of(row: &JobRow, asks: bool) -> Result<PoolKey, String> {
    if !guc::is_local_node(&row.nodename) {
        return Err(format!(
            "job {} belongs to node \"{}\", which is not this server, and does not run here",
            row.id, row.nodename
        ));
    }
    let Some(role) = row.role_oid else {
        let username = row.username.to_string_lossy();
        return Err(format!(
            "job {} does not run: its owner \"{username}\" does not exist",
            row.id
        ));
    };
    if row.is_superuser && !guc::enable_superuser_jobs() {
        return Err(format!(
            "skipping job {} since superuser jobs are currently disallowed",
            row.id
        ));
    }
    // An executor asks the condition of a job that has one.
    if row.http.is_some() && !asks {
        return Ok(PoolKey::http(role));
    }
    // A database that does not exist has the oid 0: its runs fail, and say why.
    Ok(PoolKey { database: row.database_oid.unwrap_or(0), role })
}
