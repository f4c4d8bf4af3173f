//! How a run ended: in words, in fields, as a report.

use std::ffi::CStr;

use pg_tock_core::cancel::Cause;
use pg_tock_core::message::{ErrorFields, Failure, psql_error, result_message};
use pg_tock_core::run::{Condition, Guarantee, Outcome};
use pg_tock_core::time::Timestamp;
use pg_tock_core::usage::Usage;
use pg_tock_core::wire::{RunOrder, RunReport};

use super::command::Progress;
use crate::pg::text::{ServerText, for_message};
use crate::pg::trap::{Interrupt, PgError};
use crate::pg::{log, raw};
use crate::shmem::left::Left;
use crate::shmem::slots::Slot;

/// How a run ended, owning its texts.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(super) outcome: Outcome,
    /// Why it was made to end, if it was.
    pub(super) cause: Option<Cause>,
    pub(super) guarantee: Guarantee,
    pub(super) recorded: bool,
    /// Somebody holds the job and the run did not begin: how many holds had ended before it tried.
    pub(crate) held: Option<u64>,
    /// What became of the job's condition. If it was not met, the run did not begin.
    pub(super) condition: Condition,
    /// The run wants to be followed by another one.
    pub(crate) again: bool,
    pub(super) reaches_outside: bool,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) row_count: Option<i64>,
    pub(super) usage: Usage,
    pub(super) sqlstate: Option<[u8; 5]>,
    pub(super) message: String,
    pub(super) error_json: Option<String>,
}

impl Ended {
    /// A run that did not begin because somebody holds its job.
    pub(super) fn held(at: Timestamp, holds_ended: u64) -> Self {
        Self {
            outcome: Outcome::Cancelled,
            cause: None,
            guarantee: Guarantee::ExactlyOnce,
            recorded: false,
            held: Some(holds_ended),
            condition: Condition::Met,
            again: false,
            reaches_outside: false,
            started_at: at,
            ended_at: at,
            row_count: None,
            usage: Usage::default(),
            sqlstate: None,
            message: "job is held".to_owned(),
            error_json: None,
        }
    }

    /// A run that was made to end before it began. That is its end, and has a row.
    pub(super) fn not_begun(at: Timestamp, cause: Cause) -> Self {
        let message = cause.message_before_it_began().to_owned();
        Self {
            outcome: cause.outcome(),
            held: None,
            cause: Some(cause),
            message,
            ..Self::held(at, 0)
        }
    }

    /// A run that did not begin because its job's condition was not met.
    pub(super) fn unmet(at: Timestamp) -> Self {
        let message = "condition was not met".to_owned();
        Self { held: None, condition: Condition::Unmet, message, ..Self::held(at, 0) }
    }

    /// Whether there was a run at all.
    pub(crate) fn has_begun(&self) -> bool {
        self.held.is_none() && self.condition != Condition::Unmet
    }

    /// Whether the row is written. Otherwise the scheduler has to.
    pub(crate) const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Keeps the end of the run where whoever has to write its row finds it.
    pub(crate) fn leave(&self, slot: &Slot) {
        let &Self { outcome, cause, guarantee, ended_at, row_count, usage, .. } = self;
        let left = Left { outcome, cause, guarantee, ended_at, row_count, usage };
        slot.leave_report(&left, self.sqlstate, &self.message);
        slot.report();
    }

    /// The end of the run, as `cron.log_statement` puts it.
    pub(crate) fn log_line(&self, order: &RunOrder<'_>) -> String {
        match self.outcome {
            _ if !self.has_begun() => {
                format!("cron job {} did not begin: {}", order.job, self.message)
            }
            Outcome::Succeeded => format!("cron job {} completed: {}", order.job, self.message),
            outcome => format!("cron job {} {}: {}", order.job, outcome, self.message.trim_end()),
        }
    }

    /// Whether it is a run that did not succeed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_begun() && self.outcome != Outcome::Succeeded
    }

    /// A line in the server log for a run that did not succeed.
    pub(crate) fn log_failure(&self, order: &RunOrder<'_>) {
        let name = order.job_name.map(|name| ServerText::new(name.to_bytes()).readable());
        let failure = Failure {
            job: order.job,
            job_name: name.as_deref(),
            run: order.run,
            outcome: self.outcome,
            sqlstate: self.sqlstate,
            message: &self.message,
        };
        log::from_executor(self.sqlstate.unwrap_or(*b"00000"), &for_message(failure.line()));
    }

    /// The report of this run.
    pub(crate) fn report(&self, order: &RunOrder<'_>) -> RunReport<'_> {
        RunReport {
            run: order.run,
            job: order.job,
            outcome: self.outcome,
            cause: self.cause,
            guarantee: self.guarantee,
            recorded: self.recorded,
            held: self.held,
            condition: self.condition,
            again: self.again,
            reaches_outside: self.reaches_outside,
            started_at: self.started_at,
            ended_at: self.ended_at,
            row_count: self.row_count,
            usage: self.usage,
            sqlstate: self.sqlstate,
            message: &self.message,
            error_json: self.error_json.as_deref(),
        }
    }
}

/// Room for `return_message` of a success, which is made where nothing may be allocated.
const MESSAGE: usize = 96;

/// A short text without a destructor.
#[derive(Clone, Copy)]
pub(super) struct Text {
    bytes: [u8; MESSAGE],
    len: usize,
}

impl Text {
    /// An empty text.
    pub(super) const fn new() -> Self {
        Self { bytes: [0; MESSAGE], len: 0 }
    }

    /// What it says.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.get_mut(self.len..).ok_or(core::fmt::Error)?;
        let to = room.get_mut(..text.len()).ok_or(core::fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The outcome in words for `status`, which has pg_cron's only.
pub(super) const fn status_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        _ => "failed",
    }
}

/// The words for what the last statement returned, and its number of rows.
pub(super) fn describe(progress: &Progress) -> (String, Option<i64>) {
    // SAFETY: a table of constants.
    let (tag, counts) = unsafe {
        let name = CStr::from_ptr(raw::GetCommandTagName(progress.tag));
        (name.to_str().unwrap_or_default(), raw::command_tag_display_rowcount(progress.tag))
    };
    let none = progress.statements == 0;
    let tag = if none { "" } else { tag };
    let text = result_message(tag, progress.rows, progress.returned_rows, counts);
    let counted = !none && (counts || progress.returned_rows);
    (text, if counted { i64::try_from(progress.rows).ok() } else { None })
}

/// How an error counts that ended a run nobody of ours wanted to end: one the server raised because
/// somebody has signalled the process, or because of `statement_timeout`, is no fault of the
/// command. A command cannot raise these itself.
pub(super) const fn outcome_of(error: &PgError) -> Outcome {
    match error.interrupt {
        Some(Interrupt::StatementTimeout) => Outcome::Timeout,
        Some(Interrupt::Cancel) => Outcome::Cancelled,
        None => Outcome::Failed,
    }
}

/// What `return_message` says of a run that was made to end. An error of the command's own, raised
/// on the way, is its DETAIL.
pub(super) fn cancelled_message(cause: Cause, error: &PgError) -> String {
    if cause.stands_alone() {
        return cause.message().to_owned();
    }
    let own = error.interrupt.is_none() && error.message != cause.message();
    let detail = own.then(|| format!("The command ended with: {}", error.message));
    let fields = ErrorFields {
        severity: "ERROR",
        message: cause.message(),
        detail: detail.as_deref(),
        context: error.context.as_deref(),
        ..ErrorFields::default()
    };
    psql_error(&fields, "")
}

/// The error's fields, as they are printed.
pub(super) fn fields(error: &PgError) -> ErrorFields<'_> {
    ErrorFields {
        severity: "ERROR",
        message: &error.message,
        detail: error.detail.as_deref(),
        hint: error.hint.as_deref(),
        context: error.context.as_deref(),
        internal_query: error.internal_query.as_deref(),
        position: error.position,
        internal_position: error.internal_position,
    }
}

/// The error's fields as the ledger keeps them: those that are there.
pub(super) fn json(error: &PgError) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            // jsonb cannot hold the character NUL
            object.insert(key.to_owned(), value.replace('\0', "").into());
        }
    };
    put("message", Some(&error.message));
    put("detail", error.detail.as_deref());
    put("hint", error.hint.as_deref());
    put("context", error.context.as_deref());
    put("schema", error.schema.as_deref());
    put("table", error.table.as_deref());
    put("column", error.column.as_deref());
    put("datatype", error.datatype.as_deref());
    put("constraint", error.constraint.as_deref());
    put("internal_query", error.internal_query.as_deref());
    if error.position > 0 {
        object.insert("position".to_owned(), error.position.into());
    }
    if error.internal_position > 0 {
        object.insert("internal_position".to_owned(), error.internal_position.into());
    }
    serde_json::Value::Object(object).to_string()
}
