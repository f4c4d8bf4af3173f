//! Locks on tables, taken without waiting.

use core::ffi::c_int;

use pgrx::pg_sys;

/// ROW EXCLUSIVE, what a table's rows are written under.
pub(crate) const ROW_EXCLUSIVE: c_int = pg_sys::RowExclusiveLock.cast_signed();

/// Takes ACCESS SHARE on a table for this transaction if that needs no waiting.
pub(crate) fn try_read_table(table: pg_sys::Oid) -> bool {
    let lock = pg_sys::AccessShareLock.cast_signed();
    // SAFETY: inside a transaction, which owns the lock.
    unsafe { pg_sys::ConditionalLockRelationOid(table, lock) }
}

/// Takes ROW EXCLUSIVE on a table for this transaction if that needs no waiting.
pub(crate) fn try_lock_table(table: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction, which owns the lock.
    unsafe { pg_sys::ConditionalLockRelationOid(table, ROW_EXCLUSIVE) }
}

/// Whether this transaction holds a lock on a table that keeps others from writing it.
pub(crate) fn holds_more_than_row_exclusive(table: pg_sys::Oid) -> bool {
    let tag = pg_sys::LOCKTAG {
        // SAFETY: constant in a session.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: table.to_u32(),
        locktag_field3: 0,
        locktag_field4: 0,
        locktag_type: 0,         // LOCKTAG_RELATION
        locktag_lockmethodid: 1, // DEFAULT_LOCKMETHOD
    };
    let strongest = pg_sys::AccessExclusiveLock.cast_signed();
    // SAFETY: reads this backend's own table of locks.
    ((ROW_EXCLUSIVE + 1)..=strongest).any(|mode| unsafe {
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        let held = pg_sys::LockHeldByMe(&raw const tag, mode);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let held = pg_sys::LockHeldByMe(&raw const tag, mode, false);
        held
    })
}
