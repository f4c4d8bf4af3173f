//! Reading one value of a row, found by the table's primary key, without a statement: where a view asks
//! row by row, a statement for each costs more than all the rest of its row.
//!
//! Owns one invariant: nobody learns here what a statement would not tell. Where anything but a right to
//! the whole table decides that, nothing is read, and a statement has to be asked. What was read is
//! remembered as long as a snapshot cannot see anything else.

use core::ffi::{CStr, c_int};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use foldhash::fast::RandomState;
use pg_tock_core::time::Timestamp;
use pgrx::{pg_guard, pg_sys};

use super::raw;
use super::snapshot::{View, view};
use super::time::from_pg;

/// Of which table, by which key, which column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) schema: &'static CStr,
    pub(crate) table: &'static CStr,
    /// A bigint, the primary key.
    pub(crate) key: &'static CStr,
    /// A timestamptz.
    pub(crate) column: &'static CStr,
}

/// What the catalogs say of a place that a user may read.
#[derive(Clone, Copy, Debug)]
struct Found {
    place: Place,
    user: pg_sys::Oid,
    table: pg_sys::Oid,
    key: i16,
    column: i16,
    /// How many changes there had been.
    changes: u64,
}

/// What was read in one view of the tables.
#[derive(Debug, Default)]
struct Values {
    view: Option<View>,
    /// By table, column and key.
    read: HashMap<(pg_sys::Oid, i16, i64), Option<Timestamp>, RandomState>,
}

/// Most values remembered; then all are forgotten.
const MOST: usize = 10_000;

thread_local! {
    /// The places last found, one each.
    static FOUND: RefCell<Vec<Found>> = const { RefCell::new(Vec::new()) };
    /// How many changes this session has been told of that may matter.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    static LISTENS: Cell<bool> = const { Cell::new(false) };
    static VALUES: RefCell<Values> = RefCell::default();
}

/// What stands there as the active snapshot sees it, the inner None being NULL or no such row; None if a
/// statement has to be asked.
pub(crate) fn instant(place: Place, key: i64) -> Option<Option<Timestamp>> {
    let view = view()?;
    let found = known(place).or_else(|| look_up(place))?;
    let value = (found.table, found.column, key);
    let remembered = VALUES.with_borrow(|values| {
        let same = values.view == Some(view);
        same.then(|| values.read.get(&value).copied()).flatten()
    });
    if remembered.is_some() {
        return remembered;
    }
    // SAFETY: one guard around all of it, as pgrx has one around each call: the closure owns nothing with a
    // destructor and does not panic. There is such a table with such columns, and an active snapshot.
    let at = unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| read(&found, key)) };
    VALUES.with_borrow_mut(|values| {
        if values.view != Some(view) || values.read.len() >= MOST {
            values.view = Some(view);
            values.read.clear();
        }
        values.read.insert(value, at);
    });
    Some(at)
}

fn known(place: Place) -> Option<Found> {
    // SAFETY: reads a variable of this session.
    let user = unsafe { pg_sys::GetUserId() };
    let changes = CHANGES.get();
    FOUND.with_borrow(|all| {
        let found = all.iter().find(|found| core::ptr::eq(found.place.table, place.table));
        found.filter(|it| it.place == place && it.user == user && it.changes == changes).copied()
    })
}

fn look_up(place: Place) -> Option<Found> {
    listen();
    // Of the time before: a change may come to be known on the way.
    let changes = CHANGES.get();
    // SAFETY: inside a transaction; what there is not of a schema, a table and columns has no number.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(place.schema.as_ptr(), true);
        let table = pg_sys::get_relname_relid(place.table.as_ptr(), schema);
        if table == pg_sys::InvalidOid {
            return None;
        }
        Found {
            place,
            user: pg_sys::GetUserId(),
            table,
            key: pg_sys::get_attnum(table, place.key.as_ptr()),
            column: pg_sys::get_attnum(table, place.column.as_ptr()),
            changes,
        }
    };
    if found.key < 1 || found.column < 1 || !reads_all(found.table, found.user) {
        return None;
    }
    FOUND.with_borrow_mut(|all| {
        all.retain(|other| !core::ptr::eq(other.place.table, place.table));
        all.push(found);
    });
    Some(found)
}

/// Whether a user may read each row of a table.
fn reads_all(table: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: asks the catalogs about the rights of a role that there is to a table that there is.
    unsafe {
        let right = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        pg_sys::pg_class_aclcheck(table, user, right) == pg_sys::AclResult::ACLCHECK_OK
            && pg_sys::check_enable_rls(table, user, true)
                != pg_sys::CheckEnableRlsResult::RLS_ENABLED.cast_signed()
    }
}

/// # Safety
/// Inside a guard, with an active snapshot; the table and its columns are there, and of the types that
/// [`Place`] says.
unsafe fn read(found: &Found, key: i64) -> Option<Timestamp> {
    // SAFETY: the relation is open up to table_close; an ERROR between closes it, too. Its lock stays until
    // the transaction ends, as that of a statement does. The row is read before the scan lets go of it.
    unsafe {
        let relation = raw::table_open(found.table, pg_sys::AccessShareLock.cast_signed());
        let index = raw::RelationGetPrimaryKeyIndex(relation);
        let mut scan_key: pg_sys::ScanKeyData = core::mem::zeroed();
        raw::ScanKeyInit(
            &raw mut scan_key,
            found.key,
            u16::try_from(pg_sys::BTEqualStrategyNumber).unwrap_or(3),
            pg_sys::Oid::from(pg_sys::F_INT8EQ),
            pg_sys::Datum::from(key),
        );
        let scan = raw::systable_beginscan(
            relation,
            index,
            index != pg_sys::InvalidOid,
            raw::GetActiveSnapshot(),
            1,
            &raw mut scan_key,
        );
        let row = raw::systable_getnext(scan);
        let mut is_null = true;
        let value = if row.is_null() {
            pg_sys::Datum::null()
        } else {
            pg_sys::heap_getattr(row, found.column.into(), (*relation).rd_att, &mut is_null)
        };
        raw::systable_endscan(scan);
        raw::table_close(relation, pg_sys::NoLock.cast_signed());
        (!is_null).then(|| from_pg(value.value().cast_signed() as i64))
    }
}

/// Has this session told of changes, once: of tables and rights to them, of roles and who is in them.
fn listen() {
    if LISTENS.replace(true) {
        return;
    }
    let roles = [
        pg_sys::SysCacheIdentifier::AUTHOID,
        pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
        pg_sys::SysCacheIdentifier::NAMESPACEOID,
    ];
    // SAFETY: the functions live as long as the session; nothing is passed to them.
    unsafe {
        for cache in roles {
            let none = pg_sys::Datum::null();
            pg_sys::CacheRegisterSyscacheCallback(cache.cast_signed(), Some(changed), none);
        }
        pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::null());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn changed(_arg: pg_sys::Datum, _cache: c_int, _hash: u32) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
}

#[pg_guard]
unsafe extern "C-unwind" fn table_changed(_arg: pg_sys::Datum, _table: pg_sys::Oid) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
}
