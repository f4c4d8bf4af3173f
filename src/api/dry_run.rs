//! `cron.dry_run`: what a job would do.

use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use serde_json::Value;

use crate::error::Error;
use crate::pg::json::to_server;
use crate::pg::letter::Letter;

use super::rights::{JobRef, refuse_in_recovery};
use super::run_now::Ready;
use super::waiting;

/// The row of `cron.dry_run`.
type Row = (
    name!(status, Vec<u8>),
    name!(return_message, Option<Vec<u8>>),
    name!(row_count, Option<i64>),
    name!(duration_ms, Option<f64>),
    name!(wal_bytes, Option<i64>),
    name!(locks, Option<JsonB>),
    name!(error, Option<JsonB>),
    name!(request, Option<JsonB>),
    name!(addresses, Option<JsonB>),
);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_dry_run(
    job: Option<i64>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(status, Vec<u8>),
            name!(return_message, Option<Vec<u8>>),
            name!(row_count, Option<i64>),
            name!(duration_ms, Option<f64>),
            name!(wal_bytes, Option<i64>),
            name!(locks, Option<JsonB>),
            name!(error, Option<JsonB>),
            name!(request, Option<JsonB>),
            name!(addresses, Option<JsonB>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::once(dry_run(JobRef::id(job)?)?))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns from the type")]
fn cron_dry_run_named(
    job: Option<&[u8]>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(status, Vec<u8>),
            name!(return_message, Option<Vec<u8>>),
            name!(row_count, Option<i64>),
            name!(duration_ms, Option<f64>),
            name!(wal_bytes, Option<i64>),
            name!(locks, Option<JsonB>),
            name!(error, Option<JsonB>),
            name!(request, Option<JsonB>),
            name!(addresses, Option<JsonB>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::once(dry_run(JobRef::name(job)?)?))
}

fn dry_run(job: JobRef<'_>) -> Result<Row, Error> {
    refuse_in_recovery("cron.dry_run()")?;
    waiting::refuse_here("cron.dry_run()")?;
    let ready = Ready::find(job.resolve()?, true)?;
    let letter = Letter::new();
    waiting::wait(&ready.wanted(true, Some(letter.handle())))?;
    let Some(text) = letter.read() else {
        let words = to_server("executor ended unexpectedly");
        return Ok((b"failed".to_vec(), Some(words), None, None, None, None, None, None, None));
    };
    let answer: Value = serde_json::from_str(&text)?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(to_server);
    let json = |key: &str| answer.get(key).filter(|part| !part.is_null()).cloned().map(JsonB);
    let number = |key: &str| answer.get(key).and_then(Value::as_i64);
    Ok((
        text("status").unwrap_or_default(),
        text("return_message"),
        number("row_count"),
        answer.get("duration_ms").and_then(Value::as_f64),
        number("wal_bytes"),
        json("locks"),
        json("error"),
        json("request"),
        json("addresses"),
    ))
}
