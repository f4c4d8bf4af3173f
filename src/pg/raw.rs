//! Postgres functions declared without pgrx's guard.
//!
//! pgrx wraps every `pg_sys` function so that an ERROR becomes a Rust unwind. The execution of a
//! job's text instead runs as plain C would: one `sigsetjmp` around the whole of it
//! ([`super::trap`]), plain frames without destructors inside. A guarded call in there would cost
//! a `sigsetjmp` each and lose the error's context, so these are the same functions, unguarded.
//!
//! Rule for callers: only from frames inside [`super::trap::catch`], or in functions that Postgres
//! calls as it calls C, that own nothing with a destructor.
#![allow(non_snake_case, non_upper_case_globals, clashing_extern_declarations)]

use core::ffi::{c_char, c_int, c_long, c_void};
use pgrx::pg_sys::{
    BackendState, CachedPlan, CommandDest, CommandTag, Datum, DestReceiver, EState, ErrorData,
    HeapTuple, List, MemoryContext, Node, Oid, ParamListInfo, Portal, QueryCompletion,
    QueryEnvironment, RawParseMode, RawStmt, Relation, ResultRelInfo, Size, Snapshot, SysScanDesc,
    TransactionId, TupleDesc, TupleTableSlot, TupleTableSlotOps,
};

unsafe extern "C-unwind" {
    // tcop/postgres.c, tcop/pquery.c, tcop/utility.c, tcop/dest.c
    pub(crate) fn pg_parse_query(query: *const c_char) -> *mut List;
    pub(crate) fn AfterTriggerFireDeferred();
    pub(crate) fn raw_parser(query: *const c_char, mode: RawParseMode::Type) -> *mut List;
    pub(crate) fn pg_analyze_and_rewrite_fixedparams(
        parsetree: *mut RawStmt,
        query: *const c_char,
        types: *const Oid,
        count: c_int,
        env: *mut QueryEnvironment,
    ) -> *mut List;
    pub(crate) fn pg_plan_queries(
        queries: *mut List,
        query: *const c_char,
        options: c_int,
        params: ParamListInfo,
    ) -> *mut List;
    pub(crate) fn CreateCommandTag(parsetree: *mut Node) -> CommandTag::Type;
    pub(crate) fn GetCommandTagName(tag: CommandTag::Type) -> *const c_char;
    pub(crate) fn GetCommandLogLevel(parsetree: *mut Node) -> c_int;
    pub(crate) fn command_tag_display_rowcount(tag: CommandTag::Type) -> bool;
    pub(crate) fn CreatePortal(name: *const c_char, allow_dup: bool, silent: bool) -> Portal;
    pub(crate) fn PortalDefineQuery(
        portal: Portal,
        name: *const c_char,
        source: *const c_char,
        tag: CommandTag::Type,
        statements: *mut List,
        plan: *mut CachedPlan,
    );
    pub(crate) fn PortalStart(portal: Portal, params: ParamListInfo, eflags: c_int, s: Snapshot);
    pub(crate) fn PortalSetResultFormat(portal: Portal, count: c_int, formats: *mut i16);
    pub(crate) fn PortalDrop(portal: Portal, is_top_commit: bool);
    pub(crate) fn PortalErrorCleanup();
    pub(crate) fn CreateDestReceiver(dest: CommandDest::Type) -> *mut DestReceiver;
    pub(crate) fn ProcessInterrupts();
    pub(crate) fn DiscardCommand(stmt: *mut pgrx::pg_sys::DiscardStmt, is_top_level: bool);
    pub(crate) fn standard_ProcessUtility(
        statement: *mut pgrx::pg_sys::PlannedStmt,
        query: *const c_char,
        read_only_tree: bool,
        context: pgrx::pg_sys::ProcessUtilityContext::Type,
        params: ParamListInfo,
        env: *mut QueryEnvironment,
        dest: *mut DestReceiver,
        completion: *mut QueryCompletion,
    );
    pub(crate) fn check_log_duration(msec: *mut c_char, was_logged: bool) -> c_int;

    // access/transam/xact.c
    pub(crate) fn StartTransactionCommand();
    pub(crate) fn CommitTransactionCommand();
    pub(crate) fn AbortCurrentTransaction();
    pub(crate) fn AbortOutOfAnyTransaction();
    pub(crate) fn BeginImplicitTransactionBlock();
    pub(crate) fn EndImplicitTransactionBlock();
    pub(crate) fn IsAbortedTransactionBlockState() -> bool;
    pub(crate) fn IsTransactionBlock() -> bool;
    pub(crate) fn IsTransactionState() -> bool;
    pub(crate) fn CommandCounterIncrement();
    pub(crate) fn GetTopTransactionIdIfAny() -> TransactionId;
    pub(crate) fn SetCurrentStatementStartTimestamp();
    pub(crate) fn GetCurrentStatementStartTimestamp() -> pgrx::pg_sys::TimestampTz;

    // storage/lmgr/lock.c
    pub(crate) fn LockAcquire(
        tag: *const pgrx::pg_sys::LOCKTAG,
        mode: c_int,
        session: bool,
        dont_wait: bool,
    ) -> pgrx::pg_sys::LockAcquireResult::Type;
    pub(crate) fn LockRelease(
        tag: *const pgrx::pg_sys::LOCKTAG,
        mode: c_int,
        session: bool,
    ) -> bool;

    // utils/time/snapmgr.c
    pub(crate) fn analyze_requires_snapshot(parsetree: *mut RawStmt) -> bool;
    pub(crate) fn GetTransactionSnapshot() -> Snapshot;
    pub(crate) fn GetLatestSnapshot() -> Snapshot;
    pub(crate) fn GetActiveSnapshot() -> Snapshot;
    pub(crate) fn RegisterSnapshot(snapshot: Snapshot) -> Snapshot;
    pub(crate) fn UnregisterSnapshot(snapshot: Snapshot);
    pub(crate) fn PushActiveSnapshot(snapshot: Snapshot);
    pub(crate) fn PopActiveSnapshot();

    // utils/activity, utils/misc
    pub(crate) fn pgstat_report_activity(state: BackendState::Type, command: *const c_char);
    pub(crate) fn pgstat_report_query_id(id: i64, force: bool);
    pub(crate) fn enable_timeout_after(id: c_int, delay_ms: c_int);
    pub(crate) fn disable_timeout(id: c_int, keep_indicator: bool);
    pub(crate) fn disable_all_timeouts(keep_indicators: bool);
    pub(crate) fn get_timeout_active(id: c_int) -> bool;

    // utils/error/elog.c
    pub(crate) fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub(crate) fn errcode(code: c_int) -> c_int;
    pub(crate) fn errmsg_internal(format: *const c_char, ...) -> c_int;
    pub(crate) fn errhint(format: *const c_char, ...) -> c_int;
    pub(crate) fn errhidestmt(hide: bool) -> c_int;
    pub(crate) fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
    pub(crate) fn CopyErrorData() -> *mut ErrorData;
    pub(crate) fn EmitErrorReport();
    pub(crate) fn FlushErrorState();
    pub(crate) fn unpack_sql_state(code: c_int) -> *const c_char;
    pub(crate) fn jit_reset_after_error();
    pub(crate) fn ReplicationSlotRelease();

    // utils/mmgr
    pub(crate) fn MemoryContextReset(context: MemoryContext);
    pub(crate) fn MemoryContextDelete(context: MemoryContext);
    pub(crate) fn AllocSetContextCreateInternal(
        parent: MemoryContext,
        name: *const c_char,
        min: Size,
        init: Size,
        max: Size,
    ) -> MemoryContext;
    pub(crate) fn palloc(size: Size) -> *mut c_void;
    pub(crate) fn palloc0(size: Size) -> *mut c_void;

    // access/table, access/heap, access/index, executor: the ledger row
    pub(crate) fn table_open(relation: Oid, lockmode: c_int) -> Relation;
    pub(crate) fn table_close(relation: Relation, lockmode: c_int);
    pub(crate) fn simple_table_tuple_insert(rel: Relation, slot: *mut TupleTableSlot);
    pub(crate) fn heap_deform_tuple(
        tuple: HeapTuple,
        desc: TupleDesc,
        values: *mut Datum,
        isnull: *mut bool,
    );
    pub(crate) fn systable_beginscan(
        heap: Relation,
        index: Oid,
        index_ok: bool,
        snapshot: Snapshot,
        nkeys: c_int,
        key: *mut pgrx::pg_sys::ScanKeyData,
    ) -> SysScanDesc;
    pub(crate) fn systable_getnext(scan: SysScanDesc) -> HeapTuple;
    pub(crate) fn systable_endscan(scan: SysScanDesc);
    pub(crate) fn ScanKeyInit(
        entry: *mut pgrx::pg_sys::ScanKeyData,
        attribute: i16,
        strategy: u16,
        procedure: Oid,
        argument: Datum,
    );
    pub(crate) fn CreateExecutorState() -> *mut EState;
    pub(crate) fn FreeExecutorState(estate: *mut EState);
    pub(crate) fn InitResultRelInfo(
        info: *mut ResultRelInfo,
        rel: Relation,
        index: u32,
        root: *mut ResultRelInfo,
        instrument: c_int,
    );
    pub(crate) fn ExecOpenIndices(info: *mut ResultRelInfo, speculative: bool);
    pub(crate) fn ExecCloseIndices(info: *mut ResultRelInfo);
    pub(crate) fn MakeSingleTupleTableSlot(
        desc: TupleDesc,
        ops: *const TupleTableSlotOps,
    ) -> *mut TupleTableSlot;
    pub(crate) fn table_slot_callbacks(rel: Relation) -> *const TupleTableSlotOps;
    pub(crate) fn ExecStoreVirtualTuple(slot: *mut TupleTableSlot) -> *mut TupleTableSlot;
    pub(crate) fn ExecDropSingleTupleTableSlot(slot: *mut TupleTableSlot);
    pub(crate) fn cstring_to_text_with_len(s: *const c_char, len: c_int) -> *mut c_void;
    pub(crate) fn JsonbValueToJsonb(value: *mut pgrx::pg_sys::JsonbValue) -> *mut c_void;
    pub(crate) fn jsonb_in(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn DirectFunctionCall1Coll(
        func: unsafe extern "C-unwind" fn(*mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum,
        collation: Oid,
        arg: Datum,
    ) -> Datum;
    pub(crate) fn DirectFunctionCall2Coll(
        func: unsafe extern "C-unwind" fn(*mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum,
        collation: Oid,
        first: Datum,
        second: Datum,
    ) -> Datum;
    pub(crate) fn float4_numeric(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn float8_numeric(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn int8_numeric(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn float8div(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn numeric_mul(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn numeric_div(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn numeric_round(fcinfo: *mut pgrx::pg_sys::FunctionCallInfoBaseData) -> Datum;
    pub(crate) fn get_rel_name(relation: Oid) -> *mut c_char;
    pub(crate) fn get_rel_namespace(relation: Oid) -> Oid;
    pub(crate) fn get_relname_relid(name: *const c_char, namespace: Oid) -> Oid;
    pub(crate) fn pg_any_to_server(s: *const c_char, len: c_int, encoding: c_int) -> *mut c_char;
    pub(crate) fn pg_server_to_any(s: *const c_char, len: c_int, encoding: c_int) -> *mut c_char;
    pub(crate) fn GetDatabaseEncoding() -> c_int;

    // executor/spi.c, utils/init/miscinit.c: the ledger row by way of the executor
    pub(crate) fn SPI_connect() -> c_int;
    pub(crate) fn SPI_finish() -> c_int;
    pub(crate) fn SPI_execute_with_args(
        sql: *const c_char,
        count: c_int,
        types: *mut Oid,
        values: *mut Datum,
        nulls: *const c_char,
        read_only: bool,
        limit: c_long,
    ) -> c_int;
    pub(crate) fn GetUserIdAndSecContext(user: *mut Oid, context: *mut c_int);
    pub(crate) fn SetUserIdAndSecContext(user: Oid, context: c_int);
    pub(crate) fn NewGUCNestLevel() -> c_int;
    pub(crate) fn AtEOXact_GUC(commit: bool, level: c_int);
    pub(crate) fn set_config_option(
        name: *const c_char,
        value: *const c_char,
        context: pgrx::pg_sys::GucContext::Type,
        source: pgrx::pg_sys::GucSource::Type,
        action: pgrx::pg_sys::GucAction::Type,
        change: bool,
        level: c_int,
        is_reload: bool,
    ) -> c_int;

    pub(crate) fn superuser() -> bool;

    // signal handlers (never through pgrx's guard: no Rust may run in signal context)
    pub(crate) fn die(signal: c_int);
    pub(crate) fn StatementCancelHandler(signal: c_int);
    pub(crate) fn SignalHandlerForConfigReload(signal: c_int);
    pub(crate) fn SignalHandlerForShutdownRequest(signal: c_int);

    pub(crate) static mut MyReplicationSlot: *mut c_void;
    pub(crate) static mut log_statement: c_int;
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe extern "C-unwind" {
    #[link_name = "ReplicationSlotCleanup"]
    fn replication_slot_cleanup();
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
unsafe extern "C-unwind" {
    #[link_name = "ReplicationSlotCleanup"]
    fn replication_slot_cleanup_17(synced_only: bool);
}

/// Drops the temporary replication slots of this session, as `PostgresMain` does after an ERROR.
///
/// # Safety
/// No replication slot is acquired; inside [`super::trap::catch`], or in its recovery.
#[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
pub(crate) unsafe fn drop_temporary_replication_slots() {
    // SAFETY: the caller's contract is the function's own.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        replication_slot_cleanup();
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        replication_slot_cleanup_17(false);
    }
}

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" {
    pub(crate) fn RelationGetPrimaryKeyIndex(rel: Relation) -> Oid;
    pub(crate) fn PortalRun(
        portal: Portal,
        count: c_long,
        is_top_level: bool,
        run_once: bool,
        dest: *mut DestReceiver,
        altdest: *mut DestReceiver,
        qc: *mut QueryCompletion,
    ) -> bool;
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" {
    pub(crate) fn pgstat_report_plan_id(id: i64, force: bool);
    #[link_name = "RelationGetPrimaryKeyIndex"]
    fn primary_key_index_18(rel: Relation, deferrable_ok: bool) -> Oid;
    #[link_name = "PortalRun"]
    fn portal_run_18(
        portal: Portal,
        count: c_long,
        is_top_level: bool,
        dest: *mut DestReceiver,
        altdest: *mut DestReceiver,
        qc: *mut QueryCompletion,
    ) -> bool;
}

/// `RelationGetPrimaryKeyIndex` as majors up to 17 declare it: without deferrable keys, of which
/// more than one row could answer.
///
/// # Safety
/// As `RelationGetPrimaryKeyIndex`; inside [`super::trap::catch`].
#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
pub(crate) unsafe fn RelationGetPrimaryKeyIndex(rel: Relation) -> Oid {
    // SAFETY: the caller's contract is the function's own.
    unsafe { primary_key_index_18(rel, false) }
}

/// `PortalRun` as majors up to 17 declare it; 18 dropped `run_once`.
///
/// # Safety
/// As `PortalRun`; inside [`super::trap::catch`].
#[cfg(feature = "pg18")]
#[allow(ffi_unwind_calls, reason = "inside catch; the frame owns nothing with a destructor")]
pub(crate) unsafe fn PortalRun(
    portal: Portal,
    count: c_long,
    is_top_level: bool,
    _run_once: bool,
    dest: *mut DestReceiver,
    altdest: *mut DestReceiver,
    qc: *mut QueryCompletion,
) -> bool {
    // SAFETY: the caller's contract is PortalRun's own.
    unsafe { portal_run_18(portal, count, is_top_level, dest, altdest, qc) }
}

#[cfg(feature = "pg15")]
unsafe extern "C-unwind" {
    pub(crate) fn set_ps_display(activity: *const c_char);
    pub(crate) fn ExecInsertIndexTuples(
        info: *mut ResultRelInfo,
        slot: *mut TupleTableSlot,
        estate: *mut EState,
        update: bool,
        no_dup_err: bool,
        spec_conflict: *mut bool,
        arbiters: *mut List,
    ) -> *mut List;
    pub(crate) fn simple_table_tuple_update(
        rel: Relation,
        otid: pgrx::pg_sys::ItemPointer,
        slot: *mut TupleTableSlot,
        snapshot: Snapshot,
        update_indexes: *mut bool,
    );
}

#[cfg(not(feature = "pg15"))]
unsafe extern "C-unwind" {
    pub(crate) fn set_ps_display_with_len(activity: *const c_char, len: Size);
    pub(crate) fn ExecInsertIndexTuples(
        info: *mut ResultRelInfo,
        slot: *mut TupleTableSlot,
        estate: *mut EState,
        update: bool,
        no_dup_err: bool,
        spec_conflict: *mut bool,
        arbiters: *mut List,
        only_summarizing: bool,
    ) -> *mut List;
    pub(crate) fn simple_table_tuple_update(
        rel: Relation,
        otid: pgrx::pg_sys::ItemPointer,
        slot: *mut TupleTableSlot,
        snapshot: Snapshot,
        update_indexes: *mut c_int,
    );
}

/// `STATEMENT_TIMEOUT` in `utils/timeout.h`; the fourth of `enum TimeoutId` in 15 to 18.
pub(crate) const STATEMENT_TIMEOUT: c_int = 3;
