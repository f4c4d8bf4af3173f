//! Executing a job's text with the semantics of the simple query protocol.
//!
//! The sequence is `exec_simple_query` of `tcop/postgres.c`, without a client: parse the whole
//! text, then analyze, plan and run statement by statement in portals, several statements in one
//! implicit transaction block. Just before the commit that ends the text, a hook can write the
//! run's row into the same transaction.
//!
//! All of it runs inside one [`trap::catch`], so no frame here owns anything with a destructor.

use core::ffi::{CStr, c_char, c_int};

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, CommandDest, CommandTag, NodeTag};

use super::kind::{self, Kind};
use crate::pg::{raw, trap};

/// `LOGSTMT_NONE` in `tcop/tcopprot.h`.
const LOG_NO_STATEMENTS: c_int = 0;

/// What is known about an execution, kept up to date while it runs so that it is right also after
/// an ERROR.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Between StartTransactionCommand and its commit, as in `tcop/postgres.c`.
    pub(crate) in_transaction_command: bool,
    /// Statements completed.
    pub(crate) statements: u32,
    /// What the last statement was.
    pub(crate) tag: CommandTag::Type,
    /// Rows it returned or changed.
    pub(crate) rows: u64,
    /// Rows all of them together returned or changed.
    pub(crate) all_rows: u64,
    /// Whether it returned rows (also none), as a client would see it.
    pub(crate) returned_rows: bool,
}

impl Progress {
    pub(crate) const fn new() -> Self {
        Self {
            in_transaction_command: false,
            statements: 0,
            tag: CommandTag::CMDTAG_UNKNOWN,
            rows: 0,
            all_rows: 0,
            returned_rows: false,
        }
    }
}

/// What wants to take part in an execution. Methods run inside [`trap::catch`].
pub(crate) trait Observer {
    /// Whether there is work to do before the first statement in a transaction of its own.
    fn works_apart(&self, kind: Kind) -> bool;
    /// The text is parsed and nothing has run. A transaction is open, that of the first statement,
    /// unless `works_apart`. False: nothing is to run.
    ///
    /// # Safety
    /// Inside [`trap::catch`].
    unsafe fn parsed(&mut self, kind: Kind) -> bool;
    /// The last statement is done and its transaction is about to be committed, unless a block is
    /// still open.
    ///
    /// # Safety
    /// Inside [`trap::catch`], in a transaction.
    unsafe fn before_commit(&mut self, progress: &Progress);
    /// The last statement has ended a transaction block, which is about to be committed or rolled
    /// back.
    fn before_end_of_block(&mut self);
    /// Whether somebody wants the execution to end, and the words of the error it then ends with.
    /// Asked before each statement, and before the commit that ends the text: what caught the
    /// cancel and went on comes this far and no further.
    fn unwanted(&self) -> Option<&'static CStr>;
}

/// Executes `sql`. An ERROR leaves by `longjmp`.
///
/// # Safety
/// Inside [`trap::catch`]; `sql` outlives the call; `MessageContext` is reset and current.
pub(crate) unsafe fn execute<O: Observer>(sql: &CStr, progress: &mut Progress, observer: &mut O) {
    let text = sql.as_ptr();
    // SAFETY: the sequence of exec_simple_query; every callee may raise an ERROR, which is what
    // the caller's catch is for.
    unsafe {
        pg_sys::debug_query_string = text;
        raw::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text);
        start(progress);
        let old = switch_to(pg_sys::MessageContext);
        let list = raw::pg_parse_query(text);
        switch_to(old);
        let kind = kind::of_list(list);
        refuse_copy(kind);
        if observer.works_apart(kind) {
            finish(progress);
        }
        if !observer.parsed(kind) {
            finish(progress);
            pg_sys::debug_query_string = core::ptr::null();
            return;
        }
        let logged = log_statement(list, text);
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..count {
            let cell = (*list).elements.add(usize::try_from(i).unwrap_or(0));
            let statement = (*cell).ptr_value.cast::<pg_sys::RawStmt>();
            run_statement(text, statement, count > 1, i + 1 == count, progress, observer);
        }
        finish(progress);
        log_duration(text, logged);
        pg_sys::debug_query_string = core::ptr::null();
    }
}

/// One statement of the text.
///
/// # Safety
/// As [`execute`].
unsafe fn run_statement<O: Observer>(
    text: *const c_char,
    statement: *mut pg_sys::RawStmt,
    implicit_block: bool,
    last: bool,
    progress: &mut Progress,
    observer: &mut O,
) {
    // SAFETY: as above.
    unsafe {
        raw::pgstat_report_query_id(0, true);
        #[cfg(feature = "pg18")]
        raw::pgstat_report_plan_id(0, true);
        let tag = raw::CreateCommandTag((*statement).stmt);
        show_activity(raw::GetCommandTagName(tag));
        if raw::IsAbortedTransactionBlockState() && !ends_block((*statement).stmt) {
            trap::raise(
                PgSqlErrorCode::ERRCODE_IN_FAILED_SQL_TRANSACTION,
                c"current transaction is aborted, commands ignored until end of transaction block",
                None,
            );
        }
        start(progress);
        if implicit_block {
            raw::BeginImplicitTransactionBlock();
        }
        check_interrupts();
        refuse_unwanted(observer);
        let mut own_context: pg_sys::MemoryContext = core::ptr::null_mut();
        if !last {
            own_context = raw::AllocSetContextCreateInternal(
                pg_sys::MessageContext,
                c"per-parsetree message context".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            );
        }
        let old = switch_to(if last { pg_sys::MessageContext } else { own_context });
        let plans = plan(text, statement);
        check_interrupts();
        run_portal(text, tag, plans, old, true, progress);
        if last {
            if implicit_block {
                raw::EndImplicitTransactionBlock();
            }
            // The command has done its work in time; waiting for the ledger is not its fault.
            stop_statement_timeout();
            if progress.in_transaction_command && !raw::IsTransactionBlock() {
                refuse_unwanted(observer);
                observer.before_commit(progress);
            } else if (*(*statement).stmt).type_ == NodeTag::T_TransactionStmt {
                observer.before_end_of_block();
            }
            finish(progress);
        } else if (*(*statement).stmt).type_ == NodeTag::T_TransactionStmt {
            finish(progress);
        } else {
            raw::CommandCounterIncrement();
            stop_statement_timeout();
        }
        if !own_context.is_null() {
            raw::MemoryContextDelete(own_context);
        }
    }
}

/// Raises the ERROR with which an execution ends that somebody does not want any more.
///
/// # Safety
/// As [`execute`].
unsafe fn refuse_unwanted<O: Observer>(observer: &O) {
    if let Some(words) = observer.unwanted() {
        // SAFETY: as above.
        unsafe { trap::raise(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, words, None) };
    }
}

/// Analyzes, rewrites and plans a statement under a snapshot of its own.
///
/// # Safety
/// As [`execute`].
pub(super) unsafe fn plan(
    text: *const c_char,
    statement: *mut pg_sys::RawStmt,
) -> *mut pg_sys::List {
    // SAFETY: as above.
    unsafe {
        let snapshot = raw::analyze_requires_snapshot(statement);
        if snapshot {
            raw::PushActiveSnapshot(raw::GetTransactionSnapshot());
        }
        let none = core::ptr::null_mut();
        let queries =
            raw::pg_analyze_and_rewrite_fixedparams(statement, text, core::ptr::null(), 0, none);
        let options = pg_sys::CURSOR_OPT_PARALLEL_OK.cast_signed();
        let plans = raw::pg_plan_queries(queries, text, options, core::ptr::null_mut());
        if snapshot {
            raw::PopActiveSnapshot();
        }
        plans
    }
}

/// Runs a planned statement to its end, discarding its rows.
///
/// # Safety
/// As [`execute`].
pub(super) unsafe fn run_portal(
    text: *const c_char,
    tag: CommandTag::Type,
    plans: *mut pg_sys::List,
    old: pg_sys::MemoryContext,
    top_level: bool,
    progress: &mut Progress,
) {
    // SAFETY: as above.
    unsafe {
        let portal = raw::CreatePortal(c"".as_ptr(), true, true);
        (*portal).visible = false;
        let none = core::ptr::null_mut();
        raw::PortalDefineQuery(portal, core::ptr::null(), text, tag, plans, none);
        raw::PortalStart(portal, core::ptr::null_mut(), 0, core::ptr::null_mut());
        let mut text_format = 0_i16;
        raw::PortalSetResultFormat(portal, 1, &raw mut text_format);
        let receiver = raw::CreateDestReceiver(CommandDest::DestNone);
        switch_to(old);
        let mut completion =
            pg_sys::QueryCompletion { commandTag: CommandTag::CMDTAG_UNKNOWN, nprocessed: 0 };
        raw::PortalRun(portal, i64::MAX, top_level, true, receiver, receiver, &raw mut completion);
        progress.returned_rows = !(*portal).tupDesc.is_null();
        if let Some(destroy) = (*receiver).rDestroy {
            destroy(receiver);
        }
        raw::PortalDrop(portal, false);
        progress.tag = completion.commandTag;
        progress.rows = completion.nprocessed;
        progress.all_rows = progress.all_rows.saturating_add(completion.nprocessed);
        progress.statements += 1;
    }
}

/// `start_xact_command`.
///
/// # Safety
/// As [`execute`].
pub(super) unsafe fn start(progress: &mut Progress) {
    // SAFETY: as above.
    unsafe {
        if !progress.in_transaction_command {
            raw::StartTransactionCommand();
            progress.in_transaction_command = true;
        }
        if pg_sys::StatementTimeout > 0 {
            if !raw::get_timeout_active(raw::STATEMENT_TIMEOUT) {
                raw::enable_timeout_after(raw::STATEMENT_TIMEOUT, pg_sys::StatementTimeout);
            }
        } else {
            stop_statement_timeout();
        }
    }
}

/// `finish_xact_command`.
///
/// # Safety
/// As [`execute`].
unsafe fn finish(progress: &mut Progress) {
    // SAFETY: as above.
    unsafe {
        stop_statement_timeout();
        if progress.in_transaction_command {
            raw::CommitTransactionCommand();
            progress.in_transaction_command = false;
        }
    }
}

/// # Safety
/// As [`execute`].
pub(super) unsafe fn stop_statement_timeout() {
    // SAFETY: as above.
    unsafe {
        if raw::get_timeout_active(raw::STATEMENT_TIMEOUT) {
            raw::disable_timeout(raw::STATEMENT_TIMEOUT, false);
        }
    }
}

/// `CHECK_FOR_INTERRUPTS`.
///
/// # Safety
/// As [`execute`].
pub(crate) unsafe fn check_interrupts() {
    // SAFETY: as above.
    unsafe {
        if pg_sys::InterruptPending != 0 {
            raw::ProcessInterrupts();
        }
    }
}

/// # Safety
/// `context` is a valid memory context.
pub(crate) unsafe fn switch_to(context: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: this process's own variable.
    unsafe {
        let old = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        old
    }
}

/// COPY with a client would write into the server log, or read from nowhere.
///
/// # Safety
/// As [`execute`].
pub(super) unsafe fn refuse_copy(kind: Kind) {
    if kind.copies_to_client {
        // SAFETY: as above.
        unsafe {
            trap::raise(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                c"cannot run COPY with STDIN or STDOUT in a job",
                Some(c"Name a file or a program, or write the rows into a table with INSERT."),
            );
        }
    }
}

/// Whether a statement may run in an aborted transaction block (`IsTransactionExitStmt`).
///
/// # Safety
/// `node` is a valid node.
unsafe fn ends_block(node: *const pg_sys::Node) -> bool {
    // SAFETY: promised by the caller; the tag says what it is.
    unsafe {
        (*node).type_ == NodeTag::T_TransactionStmt
            && matches!(
                (*node.cast::<pg_sys::TransactionStmt>()).kind,
                pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT
                    | pg_sys::TransactionStmtKind::TRANS_STMT_PREPARE
                    | pg_sys::TransactionStmtKind::TRANS_STMT_ROLLBACK
                    | pg_sys::TransactionStmtKind::TRANS_STMT_ROLLBACK_TO
            )
    }
}

/// Shows `activity` in the process title.
///
/// # Safety
/// A C string.
unsafe fn show_activity(activity: *const c_char) {
    #[cfg(feature = "pg15")]
    // SAFETY: promised by the caller.
    unsafe {
        raw::set_ps_display(activity);
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: promised by the caller.
    unsafe {
        raw::set_ps_display_with_len(activity, CStr::from_ptr(activity).count_bytes());
    }
}

/// `check_log_statement`, and the line it asks for.
///
/// # Safety
/// As [`execute`].
unsafe fn log_statement(list: *const pg_sys::List, text: *const c_char) -> bool {
    // SAFETY: as above.
    unsafe {
        if raw::log_statement == LOG_NO_STATEMENTS || list.is_null() {
            return false;
        }
        for i in 0..(*list).length {
            let cell = (*list).elements.add(usize::try_from(i).unwrap_or(0));
            if raw::GetCommandLogLevel((*cell).ptr_value.cast()) <= raw::log_statement {
                log_line(c"statement: %s", text);
                return true;
            }
        }
        false
    }
}

/// The lines `log_duration` and `log_min_duration_statement` ask for.
///
/// # Safety
/// As [`execute`].
unsafe fn log_duration(text: *const c_char, logged: bool) {
    let mut msec = [0 as c_char; 32];
    // SAFETY: as above; Postgres writes at most 32 bytes.
    unsafe {
        match raw::check_log_duration(msec.as_mut_ptr(), logged) {
            1 => log_line(c"duration: %s ms", msec.as_ptr()),
            2 if raw::errstart(pg_sys::LOG.cast_signed(), core::ptr::null()) => {
                let format = c"duration: %s ms  statement: %s";
                raw::errmsg_internal(format.as_ptr(), msec.as_ptr(), text);
                raw::errhidestmt(true);
                raw::errfinish(c"command.rs".as_ptr(), 0, c"log_duration".as_ptr());
            }
            _ => {}
        }
    }
}

/// One line in the server log, without the statement behind it.
///
/// # Safety
/// As [`execute`]; `format` takes one C string.
pub(crate) unsafe fn log_line(format: &CStr, value: *const c_char) {
    // SAFETY: the sequence of the macro ereport.
    unsafe {
        if raw::errstart(pg_sys::LOG.cast_signed(), core::ptr::null()) {
            raw::errmsg_internal(format.as_ptr(), value);
            raw::errhidestmt(true);
            raw::errfinish(c"command.rs".as_ptr(), 0, c"log_line".as_ptr());
        }
    }
}
