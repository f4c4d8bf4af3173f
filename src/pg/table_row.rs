//! Replacing a row of a table of ours without a statement.
//!
//! Owns one invariant: what is written here goes to the table and its indexes, and nowhere else:
//! no executor, no trigger and no hook of an extension sees it.

use core::ffi::CStr;

use pgrx::pg_sys;

/// A column's new value; NULL if it is None.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static CStr,
    pub(crate) value: Option<pg_sys::Datum>,
}

/// Replaces the row at `place`, which this transaction has locked, by one of these columns; the
/// others become NULL. False if there is no such table.
pub(crate) fn replace(
    schema: &CStr,
    table: &CStr,
    place: pg_sys::ItemPointerData,
    columns: &[Column],
) -> bool {
    // SAFETY: inside a transaction; a missing schema or table is InvalidOid.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::get_relname_relid(table.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid {
        return false;
    }
    let lock = pg_sys::RowExclusiveLock.cast_signed();
    // SAFETY: the relation is open from here to table_close; an ERROR between closes it, too.
    let relation = unsafe { pg_sys::table_open(oid, lock) };
    // SAFETY: as long as the relation is open.
    let shape = unsafe { (*relation).rd_att };
    // SAFETY: as long as the relation is open.
    let width = usize::try_from(unsafe { (*shape).natts }).unwrap_or(0);
    let mut values = vec![pg_sys::Datum::null(); width];
    let mut nulls = vec![true; width];
    for column in columns {
        // SAFETY: the descriptor is valid, the name a C string; unknown names are not positive.
        let number = unsafe { pg_sys::SPI_fnumber(shape, column.name.as_ptr()) };
        let at = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
        if let (Some(value), Some(to), Some(null)) =
            (column.value, values.get_mut(at), nulls.get_mut(at))
        {
            *to = value;
            *null = false;
        }
    }
    // SAFETY: both arrays have as many items as the descriptor has columns.
    let row = unsafe { pg_sys::heap_form_tuple(shape, values.as_mut_ptr(), nulls.as_mut_ptr()) };
    let mut place = place;
    // SAFETY: a row of this table, locked by this transaction; the indexes are plain.
    unsafe {
        pg_sys::CatalogTupleUpdate(relation, &raw mut place, row);
        pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
        pg_sys::CommandCounterIncrement();
    }
    true
}
