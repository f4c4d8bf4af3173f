//! The locks this process holds, as `pg_locks` would show them.

use core::ffi::CStr;

use pgrx::pg_sys;
use serde_json::{Value, json};

/// Locks on tables and the like that users have made, the first `most` of them: an array of objects
/// with relation and mode. Inside a transaction; interrupts wait meanwhile.
pub(crate) fn mine(most: usize) -> Value {
    let mut found = Vec::new();
    // SAFETY: copies of what is in shared memory; look-ups in a transaction that is not aborted.
    // Without interrupts nothing but running out of memory raises an error.
    unsafe {
        pg_sys::InterruptHoldoffCount += 1;
        let data = &*pg_sys::GetLockStatusData();
        let count = usize::try_from(data.nelements).unwrap_or(0);
        for lock in core::slice::from_raw_parts(data.locks, count) {
            let relation = lock.locktag.locktag_field2;
            let ours = lock.pid == pg_sys::MyProcPid
                && lock.locktag.locktag_type == 0 // LOCKTAG_RELATION
                && relation >= pg_sys::FirstNormalObjectId;
            if !ours {
                continue;
            }
            let Some(name) = name(relation.into()) else { continue };
            let modes = (1..=pg_sys::AccessExclusiveLock.cast_signed())
                .filter(|mode| lock.holdMask & 1 << mode != 0);
            for mode in modes {
                let method = u16::from(lock.locktag.locktag_lockmethodid);
                let mode = text(pg_sys::GetLockmodeName(method, mode)).unwrap_or_default();
                found.push((name.clone(), mode));
            }
        }
        pg_sys::InterruptHoldoffCount -= 1;
    }
    found.sort_unstable();
    let lock = |(relation, mode): (String, String)| json!({"relation": relation, "mode": mode});
    found.into_iter().take(most).map(lock).collect()
}

/// The name of a relation with its schema; None if there is no such relation.
///
/// # Safety
/// In a transaction.
unsafe fn name(relation: pg_sys::Oid) -> Option<String> {
    // SAFETY: promised by the caller; null or palloc'd C strings.
    unsafe {
        let name = text(pg_sys::get_rel_name(relation))?;
        let schema = text(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)))?;
        Some(format!("{schema}.{name}"))
    }
}

/// # Safety
/// Null or a C string in the database's encoding.
unsafe fn text(text: *const core::ffi::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller; the answer is the text itself or a C string.
    unsafe {
        let len = i32::try_from(CStr::from_ptr(text).count_bytes()).unwrap_or(i32::MAX);
        let utf8 = pg_sys::pg_server_to_any(text, len, pg_sys::pg_enc::PG_UTF8.cast_signed());
        Some(CStr::from_ptr(utf8).to_string_lossy().into_owned())
    }
}
