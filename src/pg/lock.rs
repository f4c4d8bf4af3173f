//! Locks on tables, taken without waiting.

use core::ffi::c_int;

use pgrx::pg_sys;

/// ROW EXCLUSIVE, what a table's rows are written under.
pub(crate) const ROW_EXCLUSIVE: c_int = pg_sys::RowExclusiveLock.cast_signed();

/// Takes ROW EXCLUSIVE on a table for this transaction if that needs no waiting.
pub(crate) fn try_lock_table(table: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction, which owns the lock.
    unsafe { pg_sys::ConditionalLockRelationOid(table, ROW_EXCLUSIVE) }
}
