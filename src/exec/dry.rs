//! A dry run: the command in one transaction that is rolled back, whatever it comes to.
//!
//! Owns one invariant: nothing here commits. Commands that would do so by themselves are told that
//! they are not at the top level, as in a function, and refuse.

use pg_tock_core::cancel::Cause;
use pg_tock_core::message::psql_error;
use pg_tock_core::run::{Condition, Guarantee, Outcome};
use pg_tock_core::usage::Usage;
use pg_tock_core::wire::RunOrder;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, NodeTag};
use serde_json::{Value, json};

use super::command::{self, Progress};
use super::context;
use super::ended::{Ended, cancelled_message, describe, fields, json as error_json, outcome_of};
use super::kind;
use super::lock::RunLock;
use super::run::Session;
use crate::pg::trap::PgError;
use crate::pg::{letter, locks, raw, time, trap};

/// The most locks that are told of.
const MOST_LOCKS: usize = 1_000;

const HINT: &str = "A dry run is one transaction that is rolled back: it cannot try commands that commit by themselves.";

/// Runs the command of `order`, rolls it back, and leaves what it did in a letter.
pub(super) fn run(session: &Session, order: &RunOrder<'_>) -> Ended {
    let started_at = time::now();
    let mut progress = Progress::new();
    let mut lock = RunLock::new(session.slot, order);
    let presets = match context::presets(order) {
        Ok(presets) => presets,
        Err(error) => return told(order, &progress, started_at, 0, None, None, Err(error)),
    };
    // SAFETY: this process's own variables, outside a transaction; nothing with a destructor is
    // used inside `catch`.
    let (executed, wal) = unsafe {
        let (synchronous_commit, lock_timeout) = (pg_sys::synchronous_commit, pg_sys::LockTimeout);
        raw::MemoryContextReset(pg_sys::MessageContext);
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        pg_sys::QueryCancelPending = 0;
        raw::SetCurrentStatementStartTimestamp();
        let before = pg_sys::pgWalUsage.wal_bytes;
        let executed = trap::catch(|| {
            context::apply(&presets);
            execute(order, &mut progress, &mut lock);
        });
        pg_sys::synchronous_commit = synchronous_commit;
        pg_sys::LockTimeout = lock_timeout;
        (executed, pg_sys::pgWalUsage.wal_bytes.wrapping_sub(before))
    };
    let held = if executed.is_ok() { lock.held() } else { None };
    let taken = executed.is_ok().then(|| locks::mine(MOST_LOCKS));
    // SAFETY: outside `catch`, nothing is running; aborting is allowed in every state.
    unsafe {
        raw::AbortOutOfAnyTransaction();
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
        pg_sys::debug_query_string = core::ptr::null();
    }
    match held {
        Some(holds_ended) => Ended::held(started_at, holds_ended),
        None => {
            let cause = session.slot.cancel.cause(order.run);
            told(order, &progress, started_at, wal, cause, taken, executed)
        }
    }
}

/// Executes the text, and what was deferred to its end, in one transaction, which stays open.
///
/// # Safety
/// Inside [`trap::catch`], outside a transaction.
unsafe fn execute(order: &RunOrder<'_>, progress: &mut Progress, lock: &mut RunLock) {
    let text = order.command.as_ptr();
    // SAFETY: promised by the caller; the sequence of exec_simple_query, without its commits.
    unsafe {
        pg_sys::debug_query_string = text;
        raw::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text);
        command::start(progress);
        let old = command::switch_to(pg_sys::MessageContext);
        let list = raw::pg_parse_query(text);
        command::switch_to(old);
        command::refuse_copy(kind::of_list(list));
        if !lock.take_for_transaction() {
            return;
        }
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..count {
            let cell = (*list).elements.add(usize::try_from(i).unwrap_or(0));
            let statement = (*cell).ptr_value.cast::<pg_sys::RawStmt>();
            if (*(*statement).stmt).type_ == NodeTag::T_TransactionStmt {
                trap::raise(
                    PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
                    c"a dry run cannot begin or end transactions",
                    None,
                );
            }
            command::start(progress);
            command::check_interrupts();
            let tag = raw::CreateCommandTag((*statement).stmt);
            let old = command::switch_to(pg_sys::MessageContext);
            let plans = command::plan(text, statement);
            command::check_interrupts();
            command::run_portal(text, tag, plans, old, false, progress);
            raw::CommandCounterIncrement();
            command::stop_statement_timeout();
        }
        raw::AfterTriggerFireDeferred();
    }
}

/// Leaves what the run did for whoever waits for it.
fn told(
    order: &RunOrder<'_>,
    progress: &Progress,
    started_at: pg_tock_core::time::Timestamp,
    wal: u64,
    cause: Option<Cause>,
    locks: Option<Value>,
    executed: Result<(), Box<PgError>>,
) -> Ended {
    let ended_at = time::now();
    let (outcome, message, row_count, error) = match executed {
        Ok(()) => {
            let (message, row_count) = describe(progress);
            (Outcome::Succeeded, message, row_count, None)
        }
        Err(mut error) => {
            if matches!(&error.sqlstate, b"25001" | b"2D000") {
                error.hint.get_or_insert_with(|| HINT.to_owned());
            }
            let message = match cause {
                Some(cause) => cancelled_message(cause, &error),
                None => psql_error(&fields(&error), &order.command.to_string_lossy()),
            };
            let outcome = cause.map_or_else(|| outcome_of(&error), Cause::outcome);
            (outcome, message.replace('\0', ""), None, Some(with_code(&error)))
        }
    };
    #[allow(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let duration = ended_at.since(started_at) as f64 / 1_000.0;
    let mut answer = json!({
        "status": super::ended::status_of(outcome),
        "return_message": message,
        "row_count": row_count,
        "duration_ms": duration,
        "wal_bytes": wal,
        "locks": locks,
        "error": error,
    });
    let mut text = answer.to_string();
    for part in ["locks", "error", "return_message"] {
        if text.len() > letter::ROOM
            && let Some(fields) = answer.as_object_mut()
        {
            fields.insert(part.to_owned(), Value::Null);
            text = answer.to_string();
        }
    }
    if let Some(handle) = order.dry_run {
        letter::write(handle, &text);
    }
    Ended {
        outcome,
        cause: None,
        guarantee: Guarantee::ExactlyOnce,
        recorded: true,
        held: None,
        condition: Condition::Met,
        again: false,
        reaches_outside: false,
        started_at,
        ended_at,
        row_count,
        usage: Usage::default(),
        sqlstate: None,
        message: String::new(),
        error_json: None,
    }
}

/// The error's fields, with its SQLSTATE.
fn with_code(error: &PgError) -> Value {
    let mut fields: Value = serde_json::from_str(&error_json(error)).unwrap_or_default();
    let code: String = error.sqlstate.iter().map(|&byte| char::from(byte)).collect();
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("sqlstate".to_owned(), code.into());
    }
    fields
}
