//! Registering background workers.

use pgrx::pg_sys;

use super::mq::copy_name;

/// What a background worker of ours is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker {
    /// `backend_type` and the name in logs; shorter than 96 bytes.
    pub(crate) name: &'static str,
    /// The exported function that is its main.
    pub(crate) main: &'static str,
    /// Whether it connects to a database (or to none, with shared catalogs only).
    pub(crate) connects: bool,
    /// Seconds until a worker that failed is started again; None = never.
    pub(crate) restart: Option<i32>,
    /// The argument of its main.
    pub(crate) argument: u64,
}

impl Worker {
    fn description(self) -> pg_sys::BackgroundWorker {
        // SAFETY: a plain C struct, for which all zeroes is a valid value.
        let mut worker: pg_sys::BackgroundWorker = unsafe { core::mem::zeroed() };
        copy_name(&mut worker.bgw_name, self.name);
        copy_name(&mut worker.bgw_type, self.name);
        copy_name(&mut worker.bgw_library_name, "pg_tock");
        copy_name(&mut worker.bgw_function_name, self.main);
        let mut flags = pg_sys::BGWORKER_SHMEM_ACCESS;
        if self.connects {
            flags |= pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION;
        }
        worker.bgw_flags = flags.cast_signed();
        worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
        worker.bgw_restart_time = self.restart.unwrap_or(-1);
        worker.bgw_main_arg = pg_sys::Datum::from(self.argument);
        worker
    }

    /// Registers a worker that the postmaster starts. Only while libraries are preloaded.
    pub(crate) fn register_static(self) {
        let mut worker = self.description();
        // SAFETY: called from _PG_init in the postmaster; the struct is copied.
        unsafe { pg_sys::RegisterBackgroundWorker(&raw mut worker) };
    }

    /// Starts a worker now; None when no slot of `max_worker_processes` is free. This process gets
    /// a signal when it starts and when it ends.
    pub(crate) fn start(self) -> Option<Handle> {
        let mut worker = self.description();
        // SAFETY: this process's own variable.
        worker.bgw_notify_pid = unsafe { pg_sys::MyProcPid };
        let mut handle = core::ptr::null_mut();
        // SAFETY: the handle has to live in a context that lasts, which the switch provides.
        let started = unsafe {
            let old = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
            let started = pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle);
            pg_sys::CurrentMemoryContext = old;
            started
        };
        // lazily: a Handle that is dropped frees what it points to
        started.then(|| Handle(handle))
    }
}

/// A worker this process started.
#[derive(Debug)]
pub(crate) struct Handle(*mut pg_sys::BackgroundWorkerHandle);

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The postmaster has not started it yet.
    NotYet,
    /// Started, with this process id.
    Started(i32),
    /// It has ended, or never came to be.
    Stopped,
}

impl Handle {
    /// How far the worker is now.
    pub(crate) fn life(&self) -> Life {
        let mut pid = 0;
        // SAFETY: the handle came from RegisterDynamicBackgroundWorker.
        match unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &raw mut pid) } {
            pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED => Life::NotYet,
            pg_sys::BgwHandleStatus::BGWH_STARTED => Life::Started(pid),
            _ => Life::Stopped,
        }
    }

    /// The raw handle, for `shm_mq_attach`.
    pub(crate) const fn as_ptr(&self) -> *mut pg_sys::BackgroundWorkerHandle {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: allocated by RegisterDynamicBackgroundWorker in TopMemoryContext; freed once.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}
