//! `cron.run_request`: runs that were asked for, beside those the schedules bring.
//!
//! A request is there until the run it asks for has a row of its own in the ledger, so that it
//! survives whatever happens in between.

use std::ffi::CString;

use pg_tock_core::engine::Occurrence;
use pg_tock_core::run::Trigger;
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use crate::pg::time::from_pg;

macro_rules! requests {
    ($where:literal) => {
        concat!(
            "SELECT r.runid, r.jobid, r.scheduled_for, r.attempt, r.trigger, \
             pg_catalog.convert_to(r.requested_by, pg_catalog.getdatabaseencoding()) \
             FROM cron.run_request r ",
            $where,
            " ORDER BY r.runid"
        )
    };
}

const ALL: &str = requests!("");
const SOME: &str = requests!("WHERE r.jobid OPERATOR(pg_catalog.=) ANY ($1)");

const FORGET: &str = "DELETE FROM cron.run_request WHERE runid OPERATOR(pg_catalog.=) ANY ($1)";

// Those of jobs that are gone, and those whose run has begun.
const FORGET_ANSWERED: [&str; 2] = [
    "DELETE FROM cron.run_request r WHERE NOT EXISTS \
      (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) r.jobid)",
    "DELETE FROM cron.run_request r USING cron.job_run_details d \
      WHERE d.runid OPERATOR(pg_catalog.=) r.runid",
];

/// A run that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What is to run, with the id it will have.
    pub(crate) occurrence: Occurrence,
    /// The role that asked.
    pub(crate) by: Option<CString>,
}

/// All requests, oldest first. In a transaction, as every function here.
pub(crate) fn all() -> Result<Vec<Request>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(ALL, None, &[])?;
        rows.map(|row| read(&row)).collect()
    })
}

/// The requests for these jobs, oldest first.
pub(crate) fn of_jobs(ids: &[i64]) -> Result<Vec<Request>, spi::Error> {
    Spi::connect(|client| {
        let rows = client.select(SOME, None, &[ids.to_vec().into()])?;
        rows.map(|row| read(&row)).collect()
    })
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<Request, spi::Error> {
    let at = row.get::<TimestampWithTimeZone>(3)?.map(|at| from_pg(at.into_inner()));
    let attempt = row.get::<i32>(4)?.and_then(|attempt| u32::try_from(attempt).ok());
    let trigger = row.get::<String>(5)?;
    let occurrence = Occurrence {
        job: JobId(row.get(2)?.unwrap_or_default()),
        scheduled_for: at.unwrap_or(Timestamp(0)),
        trigger: trigger.as_deref().and_then(Trigger::parse).unwrap_or(Trigger::Manual),
        attempt: attempt.unwrap_or(1),
        run: row.get::<i64>(1)?.map(RunId),
    };
    // text cannot hold a NUL byte
    let by = row.get::<Vec<u8>>(6)?.map(|name| CString::new(name).unwrap_or_default());
    Ok(Request { occurrence, by })
}

/// Forgets requests.
pub(crate) fn forget(runs: &[i64]) -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        client.update(FORGET, None, &[runs.to_vec().into()])?;
        Ok(())
    })
}

/// Forgets the requests that need nothing any more.
pub(crate) fn forget_answered() -> Result<(), spi::Error> {
    Spi::connect_mut(|client| {
        for statement in FORGET_ANSWERED {
            client.update(statement, None, &[])?;
        }
        Ok(())
    })
}
