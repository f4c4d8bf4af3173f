//! The condition of a job (`run_if`), which says whether an occurrence runs.
//!
//! Owns one invariant: whatever the expression does, nothing of it is left but the answer. It is one
//! expression and nothing else, evaluated like what stands after WHERE, in a transaction of its own that
//! is read only and rolled back.

use core::ffi::{CStr, c_char};

use pg_tock_core::run::Condition;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, CommandTag, List, Node, RawParseMode, RawStmt, ResTarget, SelectStmt};

use super::command::{self, Progress};
use crate::pg::{raw, trap};
use crate::shmem::slots::{Phase, Slot};

/// The column `reason` of a run whose condition raised an error, and of what was skipped for one.
pub(crate) const CONDITION: &str = "condition";

/// What a text that is no single expression is told.
pub(crate) const ONE_EXPRESSION: &CStr = c"run_if must be one boolean expression";

/// Evaluates a condition. Until there is an answer the slot's run is in the phase `Asking`: nobody
/// writes a row for it.
///
/// # Safety
/// Inside [`trap::catch`], outside a transaction; `MessageContext` exists.
pub(super) unsafe fn evaluate(condition: &str, slot: &Slot) -> Condition {
    slot.advance(Phase::Unrecorded, Phase::Asking);
    slot.sets_to_work();
    // SAFETY: promised by the caller; nothing here has a destructor.
    let holds = unsafe {
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        let text = terminated(condition);
        pg_sys::debug_query_string = text;
        raw::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text);
        let mut progress = Progress::new();
        command::start(&mut progress);
        pg_sys::XactReadOnly = true;
        let old = command::switch_to(pg_sys::MessageContext);
        let statement = parse(text);
        if statement.is_null() {
            trap::raise(PgSqlErrorCode::ERRCODE_SYNTAX_ERROR, ONE_EXPRESSION, None);
        }
        let plans = command::plan(text, statement);
        command::run_portal(text, CommandTag::CMDTAG_SELECT, plans, old, false, &mut progress);
        command::stop_statement_timeout();
        raw::AbortOutOfAnyTransaction();
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        pg_sys::debug_query_string = core::ptr::null();
        raw::SetCurrentStatementStartTimestamp();
        progress.rows > 0
    };
    slot.advance(Phase::Asking, Phase::Unrecorded);
    if holds { Condition::Met } else { Condition::Unmet }
}

/// A copy of a text of ours in the database's encoding, as a C string in the current context.
///
/// # Safety
/// As [`evaluate`].
unsafe fn terminated(text: &str) -> *const c_char {
    // SAFETY: promised by the caller; room for the text and the NUL that ends it.
    unsafe {
        let copy = raw::palloc0(text.len() + 1).cast::<c_char>();
        core::ptr::copy_nonoverlapping(text.as_ptr(), copy.cast(), text.len());
        let len = i32::try_from(text.len()).unwrap_or(i32::MAX);
        raw::pg_any_to_server(copy, len, pg_sys::pg_enc::PG_UTF8.cast_signed())
    }
}

/// Parses a condition as `SELECT WHERE condition`, with positions in the condition's own text. Null
/// if it is more than one expression; an ERROR if it is none.
///
/// # Safety
/// Where Postgres may raise an ERROR; the frame owns nothing. `text` is a C string in the database's
/// encoding.
pub(crate) unsafe fn parse(text: *const c_char) -> *mut RawStmt {
    // SAFETY: promised by the caller; the parser's mode says what the tree is made of.
    unsafe {
        let list = raw::raw_parser(text, RawParseMode::RAW_PARSE_PLPGSQL_EXPR);
        let statement = first(list).cast::<RawStmt>();
        if statement.is_null() || (*list).length != 1 {
            return core::ptr::null_mut();
        }
        let select = (*statement).stmt.cast::<SelectStmt>();
        let target = first((*select).targetList).cast::<ResTarget>();
        if target.is_null() || !is_bare(&*select) || !(*target).name.is_null() {
            return core::ptr::null_mut();
        }
        (*select).whereClause = (*target).val;
        (*select).targetList = core::ptr::null_mut();
        statement
    }
}

/// The first element of a list, null if it has none.
///
/// # Safety
/// `list` is null or a list of pointers.
unsafe fn first(list: *const List) -> *mut Node {
    // SAFETY: promised by the caller; a list that is not null has an element.
    unsafe {
        if list.is_null() { core::ptr::null_mut() } else { (*(*list).elements).ptr_value.cast() }
    }
}

/// Whether a SELECT has one column and nothing else.
fn is_bare(select: &SelectStmt) -> bool {
    // SAFETY: not null, as the caller has looked.
    let one = unsafe { (*select.targetList).length } == 1;
    let lists = [
        select.distinctClause,
        select.fromClause,
        select.groupClause,
        select.windowClause,
        select.sortClause,
        select.lockingClause,
    ];
    let nodes = [select.whereClause, select.havingClause, select.limitCount, select.limitOffset];
    one && lists.iter().all(|list| list.is_null()) && nodes.iter().all(|node| node.is_null())
}
