//! `cron.job` as the scheduler reads it, together with what the system catalogs and
//! `cron.job_state` say about each job.
//!
//! Texts come as bytes in the database's encoding: pgrx would refuse what is not UTF-8.

use std::ffi::CString;

use pg_tock_core::time::Timestamp;
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use crate::pg::time::from_pg;

/// One row of `cron.job`, with its surroundings.
#[derive(Debug)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    pub(crate) schedule: String,
    pub(crate) command: CString,
    pub(crate) nodename: String,
    pub(crate) database: CString,
    pub(crate) username: CString,
    pub(crate) active: bool,
    pub(crate) jobname: Option<CString>,
    pub(crate) timezone: Option<String>,
    /// None: there is no such database.
    pub(crate) database_oid: Option<u32>,
    /// None: there is no such role.
    pub(crate) role_oid: Option<u32>,
    pub(crate) is_superuser: bool,
    /// When the definition in `definition` came into force.
    pub(crate) effective_from: Option<Timestamp>,
    pub(crate) definition: Option<String>,
    /// `settings`, as JSON in UTF-8.
    pub(crate) settings: Option<String>,
    /// Whether `session` is `fresh`.
    pub(crate) fresh: bool,
}

macro_rules! bytes {
    ($column:literal) => {
        concat!("pg_catalog.convert_to(", $column, ", pg_catalog.getdatabaseencoding())")
    };
}

macro_rules! jobs {
    ($where:literal) => {
        concat!(
            "SELECT j.jobid, ",
            bytes!("j.schedule"),
            ", ",
            bytes!("j.command"),
            ", ",
            bytes!("j.nodename"),
            ", ",
            bytes!("j.database"),
            ", ",
            bytes!("j.username"),
            ", j.active, ",
            bytes!("j.jobname"),
            ", ",
            bytes!("j.timezone"),
            ", ",
            "d.oid, r.oid, r.rolsuper, s.effective_from, s.definition, ",
            "pg_catalog.convert_to(j.settings::pg_catalog.text, 'UTF8'), ",
            "j.session OPERATOR(pg_catalog.=) 'fresh' FROM cron.job j ",
            "LEFT JOIN pg_catalog.pg_database d ",
            "ON d.datname::pg_catalog.text OPERATOR(pg_catalog.=) j.database ",
            "LEFT JOIN pg_catalog.pg_roles r ",
            "ON r.rolname::pg_catalog.text OPERATOR(pg_catalog.=) j.username ",
            "LEFT JOIN cron.job_state s ON s.jobid OPERATOR(pg_catalog.=) j.jobid ",
            $where
        )
    };
}

const ALL: &str = jobs!("");
const SOME: &str = jobs!("WHERE j.jobid OPERATOR(pg_catalog.=) ANY ($1)");
// Tables are looked up by row, not by name: news of a COMMIT can arrive before the invalidations
// that go with it, when cached names are still those of before.
const INSTALLED: &str = "SELECT e.oid, j.oid, r.oid FROM pg_catalog.pg_extension e \
     JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) 'cron' \
     JOIN pg_catalog.pg_class j ON j.relnamespace OPERATOR(pg_catalog.=) n.oid \
      AND j.relname OPERATOR(pg_catalog.=) 'job' \
     JOIN pg_catalog.pg_class r ON r.relnamespace OPERATOR(pg_catalog.=) n.oid \
      AND r.relname OPERATOR(pg_catalog.=) 'job_run_details' \
     WHERE e.extname OPERATOR(pg_catalog.=) 'pg_tock'";

/// The extension as this database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The extension; another one if it was dropped and created again.
    pub(crate) extension: pg_sys::Oid,
    /// `cron.job`.
    pub(crate) jobs: pg_sys::Oid,
    /// `cron.job_run_details`.
    pub(crate) ledger: pg_sys::Oid,
}

/// The extension, if this database has it. In a transaction, as every function here.
pub(crate) fn installed() -> Result<Option<Installed>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(INSTALLED, Some(1), &[])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let (extension, jobs, ledger) =
            rows.first().get_three::<pg_sys::Oid, pg_sys::Oid, pg_sys::Oid>()?;
        Ok(extension.zip(jobs).zip(ledger).map(|((extension, jobs), ledger)| Installed {
            extension,
            jobs,
            ledger,
        }))
    })
}

/// All jobs.
pub(crate) fn all() -> Result<Vec<JobRow>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(ALL, None, &[])?;
        rows.map(|row| read(&row)).collect()
    })
}

/// Those of these jobs that exist.
pub(crate) fn some(ids: &[i64]) -> Result<Vec<JobRow>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(SOME, None, &[ids.to_vec().into()])?;
        rows.map(|row| read(&row)).collect()
    })
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<JobRow, spi::Error> {
    let bytes = |column: usize| row.get::<Vec<u8>>(column).map(Option::unwrap_or_default);
    let text =
        |column: usize| bytes(column).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    // text cannot hold a NUL byte
    let c_text = |column: usize| bytes(column).map(|bytes| CString::new(bytes).unwrap_or_default());
    let optional = |column: usize| row.get::<Vec<u8>>(column);
    Ok(JobRow {
        id: row.get(1)?.unwrap_or_default(),
        schedule: text(2)?,
        command: c_text(3)?,
        nodename: text(4)?,
        database: c_text(5)?,
        username: c_text(6)?,
        active: row.get(7)?.unwrap_or(false),
        jobname: optional(8)?.map(|bytes| CString::new(bytes).unwrap_or_default()),
        timezone: optional(9)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        database_oid: row.get::<pg_sys::Oid>(10)?.map(pg_sys::Oid::to_u32),
        role_oid: row.get::<pg_sys::Oid>(11)?.map(pg_sys::Oid::to_u32),
        is_superuser: row.get(12)?.unwrap_or(false),
        effective_from: row.get::<TimestampWithTimeZone>(13)?.map(|at| from_pg(at.into_inner())),
        definition: row.get(14)?,
        settings: optional(15)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        fresh: row.get(16)?.unwrap_or(false),
    })
}
