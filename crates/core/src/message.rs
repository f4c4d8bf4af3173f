//! The words of `return_message` and `error`: what a run says about itself.
//!
//! pg_cron's connection mode is the contract: results as libpq counts them, errors as psql prints
//! them (`libpq/fe-protocol3.c`, `pqBuildErrorMessage3` and `reportErrorPosition`).

use std::fmt::Write;

use crate::quote::{cut, excerpt};
use crate::run::Outcome;
use crate::time::{JobId, RunId};

/// An error as its fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorFields<'a> {
    /// `ERROR` or `FATAL`.
    pub severity: &'a str,
    /// The primary message.
    pub message: &'a str,
    /// The DETAIL.
    pub detail: Option<&'a str>,
    /// The HINT.
    pub hint: Option<&'a str>,
    /// The CONTEXT.
    pub context: Option<&'a str>,
    /// The statement of a function in which it happened.
    pub internal_query: Option<&'a str>,
    /// Characters into the command, from 1; 0 = unknown.
    pub position: i32,
    /// Characters into the internal query, from 1; 0 = unknown.
    pub internal_position: i32,
}

/// The error as psql prints it: two blanks after the colon, the line it happened in, a line each
/// for DETAIL, HINT, QUERY and CONTEXT, a newline at the end.
#[must_use]
pub fn psql_error(error: &ErrorFields<'_>, command: &str) -> String {
    let mut out = format!("{}:  {}\n", error.severity, error.message);
    if error.position > 0 {
        push_position(&mut out, command, error.position);
    } else if let (Some(query), true) = (error.internal_query, error.internal_position > 0) {
        push_position(&mut out, query, error.internal_position);
    }
    for (label, text) in [
        ("DETAIL", error.detail),
        ("HINT", error.hint),
        ("QUERY", error.internal_query),
        ("CONTEXT", error.context),
    ] {
        if let Some(text) = text {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{label}:  {text}");
        }
    }
    out
}

/// Most columns of a line that are shown.
const SHOWN: usize = 60;
/// Least columns shown to the right of the place.
const RIGHT: usize = 10;

/// The line that holds the place, and a caret below it.
fn push_position(out: &mut String, query: &str, position: i32) {
    let Some(at) = usize::try_from(position).ok().and_then(|at| at.checked_sub(1)) else { return };
    let chars: Vec<char> = query.chars().collect();
    if at > chars.len() {
        return;
    }
    let before = chars.get(..at).unwrap_or_default();
    let number = before.iter().filter(|&&c| c == '\n').count() + 1;
    let start = before.iter().rposition(|&c| c == '\n').map_or(0, |i| i + 1);
    let rest = chars.get(start..).unwrap_or_default();
    let end = start + rest.iter().position(|&c| matches!(c, '\n' | '\r')).unwrap_or(rest.len());
    let (mut from, mut to, mut cut_left, mut cut_right) = (start, end, false, false);
    if end - start > SHOWN {
        to = (start + SHOWN).max(at + RIGHT).min(end);
        cut_right = to < end;
        if at + RIGHT > start + SHOWN {
            from = to.saturating_sub(SHOWN).max(start);
            cut_left = from > start;
        }
    }
    let label = format!("LINE {number}: {}", if cut_left { "..." } else { "" });
    let blank = |c: &char| if *c == '\t' { ' ' } else { *c };
    let shown: String = chars.get(from..to).unwrap_or_default().iter().map(blank).collect();
    let indent = label.chars().count() + (at - from);
    let more = if cut_right { "..." } else { "" };
    let _ = writeln!(out, "{label}{shown}{more}\n{}^", " ".repeat(indent));
}

/// What a run returned: the number of rows where a client would get rows, otherwise the command's
/// tag; `0 rows` for a text without statements.
#[must_use]
pub fn result_message(tag: &str, rows: u64, returned_rows: bool, counts_rows: bool) -> String {
    if returned_rows || tag.is_empty() {
        return format!("{rows} {}", if rows == 1 { "row" } else { "rows" });
    }
    match (tag, counts_rows) {
        ("INSERT", _) => format!("INSERT 0 {rows}"),
        (tag, true) => format!("{tag} {rows}"),
        (tag, false) => tag.to_owned(),
    }
}

/// The most characters of an error that a line of the server log shows.
const LOGGED: usize = 300;

/// A run that did not succeed, for the server log.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The job.
    pub job: JobId,
    /// Its name, if it has one.
    pub job_name: Option<&'a str>,
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: Outcome,
    /// The error's SQLSTATE, if it has one.
    pub sqlstate: Option<[u8; 5]>,
    /// `return_message` of the ledger.
    pub message: &'a str,
}

impl Failure<'_> {
    /// One line, which begins as pg_cron's do.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { job, run, outcome, message, .. } = self;
        let name = self.job_name.map(|name| format!(" of \"{}\"", excerpt(name)));
        let name = name.unwrap_or_default();
        let code = self.sqlstate.map(|code| format!(", SQLSTATE {}", code.escape_ascii()));
        let code = code.unwrap_or_default();
        let message = cut(message.lines().next().unwrap_or_default(), LOGGED);
        format!("cron job {job} {outcome}: run {run}{name}{code}: {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_read_as_libpq_counts_them() {
        assert_eq!(result_message("SELECT", 1, true, true), "1 row");
        assert_eq!(result_message("SELECT", 0, true, true), "0 rows");
        assert_eq!(result_message("INSERT", 3, false, true), "INSERT 0 3");
        assert_eq!(result_message("INSERT", 2, true, true), "2 rows");
        assert_eq!(result_message("UPDATE", 2, false, true), "UPDATE 2");
        assert_eq!(result_message("VACUUM", 0, false, false), "VACUUM");
        assert_eq!(result_message("", 0, false, false), "0 rows");
    }

    #[test]
    fn errors_read_as_in_psql() {
        let error = ErrorFields {
            severity: "ERROR",
            message: "column \"nope\" does not exist",
            hint: Some("Look again."),
            position: 8,
            ..ErrorFields::default()
        };
        assert_eq!(
            psql_error(&error, "select nope"),
            "ERROR:  column \"nope\" does not exist\nLINE 1: select nope\n               ^\nHINT:  Look again.\n"
        );
    }

    #[test]
    fn a_place_far_in_a_long_line_is_shown_with_what_is_around_it() {
        let query = format!("select 1;\nselect '{}', nope", "x".repeat(100));
        let position = i32::try_from(query.chars().count() - 3).unwrap();
        let error = ErrorFields { severity: "ERROR", message: "m", position, ..Default::default() };
        let text = psql_error(&error, &query);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("LINE 2: ...xxx"), "{text}");
        let caret = lines[2].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[1].chars().nth(caret), Some('n'), "{text}");
    }

    #[test]
    fn failures_are_one_line() {
        let failure = Failure {
            job: JobId(7),
            job_name: Some("night\nly"),
            run: RunId(42),
            outcome: Outcome::Failed,
            sqlstate: Some(*b"22012"),
            message: "ERROR:  division by zero\nDETAIL:  none\n",
        };
        assert_eq!(
            failure.line(),
            "cron job 7 failed: run 42 of \"night\\nly\", SQLSTATE 22012: ERROR:  division by zero"
        );
        let message = "x".repeat(1_000);
        let bare = Failure { job_name: None, sqlstate: None, message: &message, ..failure };
        assert!(bare.line().starts_with("cron job 7 failed: run 42: xxx"));
        assert!(bare.line().ends_with("x\u{2026}") && bare.line().len() < 400);
    }

    #[test]
    fn a_position_outside_the_command_is_no_position() {
        for position in [-1, 0, 100, i32::MAX] {
            let error =
                ErrorFields { severity: "ERROR", message: "m", position, ..Default::default() };
            assert_eq!(psql_error(&error, "select"), "ERROR:  m\n");
        }
    }
}
