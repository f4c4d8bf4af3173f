//! Whether the server is being stopped.
//!
//! A process that gets SIGTERM cannot tell the end of the server from `pg_terminate_backend`. The
//! postmaster notes in its lock file that it stops before it signals anybody (`pmdie`), which is
//! what pg_ctl goes by; so whoever is asked to go, or finds another gone, can look there.

use core::ffi::CStr;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use pgrx::pg_sys;

/// Which line of `postmaster.pid` says how the server is (`LOCK_FILE_LINE_PM_STATUS`), from 0, and what
/// it says then (`PM_STATUS_STOPPING`).
const STATUS: usize = 7;
const STOPPING: &[u8] = b"stopping";

/// What `return_message` and `reason` say of a run the server's stop has ended, whoever writes them:
/// the scheduler on its way out, or the next one.
pub(crate) const WORDS: &str = "server restarted";

/// Whether the server is being stopped, by a smart, fast or immediate stop. Reads a file.
pub(crate) fn is_under_way() -> bool {
    // SAFETY: set when the process began, and constant since.
    let dir = unsafe { pg_sys::DataDir };
    if dir.is_null() {
        return false;
    }
    // SAFETY: not null, a C string.
    let dir = OsStr::from_bytes(unsafe { CStr::from_ptr(dir) }.to_bytes());
    std::fs::read(Path::new(dir).join("postmaster.pid")).is_ok_and(|file| says_so(&file))
}

fn says_so(file: &[u8]) -> bool {
    let status = file.split(|&byte| byte == b'\n').nth(STATUS);
    status.is_some_and(|status| status.trim_ascii() == STOPPING)
}
