//! What the scheduler and an executor say to each other, as bytes.
//!
//! This module owns the layout of both messages: encoder and decoder stand side by side, decoding
//! never panics and never allocates, and whatever `encode` accepts `decode` gives back unchanged.
//! Numbers are little-endian. Both ends are the same library, so there is no version negotiation;
//! the leading byte only guards against reading one message as the other.
//!
//! Texts end with a NUL byte inside the message, so an executor can hand a command to Postgres as a
//! C string without copying it. A text that holds a NUL itself is refused by `encode` and `decode`
//! alike (Postgres `text` cannot hold one either).

use std::ffi::CStr;

use crate::cancel::Cause;
use crate::run::{Condition, Guarantee, Outcome, Trigger};
use crate::time::{JobId, RunId, Timestamp};
use crate::usage::Usage;

const ORDER_TAG: u8 = b'O';
const REPORT_TAG: u8 = b'R';

/// Why bytes are no message, or a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the message does.
    #[error("message ends after {0} bytes")]
    Truncated(usize),
    /// The message ends before the bytes do.
    #[error("message is followed by {0} more bytes")]
    Trailing(usize),
    /// The first byte belongs to no message, or to the other one.
    #[error("message starts with byte {0}")]
    Tag(u8),
    /// A coded field holds a byte without a meaning.
    #[error("field \"{field}\" holds unknown code {value}")]
    Code {
        /// The name of the field.
        field: &'static str,
        /// What it holds.
        value: u8,
    },
    /// A text is not UTF-8, holds a NUL byte, or lacks the one behind it.
    #[error("field \"{0}\" is not a text")]
    Text(&'static str),
    /// A text is longer than 4 GiB.
    #[error("field \"{0}\" is too long")]
    TooLong(&'static str),
}

/// One run handed to an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOrder<'a> {
    /// The run's key in the ledger.
    pub run: RunId,
    /// The job it belongs to.
    pub job: JobId,
    /// The occurrence's nominal instant.
    pub scheduled_for: Timestamp,
    /// 1 for the first attempt at the occurrence.
    pub attempt: u32,
    /// What made it start.
    pub trigger: Trigger,
    /// Whether the ledger is in the executor's database, so that it settles the run itself.
    pub local: bool,
    /// Whether the row has to be on disk before the command starts.
    pub claim_first: bool,
    /// Whether the job has effects a rollback does not undo, as an earlier run has shown.
    pub reaches_outside: bool,
    /// WAL position that must be on disk before anything is sent outside; 0 = nothing to wait for.
    pub flush_lsn: u64,
    /// Whether runs of the job share its lock (`on_overlap = 'allow'`).
    pub shares_lock: bool,
    /// Whether the run wants a process no run has used before, and none after it uses
    /// (`session = 'fresh'`).
    pub fresh: bool,
    /// The data the run is for: what is later than the first instant, up to the second.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Where to leave what it did, a DSM segment's handle, if it is to be rolled back whatever it
    /// does (`cron.dry_run`).
    pub dry_run: Option<u32>,
    /// Whether `run_if` is all there is to do: what the job does is for another process, which the
    /// report has the scheduler turn to.
    pub only_asks: bool,
    /// The role that asked for it.
    pub requested_by: Option<&'a CStr>,
    /// The alert it is to handle, as JSON in ASCII.
    pub alert: Option<&'a str>,
    /// A boolean expression; if it is not true the command does not run.
    pub run_if: Option<&'a str>,
    /// How long the run may take, in microseconds.
    pub timeout: Option<i64>,
    /// After how many microseconds without a heartbeat it counts as stuck.
    pub stuck_after: Option<i64>,
    /// Whether it is ended then (`on_stuck = 'cancel'`).
    pub ends_stuck: bool,
    /// What to set before the command, as a JSON object of names and values.
    pub settings: Option<&'a str>,
    /// The job's name, if it has one.
    pub job_name: Option<&'a CStr>,
    /// The SQL text, in the encoding of the scheduler's database.
    pub command: &'a CStr,
}

impl<'a> RunOrder<'a> {
    /// Appends the message to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// A text longer than 4 GiB, or settings that hold a NUL byte.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let name_len = check_len("job_name", self.job_name.unwrap_or_default().count_bytes())?;
        let command_len = check_len("command", self.command.count_bytes())?;
        let settings_len = check_text("settings", self.settings.unwrap_or_default())?;
        let condition_len = check_text("run_if", self.run_if.unwrap_or_default())?;
        let alert_len = check_text("alert", self.alert.unwrap_or_default())?;
        let asker = self.requested_by.unwrap_or_default();
        let asker_len = check_len("requested_by", asker.count_bytes())?;
        let texts = self.job_name.map_or(0, CStr::count_bytes) + self.command.count_bytes();
        out.reserve(96 + texts + self.settings.map_or(0, str::len));
        out.push(ORDER_TAG);
        out.extend_from_slice(&self.run.0.to_le_bytes());
        out.extend_from_slice(&self.job.0.to_le_bytes());
        out.extend_from_slice(&self.scheduled_for.0.to_le_bytes());
        out.extend_from_slice(&self.attempt.to_le_bytes());
        out.push(self.trigger.as_u8());
        out.push(u8::from(self.local));
        out.push(u8::from(self.claim_first));
        out.push(u8::from(self.reaches_outside));
        out.extend_from_slice(&self.flush_lsn.to_le_bytes());
        out.push(u8::from(self.shares_lock));
        out.push(u8::from(self.fresh));
        out.push(u8::from(self.window.is_some()));
        if let Some((start, end)) = self.window {
            out.extend_from_slice(&start.0.to_le_bytes());
            out.extend_from_slice(&end.0.to_le_bytes());
        }
        out.push(u8::from(self.dry_run.is_some()));
        if let Some(segment) = self.dry_run {
            out.extend_from_slice(&segment.to_le_bytes());
        }
        out.push(u8::from(self.only_asks));
        put_optional_text(out, self.requested_by.map(CStr::to_bytes), asker_len);
        put_optional_text(out, self.alert.map(str::as_bytes), alert_len);
        put_optional_text(out, self.run_if.map(str::as_bytes), condition_len);
        for limit in [self.timeout, self.stuck_after] {
            out.push(u8::from(limit.is_some()));
            if let Some(micros) = limit {
                out.extend_from_slice(&micros.to_le_bytes());
            }
        }
        out.push(u8::from(self.ends_stuck));
        put_optional_text(out, self.settings.map(str::as_bytes), settings_len);
        put_optional_text(out, self.job_name.map(CStr::to_bytes), name_len);
        put_text(out, self.command.to_bytes(), command_len);
        Ok(())
    }

    /// Reads a message written by [`RunOrder::encode`].
    ///
    /// # Errors
    /// Bytes that are not exactly one well-formed order.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, ORDER_TAG)?;
        let order = Self {
            run: RunId(reader.i64()?),
            job: JobId(reader.i64()?),
            scheduled_for: Timestamp(reader.i64()?),
            attempt: reader.u32()?,
            trigger: reader.code("trigger", Trigger::from_u8)?,
            local: reader.flag("local")?,
            claim_first: reader.flag("claim_first")?,
            reaches_outside: reader.flag("reaches_outside")?,
            flush_lsn: reader.u64()?,
            shares_lock: reader.flag("shares_lock")?,
            fresh: reader.flag("fresh")?,
            window: if reader.flag("window")? {
                Some((Timestamp(reader.i64()?), Timestamp(reader.i64()?)))
            } else {
                None
            },
            dry_run: if reader.flag("dry_run")? { Some(reader.u32()?) } else { None },
            only_asks: reader.flag("only_asks")?,
            requested_by: reader.optional_c_text("requested_by")?,
            alert: reader.optional_text("alert")?,
            run_if: reader.optional_text("run_if")?,
            timeout: if reader.flag("timeout")? { Some(reader.i64()?) } else { None },
            stuck_after: if reader.flag("stuck_after")? { Some(reader.i64()?) } else { None },
            ends_stuck: reader.flag("ends_stuck")?,
            settings: reader.optional_text("settings")?,
            job_name: reader.optional_c_text("job_name")?,
            command: reader.c_text("command")?,
        };
        reader.end()?;
        Ok(order)
    }
}

/// How a run ended, as the executor tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunReport<'a> {
    /// The run's key in the ledger.
    pub run: RunId,
    /// The job it belongs to.
    pub job: JobId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was made to end, if it was.
    pub cause: Option<Cause>,
    /// What the outcome is worth.
    pub guarantee: Guarantee,
    /// Whether the executor wrote the ledger row; otherwise the scheduler has to.
    pub recorded: bool,
    /// The run did not begin, because somebody held its job: how many holds had ended by then, as
    /// the executor read it before it looked. Nothing else in the report means anything then.
    pub held: Option<u64>,
    /// What became of the job's condition. If it was not met, the run did not begin.
    pub condition: Condition,
    /// The run asked for another one.
    pub again: bool,
    /// Whether it may have had effects a rollback does not undo: the job claims first from now on.
    pub reaches_outside: bool,
    /// When its first statement started.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// Rows of the last statement, where it counts any.
    pub row_count: Option<i64>,
    /// What it used of the server.
    pub usage: Usage,
    /// The five bytes of the SQLSTATE, for a failure.
    pub sqlstate: Option<[u8; 5]>,
    /// `return_message` of the ledger.
    pub message: &'a str,
    /// The error's other fields as a JSON object.
    pub error_json: Option<&'a str>,
}

impl<'a> RunReport<'a> {
    /// Appends the message to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// A text that holds a NUL byte or is longer than 4 GiB.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let message = check_text("message", self.message)?;
        let error = check_text("error_json", self.error_json.unwrap_or_default())?;
        out.reserve(72 + self.message.len() + self.error_json.map_or(0, str::len));
        out.push(REPORT_TAG);
        out.extend_from_slice(&self.run.0.to_le_bytes());
        out.extend_from_slice(&self.job.0.to_le_bytes());
        out.push(self.outcome.as_u8());
        out.push(self.cause.map_or(0, Cause::as_u8));
        out.push(self.guarantee.as_u8());
        out.push(u8::from(self.recorded));
        out.push(u8::from(self.held.is_some()));
        if let Some(ended) = self.held {
            out.extend_from_slice(&ended.to_le_bytes());
        }
        out.push(self.condition.as_u8());
        out.push(u8::from(self.again));
        out.push(u8::from(self.reaches_outside));
        out.extend_from_slice(&self.started_at.0.to_le_bytes());
        out.extend_from_slice(&self.ended_at.0.to_le_bytes());
        out.push(u8::from(self.row_count.is_some()));
        if let Some(rows) = self.row_count {
            out.extend_from_slice(&rows.to_le_bytes());
        }
        put_usage(out, &self.usage);
        out.push(u8::from(self.sqlstate.is_some()));
        if let Some(sqlstate) = self.sqlstate {
            out.extend_from_slice(&sqlstate);
        }
        put_text(out, self.message.as_bytes(), message);
        put_optional_text(out, self.error_json.map(str::as_bytes), error);
        Ok(())
    }

    /// Reads a message written by [`RunReport::encode`].
    ///
    /// # Errors
    /// Bytes that are not exactly one well-formed report.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes, REPORT_TAG)?;
        let report = Self {
            run: RunId(reader.i64()?),
            job: JobId(reader.i64()?),
            outcome: reader.code("outcome", Outcome::from_u8)?,
            cause: reader.optional_code("cause", Cause::from_u8)?,
            guarantee: reader.code("guarantee", Guarantee::from_u8)?,
            recorded: reader.flag("recorded")?,
            held: if reader.flag("held")? { Some(reader.u64()?) } else { None },
            condition: reader.code("condition", Condition::from_u8)?,
            again: reader.flag("again")?,
            reaches_outside: reader.flag("reaches_outside")?,
            started_at: Timestamp(reader.i64()?),
            ended_at: Timestamp(reader.i64()?),
            row_count: if reader.flag("row_count")? { Some(reader.i64()?) } else { None },
            usage: reader.usage()?,
            sqlstate: if reader.flag("sqlstate")? { Some(reader.array()?) } else { None },
            message: reader.text("message")?,
            error_json: reader.optional_text("error_json")?,
        };
        reader.end()?;
        Ok(report)
    }
}

/// The length to write in front of `text`, if it can be written at all.
fn check_text(field: &'static str, text: &str) -> Result<u32, WireError> {
    if text.as_bytes().contains(&0) {
        return Err(WireError::Text(field));
    }
    check_len(field, text.len())
}

fn check_len(field: &'static str, len: usize) -> Result<u32, WireError> {
    u32::try_from(len).map_err(|_| WireError::TooLong(field))
}

fn put_text(out: &mut Vec<u8>, text: &[u8], checked_len: u32) {
    out.extend_from_slice(&checked_len.to_le_bytes());
    out.extend_from_slice(text);
    out.push(0);
}

fn put_optional_text(out: &mut Vec<u8>, text: Option<&[u8]>, checked_len: u32) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text, checked_len);
    }
}

/// Writes which fields are not zero, as bits, and then those.
fn put_usage(out: &mut Vec<u8>, usage: &Usage) {
    let fields = usage.to_array();
    let there = |mask: u16, (at, field): (usize, &i64)| mask | u16::from(*field != 0) << at;
    out.extend_from_slice(&fields.iter().enumerate().fold(0, there).to_le_bytes());
    for field in fields.into_iter().filter(|&field| field != 0) {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

/// Takes fields off the front of a message.
struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], tag: u8) -> Result<Self, WireError> {
        let mut reader = Self { rest: bytes, whole: bytes.len() };
        match reader.u8()? {
            found if found == tag => Ok(reader),
            other => Err(WireError::Tag(other)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated(self.whole))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_le_bytes)
    }

    fn usage(&mut self) -> Result<Usage, WireError> {
        let mut mask = self.array().map(u16::from_le_bytes)?;
        let mut fields = [0; Usage::FIELDS];
        for field in &mut fields {
            if mask & 1 == 1 {
                *field = self.i64()?;
            }
            mask >>= 1;
        }
        match u8::try_from(mask).unwrap_or(u8::MAX) {
            0 => Ok(Usage::from_array(fields)),
            value => Err(WireError::Code { field: "usage", value }),
        }
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(WireError::Code { field, value }),
        }
    }

    fn code<T>(
        &mut self,
        field: &'static str,
        from_u8: fn(u8) -> Option<T>,
    ) -> Result<T, WireError> {
        let value = self.u8()?;
        from_u8(value).ok_or(WireError::Code { field, value })
    }

    /// A code, or 0 for none.
    fn optional_code<T>(
        &mut self,
        field: &'static str,
        from_u8: fn(u8) -> Option<T>,
    ) -> Result<Option<T>, WireError> {
        match self.u8()? {
            0 => Ok(None),
            value => from_u8(value).map(Some).ok_or(WireError::Code { field, value }),
        }
    }

    /// A text in whatever encoding, as a C string in place.
    fn c_text(&mut self, field: &'static str) -> Result<&'a CStr, WireError> {
        let len = self.u32()?;
        let len = usize::try_from(len).map_err(|_| WireError::TooLong(field))?;
        let end = len.checked_add(1).ok_or(WireError::TooLong(field))?;
        let (with_nul, rest) =
            self.rest.split_at_checked(end).ok_or(WireError::Truncated(self.whole))?;
        self.rest = rest;
        CStr::from_bytes_with_nul(with_nul).map_err(|_| WireError::Text(field))
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, WireError> {
        self.c_text(field)?.to_str().map_err(|_| WireError::Text(field))
    }

    fn optional_c_text(&mut self, field: &'static str) -> Result<Option<&'a CStr>, WireError> {
        if self.flag(field)? { Ok(Some(self.c_text(field)?)) } else { Ok(None) }
    }

    fn optional_text(&mut self, field: &'static str) -> Result<Option<&'a str>, WireError> {
        if self.flag(field)? { Ok(Some(self.text(field)?)) } else { Ok(None) }
    }

    fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests;
