//! What a scheduler publishes about itself, for those who ask how it is doing: relaxed atomics, stored
//! once a turn. They need not agree with each other to the last run.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use pg_tock_core::engine::Load;
use pg_tock_core::time::Timestamp;

use super::words::Words;

/// The figures of one scheduler.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Figures {
    /// When the scheduler has come up.
    started_at: AtomicI64,
    /// When it looked last.
    turned_at: AtomicI64,
    waiting: AtomicU32,
    executors: AtomicU32,
    /// Worker slots that executors may have.
    slots: AtomicU32,
    /// Active jobs that it cannot run.
    broken: AtomicU32,
    short_of_slots: AtomicBool,
    /// Places for runs that are kept for roles with nothing running.
    kept_places: AtomicU32,
    /// The earliest instant among the occurrences that wait for a slot; 0 = there is none.
    oldest_waiting: AtomicI64,
    /// Since when it cannot read its tables, or some of them; 0 = it can.
    blind_since: AtomicI64,
    /// Why.
    blind_because: Words,
    /// The same, and among those behind a run of their own job.
    oldest_due: AtomicI64,
}

/// They, read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) started_at: Timestamp,
    pub(crate) waiting: u32,
    pub(crate) executors: u32,
    pub(crate) slots: u32,
    pub(crate) broken: u32,
    pub(crate) short_of_slots: bool,
    pub(crate) kept_places: u32,
    pub(crate) oldest_waiting: Option<Timestamp>,
    pub(crate) blind_since: Option<Timestamp>,
    pub(crate) oldest_due: Option<Timestamp>,
}

impl Figures {
    /// A scheduler has come up.
    pub(crate) fn start(&self, now: Timestamp) {
        self.started_at.store(now.0, Ordering::Relaxed);
        self.turned_at.store(now.0, Ordering::Relaxed);
        for figure in [&self.waiting, &self.executors, &self.broken, &self.kept_places] {
            figure.store(0, Ordering::Relaxed);
        }
        self.short_of_slots.store(false, Ordering::Relaxed);
        self.blind_since.store(0, Ordering::Relaxed);
        self.publish_oldest(None, None);
    }

    /// What it has to do now.
    pub(crate) fn publish(&self, now: Timestamp, load: &Load, slots: u32, broken: usize) {
        let store = |figure: &AtomicU32, value: usize| {
            figure.store(u32::try_from(value).unwrap_or(u32::MAX), Ordering::Relaxed);
        };
        self.turned_at.store(now.0, Ordering::Relaxed);
        store(&self.waiting, load.waiting);
        self.executors.store(load.executors, Ordering::Relaxed);
        self.slots.store(slots, Ordering::Relaxed);
        store(&self.broken, broken);
        self.short_of_slots.store(load.short_of_slots, Ordering::Relaxed);
        self.kept_places.store(load.kept_places, Ordering::Relaxed);
        if load.waiting == 0 {
            self.publish_oldest(None, None);
        }
    }

    /// What waits for longest: for a slot, and whatever for.
    pub(crate) fn publish_oldest(&self, waiting: Option<Timestamp>, due: Option<Timestamp>) {
        self.oldest_waiting.store(waiting.map_or(0, |at| at.0), Ordering::Relaxed);
        self.oldest_due.store(due.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    /// Since when it cannot read its tables.
    pub(crate) fn publish_blind(&self, since: Option<Timestamp>) {
        self.blind_since.store(since.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    /// Why it cannot read one of its tables.
    pub(crate) fn blind_because(&self, why: &str) {
        self.blind_because.keep(*b"00000", why.as_bytes());
    }

    /// Why it could not, the last time it could not.
    pub(crate) fn why_blind(&self) -> Option<String> {
        self.blind_because.get().map(|(_, why)| why)
    }

    /// When the scheduler looked last for something to do.
    pub(crate) fn looked_at(&self) -> Timestamp {
        Timestamp(self.turned_at.load(Ordering::Relaxed))
    }

    /// The figures as they are now.
    pub(crate) fn read(&self) -> Seen {
        let at = |figure: &AtomicI64| Timestamp(figure.load(Ordering::Relaxed));
        Seen {
            started_at: at(&self.started_at),
            waiting: self.waiting.load(Ordering::Relaxed),
            executors: self.executors.load(Ordering::Relaxed),
            slots: self.slots.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            short_of_slots: self.short_of_slots.load(Ordering::Relaxed),
            kept_places: self.kept_places.load(Ordering::Relaxed),
            oldest_waiting: Some(at(&self.oldest_waiting)).filter(|at| at.0 != 0),
            blind_since: Some(at(&self.blind_since)).filter(|at| at.0 != 0),
            oldest_due: Some(at(&self.oldest_due)).filter(|at| at.0 != 0),
        }
    }
}
