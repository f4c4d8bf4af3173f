//! Reading `pg_database` in a process that is connected to no database.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// A database of this server.
#[derive(Debug)]
pub(crate) struct DatabaseRow {
    pub(crate) oid: u32,
    pub(crate) name: CString,
    /// Whether it takes connections.
    pub(crate) connectable: bool,
}

/// All databases. In a transaction.
pub(crate) fn databases() -> Vec<DatabaseRow> {
    let mut found = Vec::new();
    // SAFETY: the sequence of autovacuum's launcher (get_database_list): a scan of a shared
    // catalog with a catalog snapshot, whose rows are copied before the next is read.
    unsafe {
        let lock = pg_sys::AccessShareLock.cast_signed();
        let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let none = core::ptr::null_mut();
        let scan = pg_sys::systable_beginscan(
            rel,
            pg_sys::InvalidOid,
            false,
            none,
            0,
            core::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let header = (*tuple).t_data;
            let form = header
                .cast::<u8>()
                .add(usize::from((*header).t_hoff))
                .cast::<pg_sys::FormData_pg_database>();
            found.push(DatabaseRow {
                oid: (*form).oid.to_u32(),
                name: CStr::from_ptr((*form).datname.data.as_ptr()).to_owned(),
                connectable: (*form).datallowconn,
            });
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(rel, lock);
    }
    found
}
