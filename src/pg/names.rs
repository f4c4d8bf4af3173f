//! Whether jobs run as a role of a name, and whether there is a database of a name.
//!
//! Answers are remembered until the catalogs change. Owns one invariant: what is remembered is what the
//! server's caches would say, for Postgres tells of each change of a role or database, and each one
//! makes all of it be forgotten.

use core::ffi::c_int;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::thread::LocalKey;

use foldhash::fast::RandomState;
use pgrx::{pg_guard, pg_sys};

use crate::guc;

/// Most names of a kind remembered; then all are forgotten.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
struct Answers {
    known: HashMap<Box<[u8]>, bool, RandomState>,
    /// The last one, for rows with one name come one after another.
    last: Option<(Box<[u8]>, bool)>,
    /// How many changes there had been.
    changes: u64,
}

thread_local! {
    static ROLES: RefCell<Answers> = RefCell::default();
    static DATABASES: RefCell<Answers> = RefCell::default();
    /// How many changes of roles and databases this session has been told of.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static LISTENS: Cell<bool> = const { Cell::new(false) };
}

/// Whether there is a role of this name that can log in, and is no superuser if jobs of superusers are
/// disallowed. In a transaction.
pub(crate) fn may_have_jobs(role: &[u8]) -> bool {
    answer(&ROLES, role, look_up_role)
}

/// Whether there is a database of this name. In a transaction.
pub(crate) fn is_database(name: &[u8]) -> bool {
    answer(&DATABASES, name, |name| {
        // SAFETY: a C string, in a transaction.
        unsafe { pg_sys::get_database_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
    })
}

fn answer(
    answers: &'static LocalKey<RefCell<Answers>>,
    name: &[u8],
    look_up: impl FnOnce(CString) -> bool,
) -> bool {
    let changes = CHANGES.get();
    if let Some(answer) = answers.with_borrow_mut(|answers| answers.find(name, changes)) {
        return answer;
    }
    listen();
    // No object has so long a name; the server would look for its beginning.
    let fits = name.len() < pg_sys::NAMEDATALEN as usize;
    let answer = fits && CString::new(name).is_ok_and(look_up);
    // Of the time before: a change may have come to be known on the way.
    answers.with_borrow_mut(|answers| answers.keep(name, answer, changes));
    answer
}

impl Answers {
    fn find(&mut self, name: &[u8], changes: u64) -> Option<bool> {
        if self.changes != changes {
            return None;
        }
        if let Some((last, answer)) = &self.last
            && **last == *name
        {
            return Some(*answer);
        }
        let (name, &answer) = self.known.get_key_value(name)?;
        self.last = Some((name.clone(), answer));
        Some(answer)
    }

    fn keep(&mut self, name: &[u8], answer: bool, changes: u64) {
        if self.changes != changes || self.known.len() >= MOST {
            *self = Self { changes, ..Self::default() };
        }
        self.known.insert(name.into(), answer);
        self.last = Some((name.into(), answer));
    }
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
        let role = form.cast::<pg_sys::FormData_pg_authid>();
        let (can_log_in, is_superuser) = ((*role).rolcanlogin, (*role).rolsuper);
        pg_sys::ReleaseSysCache(row);
        can_log_in && (!is_superuser || guc::enable_superuser_jobs())
    }
}

/// Has this session told of changes, once.
fn listen() {
    if LISTENS.replace(true) {
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
    CHANGES.set(CHANGES.get().wrapping_add(1));
}
