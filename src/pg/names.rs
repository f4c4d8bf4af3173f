//! Whether a role of a name can log in, and whether there is a database of a name.
//!
//! Answers are remembered until the catalogs change. Owns one invariant: what is remembered is what the
//! server's caches would say, for Postgres tells of each change of a role or database, and each one
//! makes all of it be forgotten.

use core::ffi::c_int;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::CString;

use pgrx::{pg_guard, pg_sys};

/// Most names remembered; then all are forgotten.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
struct Answers {
    roles: HashMap<Box<[u8]>, bool>,
    databases: HashMap<Box<[u8]>, bool>,
}

thread_local! {
    static KNOWN: Cell<Option<Answers>> = const { Cell::new(None) };
    /// How many changes there have been.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Whether there is a role of this name that can log in. In a transaction.
pub(crate) fn can_log_in(role: &[u8]) -> bool {
    answer(role, |answers| &mut answers.roles, look_up_role)
}

/// Whether there is a database of this name. In a transaction.
pub(crate) fn is_database(name: &[u8]) -> bool {
    answer(name, |answers| &mut answers.databases, |name| {
        // SAFETY: a C string, in a transaction.
        unsafe { pg_sys::get_database_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
    })
}

fn answer(
    name: &[u8],
    of: fn(&mut Answers) -> &mut HashMap<Box<[u8]>, bool>,
    look_up: impl FnOnce(CString) -> bool,
) -> bool {
    let mut answers = KNOWN.take().unwrap_or_default();
    if let Some(&answer) = of(&mut answers).get(name) {
        KNOWN.set(Some(answers));
        return answer;
    }
    listen();
    let before = CHANGES.get();
    // No object has so long a name; the server would look for its beginning.
    let fits = name.len() < pg_sys::NAMEDATALEN as usize;
    let answer = fits && CString::new(name).is_ok_and(look_up);
    // A change may have come to be known while it was looked up, and nothing was there to be forgotten.
    if CHANGES.get() != before {
        return answer;
    }
    let known = of(&mut answers);
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(name.into(), answer);
    KNOWN.set(Some(answers));
    answer
}

fn look_up_role(name: CString) -> bool {
    let cache = pg_sys::SysCacheIdentifier::AUTHNAME.cast_signed();
    // SAFETY: a lookup by a C string, in a transaction; the row is read before it is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(name.as_ptr()));
        if row.is_null() {
            return false;
        }
        let header = (*row).t_data;
        let form = header.cast::<u8>().add(usize::from((*header).t_hoff));
        let can = (*form.cast::<pg_sys::FormData_pg_authid>()).rolcanlogin;
        pg_sys::ReleaseSysCache(row);
        can
    }
}

/// Has this session told of changes, once.
fn listen() {
    if TOLD.replace(true) {
        return;
    }
    for cache in [pg_sys::SysCacheIdentifier::AUTHOID, pg_sys::SysCacheIdentifier::DATABASEOID] {
        // SAFETY: the function lives as long as the session; nothing is passed to it.
        unsafe {
            pg_sys::CacheRegisterSyscacheCallback(
                cache.cast_signed(),
                Some(forget),
                pg_sys::Datum::null(),
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn forget(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
    KNOWN.set(None);
}
