//! Reading one value of a row, found by the table's primary key, without a statement: where a view asks
//! row by row, a statement for each costs more than all the rest of its row.
//!
//! Owns one invariant: nobody learns here what a statement would not tell. Where anything but a right to
//! the whole table decides that, nothing is read, and a statement has to be asked.

use core::ffi::CStr;

use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use super::time::from_pg;

/// Of which table, by which key, which column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) schema: &'static CStr,
    pub(crate) table: &'static CStr,
    /// A bigint, the primary key.
    pub(crate) key: &'static CStr,
    /// A timestamptz.
    pub(crate) column: &'static CStr,
}

/// What stands there as the active snapshot sees it, the inner None being NULL or no such row; None if a
/// statement has to be asked.
pub(crate) fn instant(place: Place, key: i64) -> Option<Option<Timestamp>> {
    // SAFETY: inside a transaction; a missing schema or table is InvalidOid.
    let table = unsafe {
        let schema = pg_sys::get_namespace_oid(place.schema.as_ptr(), true);
        pg_sys::get_relname_relid(place.table.as_ptr(), schema)
    };
    // SAFETY: reads the state of this session's transaction.
    let sees = table != pg_sys::InvalidOid && unsafe { pg_sys::ActiveSnapshotSet() };
    if !sees || !reads_all(table) {
        return None;
    }
    // SAFETY: looks up columns of a table there is; those that there are not are 0.
    let (key_column, column) = unsafe {
        (
            pg_sys::get_attnum(table, place.key.as_ptr()),
            pg_sys::get_attnum(table, place.column.as_ptr()),
        )
    };
    if key_column < 1 || column < 1 {
        return None;
    }
    // SAFETY: the relation is open from here to table_close; an ERROR between closes it, too. The lock
    // stays until the transaction ends, as that of a statement does.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock.cast_signed());
        let found = find(relation, (key_column, key), column);
        pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
        found
    }
}

/// Whether the current user may read each row of a table.
fn reads_all(table: pg_sys::Oid) -> bool {
    // SAFETY: asks the catalogs about the rights of a role that there is to a table that there is.
    unsafe {
        let right = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        let may = pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), right);
        may == pg_sys::AclResult::ACLCHECK_OK
            && pg_sys::check_enable_rls(table, pg_sys::InvalidOid, true)
                != pg_sys::CheckEnableRlsResult::RLS_ENABLED.cast_signed()
    }
}

/// # Safety
/// The relation is open, the columns are of it and of the types that [`Place`] says; there is an active
/// snapshot.
unsafe fn find(
    relation: pg_sys::Relation,
    (key_column, key): (i16, i64),
    column: i16,
) -> Option<Option<Timestamp>> {
    // SAFETY: as promised. The row is read before the scan lets go of it.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation);
        #[cfg(feature = "pg18")]
        let index = pg_sys::RelationGetPrimaryKeyIndex(relation, false);
        if index == pg_sys::InvalidOid {
            return None;
        }
        let mut scan_key: pg_sys::ScanKeyData = core::mem::zeroed();
        pg_sys::ScanKeyInit(
            &raw mut scan_key,
            key_column,
            u16::try_from(pg_sys::BTEqualStrategyNumber).unwrap_or(3),
            pg_sys::Oid::from(pg_sys::F_INT8EQ),
            pg_sys::Datum::from(key),
        );
        let snapshot = pg_sys::GetActiveSnapshot();
        let scan =
            pg_sys::systable_beginscan(relation, index, true, snapshot, 1, &raw mut scan_key);
        let row = pg_sys::systable_getnext(scan);
        let mut is_null = true;
        let value = if row.is_null() {
            pg_sys::Datum::null()
        } else {
            let shape = (*relation).rd_att;
            pg_sys::heap_getattr(row, column.into(), shape, &mut is_null)
        };
        pg_sys::systable_endscan(scan);
        Some((!is_null).then(|| from_pg(value.value().cast_signed() as i64)))
    }
}
