//! `cron.run_checkpoint` and `cron.run_log`: what a run writes about itself, as the extension's
//! owner. Which run that is, the caller knows from shared memory.

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use super::role::extension_owner;
use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;
use crate::pg::time::to_pg;
use crate::shmem::slots::CurrentRun;

const CHECKPOINT: &str = "INSERT INTO cron.run_checkpoint AS c (jobid, scheduled_for, runid, at, data) \
     VALUES ($1, $2, $3, pg_catalog.clock_timestamp(), $4) \
     ON CONFLICT ON CONSTRAINT run_checkpoint_pkey DO UPDATE \
     SET runid = excluded.runid, at = excluded.at, data = excluded.data";

const LAST_CHECKPOINT: &str = "SELECT c.data FROM cron.run_checkpoint c \
     WHERE c.jobid OPERATOR(pg_catalog.=) $1 AND c.scheduled_for OPERATOR(pg_catalog.=) $2";

const LOG: &str = "INSERT INTO cron.run_log (runid, jobid, at, level, message, data, username) \
     VALUES ($1, $2, pg_catalog.clock_timestamp(), $3, $4, $5, pg_catalog.pg_get_userbyid($6))";

/// A jsonb value by the bytes Postgres stores, or NULL.
fn jsonb(data: Option<&[u8]>) -> DatumWithOid<'_> {
    match data {
        // SAFETY: jsonb and bytea have one layout, a length and the bytes; the bytes are a jsonb's.
        Some(bytes) => unsafe { DatumWithOid::new(bytes, pg_sys::JSONBOID) },
        None => DatumWithOid::null_oid(pg_sys::JSONBOID),
    }
}

fn occurrence(run: &CurrentRun) -> Result<TimestampWithTimeZone, Error> {
    TimestampWithTimeZone::try_from(to_pg(run.scheduled_for)).map_err(|_| Error::NotInRun)
}

/// Writes the checkpoint of the run's occurrence, over the one there is.
pub(crate) fn checkpoint(run: &CurrentRun, data: Option<&[u8]>) -> Result<(), Error> {
    let at = occurrence(run)?;
    let owner = extension_owner()?;
    let args = [run.job.0.into(), at.into(), run.run.0.into(), jsonb(data)];
    as_role(owner, || write(CHECKPOINT, &args))
}

/// The checkpoint of the run's occurrence, by the bytes of the jsonb.
pub(crate) fn last_checkpoint(run: &CurrentRun) -> Result<Option<Vec<u8>>, Error> {
    let at = occurrence(run)?;
    let owner = extension_owner()?;
    as_role(owner, || {
        // Not read only: what the statement's own command has written is to be seen.
        Spi::connect_mut(|client| {
            let rows = client.update(LAST_CHECKPOINT, Some(1), &[run.job.0.into(), at.into()])?;
            if rows.is_empty() { Ok(None) } else { Ok(payload(&rows.first())?) }
        })
    })
}

/// The bytes of the first column, whatever type it has that is stored as a length and bytes.
fn payload(rows: &spi::SpiTupleTable<'_>) -> Result<Option<Vec<u8>>, spi::Error> {
    let datum = rows.get_datum_by_ordinal(1)?;
    // SAFETY: the column is a jsonb that was not null, whose layout is bytea's.
    Ok(datum.and_then(|datum| unsafe { Vec::<u8>::from_datum(datum, false) }))
}

/// Adds a row to the log of a run of this role.
pub(crate) fn log(
    run: &CurrentRun,
    role: u32,
    level: &str,
    message: ServerText<'_>,
    data: Option<&[u8]>,
) -> Result<(), Error> {
    let owner = extension_owner()?;
    let role = pg_sys::Oid::from(role);
    let args = [
        run.run.0.into(),
        run.job.0.into(),
        level.into(),
        message.param(),
        jsonb(data),
        role.into(),
    ];
    as_role(owner, || write(LOG, &args))
}

fn write(statement: &'static str, args: &[DatumWithOid<'_>]) -> Result<(), Error> {
    Spi::connect_mut(|client| client.update(statement, None, args).map(|_| ()))?;
    Ok(())
}
