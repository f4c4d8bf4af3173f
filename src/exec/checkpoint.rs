//! Forgetting the checkpoint of an occurrence that succeeds, in the transaction that says so.

use core::ffi::CStr;

use pg_tock_core::wire::RunOrder;
use pgrx::pg_sys::{self, Datum};

use crate::pg::lock::ROW_EXCLUSIVE;
use crate::pg::raw;
use crate::pg::time::to_pg;

const FORGET: &CStr = c"DELETE FROM cron.run_checkpoint \
     WHERE jobid OPERATOR(pg_catalog.=) $1 AND scheduled_for OPERATOR(pg_catalog.=) $2";

/// Deletes the checkpoint of the run's occurrence, as the table's owner, whatever the job has set.
/// `ledger` says which `cron` is meant.
///
/// # Safety
/// Inside [`trap::catch`](crate::pg::trap::catch), in a transaction.
pub(super) unsafe fn forget(ledger: pg_sys::Oid, order: &RunOrder<'_>) {
    // SAFETY: promised by the caller; the sequence of every function that runs SQL as another role
    // (ri_PerformCheck). An ERROR aborts the transaction, which restores user and settings.
    unsafe {
        let schema = raw::get_rel_namespace(ledger);
        let table = raw::get_relname_relid(c"run_checkpoint".as_ptr(), schema);
        if table == pg_sys::InvalidOid {
            return; // an older version of the extension's objects
        }
        let rel = raw::table_open(table, ROW_EXCLUSIVE);
        let owner = (*(*rel).rd_rel).relowner;
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        raw::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let level = raw::NewGUCNestLevel();
        raw::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE.cast_signed();
        raw::SetUserIdAndSecContext(owner, context | flags);
        let read_only = pg_sys::XactReadOnly;
        pg_sys::XactReadOnly = false;
        raw::PushActiveSnapshot(raw::GetTransactionSnapshot());
        raw::SPI_connect();
        let mut types = [pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID];
        let mut values = [Datum::from(order.job.0), Datum::from(to_pg(order.scheduled_for))];
        raw::SPI_execute_with_args(
            FORGET.as_ptr(),
            2,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            core::ptr::null(),
            false,
            0,
        );
        raw::SPI_finish();
        raw::PopActiveSnapshot();
        pg_sys::XactReadOnly = read_only;
        raw::SetUserIdAndSecContext(user, context);
        raw::AtEOXact_GUC(false, level);
        raw::table_close(rel, pg_sys::NoLock.cast_signed());
    }
}
