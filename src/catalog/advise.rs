//! What jobs do and how they have fared, for advice on them.

use std::collections::HashMap;

use pgrx::prelude::*;
use serde::Deserialize;

use crate::error::Error;

// As the caller: row security shows what he may see.
const WORK: &str = "SELECT j.jobid, pg_catalog.convert_to(pg_catalog.jsonb_build_object( \
      'command', CASE WHEN j.http IS NULL THEN j.command END, 'request', j.http::pg_catalog.text, \
      'settings', j.settings::pg_catalog.text, 'run_if', j.run_if, 'run_after', j.run_after, \
      'timeout', CASE WHEN j.timeout IS NOT NULL \
       THEN (greatest(least(extract(epoch FROM j.timeout), 9000000000000), 0) \
        OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 END, \
      'described', coalesce(pg_catalog.btrim(j.description), '') OPERATOR(pg_catalog.<>) '', \
      'longest', CASE WHEN t.total_runs OPERATOR(pg_catalog.>) 0 \
       THEN (t.max_ms OPERATOR(pg_catalog.*) 1000::pg_catalog.float8)::pg_catalog.int8 END, \
      'runs', CASE WHEN t.last_run_at OPERATOR(pg_catalog.>) (pg_catalog.now() \
       OPERATOR(pg_catalog.-) '7 days'::pg_catalog.interval) THEN t.total_runs ELSE 0 END, \
      'skipped', (SELECT pg_catalog.sum(s.count) FROM cron.job_skip s \
       WHERE s.jobid OPERATOR(pg_catalog.=) j.jobid \
        AND s.last_at OPERATOR(pg_catalog.>) coalesce(t.last_run_at, '-infinity')), \
      'failed', t.consecutive_failures \
      )::pg_catalog.text, 'UTF8') \
     FROM cron.job j LEFT JOIN cron.job_stat t ON t.jobid OPERATOR(pg_catalog.=) j.jobid \
     WHERE j.active";

// Of those the caller sees, whether they are active or not: one that is switched off may be switched on again.
const NAMED: &str = "SELECT o.jobid, pg_catalog.convert_to(pg_catalog.jsonb_agg( \
      coalesce(n.jobname, n.jobid::pg_catalog.text) ORDER BY n.jobid)::pg_catalog.text, 'UTF8') \
     FROM cron.job n CROSS JOIN LATERAL (SELECT pg_catalog.unnest(n.run_after) UNION SELECT n.alert_job) r (name) \
     JOIN cron.job o ON o.jobname OPERATOR(pg_catalog.=) r.name AND o.username OPERATOR(pg_catalog.=) n.username \
     WHERE o.jobid OPERATOR(pg_catalog.<>) n.jobid AND (n.run_after IS NOT NULL OR n.alert_job IS NOT NULL) \
     GROUP BY o.jobid";

/// So many attempts in a row have to fail to be worth a word.
const IN_A_ROW: u64 = 5;

/// One job. Durations in microseconds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Work {
    /// Its command; `None` if it sends a request.
    pub(crate) command: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) settings: Option<String>,
    pub(crate) run_if: Option<String>,
    pub(crate) run_after: Option<Vec<String>>,
    pub(crate) timeout: Option<i64>,
    pub(crate) described: bool,
    /// How long its longest run took.
    pub(crate) longest: Option<i64>,
    /// Runs, if there were any within a week.
    pub(crate) runs: Option<u64>,
    /// Occurrences that were skipped since the last run.
    pub(crate) skipped: Option<u64>,
    /// Attempts that failed since the last that succeeded.
    failed: Option<u64>,
}

impl Work {
    /// How many of its latest attempts failed, if that is worth a word.
    pub(crate) fn failed(&self) -> Option<u64> {
        self.failed.filter(|&failed| failed >= IN_A_ROW)
    }
}

/// The active jobs the caller may see.
pub(crate) fn of_active() -> Result<HashMap<i64, Work>, Error> {
    Spi::connect(|client| {
        let mut found = HashMap::new();
        for row in client.select(WORK, None, &[])? {
            let id = row.get::<i64>(1)?.ok_or(Error::NoRow)?;
            let text = row.get::<Vec<u8>>(2)?.unwrap_or_default();
            found.insert(id, serde_json::from_slice(&text)?);
        }
        Ok(found)
    })
}

/// The jobs that others name in `run_after` or `alert_job`, and what those are called.
pub(crate) fn named() -> Result<HashMap<i64, Vec<String>>, Error> {
    Spi::connect(|client| {
        let mut found = HashMap::new();
        for row in client.select(NAMED, None, &[])? {
            let id = row.get::<i64>(1)?.ok_or(Error::NoRow)?;
            let names = row.get::<Vec<u8>>(2)?.unwrap_or_default();
            found.insert(id, serde_json::from_slice(&names)?);
        }
        Ok(found)
    })
}
