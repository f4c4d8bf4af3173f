//! Lines in the server log that carry an SQLSTATE.

use core::ffi::{CStr, c_int};
use std::ffi::CString;

use pg_tock_core::sqlstate;
use pgrx::pg_sys;

use super::{raw, trap};

/// A LOG line with this SQLSTATE, without the statement behind it. From a process that executes runs,
/// outside a transaction; a line that cannot be logged is dropped.
pub(crate) fn from_executor(sqlstate: [u8; 5], text: &str) {
    let Ok(text) = CString::new(text) else { return };
    let (code, text) = (sqlstate::encode(sqlstate), text.as_c_str());
    // SAFETY: the closure borrows.
    let _ = unsafe { trap::catch(|| line(code, text)) };
}

/// The same from any other process.
pub(crate) fn from_worker(sqlstate: [u8; 5], text: &str) {
    let Ok(text) = CString::new(text) else { return };
    let (code, text) = (sqlstate::encode(sqlstate), text.as_c_str());
    // SAFETY: the closure borrows; what it raises becomes a panic, as in every call of pgrx.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| line(code, text)) };
}

/// # Safety
/// Where an ERROR is caught.
unsafe fn line(code: c_int, text: &CStr) {
    // SAFETY: the sequence of the macro ereport.
    unsafe {
        if raw::errstart(pg_sys::LOG.cast_signed(), core::ptr::null()) {
            raw::errcode(code);
            raw::errmsg_internal(c"%s".as_ptr(), text.as_ptr());
            raw::errhidestmt(true);
            raw::errfinish(c"log.rs".as_ptr(), 0, c"line".as_ptr());
        }
    }
}
