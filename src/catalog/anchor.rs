//! What intervals count from, asked for job by job. It needs the rights of a statement of the current
//! user, and row security counts.

use pg_tock_core::time::Timestamp;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;
use pgrx::spi;

use super::kept;
use crate::pg::keyed_row::{self, Place};
use crate::pg::time::from_pg;

const EFFECTIVE_FROM: &str =
    "SELECT effective_from FROM cron.job_state WHERE jobid OPERATOR(pg_catalog.=) $1";
const LAST_END: &str = "SELECT last_end FROM cron.job_stat WHERE jobid OPERATOR(pg_catalog.=) $1";

/// When the present schedule of a job took effect; None if that is not known.
pub(crate) fn effective_from(jobid: i64) -> spi::SpiResult<Option<Timestamp>> {
    instant(c"job_state", c"effective_from", EFFECTIVE_FROM, jobid)
}

/// When the last run of a job ended; None if there is none.
pub(crate) fn last_end(jobid: i64) -> spi::SpiResult<Option<Timestamp>> {
    instant(c"job_stat", c"last_end", LAST_END, jobid)
}

fn instant(
    table: &'static core::ffi::CStr,
    column: &'static core::ffi::CStr,
    query: &'static str,
    jobid: i64,
) -> spi::SpiResult<Option<Timestamp>> {
    let place = Place { schema: c"cron", table, key: c"jobid", column };
    if let Some(known) = keyed_row::instant(place, jobid) {
        return Ok(known);
    }
    Spi::connect(|client| {
        let rows = kept::select(client, query, &[jobid.into()])?;
        let at = if rows.is_empty() { None } else { rows.first().get_one()? };
        Ok(at.map(|at: TimestampWithTimeZone| from_pg(at.into())))
    })
}
