//! This process: signals, interrupts, identity, what others see of it.

use core::ffi::{CStr, c_int};

use pgrx::pg_sys;

use super::raw;

#[cfg(not(feature = "pg18"))]
use pg_sys::pqsignal;
#[cfg(feature = "pg18")]
use pg_sys::pqsignal_be as pqsignal;

/// Gives memory that is free back to the system. Worth while after a great deal was freed: what
/// lies below something still in use would be kept for ever.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only touches what the allocator holds as free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Installs Postgres's own handlers and lets signals in: SIGTERM ends the process at the next
/// interrupt check also inside a query, SIGINT cancels the query, SIGHUP asks for a reload.
pub(crate) fn accept_signals() {
    // SAFETY: signals are blocked until the last call; all handlers are Postgres's own.
    unsafe {
        pqsignal(libc::SIGTERM, Some(raw::die));
        pqsignal(libc::SIGINT, Some(raw::StatementCancelHandler));
        pqsignal(libc::SIGHUP, Some(raw::SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// As [`accept_signals`], but SIGTERM only asks: the process ends when its main loop sees
/// [`asked_to_stop`], having put its things in order.
pub(crate) fn accept_signals_and_stop() {
    // SAFETY: signals are blocked until the last call; all handlers are Postgres's own.
    unsafe {
        pqsignal(libc::SIGTERM, Some(raw::SignalHandlerForShutdownRequest));
        pqsignal(libc::SIGINT, Some(raw::StatementCancelHandler));
        pqsignal(libc::SIGHUP, Some(raw::SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Whether SIGTERM has come.
pub(crate) fn asked_to_stop() -> bool {
    // SAFETY: this process's own flag, set by its signal handler.
    unsafe { pg_sys::ShutdownRequestPending != 0 }
}

/// Acts on interrupts that arrived: ends the process on SIGTERM, answers barriers. A cancel that
/// finds no query is dropped, as in a session that waits for its client.
pub(crate) fn check_interrupts() {
    // SAFETY: this process's own flag, set by its signal handlers.
    unsafe { pg_sys::QueryCancelPending = 0 };
    pgrx::check_for_interrupts!();
}

/// Whether the configuration was reloaded since the last call; it has been read then.
pub(crate) fn reload_config() -> bool {
    // SAFETY: this process's own flag, set by its SIGHUP handler.
    if unsafe { pg_sys::ConfigReloadPending } == 0 {
        return false;
    }
    // SAFETY: outside a transaction, as in every main loop.
    unsafe {
        pg_sys::ConfigReloadPending = 0;
        pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
    }
    true
}

/// This process's id.
pub(crate) fn pid() -> i32 {
    // SAFETY: constant in a process.
    unsafe { pg_sys::MyProcPid }
}

/// This process's latch, in shared memory.
pub(crate) fn latch() -> *mut pg_sys::Latch {
    // SAFETY: set when the process got its PGPROC.
    unsafe { pg_sys::MyLatch }
}

/// The database this process is connected to.
pub(crate) fn database() -> pg_sys::Oid {
    // SAFETY: set at connection, constant since.
    unsafe { pg_sys::MyDatabaseId }
}

/// Names this process in `pg_stat_activity.application_name`.
pub(crate) fn set_application_name(name: &CStr) {
    // SAFETY: a C string; outside a transaction, so that the value is not undone with one.
    unsafe {
        pg_sys::SetConfigOption(
            c"application_name".as_ptr(),
            name.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
        );
    }
}

/// Sets a setting for the rest of this process's life, over what the configuration says.
pub(crate) fn set_config(name: &CStr, value: &CStr) {
    // SAFETY: C strings; ERROR on a bad name or value ends the worker, which is a bug of ours.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Shows what this process is doing in `pg_stat_activity`.
pub(crate) fn report_running(what: &CStr) {
    // SAFETY: shared memory of this backend's own entry, and a C string.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, what.as_ptr()) };
}

/// Shows `idle` in `pg_stat_activity`.
pub(crate) fn report_idle() {
    // SAFETY: shared memory of this backend's own entry.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, core::ptr::null());
    }
}

/// Sends statistics; `force` also when some were sent less than a second ago. Returns whether
/// some had to be kept back.
pub(crate) fn report_stats(force: bool) -> bool {
    // SAFETY: outside a transaction.
    unsafe { pg_sys::pgstat_report_stat(force) != 0 }
}

/// Sleeps for some milliseconds, or until something happens to this session; acts on interrupts.
pub(crate) fn nap(millis: i64) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events.cast_signed(), millis, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Sleeps until something happens to this session; acts on interrupts. Returns at once if something
/// has since the last call.
pub(crate) fn sleep() {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: this process's own latch.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events.cast_signed(), -1, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pgrx::check_for_interrupts!();
}

/// Wakes the process whose latch this is.
///
/// # Safety
/// `latch` points to the latch of a PGPROC, which stays in shared memory for ever: if its process
/// is gone this wakes nobody, or somebody else for nothing.
pub(crate) unsafe fn set_latch(latch: *mut pg_sys::Latch) {
    if !latch.is_null() {
        // SAFETY: promised by the caller.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

/// Sends a signal to another process of this server.
pub(crate) fn signal(pid: i32, signal: c_int) {
    if pid > 0 {
        // SAFETY: no memory involved; a process that is gone is no harm.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Whether there is a process with that id. No process has the id 0.
pub(crate) fn is_alive(pid: i32) -> bool {
    // SAFETY: no memory involved, and signal 0 is not sent.
    pid > 0 && unsafe { libc::kill(pid, 0) } == 0
}

/// Ends this process with an exit code that makes the postmaster start it again.
pub(crate) fn exit_for_restart() -> ! {
    // SAFETY: runs the exit callbacks; never returns.
    unsafe { pg_sys::proc_exit(1) };
    #[allow(unreachable_code, reason = "proc_exit is not declared as diverging by pgrx")]
    std::process::abort()
}
