//! The options of jobs in `cron.job`: read and written as one JSON document, by the names the core
//! has for them, so that a new option needs no statement of its own.

use std::sync::LazyLock;

use pg_tock_core::options::{Document, Kind, OPTIONS, Spec};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::{ServerText, param};

use super::role::extension_owner;

const ROW: &str = "FROM pg_catalog.jsonb_populate_record(NULL::cron.job, \
     pg_catalog.convert_from($1, 'UTF8')::pg_catalog.jsonb) AS new";

// A job that is paused stays so: whoever describes jobs anew does not speak of that.
static PUT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO cron.job AS job (jobname, nodename, nodeport, {}) SELECT $2, $3, $4, {} {ROW} \
         ON CONFLICT ON CONSTRAINT jobname_username_uniq DO UPDATE SET \
         nodename = excluded.nodename, nodeport = excluded.nodeport, {} RETURNING jobid",
        columns(str::to_owned),
        columns(|name| format!("new.{name}")),
        columns(|name| format!("{name} = excluded.{name}")),
    )
});

static SET: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE cron.job AS job SET {} {ROW} WHERE job.jobid OPERATOR(pg_catalog.=) $2 \
         RETURNING job.jobid",
        columns(|name| format!("{name} = new.{name}")),
    )
});

const GET: &str = "SELECT pg_catalog.convert_to(pg_catalog.to_jsonb(job)::pg_catalog.text, 'UTF8') \
     FROM cron.job AS job WHERE job.jobid OPERATOR(pg_catalog.=) $1 FOR NO KEY UPDATE";

/// The column of every option and that of the request, written in some way, separated by commas.
fn columns(write: impl Fn(&str) -> String) -> String {
    let names = OPTIONS.iter().map(|option| option.name).chain(["http"]);
    names.map(write).collect::<Vec<_>>().join(", ")
}

/// Stores a job in place of the owner's job of that name, if there is one; without a name it is a
/// new one. Returns its id.
///
/// The document has all options that are not NULL.
pub(crate) fn put(
    jobname: Option<ServerText<'_>>,
    nodename: &str,
    nodeport: i32,
    options: &Document,
) -> Result<i64, Error> {
    let args = [bytes(options)?.into(), param(jobname), nodename.into(), nodeport.into()];
    write(&PUT, &args)?.ok_or(Error::NoRow)
}

/// Replaces all options of a job. Returns whether there was one.
pub(crate) fn set(jobid: i64, options: &Document) -> Result<bool, Error> {
    Ok(write(&SET, &[bytes(options)?.into(), jobid.into()])?.is_some())
}

/// A job's row by column names, locked against changes by others; None if there is no such job.
pub(crate) fn get(jobid: i64) -> Result<Option<Document>, Error> {
    let owner = extension_owner()?;
    let row = as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(GET, Some(1), &[jobid.into()])?;
            if rows.is_empty() { Ok(None) } else { rows.first().get_one::<Vec<u8>>() }
        })
    })?;
    Ok(row.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
}

fn bytes(options: &Document) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(options)?)
}

fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<Option<i64>, Error> {
    let owner = extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let rows = client.update(statement, None, args)?;
            if rows.is_empty() { Ok(None) } else { Ok(rows.first().get_one::<i64>()?) }
        })
    })
}

/// The SQL for a job's options as the scheduler reads them: JSON as text with a key for each that
/// is not NULL, durations and instants in microseconds; NULL if all are, which most jobs' are, and
/// nothing is to be paid for them. `job`: what the query calls the row of `cron.job`.
pub(crate) fn stored(job: &str) -> String {
    let options = || OPTIONS.iter().filter(|option| is_stored(option));
    let columns: Vec<String> = options().map(|option| format!("{job}.{}", option.name)).collect();
    let fields: Vec<String> = options()
        .map(|option| {
            let column = format!("{job}.{}", option.name);
            let value = if matches!(option.kind, Kind::Span(_)) { micros(&column) } else { column };
            format!("'{}', {value}", option.name)
        })
        .collect();
    let paused = format!("{job}.paused_until");
    format!(
        "CASE WHEN ROW({}, {paused}) IS NULL THEN NULL ELSE pg_catalog.jsonb_strip_nulls(\
         pg_catalog.jsonb_build_object({}) OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(\
         'paused_until', CASE WHEN pg_catalog.isfinite({paused}) THEN {} \
         WHEN {paused} OPERATOR(pg_catalog.>) pg_catalog.now() THEN 9223372036854775807 END)\
         )::pg_catalog.text END",
        columns.join(", "),
        fields.join(", "),
        micros(&paused),
    )
}

/// Whether the scheduler finds the option among the others, rather than by itself.
fn is_stored(option: &Spec) -> bool {
    const APART: [&str; 12] = [
        "schedule",
        "command",
        "database",
        "username",
        "active",
        "timezone",
        "settings",
        "tags",
        "description",
        "keep_runs",
        "keep_days",
        "alert_job",
    ];
    !APART.contains(&option.name)
}

/// Clamped well within a bigint: one row out of range would keep all from being read.
fn micros(value: &str) -> String {
    format!(
        "CASE WHEN {value} IS NOT NULL THEN (greatest(least(extract(epoch FROM {value}), \
         9000000000000), -9000000000000) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 END"
    )
}
