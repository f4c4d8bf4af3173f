//! Sessions that wait for a run they asked for, and how it is going.
//!
//! A session that wants to see the end of a run cannot commit its request first: it is in the middle
//! of a statement. So it asks the scheduler here, in an entry of its own, and sleeps on its latch.
//!
//! How far an entry is says [`Stage`]. A scheduler that dies leaves everything here to the next one.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, Ordering};

use pg_tock_core::ask::Stage;
pub(crate) use pg_tock_core::ask::State;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::pg_sys;

use super::{databases, layout};

/// One session's question.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Ask {
    stage: Stage,
    /// The database of the scheduler that is asked.
    scheduler: AtomicU32,
    /// Who asks.
    role: AtomicU32,
    /// Who owns the job, and where it runs, as the session saw it.
    owner: AtomicU32,
    database: AtomicU32,
    /// Where to leave what a dry run did.
    segment: AtomicU32,
    job: AtomicI64,
    /// The run; 0 until the scheduler has drawn its id.
    run: AtomicI64,
    scheduled_for: AtomicI64,
    force: AtomicBool,
    dry: AtomicBool,
    latch: AtomicPtr<pg_sys::Latch>,
}

/// What a session asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) job: JobId,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) force: bool,
    /// The role that asks.
    pub(crate) role: u32,
    /// The role that owns the job, as whoever asks saw it.
    pub(crate) owner: u32,
    /// The database it runs in; 0 if there was none.
    pub(crate) database: u32,
    /// The DSM segment for what a dry run did; None for a real run.
    pub(crate) dry: Option<u32>,
}

impl Wanted {
    /// A dry run of a job whose session is gone.
    pub(crate) const fn by_nobody(job: JobId) -> Self {
        let scheduled_for = Timestamp(0);
        Self { job, scheduled_for, force: true, role: 0, owner: 0, database: 0, dry: None }
    }
}

/// The entries of one scheduler's database.
pub(crate) fn of_scheduler(database: u32) -> impl Iterator<Item = &'static Ask> {
    layout::asks().iter().filter(move |ask| {
        ask.state() as u32 >= State::Asked as u32
            && ask.scheduler.load(Ordering::Relaxed) == database
    })
}

/// The sessions that wait for runs `pick` likes hear of their end.
pub(crate) fn tell(database: u32, end: State, pick: impl Fn(&Ask) -> bool) {
    for ask in of_scheduler(database) {
        if ask.state() == State::Waiting && pick(ask) && ask.advance(State::Waiting, end) {
            ask.wake();
        }
    }
}

/// Asks the scheduler of a database; None if as many sessions wait as there can be.
pub(crate) fn ask(
    database: u32,
    wanted: &Wanted,
    latch: *mut pg_sys::Latch,
) -> Option<&'static Ask> {
    let ask = layout::asks().iter().find(|ask| ask.advance(State::Free, State::Filling))?;
    ask.scheduler.store(database, Ordering::Relaxed);
    ask.role.store(wanted.role, Ordering::Relaxed);
    ask.owner.store(wanted.owner, Ordering::Relaxed);
    ask.database.store(wanted.database, Ordering::Relaxed);
    ask.segment.store(wanted.dry.unwrap_or(0), Ordering::Relaxed);
    ask.dry.store(wanted.dry.is_some(), Ordering::Relaxed);
    ask.job.store(wanted.job.0, Ordering::Relaxed);
    ask.run.store(0, Ordering::Relaxed);
    ask.scheduled_for.store(wanted.scheduled_for.0, Ordering::Relaxed);
    ask.force.store(wanted.force, Ordering::Relaxed);
    ask.latch.store(latch, Ordering::Relaxed);
    ask.advance(State::Filling, State::Asked);
    if let Some(database) = databases::find(database) {
        database.somebody_asks();
    }
    Some(ask)
}

impl Ask {
    /// How far it is.
    pub(crate) fn state(&self) -> State {
        self.stage.state()
    }

    /// Moves it on if it is where the caller thinks; tells whether it did.
    pub(crate) fn advance(&self, from: State, to: State) -> bool {
        self.stage.advance(from, to)
    }

    /// The session that asked has its answer.
    pub(crate) fn free(&self) {
        self.stage.free();
    }

    /// The session that asked does not wait any longer, for whatever reason.
    pub(crate) fn give_up(&self) {
        // It may be another session's behind that.
        let scheduler = self.scheduler.load(Ordering::Relaxed);
        if self.stage.give_up()
            && let Some(database) = databases::find(scheduler)
        {
            database.somebody_asks();
        }
    }

    /// The scheduler has heard that nobody waits any more.
    pub(crate) fn release(&self) {
        self.stage.release();
    }

    /// What is wanted.
    pub(crate) fn wanted(&self) -> Wanted {
        let segment = self.segment.load(Ordering::Relaxed);
        Wanted {
            job: JobId(self.job.load(Ordering::Relaxed)),
            scheduled_for: Timestamp(self.scheduled_for.load(Ordering::Relaxed)),
            force: self.force.load(Ordering::Relaxed),
            role: self.role.load(Ordering::Relaxed),
            owner: self.owner.load(Ordering::Relaxed),
            database: self.database.load(Ordering::Relaxed),
            dry: self.dry.load(Ordering::Relaxed).then_some(segment),
        }
    }

    /// The run, once the scheduler has drawn its id.
    pub(crate) fn run(&self) -> Option<RunId> {
        Some(RunId(self.run.load(Ordering::Acquire))).filter(|run| run.0 != 0)
    }

    /// The scheduler has drawn the run's id.
    pub(crate) fn set_run(&self, run: RunId) {
        self.run.store(run.0, Ordering::Release);
    }

    /// Wakes the session that asked.
    pub(crate) fn wake(&self) {
        // SAFETY: latches of PGPROCs stay in shared memory.
        unsafe { crate::pg::process::set_latch(self.latch.load(Ordering::Acquire)) };
    }
}
