//! What the catalog knows of a job that somebody asks about.

use pgrx::prelude::*;
use serde::Deserialize;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;

use super::role::extension_owner;

// Instants in microseconds since 1970. The newest of a job's runs are found by the index on its
// occurrences; rows without an occurrence are from elsewhere.
const KNOWN: &str = "SELECT pg_catalog.convert_to(pg_catalog.jsonb_build_object( \
     'database', (SELECT pg_catalog.jsonb_build_object('open', d.datallowconn) \
       FROM pg_catalog.pg_database d WHERE d.datname::pg_catalog.text OPERATOR(pg_catalog.=) j.database), \
     'queue', (SELECT pg_catalog.jsonb_build_object('most', q.max_running, 'running', \
        (SELECT pg_catalog.count(*) FROM pg_catalog.unnest($2) AS r (jobid) \
         JOIN cron.job o ON o.jobid OPERATOR(pg_catalog.=) r.jobid \
         WHERE o.queue OPERATOR(pg_catalog.=) j.queue)) \
       FROM cron.queue q WHERE q.name OPERATOR(pg_catalog.=) j.queue), \
     'workers', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a \
       WHERE a.backend_type OPERATOR(pg_catalog.<>) ALL (ARRAY['client backend', 'autovacuum launcher', \
        'autovacuum worker', 'walsender', 'walreceiver', 'walwriter', 'walsummarizer', 'startup', \
        'checkpointer', 'background writer', 'archiver', 'slotsync worker', 'io worker'])), \
     'upstreams', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', u.name, 'id', o.jobid, \
         'active', o.active AND (o.paused_until IS NULL \
           OR o.paused_until OPERATOR(pg_catalog.<=) pg_catalog.now()), \
         'last_status', (SELECT d.status FROM cron.job_run_details d \
           WHERE d.jobid OPERATOR(pg_catalog.=) o.jobid AND d.scheduled_for IS NOT NULL \
            AND d.end_time IS NOT NULL ORDER BY d.scheduled_for DESC, d.attempt DESC LIMIT 1)) \
        ORDER BY u.place) \
       FROM pg_catalog.unnest(j.run_after) WITH ORDINALITY AS u (name, place) \
       LEFT JOIN cron.job o ON o.jobname OPERATOR(pg_catalog.=) u.name \
        AND o.username OPERATOR(pg_catalog.=) j.username), \
     'attempts', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', d.runid, \
         'succeeded', d.status OPERATOR(pg_catalog.=) 'succeeded', 'outcome', coalesce(d.outcome, d.status), \
         'sqlstate', d.sqlstate, 'message', d.return_message, \
         'at', (greatest(least(extract(epoch FROM d.end_time), 9000000000000), -9000000000000) \
          OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, \
         'resolved', pg_catalog.starts_with(d.reason, 'resolved as '), \
         'may_retry', d.status OPERATOR(pg_catalog.=) 'failed' \
          AND NOT EXISTS (SELECT FROM cron.run_request r WHERE r.jobid OPERATOR(pg_catalog.=) d.jobid \
           AND r.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for) \
          AND NOT EXISTS (SELECT FROM cron.job_run_details o WHERE o.jobid OPERATOR(pg_catalog.=) d.jobid \
           AND o.scheduled_for OPERATOR(pg_catalog.=) d.scheduled_for \
           AND (o.end_time IS NULL OR o.status OPERATOR(pg_catalog.=) 'succeeded' \
            OR pg_catalog.starts_with(o.reason, 'resolved as succeeded ')))) \
        ORDER BY d.scheduled_for DESC, d.attempt DESC) \
       FROM (SELECT * FROM cron.job_run_details d WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid \
         AND d.scheduled_for IS NOT NULL AND d.end_time IS NOT NULL \
         ORDER BY d.scheduled_for DESC, d.attempt DESC LIMIT 10) AS d), \
     'skips', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('reason', s.reason, 'count', s.count, \
         'first', (greatest(least(extract(epoch FROM s.first_at), 9000000000000), -9000000000000) \
          OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, \
         'last', (greatest(least(extract(epoch FROM s.last_at), 9000000000000), -9000000000000) \
          OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8)) \
       FROM (SELECT * FROM cron.job_skip s WHERE s.jobid OPERATOR(pg_catalog.=) j.jobid \
         AND s.last_at OPERATOR(pg_catalog.>) coalesce((SELECT pg_catalog.max(d.scheduled_for) \
          FROM cron.job_run_details d WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid), '-infinity') \
         ORDER BY s.last_at DESC LIMIT 100) AS s), \
     'requests', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', r.runid, \
         'trigger', r.trigger, \
         'not_before', (extract(epoch FROM r.not_before) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8) \
         ORDER BY r.not_before, r.runid) \
       FROM (SELECT * FROM cron.run_request r WHERE r.jobid OPERATOR(pg_catalog.=) j.jobid \
         ORDER BY r.not_before, r.runid LIMIT 3) AS r), \
     'secrets', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(n.name, s.name IS NOT NULL)) \
       FROM pg_catalog.unnest(cron.secrets_named(j.http)) AS n (name) \
       LEFT JOIN cron.secret s ON s.name OPERATOR(pg_catalog.=) n.name \
       WHERE $3 IS NOT NULL AND (s.owner OPERATOR(pg_catalog.=) $3 OR EXISTS ( \
        SELECT FROM cron.secret_grant g WHERE g.name OPERATOR(pg_catalog.=) s.name \
         AND pg_catalog.pg_has_role($3, g.role, 'USAGE'))) IS NOT TRUE), \
     'no_room', coalesce(t.no_room, false), \
     'accounted', (extract(epoch FROM greatest(t.effective_from, t.cursor, \
        (SELECT d.scheduled_for FROM cron.job_run_details d WHERE d.jobid OPERATOR(pg_catalog.=) j.jobid \
          AND d.trigger OPERATOR(pg_catalog.=) ANY (ARRAY['schedule', 'catch_up', 'dependency']) \
          AND pg_catalog.isfinite(d.scheduled_for) ORDER BY d.scheduled_for DESC LIMIT 1), \
        (SELECT pg_catalog.max(s.last_at) FROM cron.job_skip s WHERE s.jobid OPERATOR(pg_catalog.=) j.jobid \
          AND pg_catalog.isfinite(s.last_at)))) \
       OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 \
     )::pg_catalog.text, 'UTF8') \
     FROM cron.job j LEFT JOIN cron.job_state t ON t.jobid OPERATOR(pg_catalog.=) j.jobid \
     WHERE j.jobid OPERATOR(pg_catalog.=) $1";

// As the caller, so that Postgres shows what the caller may see, and no more.
const PROCESSES: &str = "SELECT pg_catalog.convert_to(coalesce(pg_catalog.jsonb_agg( \
      pg_catalog.jsonb_build_object('pid', p.pid, 'role', a.usename, \
       'own', p.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid(), \
       'waits_for', a.wait_event_type OPERATOR(pg_catalog.||) ': ' OPERATOR(pg_catalog.||) a.wait_event, \
       'blockers', pg_catalog.pg_blocking_pids(p.pid), \
       'may_end', EXISTS (SELECT FROM pg_catalog.pg_roles o, pg_catalog.pg_roles me \
         WHERE o.oid OPERATOR(pg_catalog.=) a.usesysid AND me.rolname OPERATOR(pg_catalog.=) CURRENT_USER \
          AND (me.rolsuper OR NOT o.rolsuper AND (pg_catalog.pg_has_role(o.oid, 'USAGE') \
           OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))))), '[]')::pg_catalog.text, 'UTF8') \
     FROM pg_catalog.unnest($1) AS p (pid) \
     LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) p.pid";

const HOLDERS: &str = "SELECT coalesce(pg_catalog.array_agg(l.pid ORDER BY l.pid), '{}') \
     FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted \
      AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d \
       WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
      AND l.classid OPERATOR(pg_catalog.=) ($1 OPERATOR(pg_catalog.>>) 32)::pg_catalog.oid \
      AND l.objid OPERATOR(pg_catalog.=) ($1 OPERATOR(pg_catalog.&) 4294967295)::pg_catalog.oid \
      AND l.objsubid OPERATOR(pg_catalog.=) 3 AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' \
      AND l.pid OPERATOR(pg_catalog.<>) ALL ($2)";

/// What the tables say.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Known {
    pub(crate) database: Option<Database>,
    pub(crate) queue: Option<Queue>,
    pub(crate) workers: i64,
    #[serde(default, deserialize_with = "list")]
    pub(crate) upstreams: Vec<Upstream>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) attempts: Vec<Attempt>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) skips: Vec<Skip>,
    #[serde(default, deserialize_with = "list")]
    pub(crate) requests: Vec<Request>,
    /// Those its request names and its owner may not use, and whether they exist.
    #[serde(default, deserialize_with = "list")]
    pub(crate) secrets: Vec<(String, bool)>,
    /// The scheduler has no room for what it says at length.
    pub(crate) no_room: bool,
    /// What was due up to then has a row, or was skipped.
    pub(crate) accounted: Option<i64>,
}

/// NULL is what an aggregate makes of nothing.
fn list<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(from)?.unwrap_or_default())
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Database {
    pub(crate) open: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Queue {
    pub(crate) most: Option<i64>,
    pub(crate) running: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) id: Option<i64>,
    pub(crate) active: Option<bool>,
    pub(crate) last_status: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) id: i64,
    pub(crate) succeeded: Option<bool>,
    pub(crate) outcome: Option<String>,
    pub(crate) sqlstate: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) at: i64,
    pub(crate) resolved: Option<bool>,
    pub(crate) may_retry: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Skip {
    pub(crate) reason: String,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) count: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: i64,
    pub(crate) trigger: String,
    pub(crate) not_before: Option<i64>,
}

/// A process of this server, as far as the caller may see it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) role: Option<String>,
    pub(crate) own: bool,
    pub(crate) waits_for: Option<String>,
    pub(crate) blockers: Option<Vec<i32>>,
    pub(crate) may_end: bool,
}

/// What the tables say of a job; None if there is none. `running`: the jobs that run, one for each
/// run. `role`: its owner.
pub(crate) fn known(
    jobid: i64,
    running: Vec<i64>,
    role: Option<pg_sys::Oid>,
) -> Result<Option<Known>, Error> {
    let owner = extension_owner()?;
    let text = as_role(owner, || {
        Spi::connect(|client| {
            let rows =
                client.select(KNOWN, Some(1), &[jobid.into(), running.into(), role.into()])?;
            if rows.is_empty() { Ok(None) } else { rows.first().get_one::<Vec<u8>>() }
        })
    })?;
    Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
}

/// What the caller may see of these processes.
pub(crate) fn processes(pids: Vec<i32>) -> Result<Vec<Process>, Error> {
    if pids.is_empty() {
        return Ok(Vec::new());
    }
    let text = Spi::connect(|client| {
        client.select(PROCESSES, Some(1), &[pids.into()])?.first().get_one::<Vec<u8>>()
    })?;
    Ok(serde_json::from_slice(&text.unwrap_or_default())?)
}

/// The sessions that have the lock of a job of this database, but for its runs' own processes.
pub(crate) fn holders(jobid: i64, runs: Vec<i32>) -> Result<Vec<i32>, Error> {
    let pids = Spi::connect(|client| {
        client.select(HOLDERS, Some(1), &[jobid.into(), runs.into()])?.first().get_one::<Vec<i32>>()
    })?;
    Ok(pids.unwrap_or_default())
}

/// Whether there is a calendar of that name.
pub(crate) fn is_calendar(name: ServerText<'_>) -> Result<bool, Error> {
    Ok(super::calendar::dates(name)?.is_some())
}
