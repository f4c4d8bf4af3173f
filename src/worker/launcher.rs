//! The launcher: keeps one scheduler alive for each database that is to have one.
//!
//! It is connected to no database, so it can look up names but holds nobody up. It sleeps until a
//! scheduler ends, a database or the extension comes or goes, or a scheduler that keeps failing
//! may be tried again.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::Ordering;

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use super::scheduler;
use crate::guc::{self, DatabaseNames};
use crate::pg::bgw::{Handle, Life, Worker};
use crate::pg::wait::Alarm;
use crate::pg::{catalog_scan, process, time, txn};
use crate::shmem::{databases, layout};

/// A scheduler that dies sooner than this is not started again at once.
const QUICK_DEATH: i64 = 5 * Timestamp::SECOND;
/// How long it has to wait then.
const PATIENCE: i64 = Timestamp::SECOND;

/// What the launcher is to the postmaster.
pub(crate) const WORKER: Worker = Worker {
    name: "pg_tock launcher",
    main: "pg_tock_launcher_main",
    connects: true,
    restart: Some(1),
    argument: 0,
};

/// A scheduler the launcher has started.
struct Started {
    handle: Handle,
    at: Timestamp,
}

/// Forgets the launcher's latch.
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(header) = layout::header() {
        header.launcher_latch.store(core::ptr::null_mut(), Ordering::Release);
        header.launcher_pid.store(0, Ordering::Release);
    }
}

/// Main of the launcher process.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_tock_launcher_main(_argument: pg_sys::Datum) {
    process::accept_signals();
    let Some(header) = layout::header() else { return };
    // SAFETY: the callback touches shared memory only; without a database only shared catalogs
    // can be read.
    unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        pg_sys::BackgroundWorkerInitializeConnection(core::ptr::null(), core::ptr::null(), 0);
    }
    header.launcher_pid.store(process::pid(), Ordering::Release);
    header.launcher_latch.store(process::latch(), Ordering::Release);
    process::set_application_name(c"pg_tock launcher");
    process::set_config(c"log_min_messages", guc::log_min_messages());
    // from 17 on StartTransaction itself starts that clock, in background workers too
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    process::set_config(c"transaction_timeout", c"0");
    process::report_idle();
    pgrx::log!("pg_tock launcher started");
    let mut alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => {
            pgrx::log!("pg_tock: the launcher gets no timer: {error}");
            process::exit_for_restart()
        }
    };
    let mut launcher = Launcher::default();
    loop {
        process::check_interrupts();
        if process::reload_config() {
            process::set_config(c"log_min_messages", guc::log_min_messages());
        }
        let news = header.launcher_news.load(Ordering::Acquire);
        let next = launcher.turn();
        // A look at the catalog that had to wait for a page has reset the latch.
        if header.launcher_news.load(Ordering::Acquire) == news {
            alarm.sleep(next);
        }
    }
}

#[derive(Default)]
struct Launcher {
    started: HashMap<u32, Started>,
    /// When a database's scheduler may be tried again.
    not_before: HashMap<u32, Timestamp>,
    short_of_slots: bool,
}

impl Launcher {
    /// Starts what is missing; says when to look again, if nobody wakes it before.
    fn turn(&mut self) -> Option<Timestamp> {
        let now = time::now();
        let wanted = wanted();
        self.forget_dropped();
        self.bury(now);
        let mut next: Option<Timestamp> = None;
        for oid in wanted {
            let Some(database) = databases::find_or_create(oid) else { continue };
            if database.pid() != 0 || database.is_absent() || self.started.contains_key(&oid) {
                continue;
            }
            let at = self.not_before.get(&oid).copied();
            // A clock that was set back since makes nothing wait longer.
            let at = at.filter(|at| (1..=PATIENCE).contains(&at.since(now)));
            let at = match at {
                None if self.start(oid, now) => continue,
                None => now.plus(PATIENCE),
                Some(at) => at,
            };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        next
    }

    fn start(&mut self, oid: u32, now: Timestamp) -> bool {
        let Some(handle) = scheduler::worker(oid).start() else {
            if !std::mem::replace(&mut self.short_of_slots, true) {
                pgrx::warning!(
                    "pg_tock: no worker slot is free for a scheduler; increase max_worker_processes"
                );
            }
            return false;
        };
        self.short_of_slots = false;
        self.started.insert(oid, Started { handle, at: now });
        true
    }

    /// Notices schedulers that ended.
    fn bury(&mut self, now: Timestamp) {
        let not_before = &mut self.not_before;
        self.started.retain(|oid, scheduler| {
            if scheduler.handle.life() != Life::Stopped {
                return true;
            }
            if now.since(scheduler.at) < QUICK_DEATH {
                not_before.insert(*oid, now.plus(PATIENCE));
            } else {
                not_before.remove(oid);
            }
            false
        });
    }

    /// Frees the entries of databases that are gone.
    fn forget_dropped(&self) {
        let Some(there) = txn::run("reading the databases", catalog_scan::databases) else {
            return;
        };
        for database in databases::all() {
            let oid = database.oid();
            let exists = there.iter().any(|database| database.oid == oid);
            if !exists && database.pid() == 0 && !self.started.contains_key(&oid) {
                database.forget();
            }
        }
    }
}

/// The databases that are to have a scheduler.
fn wanted() -> Vec<u32> {
    let Some(there) = txn::run("reading the databases", catalog_scan::databases) else {
        return Vec::new();
    };
    match guc::database_names() {
        DatabaseNames::All => {
            there.into_iter().filter(|db| db.connectable).map(|db| db.oid).collect()
        }
        DatabaseNames::Listed(names) => names
            .into_iter()
            .filter_map(|name| {
                let name = CString::new(name).ok()?;
                there.iter().find(|db| db.name == name).map(|db| db.oid)
            })
            .collect(),
    }
}
