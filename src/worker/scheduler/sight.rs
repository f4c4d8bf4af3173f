//! Whether the scheduler can read its tables.
//!
//! Invariant: while it cannot, it says so in shared memory, since when and why; what it has read goes on
//! meanwhile, so nothing else tells.

use pg_tock_core::time::Timestamp;

use super::Scheduler;
use crate::pg::txn;

/// What is read apart from the rest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Jobs, and what they name.
    Jobs,
    /// The queues, where they alone have changed.
    Queues,
    /// What was asked for.
    Requests,
    /// What has run.
    Ledger,
}

/// Since when each of them cannot be read, by [`Source`].
#[derive(Debug, Default)]
pub(super) struct Sight([Option<Timestamp>; 4]);

impl Sight {
    fn note(&mut self, source: Source, read: bool, now: Timestamp) {
        let [jobs, queues, requests, ledger] = &mut self.0;
        let since = match source {
            Source::Jobs => jobs,
            Source::Queues => queues,
            Source::Requests => requests,
            Source::Ledger => ledger,
        };
        *since = if read { None } else { since.or(Some(now)) };
    }

    /// Since when it lacks something; None if it does not.
    pub(super) fn lost_at(&self) -> Option<Timestamp> {
        self.0.iter().flatten().min().copied()
    }

    /// Everything begins anew.
    pub(super) fn clear(&mut self) {
        self.0 = [None; 4];
    }
}

impl Scheduler {
    /// Notes whether this could be read; called right after it was tried.
    pub(super) fn saw_source(&mut self, source: Source, read: bool, now: Timestamp) {
        if !read {
            let why = txn::last_failure();
            self.database
                .figures
                .blind_because(why.as_deref().unwrap_or("somebody has locked one of them"));
        }
        self.sight.note(source, read, now);
    }
}
