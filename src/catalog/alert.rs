//! `cron.alert` and `cron.event_queue`: alerts from their beginning to their end, and what is to be sent
//! with NOTIFY.
//!
//! Owns one invariant: an alert's row, the event that tells of it and the request for its handler's run
//! are one commit, so each episode is told once, whatever happens in between.

use std::collections::HashMap;

use pg_tock_core::alert::{Call, Change, Ended, Episode, Event, Past, Recovery, Rule, document};
use pg_tock_core::run::{Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{self, SpiClient, SpiHeapTupleData};

use super::kept;
use crate::pg::json::to_server;
use crate::pg::text::ServerText;
use crate::pg::time::{from_pg, timestamptz};

/// Most events that wait to be sent. Beyond that they are not kept.
const MOST_EVENTS: i64 = 10_000;

const TABLE: &str = "SELECT c.oid FROM pg_catalog.pg_class c \
     WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('cron.alert')";

const OPEN: &str = "SELECT a.jobid, a.rule, EXISTS (SELECT FROM cron.job j \
      WHERE j.jobid OPERATOR(pg_catalog.=) a.jobid) \
     FROM cron.alert a WHERE a.recovered_at IS NULL";

/// The handler of a job `j`. One that others name as theirs has none itself: a failing handler would call
/// for ever.
macro_rules! handler {
    ($default:literal) => {
        concat!(
            "CASE WHEN j.jobname OPERATOR(pg_catalog.=) ",
            $default,
            " OR EXISTS (SELECT FROM cron.job k \
              WHERE k.username OPERATOR(pg_catalog.=) j.username \
               AND k.alert_job OPERATOR(pg_catalog.=) j.jobname) \
             THEN NULL ELSE coalesce(j.alert_job, nullif(",
            $default,
            ", '')) END"
        )
    };
}

const RAISE: &str = concat!(
    "INSERT INTO cron.alert (jobid, jobname, username, rule, raised_at, runid, \
      outcome, message, detail, handler) \
     SELECT j.jobid, j.jobname, j.username, $2, $3, $4, $5, $6, $7::pg_catalog.jsonb, ",
    handler!("$8"),
    " FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) $1 \
     ON CONFLICT (jobid, rule) WHERE recovered_at IS NULL DO NOTHING \
     RETURNING id, pg_catalog.convert_to(jobname, pg_catalog.getdatabaseencoding()), \
      pg_catalog.convert_to(username, pg_catalog.getdatabaseencoding()), \
      pg_catalog.convert_to(handler, pg_catalog.getdatabaseencoding()), \
      raised_at, runid, outcome, message, detail::pg_catalog.text"
);

// What is open goes with its job: whoever has the job now sees it, and his handler is told of its end.
const HAND_OVER: &str = concat!(
    "UPDATE cron.alert AS a SET username = j.username, handler = ",
    handler!("$1"),
    " FROM cron.job j WHERE j.jobid OPERATOR(pg_catalog.=) a.jobid AND a.recovered_at IS NULL \
      AND a.username OPERATOR(pg_catalog.<>) j.username"
);

const RECOVER: &str = "UPDATE cron.alert SET recovered_at = greatest($3, raised_at), recovery = $4 \
     WHERE jobid OPERATOR(pg_catalog.=) $1 AND rule OPERATOR(pg_catalog.=) $2 \
      AND recovered_at IS NULL \
     RETURNING id, pg_catalog.convert_to(jobname, pg_catalog.getdatabaseencoding()), \
      pg_catalog.convert_to(username, pg_catalog.getdatabaseencoding()), \
      pg_catalog.convert_to(handler, pg_catalog.getdatabaseencoding()), \
      raised_at, runid, outcome, message, detail::pg_catalog.text, recovered_at";

const HANDLER: &str = "SELECT h.jobid, h.active, \
      (SELECT pg_catalog.count(*) FROM cron.run_request r \
       WHERE r.jobid OPERATOR(pg_catalog.=) h.jobid \
        AND r.trigger OPERATOR(pg_catalog.=) 'alert') \
     FROM cron.job h \
     WHERE h.username OPERATOR(pg_catalog.=) $1 AND h.jobname OPERATOR(pg_catalog.=) $2";

// An instant that has a row, or has been asked for, is another run's.
const ASK: &str = "INSERT INTO cron.run_request (jobid, scheduled_for, trigger, requested_by, alert, \
      username, database) \
     SELECT $1, $2, $3, NULL, $4::pg_catalog.json, $5, (SELECT h.database FROM cron.job h \
       WHERE h.jobid OPERATOR(pg_catalog.=) $1) \
     WHERE NOT EXISTS (SELECT FROM cron.job_run_details d \
       WHERE d.jobid OPERATOR(pg_catalog.=) $1 AND d.scheduled_for OPERATOR(pg_catalog.=) $2) \
     ON CONFLICT ON CONSTRAINT run_request_occurrence DO NOTHING RETURNING runid";

const TELL: &str = "INSERT INTO cron.event_queue (payload) \
     SELECT e.payload FROM pg_catalog.unnest($1::pg_catalog.text[]) AS e (payload) \
     WHERE (SELECT pg_catalog.count(*) FROM (SELECT FROM cron.event_queue LIMIT $2) AS q) \
      OPERATOR(pg_catalog.<) $2";

// Whoever listens gets them in their order.
const SEND: &str = "WITH gone AS (DELETE FROM cron.event_queue WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY( \
      SELECT q.id FROM cron.event_queue q ORDER BY q.id LIMIT $1)) RETURNING id, payload) \
     SELECT pg_catalog.pg_notify('cron_events', e.payload) \
     FROM (SELECT g.payload FROM gone g ORDER BY g.id) AS e";

// The newest rows of each job, as many as its rules ask for. An attempt that another follows, or is to
// follow, is not its occurrence's end.
const PAST: &str = "SELECT u.jobid, d.runid, d.scheduled_for, d.end_time, d.outcome, \
      d.start_time, \
      d.requested_by IS NOT NULL \
       OR d.trigger OPERATOR(pg_catalog.=) ANY (ARRAY['manual', 'backfill']), \
      EXISTS (SELECT FROM cron.run_request q WHERE q.jobid OPERATOR(pg_catalog.=) u.jobid \
        AND q.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
        AND q.attempt OPERATOR(pg_catalog.>) d.attempt OFFSET 0) \
     FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.int8[]), \
       pg_catalog.unnest($2::pg_catalog.timestamptz[]), \
       pg_catalog.unnest($3::pg_catalog.int8[])) AS u (jobid, since, most) \
     CROSS JOIN LATERAL (SELECT * FROM cron.job_run_details r \
      WHERE r.jobid OPERATOR(pg_catalog.=) u.jobid \
       AND r.scheduled_for OPERATOR(pg_catalog.>) u.since \
      ORDER BY r.scheduled_for DESC, r.attempt DESC LIMIT u.most) AS d \
     ORDER BY u.jobid, d.scheduled_for DESC, d.attempt DESC";

/// Something that happened to an alert, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    pub(crate) event: Event,
    pub(crate) at: Timestamp,
}

/// Why a handler was not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncalled {
    Missing,
    Inactive,
    /// So many calls wait for it already.
    Busy,
}

/// A handler that was to be called: its owner and name, in the database's encoding.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) owner: Vec<u8>,
    pub(crate) name: Vec<u8>,
    /// The job that has a request now, or why there is none.
    pub(crate) how: Result<JobId, Uncalled>,
}

/// What was written of one event.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) noted: Noted,
    /// In UTF-8, for a line in the server log.
    pub(crate) episode: Episode,
    pub(crate) called: Option<Called>,
}

/// The table's oid. In a transaction, as every function here.
pub(crate) fn table() -> Result<Option<pg_sys::Oid>, spi::Error> {
    kept::oid(TABLE)
}

/// The alerts that are not over, and whether their jobs are there.
pub(crate) fn open() -> Result<Vec<(JobId, Rule, bool)>, spi::Error> {
    Spi::connect(|client| {
        let mut found = Vec::new();
        for row in kept::select(client, OPEN, &[])? {
            let job = row.get::<i64>(1)?.map(JobId);
            let rule = row.get::<String>(2)?.and_then(|word| Rule::parse(&word));
            let there = row.get(3)?.unwrap_or(false);
            found.extend(job.zip(rule).map(|(job, rule)| (job, rule, there)));
        }
        Ok(found)
    })
}

/// Gives alerts that are not over to those who own their jobs now.
pub(crate) fn hand_over(default_handler: &str) -> Result<(), spi::Error> {
    let default = to_server(default_handler);
    let args: [DatumWithOid<'_>; 1] = [ServerText::new(&default).param()];
    Spi::connect_mut(|client| kept::update(client, HAND_OVER, &args).map(|_| ()))
}

/// Whether events wait to be sent.
pub(crate) fn has_events() -> Result<bool, spi::Error> {
    Spi::connect(|client| {
        let rows = kept::select(client, "SELECT EXISTS (SELECT FROM cron.event_queue)", &[])?;
        Ok(rows.first().get_one()?.unwrap_or(false))
    })
}

/// What calls of handlers are made with.
#[derive(Clone, Debug)]
pub(crate) struct Calling {
    /// The database, in its own encoding.
    pub(crate) database: Vec<u8>,
    /// The handler of jobs that name none.
    pub(crate) default_handler: String,
    /// Most calls that wait for one handler.
    pub(crate) most: usize,
}

/// Writes what happened to alerts, tells of it and calls handlers. What has been done already, or is of
/// jobs that are gone, is left out.
pub(crate) fn write(noted: &[Noted], calling: &Calling) -> Result<Vec<Written>, spi::Error> {
    let (mut written, mut payloads) = (Vec::new(), Vec::new());
    for noted in noted {
        let Some(one) = write_one(noted, calling)? else { continue };
        let Event { job, change, .. } = noted.event;
        let (event, run, outcome) = match change {
            Change::Raised { run, outcome, .. } => (Call::Alert, run, outcome),
            Change::Recovered { run, outcome, .. } => (Call::Recovery, run, outcome),
        };
        payloads.push(payload(event.as_str(), job, run, outcome));
        written.push(one);
    }
    if !payloads.is_empty() {
        tell(&payloads)?;
    }
    Ok(written)
}

fn write_one(noted: &Noted, calling: &Calling) -> Result<Option<Written>, spi::Error> {
    Spi::connect_mut(|client| {
        let Noted { event, at } = *noted;
        let (call, row) = match event.change {
            Change::Raised { .. } => (Call::Alert, raise(client, &event, at, calling)?),
            Change::Recovered { .. } => (Call::Recovery, recover(client, &event, at, calling)?),
        };
        let Some((episode, owner, handler)) = row else { return Ok(None) };
        let called = match handler {
            Some(name) => {
                let text = document(call, &episode);
                let how = ask(client, &owner, &name, &text, at, calling.most)?;
                Some(Called { owner, name, how })
            }
            None => None,
        };
        Ok(Some(Written { noted: *noted, episode, called }))
    })
}

/// An alert with its owner and handler.
type Row = (Episode, Vec<u8>, Option<Vec<u8>>);

fn raise(
    client: &mut SpiClient<'_>,
    event: &Event,
    at: Timestamp,
    calling: &Calling,
) -> Result<Option<Row>, spi::Error> {
    let Change::Raised { run, outcome, finding } = event.change else { return Ok(None) };
    let default = to_server(&calling.default_handler);
    let args: [DatumWithOid<'_>; 8] = [
        event.job.0.into(),
        event.rule.as_str().into(),
        timestamptz(at).into(),
        run.map(|run| run.0).into(),
        outcome.map(Outcome::as_str).into(),
        finding.message().into(),
        finding.detail().to_string().into(),
        ServerText::new(&default).param(),
    ];
    let rows = kept::update(client, RAISE, &args)?;
    rows.map(|row| read(&row, event, None, calling)).next().transpose()
}

fn recover(
    client: &mut SpiClient<'_>,
    event: &Event,
    at: Timestamp,
    calling: &Calling,
) -> Result<Option<Row>, spi::Error> {
    let Change::Recovered { why, .. } = event.change else { return Ok(None) };
    let args: [DatumWithOid<'_>; 4] = [
        event.job.0.into(),
        event.rule.as_str().into(),
        timestamptz(at).into(),
        why.as_str().into(),
    ];
    let rows = kept::update(client, RECOVER, &args)?;
    rows.map(|row| read(&row, event, Some((at, why)), calling)).next().transpose()
}

fn read(
    row: &SpiHeapTupleData<'_>,
    event: &Event,
    recovered: Option<(Timestamp, Recovery)>,
    calling: &Calling,
) -> Result<Row, spi::Error> {
    let readable = |text: &[u8]| ServerText::new(text).readable().into_owned();
    let raised_at = row.get::<TimestampWithTimeZone>(5)?.map(|at| from_pg(at.into_inner()));
    let raised_at = raised_at.unwrap_or(Timestamp(0));
    let detail = row.get::<String>(9)?.unwrap_or_default();
    let episode = Episode {
        id: row.get(1)?.unwrap_or_default(),
        rule: event.rule,
        job: event.job,
        name: row.get::<Vec<u8>>(2)?.as_deref().map(readable),
        database: readable(&calling.database),
        raised_at,
        recovered: recovered.map(|(at, why)| (at.max(raised_at), why)),
        run: row.get::<i64>(6)?.map(RunId),
        outcome: row.get::<String>(7)?.and_then(|word| Outcome::parse(&word)),
        detail: serde_json::from_str(&detail).unwrap_or_default(),
        message: row.get::<String>(8)?.unwrap_or_default(),
    };
    Ok((episode, row.get(3)?.unwrap_or_default(), row.get(4)?))
}

/// Asks for a run of a handler.
fn ask(
    client: &mut SpiClient<'_>,
    owner: &[u8],
    name: &[u8],
    alert: &str,
    at: Timestamp,
    most: usize,
) -> Result<Result<JobId, Uncalled>, spi::Error> {
    let key = [ServerText::new(owner).param(), ServerText::new(name).param()];
    let found = kept::update(client, HANDLER, &key)?;
    if found.is_empty() {
        return Ok(Err(Uncalled::Missing));
    }
    let (job, active, waiting) = found.first().get_three::<i64, bool, i64>()?;
    let Some(job) = job else { return Ok(Err(Uncalled::Missing)) };
    if active != Some(true) {
        return Ok(Err(Uncalled::Inactive));
    }
    if usize::try_from(waiting.unwrap_or(0)).is_ok_and(|waiting| waiting >= most) {
        return Ok(Err(Uncalled::Busy));
    }
    let mut at = at;
    loop {
        let args: [DatumWithOid<'_>; 5] = [
            job.into(),
            timestamptz(at).into(),
            Trigger::Alert.as_str().into(),
            alert.into(),
            ServerText::new(owner).param(),
        ];
        if !kept::update(client, ASK, &args)?.is_empty() {
            return Ok(Ok(JobId(job)));
        }
        at = at.plus(1);
    }
}

/// What is sent for an event. Everybody can listen, so it names nothing but numbers.
pub(crate) fn payload(
    event: &str,
    job: JobId,
    run: Option<RunId>,
    outcome: Option<Outcome>,
) -> String {
    serde_json::json!({
        "event": event,
        "jobid": job.0,
        "runid": run.map(|run| run.0),
        "outcome": outcome.map(Outcome::as_str),
    })
    .to_string()
}

/// Has events sent. False if too many wait already.
pub(crate) fn tell(payloads: &[String]) -> Result<bool, spi::Error> {
    let args: [DatumWithOid<'_>; 2] = [payloads.to_vec().into(), MOST_EVENTS.into()];
    Spi::connect_mut(|client| Ok(!kept::update(client, TELL, &args)?.is_empty()))
}

/// Sends so many of the events that wait, and says how many there were.
pub(crate) fn send(most: i64) -> Result<usize, spi::Error> {
    Spi::connect_mut(|client| Ok(kept::update(client, SEND, &[most.into()])?.len()))
}

/// What the runs of jobs came to, each since an instant of its own and so many rows at the most.
pub(crate) fn past(jobs: &[(JobId, Timestamp, u32)]) -> Result<HashMap<JobId, Past>, spi::Error> {
    let most: HashMap<JobId, usize> =
        jobs.iter().map(|&(job, _, most)| (job, most as usize)).collect();
    let mut read: HashMap<JobId, Vec<Option<Ended>>> = HashMap::new();
    let mut before: Option<(JobId, Timestamp)> = None;
    let args: [DatumWithOid<'_>; 3] = [
        jobs.iter().map(|(job, ..)| job.0).collect::<Vec<_>>().into(),
        jobs.iter().map(|&(_, since, _)| timestamptz(since)).collect::<Vec<_>>().into(),
        jobs.iter().map(|&(.., most)| i64::from(most)).collect::<Vec<_>>().into(),
    ];
    Spi::connect(|client| {
        for row in kept::select(client, PAST, &args)? {
            let job = JobId(row.get(1)?.unwrap_or_default());
            let at = |column: usize| {
                row.get::<TimestampWithTimeZone>(column)
                    .map(|at| at.map(|at| from_pg(at.into_inner())))
            };
            let occurrence = at(3)?.unwrap_or(Timestamp(0));
            let outcome = row.get::<String>(5)?.and_then(|word| Outcome::parse(&word));
            let last = before.replace((job, occurrence)) != Some((job, occurrence));
            let started = at(6)?;
            let ended = at(4)?.zip(outcome).map(|(at, outcome)| {
                Ok::<_, spi::Error>(Ended {
                    run: RunId(row.get(2)?.unwrap_or_default()),
                    at,
                    outcome,
                    will_retry: !last || row.get(8)?.unwrap_or(false),
                    by_hand: row.get(7)?.unwrap_or(false),
                    lasted: started.map_or(0, |started| at.since(started)),
                })
            });
            read.entry(job).or_default().push(ended.transpose()?);
        }
        Ok::<_, spi::Error>(())
    })?;
    let past = jobs.iter().map(|&(job, ..)| {
        let rows = read.remove(&job).unwrap_or_default();
        let complete = rows.len() < most.get(&job).copied().unwrap_or(0);
        let mut runs: Vec<Ended> = rows.into_iter().flatten().collect();
        runs.sort_by_key(|ended| (ended.at, ended.run.0));
        (job, Past { runs, complete, last_success: None })
    });
    Ok(past.collect())
}
