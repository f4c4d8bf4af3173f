//! Whether a run has loaded something whose effects or state outlive it: dblink, `postgres_fdw`, or the
//! library of a procedural language other than plpgsql.
//!
//! `DISCARD ALL` does not reach what these keep in the process, and a rollback does not undo what they
//! do outside. The dynamic linker counts the libraries it has loaded, so a run that loads none costs
//! one comparison. Libraries of languages are known by their names, which begin with `pl`; one taken
//! for a language by mistake costs a process, nothing else.

use core::ffi::{CStr, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

/// Libraries the linker had loaded when they were looked at last.
static LOADED: AtomicU64 = AtomicU64::new(0);
/// Libraries that reach outside: when the session began, and when they were looked at last.
static BEFORE: AtomicU64 = AtomicU64::new(0);
static NOW: AtomicU64 = AtomicU64::new(0);

/// What a walk over the loaded libraries finds out.
struct Walk {
    loaded: u64,
    /// None: only `loaded` is asked for.
    outside: Option<u64>,
}

/// One library. Called by the linker.
unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, walk: *mut c_void) -> c_int {
    // SAFETY: both are what `dl_iterate_phdr` gives or was given.
    let (info, walk) = unsafe { (&*info, &mut *walk.cast::<Walk>()) };
    walk.loaded = info.dlpi_adds;
    let Some(outside) = &mut walk.outside else { return 1 };
    if !info.dlpi_name.is_null() {
        // SAFETY: a C string while the walk goes on.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        *outside += u64::from(is_outside(name.to_bytes()));
    }
    0
}

fn walk(names: bool) -> Walk {
    let mut walk = Walk { loaded: 0, outside: names.then_some(0) };
    // SAFETY: the callback gets the value it expects, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut walk).cast()) };
    walk
}

/// Whether the library of this path reaches outside its session.
fn is_outside(path: &[u8]) -> bool {
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let name = file.split(|&byte| byte == b'.').next().unwrap_or(file);
    let language = name.starts_with(b"pl") || name.starts_with(b"libpljava");
    matches!(name, b"dblink" | b"postgres_fdw")
        || language && !matches!(name, b"plpgsql" | b"plpgsql_check" | b"plugin_debugger")
}

/// Takes what is loaded for the session's own: preloaded, not brought by a run.
pub(super) fn begin_session() {
    let walk = walk(true);
    LOADED.store(walk.loaded, Ordering::Relaxed);
    BEFORE.store(walk.outside.unwrap_or(0), Ordering::Relaxed);
    NOW.store(walk.outside.unwrap_or(0), Ordering::Relaxed);
}

/// Whether a run of this session has loaded a library that reaches outside. Allocates nothing and
/// raises nothing.
pub(crate) fn reach_outside() -> bool {
    if walk(false).loaded != LOADED.load(Ordering::Relaxed) {
        let walk = walk(true);
        LOADED.store(walk.loaded, Ordering::Relaxed);
        NOW.store(walk.outside.unwrap_or(0), Ordering::Relaxed);
    }
    NOW.load(Ordering::Relaxed) > BEFORE.load(Ordering::Relaxed)
}
