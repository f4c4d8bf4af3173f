//! Where things stand in shared memory.
//!
//! One segment: a header, then one [`Slot`] for each worker process the
//! server can have, then one [`Ask`] for each process. All zeroes
//! is the empty state of everything, so initialisation is one `memset`.

use core::sync::atomic::{AtomicI32, AtomicI64, AtomicPtr, AtomicU32, AtomicU64};

use pgrx::pg_sys;

use super::asks::Ask;
use super::databases::Database;
use super::http::{Http, HttpSlot};
use super::slots::Slot;
use super::taken_back::TakenBack;
use crate::guc;

/// Most databases with a scheduler at a time.
pub(crate) const MAX_DATABASES: usize = 64;

/// What is in shared memory once.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Header {
    /// The launcher, 0 when it is not running.
    pub(crate) launcher_pid: AtomicI32,
    /// Number of slots behind the header.
    pub(crate) slot_count: AtomicU32,
    /// Number of entries for those who wait behind the slots.
    pub(crate) ask_count: AtomicU32,
    /// The launcher's latch.
    pub(crate) launcher_latch: AtomicPtr<pg_sys::Latch>,
    /// Counts the reasons the launcher had to look again.
    pub(crate) launcher_news: AtomicU64,
    /// Reserved for a server-wide figure; keeps what follows aligned to a cache line.
    pub(crate) started_at: AtomicI64,
    /// The HTTP worker.
    pub(crate) http: Http,
    /// Requests for runs that were taken back.
    pub(crate) taken_back: TakenBack,
    /// One entry for each database with a scheduler.
    pub(crate) databases: [Database; MAX_DATABASES],
}

static BASE: AtomicPtr<Header> = AtomicPtr::new(core::ptr::null_mut());

fn slot_count() -> usize {
    // SAFETY: set before libraries are preloaded, constant afterwards.
    usize::try_from(unsafe { pg_sys::max_worker_processes }).unwrap_or(0)
}

/// Runs the HTTP worker can have: those it sends at a time, and as many that wait for their host.
fn http_slot_count() -> usize {
    guc::http::max_requests().saturating_mul(2)
}

fn ask_count() -> usize {
    // SAFETY: set before shared memory is asked for, constant afterwards.
    usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or(0)
}

fn size() -> usize {
    size_of::<Header>()
        + slot_count() * size_of::<Slot>()
        + http_slot_count() * size_of::<HttpSlot>()
        + ask_count() * size_of::<Ask>()
}

/// What each HTTP run may take of the server's table of locks, which was not made for so many.
const LOCK: usize = 512;

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;

/// Asks for the segment. Only while libraries are preloaded.
pub(crate) fn install_hooks() {
    // SAFETY: one thread, in _PG_init of the postmaster; the hooks chain to their predecessors.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the hook before ours; the guard carries its errors on")]
unsafe extern "C-unwind" fn request() {
    // SAFETY: set once by install_hooks; this is the moment Postgres allows requests in.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(size());
        pg_sys::RequestAddinShmemSpace(http_slot_count() * LOCK);
    }
}

#[pgrx::pg_guard]
#[allow(ffi_unwind_calls, reason = "the hook before ours; the guard carries its errors on")]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: set once by install_hooks.
    if let Some(previous) = unsafe { PREVIOUS_STARTUP } {
        // SAFETY: the hook that was there before ours.
        unsafe { previous() };
    }
    let mut found = false;
    // SAFETY: the space was requested; Postgres raises an ERROR rather than returning null.
    let base = unsafe { pg_sys::ShmemInitStruct(c"pg_tock".as_ptr(), size(), &raw mut found) };
    let header = base.cast::<Header>();
    if !found {
        // SAFETY: `size()` bytes were allocated, nobody else knows them yet, and all zeroes is
        // the empty state of every part.
        unsafe { core::ptr::write_bytes(base.cast::<u8>(), 0, size()) };
        let count = u32::try_from(slot_count()).unwrap_or(u32::MAX);
        // SAFETY: initialised just now.
        unsafe { &*header }.slot_count.store(count, core::sync::atomic::Ordering::Relaxed);
        let count = u32::try_from(http_slot_count()).unwrap_or(u32::MAX);
        // SAFETY: as above.
        unsafe { &*header }.http.slot_count.store(count, core::sync::atomic::Ordering::Relaxed);
        let count = u32::try_from(ask_count()).unwrap_or(u32::MAX);
        // SAFETY: as above.
        unsafe { &*header }.ask_count.store(count, core::sync::atomic::Ordering::Relaxed);
    }
    BASE.store(header, core::sync::atomic::Ordering::Release);
}

/// The header; None in a server that does not preload the library.
pub(crate) fn header() -> Option<&'static Header> {
    let base = BASE.load(core::sync::atomic::Ordering::Acquire);
    // SAFETY: placed by `startup`, valid as long as the process; all parts are atomics.
    unsafe { base.as_ref() }
}

/// All executor slots; empty in a server that does not preload the library.
pub(crate) fn slots() -> &'static [Slot] {
    let Some(header) = header() else { return &[] };
    let count = header.slot_count.load(core::sync::atomic::Ordering::Relaxed) as usize;
    // SAFETY: `startup` allocated that many slots right behind the header, whose size is a
    // multiple of their alignment; all parts are atomics.
    unsafe {
        let first = core::ptr::from_ref(header).add(1).cast::<Slot>();
        core::slice::from_raw_parts(first, count)
    }
}

/// All slots of HTTP runs; empty in a server that does not preload the library.
pub(crate) fn http_slots() -> &'static [HttpSlot] {
    let Some(header) = header() else { return &[] };
    let count = header.http.slot_count.load(core::sync::atomic::Ordering::Relaxed) as usize;
    let slots = slots();
    // SAFETY: `startup` allocated that many behind the executors' slots, whose size is a multiple
    // of their alignment; all parts are atomics.
    unsafe {
        let first = slots.as_ptr().add(slots.len()).cast::<HttpSlot>();
        core::slice::from_raw_parts(first, count)
    }
}

const _: () = assert!(size_of::<Slot>().is_multiple_of(align_of::<HttpSlot>()));

/// The entries of those who wait for runs; none in a server that does not preload the library.
pub(crate) fn asks() -> &'static [Ask] {
    let Some(header) = header() else { return &[] };
    let count = header.ask_count.load(core::sync::atomic::Ordering::Relaxed) as usize;
    // SAFETY: `startup` allocated that many right behind the HTTP slots, whose size is a multiple
    // of their alignment; all parts are atomics.
    unsafe { core::slice::from_raw_parts(http_slots().as_ptr_range().end.cast::<Ask>(), count) }
}

const _: () = assert!(size_of::<HttpSlot>().is_multiple_of(align_of::<Ask>()));
const _: () = assert!(size_of::<Header>().is_multiple_of(align_of::<Slot>()));
