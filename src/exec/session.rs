//! The session of an executor, in which one run follows another.

use std::ffi::CString;

use pgrx::pg_sys;

use super::{commits, libraries};
use crate::pg::raw;
use crate::shmem::slots::Slot;

/// What an executor knows about itself.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its slot in shared memory.
    pub(crate) slot: &'static Slot,
    /// The table runs are recorded in, if it is in this database.
    pub(crate) ledger: pg_sys::Oid,
    /// The name of its database.
    pub(crate) database: CString,
    /// The name of its role.
    pub(crate) username: CString,
}

impl Session {
    /// Whether the objects of the extension whose scheduler this session works for are in this
    /// session's database.
    pub(crate) fn is_home(&self) -> bool {
        self.slot.scheduler() == self.slot.database()
    }
}

/// Prepares a session for runs; once, after it has connected.
pub(crate) fn prepare_session() {
    // SAFETY: the context lives as long as the process, the callback is a plain function.
    unsafe {
        pg_sys::MessageContext = raw::AllocSetContextCreateInternal(
            pg_sys::TopMemoryContext,
            c"MessageContext".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
    }
    commits::begin_session();
    libraries::begin_session();
}
