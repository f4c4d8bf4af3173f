//! The commits of this session: how many, and whether one of them was a run's last.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgrx::pg_sys;

use crate::shmem::mine;

/// Transactions this session has committed.
static COMMITS: AtomicU64 = AtomicU64::new(0);

/// The next commit is the run's last one.
static LAST: AtomicBool = AtomicBool::new(false);

/// Counts commits from now on; once, after the session has connected.
pub(super) fn begin_session() {
    // SAFETY: a plain function that stays.
    unsafe { pg_sys::RegisterXactCallback(Some(count_commit), core::ptr::null_mut()) };
}

/// Transactions this session has committed.
pub(super) fn count() -> u64 {
    COMMITS.load(Ordering::Relaxed)
}

/// Whether the next commit, if there is one, is the run's last: from then on the run has succeeded,
/// also if its process ends before it can say so.
pub(super) fn next_is_last(last: bool) {
    LAST.store(last, Ordering::Relaxed);
}

/// Called by Postgres inside CommitTransaction, where nothing may fail.
unsafe extern "C-unwind" fn count_commit(
    event: pg_sys::XactEvent::Type,
    _arg: *mut core::ffi::c_void,
) {
    if event == pg_sys::XactEvent::XACT_EVENT_COMMIT {
        COMMITS.fetch_add(1, Ordering::Relaxed);
        // Interrupts are held here: whatever ends the process finds the run done, or not at all.
        if LAST.swap(false, Ordering::Relaxed)
            && let Some(slot) = mine::slot()
        {
            slot.committed();
        }
    }
}
