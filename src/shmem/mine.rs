//! Which slot is this process's own.
//!
//! A run is known by the process that executes it and by nothing a job could set. The parallel
//! workers of a query belong to the run of the process that leads them.

use core::sync::atomic::{AtomicPtr, Ordering};

use pgrx::pg_sys;

use super::layout;
use super::slots::{Slot, State};

static SLOT: AtomicPtr<Slot> = AtomicPtr::new(core::ptr::null_mut());

/// This process is the executor of that slot, for the rest of its life.
pub(crate) fn take(slot: &'static Slot) {
    SLOT.store(core::ptr::from_ref(slot).cast_mut(), Ordering::Relaxed);
}

/// This process's slot, if it is an executor. Touches nothing else: safe in an exit callback.
pub(crate) fn slot() -> Option<&'static Slot> {
    let slot = SLOT.load(Ordering::Relaxed);
    // SAFETY: set once to a slot in shared memory, which is never unmapped.
    unsafe { slot.as_ref() }
}

/// The slot of the executor this process is, or works for as a parallel worker.
pub(crate) fn slot_of_leader() -> Option<&'static Slot> {
    if let Some(slot) = slot() {
        return Some(slot);
    }
    // SAFETY: this process's PGPROC and, set when it joined the group, its leader's, which cannot
    // be another process's while a member lives.
    let leader = unsafe {
        let me = pg_sys::MyProc;
        if me.is_null() || (*me).lockGroupLeader.is_null() {
            return None;
        }
        (*(*me).lockGroupLeader).pid
    };
    let mut slots = layout::slots().iter();
    slots.find(|slot| slot.state() == State::Ready && slot.pid() == leader)
}
