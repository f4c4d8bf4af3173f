//! What a new scheduler finds: runs that died, runs that go on, a server that has just started.

use pg_tock_core::engine::{Occurrence, PoolKey};
use pg_tock_core::time::JobId;
use pgrx::pg_sys;

use super::pool::{Current, Executor};
use super::watch::Watched;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::state::Skip;
use crate::catalog::{run, secret, state};
use crate::pg::time::{self, from_pg};
use crate::pg::txn;
use crate::shmem::asks;
use crate::shmem::roster;
use crate::shmem::slots::{Slot, State};

/// Puts the tables in order: rows of runs nobody runs any more get an end. `alive`: the runs of executors that live.
/// False if some are left that are locked.
pub(super) fn prepare(alive: &[i64]) -> Result<bool, pgrx::spi::Error> {
    let closed = run::close_dead(alive)?;
    if closed > 0 {
        let runs = if closed == 1 { "run" } else { "runs" };
        pgrx::log!("pg_tock: {closed} {runs} did not survive the last stop of the server");
    }
    secret::forget_strangers()?;
    state::forget_strangers()?;
    Ok(!run::has_dead(alive)?)
}

/// Asks for a run of each of these jobs if no scheduler has done so since the server started: a restart or
/// a promotion of the server, not of this process, and not recovery from a crash. Returns the runs that waited
/// since an earlier start and will not be, which are recorded as skipped. None: that cannot be known now.
fn ask_once_since_start(startup: &[JobId]) -> Option<Vec<(JobId, Skip)>> {
    // SAFETY: constant since the server started.
    let start = from_pg(unsafe { pg_sys::PgStartTime });
    // SAFETY: this server writes WAL, or no scheduler would run.
    let timeline = unsafe { pg_sys::GetWALInsertionTimeLine() }.cast_signed();
    let note = || state::note_server_start(start, timeline, startup);
    txn::run("noting the start of the server", note)?.ok()
}

fn executor_key(slot: &Slot) -> PoolKey {
    PoolKey { database: slot.database(), role: slot.role() }
}

impl Scheduler {
    /// Has the jobs run that run once per start of the server.
    pub(super) fn start_up(&mut self) {
        // Otherwise every job counts as inactive.
        let startup = self.jobs.iter().filter(|job| self.launches && job.startup && job.active);
        let startup: Vec<JobId> = startup.map(|job| job.id).collect();
        let now = time::now();
        match ask_once_since_start(&startup) {
            Some(replaced) => {
                for (job, skip) in replaced {
                    self.records.skipped(job, &skip, now);
                }
            }
            None => self.start_up_at = Some(now.plus(LOCK_RETRY)),
        }
        // Nor may a crash that the first runs bring about undo that this scheduler has begun: the next one has to
        // know that there was a crash.
        txn::flush();
    }

    /// Takes over what an earlier scheduler has left: executors in the middle of a run go on, and
    /// their jobs count as running; the others leave by themselves.
    pub(super) fn adopt(&mut self) {
        for (index, slot) in roster::of_scheduler(self.oid) {
            slot.orphan();
            let current = slot.current().map(|run| Current {
                occurrence: Occurrence {
                    job: run.job,
                    scheduled_for: run.scheduled_for,
                    trigger: run.trigger,
                    attempt: run.attempt,
                    run: None,
                },
                run: run.run,
                job: self.jobs.stranger(run.job, executor_key(slot)),
                handed_at: run.started_at,
                claim: slot.ordered.is_claimed(),
                local: slot.ordered.records_itself(),
                record_at: None,
                extension: 0,
                requested_by: None,
                watched: Watched::adopted(),
                asks: slot.ordered.only_asks(),
                dry: asks::of_scheduler(self.oid)
                    .any(|ask| ask.run() == Some(run.run) && ask.wanted().dry.is_some()),
            });
            let now = time::now();
            let executor = Executor::adopt(index, slot, current, now);
            if let Some(current) = &executor.current {
                self.engine.adopt(executor.id, executor.key, current.occurrence.job, now);
            }
            if slot.state() != State::Exited {
                slot.ask_to_retire();
            }
            self.executors.insert(executor.id, executor);
        }
        self.adopt_http();
    }

    /// The runs of executors that live.
    pub(super) fn live_runs(&self) -> Vec<i64> {
        self.currents().map(|current| current.run.0).collect()
    }
}
