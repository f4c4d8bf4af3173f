//! Writing a run's row straight into `cron.job_run_details`.
//!
//! By table access method and index insertion, without planner, executor and SPI: it is several
//! times faster, needs no rights of the job's role, and nothing the job has set (search_path, read
//! only, row security) reaches it. Columns are found by name each time, so the library works with
//! any version of the table. The sequence is that of `ExecSimpleRelationInsert` and
//! `ExecSimpleRelationUpdate` (`executor/execReplication.c`).
//!
//! All of it runs inside [`trap::catch`](crate::pg::trap::catch).

use core::ffi::{CStr, c_int};

use pg_tock_core::time::Timestamp;
use pg_tock_core::usage::Usage;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum};

use crate::catalog::run::{PARAMETERS, WRITE};
use crate::pg::lock::ROW_EXCLUSIVE;
use crate::pg::{raw, trap};

use super::value::{Value, value};

/// One row of the ledger, borrowed; texts are in the database's encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) jobid: i64,
    pub(crate) runid: i64,
    pub(crate) job_pid: i32,
    pub(crate) database: &'a CStr,
    pub(crate) username: &'a CStr,
    pub(crate) command: &'a CStr,
    pub(crate) status: &'a str,
    pub(crate) return_message: Option<&'a [u8]>,
    pub(crate) start_time: Timestamp,
    pub(crate) end_time: Option<Timestamp>,
    pub(crate) jobname: Option<&'a CStr>,
    pub(crate) scheduled_for: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) trigger: &'a str,
    pub(crate) outcome: Option<&'a str>,
    pub(crate) reason: Option<&'a [u8]>,
    pub(crate) guarantee: &'a str,
    pub(crate) sqlstate: Option<[u8; 5]>,
    pub(crate) error: Option<&'a CStr>,
    pub(crate) row_count: Option<i64>,
    pub(crate) requested_by: Option<&'a CStr>,
    pub(crate) usage: Option<Usage>,
}

/// Whether the run has a row already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// It has none.
    Insert,
    /// It has a `running` row, which becomes this one.
    Finish,
}

/// Writes the row into the current transaction.
///
/// # Safety
/// Inside [`trap::catch`], in a transaction; the texts outlive the call.
pub(crate) unsafe fn write(ledger: pg_sys::Oid, row: &Row<'_>, how: Write) {
    // SAFETY: the sequence named in the module's documentation.
    unsafe {
        let lock_timeout = pg_sys::LockTimeout;
        pg_sys::LockTimeout = 0;
        let rel = open(ledger);
        pg_sys::LockTimeout = lock_timeout;
        if needs_executor(rel) {
            through_executor(rel, row);
            raw::table_close(rel, pg_sys::NoLock.cast_signed());
            return;
        }
        let estate = raw::CreateExecutorState();
        let old = super::command::switch_to((*estate).es_query_cxt);
        let info = raw::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        raw::InitResultRelInfo(info, rel, 0, core::ptr::null_mut(), 0);
        raw::ExecOpenIndices(info, false);
        let desc = (*rel).rd_att;
        let slot = raw::MakeSingleTupleTableSlot(desc, raw::table_slot_callbacks(rel));
        raw::PushActiveSnapshot(raw::GetTransactionSnapshot());
        let replaced = how == Write::Finish && finish(rel, info, estate, slot, row);
        if !replaced {
            let natts = usize::try_from((*desc).natts).unwrap_or(0);
            core::ptr::write_bytes((*slot).tts_isnull.cast::<u8>(), 1, natts);
            fill(desc, slot, row);
            raw::ExecStoreVirtualTuple(slot);
            raw::simple_table_tuple_insert(rel, slot);
            insert_index_entries(info, slot, estate, false);
        }
        raw::PopActiveSnapshot();
        raw::ExecDropSingleTupleTableSlot(slot);
        raw::ExecCloseIndices(info);
        super::command::switch_to(old);
        raw::FreeExecutorState(estate);
        raw::table_close(rel, pg_sys::NoLock.cast_signed());
    }
}

/// Opens the ledger. It is known by its oid: the table of an extension that was dropped and
/// created again is another one.
///
/// # Safety
/// As [`write`].
unsafe fn open(ledger: pg_sys::Oid) -> pg_sys::Relation {
    // SAFETY: as above.
    unsafe {
        if raw::get_rel_name(ledger).is_null() {
            trap::raise(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                c"cron.job_run_details has been dropped while the job was running",
                None,
            );
        }
        raw::table_open(ledger, ROW_EXCLUSIVE)
    }
}

/// Whether somebody has made the ledger into more than a plain table: triggers of his own on what
/// we write, generated columns, partitions.
///
/// # Safety
/// `rel` is open.
unsafe fn needs_executor(rel: pg_sys::Relation) -> bool {
    // SAFETY: promised by the caller; both descriptions are null or valid.
    unsafe {
        if (*(*rel).rd_rel).relkind != pg_sys::RELKIND_RELATION.cast_signed() {
            return true;
        }
        let constraints = (*(*rel).rd_att).constr;
        if !constraints.is_null() && (*constraints).has_generated_stored {
            return true;
        }
        let triggers = (*rel).trigdesc;
        if triggers.is_null() {
            return false;
        }
        let count = usize::try_from((*triggers).numtriggers).unwrap_or(0);
        for i in 0..count {
            let trigger = (*triggers).triggers.add(i);
            let kind = (*trigger).tgtype.cast_unsigned();
            let writes = pg_sys::TRIGGER_TYPE_INSERT | pg_sys::TRIGGER_TYPE_UPDATE;
            let ours = CStr::from_ptr((*trigger).tgname) == c"cron_ledger_changed";
            if u32::from(kind) & writes != 0 && !ours {
                return true;
            }
        }
        false
    }
}

/// Writes the row as an ordinary statement, as the table's owner, whatever the job has set.
///
/// # Safety
/// As [`write`].
unsafe fn through_executor(rel: pg_sys::Relation, row: &Row<'_>) {
    // SAFETY: as above; the sequence of every function that runs SQL as another role (for
    // example ri_PerformCheck). An ERROR aborts the transaction, which restores user and settings.
    unsafe {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        raw::GetUserIdAndSecContext(&raw mut user, &raw mut context);
        let level = raw::NewGUCNestLevel();
        for (name, value) in [(c"search_path", c"pg_catalog, pg_temp"), (c"row_security", c"off")] {
            raw::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE.cast_signed();
        raw::SetUserIdAndSecContext((*(*rel).rd_rel).relowner, context | flags);
        let read_only = pg_sys::XactReadOnly;
        pg_sys::XactReadOnly = false;
        raw::PushActiveSnapshot(raw::GetTransactionSnapshot());
        raw::SPI_connect();
        let mut values = [Datum::from(0); PARAMETERS.len()];
        let mut nulls = [b' '.cast_signed(); PARAMETERS.len()];
        let mut types = [pg_sys::InvalidOid; PARAMETERS.len()];
        for (i, (name, kind)) in PARAMETERS.into_iter().enumerate() {
            // SAFETY of the places: all three arrays are as long as PARAMETERS.
            *types.as_mut_ptr().add(i) = pg_sys::Oid::from(kind as u32);
            match value(name, row) {
                Value::Is(datum) => *values.as_mut_ptr().add(i) = datum,
                Value::Null | Value::NotOurs => *nulls.as_mut_ptr().add(i) = b'n'.cast_signed(),
            }
        }
        raw::SPI_execute_with_args(
            WRITE.as_ptr(),
            c_int::try_from(PARAMETERS.len()).unwrap_or(0),
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            false,
            0,
        );
        let written = pg_sys::SPI_processed;
        raw::SPI_finish();
        raw::PopActiveSnapshot();
        pg_sys::XactReadOnly = read_only;
        raw::SetUserIdAndSecContext(user, context);
        raw::AtEOXact_GUC(false, level);
        if written != 1 {
            given_up();
        }
    }
}

/// The run has a row with an end already, which is not to be changed.
///
/// # Safety
/// As [`write`].
unsafe fn given_up() {
    // SAFETY: as above.
    unsafe {
        trap::raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            c"the scheduler has given this run up",
            None,
        );
    }
}

/// Turns the run's `running` row into this one. False if somebody has deleted it.
///
/// # Safety
/// As [`write`].
unsafe fn finish(
    rel: pg_sys::Relation,
    info: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
    slot: *mut pg_sys::TupleTableSlot,
    row: &Row<'_>,
) -> bool {
    // SAFETY: as above. The row is found by its key with a snapshot of now: that of the job's own
    // transaction may be older than the row, and a TID does not survive VACUUM FULL.
    unsafe {
        let desc = (*rel).rd_att;
        let snapshot = raw::RegisterSnapshot(raw::GetLatestSnapshot());
        let mut key: pg_sys::ScanKeyData = core::mem::zeroed();
        let (runid, end_time) = (column(desc, c"runid"), column(desc, c"end_time"));
        raw::ScanKeyInit(
            &raw mut key,
            runid,
            u16::try_from(pg_sys::BTEqualStrategyNumber).unwrap_or(3),
            pg_sys::Oid::from(pg_sys::F_INT8EQ),
            Datum::from(row.runid),
        );
        let index = raw::RelationGetPrimaryKeyIndex(rel);
        let scan = raw::systable_beginscan(
            rel,
            index,
            index != pg_sys::InvalidOid,
            snapshot,
            1,
            &raw mut key,
        );
        let tuple = raw::systable_getnext(scan);
        let found = !tuple.is_null();
        if found {
            let mut tid = (*tuple).t_self;
            raw::heap_deform_tuple(tuple, desc, (*slot).tts_values, (*slot).tts_isnull);
            let ended = end_time > 0
                && !*(*slot).tts_isnull.add(usize::try_from(end_time - 1).unwrap_or(0));
            if ended {
                given_up();
            }
            fill(desc, slot, row);
            raw::ExecStoreVirtualTuple(slot);
            update(rel, &raw mut tid, slot, snapshot, info, estate);
        }
        raw::systable_endscan(scan);
        raw::UnregisterSnapshot(snapshot);
        found
    }
}

/// # Safety
/// As [`write`].
unsafe fn update(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
    info: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
) {
    #[cfg(feature = "pg15")]
    // SAFETY: as above.
    unsafe {
        let mut indexes = false;
        raw::simple_table_tuple_update(rel, tid, slot, snapshot, &raw mut indexes);
        if indexes {
            insert_index_entries(info, slot, estate, false);
        }
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: as above; TU_None is 0, TU_Summarizing 2 (access/tableam.h).
    unsafe {
        let mut indexes: c_int = 0;
        raw::simple_table_tuple_update(rel, tid, slot, snapshot, &raw mut indexes);
        if indexes != 0 {
            insert_index_entries(info, slot, estate, indexes == 2);
        }
    }
}

/// # Safety
/// As [`write`]; the row is in the slot with its TID.
unsafe fn insert_index_entries(
    info: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    only_summarizing: bool,
) {
    let none = core::ptr::null_mut();
    // SAFETY: as above.
    unsafe {
        if (*info).ri_NumIndices == 0 {
            return;
        }
        let no = core::ptr::null_mut();
        #[cfg(feature = "pg15")]
        {
            let _ = only_summarizing;
            raw::ExecInsertIndexTuples(info, slot, estate, false, false, no, none);
        }
        #[cfg(not(feature = "pg15"))]
        raw::ExecInsertIndexTuples(info, slot, estate, false, false, no, none, only_summarizing);
    }
}

/// The number of a column, 0 if the table has none of that name.
///
/// # Safety
/// `desc` is a valid tuple descriptor.
unsafe fn column(desc: pg_sys::TupleDesc, name: &CStr) -> i16 {
    // SAFETY: promised by the caller.
    unsafe {
        for i in 0..(*desc).natts {
            let attribute = attribute(desc, i);
            let found = CStr::from_ptr((*attribute).attname.data.as_ptr()) == name;
            if found && !(*attribute).attisdropped {
                return (*attribute).attnum;
            }
        }
    }
    0
}

/// # Safety
/// `i` is below the number of attributes.
unsafe fn attribute(desc: pg_sys::TupleDesc, i: c_int) -> pg_sys::Form_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: promised by the caller.
    unsafe {
        (*desc).attrs.as_mut_ptr().add(usize::try_from(i).unwrap_or(0))
    }
    #[cfg(feature = "pg18")]
    // SAFETY: promised by the caller.
    unsafe {
        pg_sys::TupleDescAttr(desc, i)
    }
}

/// Puts the row's values into the slot's columns; columns that are not ours stay as they are.
///
/// # Safety
/// As [`write`].
unsafe fn fill(desc: pg_sys::TupleDesc, slot: *mut pg_sys::TupleTableSlot, row: &Row<'_>) {
    // SAFETY: the slot has room for every attribute of the descriptor.
    unsafe {
        for i in 0..(*desc).natts {
            let attribute = attribute(desc, i);
            if (*attribute).attisdropped {
                continue;
            }
            let name = CStr::from_ptr((*attribute).attname.data.as_ptr());
            let at = usize::try_from(i).unwrap_or(0);
            match value(name.to_bytes(), row) {
                Value::Is(datum) => {
                    *(*slot).tts_values.add(at) = datum;
                    *(*slot).tts_isnull.add(at) = false;
                }
                Value::Null => *(*slot).tts_isnull.add(at) = true,
                Value::NotOurs => {}
            }
        }
    }
}
