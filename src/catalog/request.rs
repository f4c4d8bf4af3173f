//! `cron.run_request`: runs that were asked for, beside those the schedules bring.
//!
//! A request is there until the run it asks for has a final row of its own in the ledger and what
//! follows from it is written (the next attempt, or how far its success has brought the job), so that
//! all of it survives whatever happens in between.

use std::ffi::{CStr, CString};
use std::rc::Rc;

use pg_tock_core::engine::Occurrence;
use pg_tock_core::run::{Origin, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::prelude::*;
use pgrx::spi::{self, SpiHeapTupleData};

use super::kept;
use super::origin::{self, telling_triggers};
use super::state::{self, Reached, Success};
use crate::pg::time::from_pg;

// OFFSET keeps each EXISTS what it is, a look into an index: a join could read the whole ledger.
macro_rules! requests {
    ($($where:literal),+) => {
        concat!(
            "SELECT r.runid, r.jobid, r.scheduled_for, r.attempt, r.trigger, r.not_before, \
              pg_catalog.convert_to(r.requested_by, pg_catalog.getdatabaseencoding()), \
              pg_catalog.convert_to(r.command, pg_catalog.getdatabaseencoding()), \
              CASE WHEN r.trigger OPERATOR(pg_catalog.=) 'retry' THEN ",
            telling_triggers!("r"),
            " END, r.attempt OPERATOR(pg_catalog.>) 1 AND EXISTS ( \
               SELECT FROM cron.job_run_details d \
               WHERE d.jobid OPERATOR(pg_catalog.=) r.jobid \
                AND d.scheduled_for OPERATOR(pg_catalog.=) r.scheduled_for \
                AND d.outcome OPERATOR(pg_catalog.=) 'crashed' OFFSET 0), \
              pg_catalog.convert_to(c.reason, pg_catalog.getdatabaseencoding()), \
              pg_catalog.convert_to(r.http::pg_catalog.text, 'UTF8'), r.force, r.alert::pg_catalog.text, \
              pg_catalog.convert_to(r.username, pg_catalog.getdatabaseencoding()), \
              pg_catalog.convert_to(r.database, pg_catalog.getdatabaseencoding()), \
              (SELECT NOT coalesce(j.username OPERATOR(pg_catalog.=) r.username \
                 AND j.database OPERATOR(pg_catalog.=) r.database, r.command IS NULL) \
               FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) r.jobid) \
             FROM cron.run_request r LEFT JOIN cron.run_cancel c \
              ON c.runid OPERATOR(pg_catalog.=) r.runid WHERE ",
            $($where,)+
            " ORDER BY r.runid"
        )
    };
}

// Of a flood of requests each further one would have all that wait read again: those that are taken, $1, are news
// only if they are to end, those that are over, $2, never. A subquery of its own is hashed, whatever the plan is
// made for.
macro_rules! news {
    ($where:literal) => {
        requests!(
            "(NOT r.runid OPERATOR(pg_catalog.=) ANY (SELECT k.id FROM pg_catalog.unnest($1) AS k (id)) \
              OR c.runid IS NOT NULL) \
             AND NOT r.runid OPERATOR(pg_catalog.=) ANY (SELECT k.id FROM pg_catalog.unnest($2) AS k (id)) AND ",
            $where
        )
    };
}

const SOME: &str = concat!(news!("r.jobid OPERATOR(pg_catalog.=) ANY ($3)"), " LIMIT $4");
const THESE: &str = requests!("r.runid OPERATOR(pg_catalog.=) ANY ($1)");
const NEXT: &str = "SELECT pg_catalog.max(n.runid), pg_catalog.count(*) FROM (SELECT r.runid FROM cron.run_request r \
      WHERE r.runid OPERATOR(pg_catalog.>) $1 ORDER BY r.runid LIMIT $2) n";
const PAGE: &str = news!(
    "r.runid OPERATOR(pg_catalog.>) $3 AND r.runid OPERATOR(pg_catalog.<=) $4 \
     AND NOT EXISTS (SELECT FROM cron.job_run_details d \
      WHERE d.runid OPERATOR(pg_catalog.=) r.runid AND d.end_time IS NOT NULL OFFSET 0)"
);

const FORGET: [&str; 2] = [
    "DELETE FROM cron.run_request WHERE runid OPERATOR(pg_catalog.=) ANY ($1)",
    "DELETE FROM cron.run_cancel WHERE runid OPERATOR(pg_catalog.=) ANY ($1)",
];

// Those whose run is over, but for $1.
const FORGET_OVER: &str = concat!(
    "DELETE FROM cron.run_request r USING cron.job_run_details d \
      WHERE d.runid OPERATOR(pg_catalog.=) r.runid AND d.end_time IS NOT NULL \
       AND r.runid OPERATOR(pg_catalog.<>) ALL ($1) \
      RETURNING r.jobid, r.scheduled_for, d.status OPERATOR(pg_catalog.=) 'succeeded', \
       CASE WHEN d.status OPERATOR(pg_catalog.=) 'succeeded' THEN ",
    telling_triggers!("r"),
    " END"
);

// Those of jobs that are gone; what was taken back and is not there.
const FORGET_STRAY: [&str; 2] = [
    "DELETE FROM cron.run_request r WHERE NOT EXISTS \
      (SELECT FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) r.jobid)",
    "DELETE FROM cron.run_cancel c WHERE NOT EXISTS \
      (SELECT FROM cron.run_request r WHERE r.runid OPERATOR(pg_catalog.=) c.runid)",
];

/// Runs whose requests need not be read.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// They are to begin, or have begun: their requests are news only if they are to end.
    pub(crate) taken: Vec<i64>,
    /// They are over.
    pub(crate) over: Vec<i64>,
}

/// A run that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What is to run, with the id it will have.
    pub(crate) occurrence: Occurrence,
    /// When it is due; None for at once.
    pub(crate) not_before: Option<Timestamp>,
    /// The role that asked; None if it was the scheduler itself, because an attempt failed or the server started.
    pub(crate) by: Option<CString>,
    /// The command to run, where that is not the job's.
    pub(crate) command: Option<CString>,
    /// The request to send, as JSON, where that is not the job's.
    pub(crate) http: Option<String>,
    /// What the occurrence is to the job.
    pub(crate) origin: Origin,
    /// An earlier attempt crashed, or this one may have.
    pub(crate) after_crash: bool,
    /// Somebody has taken it back: who and why, as its row is to say.
    pub(crate) taken_back: Option<Vec<u8>>,
    /// It is to run whatever keeps its job from running.
    pub(crate) force: bool,
    /// The alert it is to handle, as JSON in ASCII.
    pub(crate) alert: Option<String>,
    /// What it was asked for; None for the job whatever it is.
    pub(crate) place: Option<Place>,
    /// Its job has become another role's or another database's since.
    pub(crate) misplaced: bool,
}

/// The role and the database of a job, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) username: Rc<CStr>,
    pub(crate) database: Rc<CStr>,
}

impl Place {
    /// From names in the database's encoding, if there are both.
    pub(crate) fn read(username: Option<Vec<u8>>, database: Option<Vec<u8>>) -> Option<Self> {
        // text cannot hold a NUL byte
        let name = |bytes: Vec<u8>| Rc::from(CString::new(bytes).unwrap_or_default());
        Some(Self { username: name(username?), database: name(database?) })
    }
}

impl Request {
    /// It waits while its job is switched off, and runs when that is on again. Others end with that.
    pub(crate) fn outlasts_its_job(&self) -> bool {
        self.by.is_none() && self.occurrence.trigger != Trigger::Startup
    }

    /// It is not to run any more, and ends where it is.
    pub(crate) const fn ends(&self) -> bool {
        self.taken_back.is_some() || self.misplaced
    }
}

/// The last run of the next so many requests, and how many those are. In a transaction, as every function here.
pub(crate) fn next(after: i64, most: usize) -> Result<Option<(i64, usize)>, spi::Error> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Spi::connect(|client| {
        let row = kept::select(client, NEXT, &[after.into(), most.into()])?.first();
        let count = usize::try_from(row.get::<i64>(2)?.unwrap_or(0)).unwrap_or(0);
        Ok(row.get::<i64>(1)?.map(|last| (last, count)))
    })
}

/// The requests after one and up to another whose runs are not over, oldest first, but for what is `known`.
pub(crate) fn page(after: i64, last: i64, known: Known) -> Result<Vec<Request>, spi::Error> {
    let Known { taken, over } = known;
    Spi::connect(|client| {
        let arguments = [taken.into(), over.into(), after.into(), last.into()];
        kept::select(client, PAGE, &arguments)?.map(|row| read(&row)).collect()
    })
}

/// So many requests for these jobs, oldest first, but for what is `known`.
pub(crate) fn of_jobs(ids: &[i64], known: Known, most: i64) -> Result<Vec<Request>, spi::Error> {
    let Known { taken, over } = known;
    Spi::connect(|client| {
        let arguments = [taken.into(), over.into(), ids.to_vec().into(), most.into()];
        kept::select(client, SOME, &arguments)?.map(|row| read(&row)).collect()
    })
}

/// The requests for these runs, oldest first.
pub(crate) fn of_runs(runs: &[i64]) -> Result<Vec<Request>, spi::Error> {
    Spi::connect(|client| {
        kept::select(client, THESE, &[runs.to_vec().into()])?.map(|row| read(&row)).collect()
    })
}

fn read(row: &SpiHeapTupleData<'_>) -> Result<Request, spi::Error> {
    let stamp = |at: Option<TimestampWithTimeZone>| at.map(|at| from_pg(at.into_inner()));
    let attempt = row.get::<i32>(4)?.and_then(|attempt| u32::try_from(attempt).ok());
    let trigger = row.get::<String>(5)?;
    let occurrence = Occurrence {
        job: JobId(row.get(2)?.unwrap_or_default()),
        scheduled_for: stamp(row.get(3)?).unwrap_or(Timestamp(0)),
        trigger: trigger.as_deref().and_then(Trigger::parse).unwrap_or(Trigger::Manual),
        attempt: attempt.unwrap_or(1),
        run: row.get::<i64>(1)?.map(RunId),
    };
    let origin = match occurrence.trigger.origin() {
        Some(origin) => origin,
        None => origin::read(row, 9)?,
    };
    // text cannot hold a NUL byte
    let text = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
    Ok(Request {
        occurrence,
        not_before: stamp(row.get(6)?),
        by: row.get(7)?.map(text),
        command: row.get(8)?.map(text),
        origin,
        after_crash: row.get(10)?.unwrap_or(false),
        taken_back: row.get::<Vec<u8>>(11)?,
        http: row.get::<Vec<u8>>(12)?.map(|json| String::from_utf8_lossy(&json).into_owned()),
        force: row.get(13)?.unwrap_or(false),
        alert: row.get(14)?,
        place: Place::read(row.get(15)?, row.get(16)?),
        misplaced: row.get(17)?.unwrap_or(false),
    })
}

/// Forgets requests, and writes how far their runs have brought their jobs.
pub(crate) fn forget(runs: &[i64], reached: &[Reached]) -> Result<(), spi::Error> {
    state::set_reached(reached)?;
    Spi::connect_mut(|client| {
        for statement in FORGET {
            kept::update(client, statement, &[runs.to_vec().into()])?;
        }
        Ok(())
    })
}

/// Forgets the requests that need nothing any more, and writes how far their runs have brought their
/// jobs, which may be news to this scheduler. Those for `kept` stay: what follows from the end of these
/// runs is not written yet.
pub(crate) fn forget_answered(kept: Vec<i64>) -> Result<Vec<Success>, spi::Error> {
    let successes = Spi::connect_mut(|client| {
        let mut successes = Vec::new();
        for row in client.update(FORGET_OVER, None, &[kept.into()])? {
            let at = row.get::<TimestampWithTimeZone>(2)?;
            if let Some(at) = at.filter(|_| matches!(row.get(3), Ok(Some(true)))) {
                let job = JobId(row.get(1)?.unwrap_or_default());
                let (at, origin) = (from_pg(at.into_inner()), origin::read(&row, 4)?);
                successes.push(Success { job, at, origin });
            }
        }
        for statement in FORGET_STRAY {
            client.update(statement, None, &[])?;
        }
        Ok::<_, spi::Error>(successes)
    })?;
    state::set_reached(&state::reached_by(&successes))?;
    Ok(successes)
}
