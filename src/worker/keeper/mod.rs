//! The keeper of one database: what is slow, or waits for others, and must not hold up a start.
//!
//! It does chores. A chore is done in batches, each one short transaction under locks that need no
//! waiting; between two of them the keeper sees whether it is to leave. It is started by the
//! scheduler when there is something to do, and leaves when there has been nothing for a while.
//! See docs/adr/0005-keeper.md.
//!
//! To add a chore: a member of [`Chore`], a module with something that implements [`Work`], a line
//! in [`Keeper::new`]. Whoever finds that there is something to do calls `Scheduler::want_kept`, or
//! `want` of the database's entry and wakes its scheduler.

mod notify;
mod prune;
mod statistics;

use std::sync::atomic::{AtomicU32, Ordering};

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use super::session;
use crate::catalog::load::{self, Installed};
use crate::guc;
use crate::pg::bgw::Worker;
use crate::pg::{process, time, txn};
use crate::shmem::databases::{self, Database};
use crate::shmem::keeper::Chore;

/// How long a keeper waits for something to do before it leaves.
const IDLE: i64 = 5 * Timestamp::SECOND;

/// How long to wait before a chore is tried again that could not be done: the first time, and how
/// often in a row, each time twice as long. Then it is left until somebody wants it again.
const PATIENCE: i64 = Timestamp::SECOND;
const TRIES: u32 = 8;

/// How many times as long as a batch took the keeper rests after it, and how long at the least and
/// at the most: on a slow disk it takes a fifth of what there is, and never more.
const REST: i64 = 4;
const SHORTEST_REST: i64 = Timestamp::SECOND / 50;
const LONGEST_REST: i64 = 30 * Timestamp::SECOND;

/// No chore waits for longer.
const LONGEST_WAIT: i64 = PATIENCE << TRIES;

/// What a keeper is to the postmaster; its argument is the oid of its database.
pub(crate) const fn worker(database: u32) -> Worker {
    Worker {
        name: "pg_tock keeper",
        main: "pg_tock_keeper_main",
        connects: true,
        restart: None,
        argument: database as u64,
    }
}

/// What came of one batch of a chore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// Nothing is left to do.
    Done,
    /// There is more to do, after a rest that is the longer the longer this batch took.
    More,
    /// There is more to do, and others wait for it.
    MoreAtOnce,
    /// Something is in the way, such as a lock: the same again in a while.
    Later,
}

/// How a chore is done.
pub(super) trait Work {
    /// What it is called where activity is shown, and in the server log if it fails.
    fn name(&self) -> &'static core::ffi::CStr;

    /// Begins at the beginning: somebody has said that there is something to do.
    fn begin(&mut self, now: Timestamp);

    /// Does a bit, in a transaction that is under way and will be committed. An error is one in
    /// the server log, and the same again in a while.
    ///
    /// # Errors
    /// What Postgres says.
    fn batch(&mut self, installed: Installed) -> Result<Batch, pgrx::spi::Error>;

    /// The batch is committed.
    fn committed(&mut self) {}
}

/// A chore, and when to go on with it; None if there is nothing to do.
struct Task {
    chore: Chore,
    work: Box<dyn Work>,
    at: Option<Timestamp>,
    /// How often in a row it could not be done.
    failures: u32,
}

static DATABASE: AtomicU32 = AtomicU32::new(0);
/// What this process has begun and not finished.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Gives the database up. What was begun is for the next keeper.
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(database) = databases::find(DATABASE.load(Ordering::Relaxed)) {
        database.keeper.want_all(BEGUN.load(Ordering::Relaxed));
        database.keeper.depart();
        database.wake();
    }
}

/// Main of a keeper process.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_tock_keeper_main(argument: pg_sys::Datum) {
    process::accept_signals();
    let oid = u32::try_from(argument.value()).unwrap_or(0);
    let Some(database) = databases::find(oid).filter(|database| database.keeper.arrive()) else {
        return;
    };
    DATABASE.store(oid, Ordering::Relaxed);
    // SAFETY: the callback touches shared memory only.
    unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0)) };
    if must_leave(database) {
        return;
    }
    session::connect(oid);
    session::settle_in(c"pg_tock keeper", c"50ms");
    Keeper::new(database).run();
}

/// Whether the database has to be let go, or nobody looks after this process.
fn must_leave(database: &Database) -> bool {
    database.keeper.must_leave() || database.must_leave() || database.pid() == 0
}

struct Keeper {
    database: &'static Database,
    tasks: Vec<Task>,
    /// When there was something to do last.
    busy_at: Timestamp,
}

impl Keeper {
    fn new(database: &'static Database) -> Self {
        let task = |chore, work: Box<dyn Work>| Task { chore, work, at: None, failures: 0 };
        Self {
            database,
            tasks: vec![
                task(Chore::Statistics, Box::<statistics::Statistics>::default()),
                task(Chore::Notify, Box::new(notify::Notify)),
                task(Chore::Prune, Box::new(prune::Prune::new(&database.keeper.pruned))),
            ],
            busy_at: time::now(),
        }
    }

    /// The main loop. Returns when the process is to end.
    fn run(mut self) {
        loop {
            process::check_interrupts();
            if must_leave(self.database) {
                return;
            }
            if process::reload_config() {
                process::set_config(c"log_min_messages", guc::log_min_messages());
            }
            // SAFETY: outside a transaction, as in every main loop.
            unsafe { pg_sys::AcceptInvalidationMessages() };
            let now = time::now();
            self.take_work(now);
            if self.do_some(now) {
                // It may have slept on the latch, and missed what it was set for.
                continue;
            }
            if self.tasks.iter().all(|task| task.at.is_none())
                && !(0..IDLE).contains(&now.since(self.busy_at))
            {
                return;
            }
            process::nap(self.until_next(now));
        }
    }

    /// Takes what others have found to do.
    fn take_work(&mut self, now: Timestamp) {
        let wanted = self.database.keeper.take();
        if wanted == 0 {
            return;
        }
        BEGUN.fetch_or(wanted, Ordering::Relaxed);
        for task in self.tasks.iter_mut().filter(|task| wanted & task.chore.bit() != 0) {
            task.work.begin(now);
            (task.at, task.failures) = (Some(now), 0);
        }
    }

    /// Does a batch of each chore that is due; true if there was one.
    fn do_some(&mut self, now: Timestamp) -> bool {
        let mut some = false;
        for task in &mut self.tasks {
            // A clock that was set back makes the next time lie far ahead.
            let due = |at: &Timestamp| *at <= now || at.since(now) > LONGEST_WAIT;
            if task.at.as_ref().is_some_and(due) {
                some = true;
                if !self.database.keeper.may_work() {
                    return true;
                }
                task.go_on();
                self.database.keeper.rests();
                if task.at.is_none() {
                    BEGUN.fetch_and(!task.chore.bit(), Ordering::Relaxed);
                }
                process::report_stats(false);
            }
        }
        if some {
            self.busy_at = time::now();
        }
        some
    }

    /// How many milliseconds to sleep.
    fn until_next(&self, now: Timestamp) -> i64 {
        let next = self.tasks.iter().filter_map(|task| task.at).min();
        let idle_at = self.busy_at.plus(IDLE);
        let micros = next.unwrap_or(idle_at).since(now).clamp(0, LONGEST_WAIT);
        micros / 1_000 + 1
    }
}

impl Task {
    /// One batch.
    fn go_on(&mut self) {
        let began = time::now();
        process::report_running(self.work.name());
        let what = self.work.name().to_str().unwrap_or("a chore of the keeper");
        let done = txn::run(what, || match load::installed()? {
            Some(installed) => self.work.batch(installed),
            None => Ok(Batch::Done),
        });
        process::report_idle();
        let now = time::now();
        let batch = match done {
            Some(Ok(batch)) => {
                self.work.committed();
                batch
            }
            Some(Err(_)) | None => Batch::Later,
        };
        let failures = self.failures;
        self.failures = if batch == Batch::Later { failures.saturating_add(1) } else { 0 };
        self.at = match batch {
            Batch::Done => None,
            Batch::MoreAtOnce => Some(now),
            Batch::More => {
                let took = now.since(began).max(0);
                let rest = took.saturating_mul(REST).clamp(SHORTEST_REST, LONGEST_REST);
                Some(now.plus(rest))
            }
            Batch::Later if failures < TRIES => Some(now.plus(PATIENCE << failures)),
            Batch::Later => None,
        };
    }
}
