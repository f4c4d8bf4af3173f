//! The advisory lock a run holds on its job, and locks on tables taken without waiting.

use core::ffi::c_int;

use pgrx::pg_sys;

/// `objsubid` of a job's lock. `pg_advisory_lock` uses 1 and 2, so no call of a user can take it.
const JOB_LOCK: u16 = 3;

/// `LOCKTAG_ADVISORY` in `storage/lock.h`.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
const ADVISORY: u8 = pg_sys::LockTagType::LOCKTAG_ADVISORY as u8;
#[cfg(any(feature = "pg17", feature = "pg18"))]
const ADVISORY: u8 = pg_sys::LockTagType::LOCKTAG_ADVISORY as u8;

/// `USER_LOCKMETHOD` in `storage/lock.h`.
const USER_LOCK_METHOD: u8 = 2;

/// The lock of a job: `pg_locks` shows it with locktype advisory, the scheduler's database,
/// classid and objid the halves of the job's id, objsubid 3.
pub(crate) fn job_tag(database: u32, job: i64) -> pg_sys::LOCKTAG {
    let job = job.cast_unsigned();
    #[allow(clippy::cast_possible_truncation, reason = "the two halves of 64 bits")]
    pg_sys::LOCKTAG {
        locktag_field1: database,
        locktag_field2: (job >> 32) as u32,
        locktag_field3: job as u32,
        locktag_field4: JOB_LOCK,
        locktag_type: ADVISORY,
        locktag_lockmethodid: USER_LOCK_METHOD,
    }
}

/// ROW EXCLUSIVE, what a table's rows are written under.
pub(crate) const ROW_EXCLUSIVE: c_int = pg_sys::RowExclusiveLock.cast_signed();

/// Takes ROW EXCLUSIVE on a table for this transaction if that needs no waiting.
pub(crate) fn try_lock_table(table: pg_sys::Oid) -> bool {
    // SAFETY: inside a transaction, which owns the lock.
    unsafe { pg_sys::ConditionalLockRelationOid(table, ROW_EXCLUSIVE) }
}
