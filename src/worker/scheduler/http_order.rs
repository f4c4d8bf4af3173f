//! The order of one HTTP run, as the worker gets it.

use std::rc::Rc;

use pg_tock_core::http::wire::{HttpOrder, SealedSecret};
use pg_tock_core::run::Overlap;
use pg_tock_core::watch::Watch;
use pgrx::pg_sys;

use super::jobs::Job;
use super::pool::Current;
use crate::guc;
use crate::pg::text::ServerText;
use crate::pg::time;
use crate::shmem::lasting::Lasting;

/// How long a request without a timeout of its own may wait for its turn, in microseconds.
const MAX_WAIT: u64 = 3_600_000_000;

/// What the order of a run says beside what its job does.
pub(super) struct Order<'a> {
    pub(super) slot: u32,
    pub(super) current: &'a Current,
    /// Whether the occurrence may be tried again.
    pub(super) retries: bool,
    /// Up to where WAL has to be on disk before anything is sent.
    pub(super) flush_lsn: u64,
    /// The alert to handle.
    pub(super) alert: Option<Rc<str>>,
    pub(super) secrets: Vec<SealedSecret>,
}

/// When a request of a job begins that is handed over now, and how long it may take.
pub(super) fn lasting(job: &Job) -> Lasting {
    let usual = || i64::try_from(guc::http::timeout().as_micros()).ok();
    Lasting {
        began: time::monotonic(),
        timeout: job.policy.timeout.or_else(usual),
        stuck_after: job.policy.stuck_after,
        ends_stuck: job.policy.ends_stuck,
    }
}

/// How long a request that cannot give a heartbeat may take, in microseconds.
fn limit(watch: &Watch) -> Option<u64> {
    watch.silent_limit().and_then(|(limit, _)| u64::try_from(limit).ok())
}

impl Order<'_> {
    /// The message for the worker; None for a job that is none of HTTP.
    pub(super) fn encode(self, database: u32) -> Option<Vec<u8>> {
        let Self { slot, current, retries, flush_lsn, alert, secrets } = self;
        let job = &current.job;
        let http = job.http.as_deref()?;
        let name = job.name.as_deref().unwrap_or_default();
        let own = job.policy.timeout.and_then(|timeout| u64::try_from(timeout).ok());
        let order = HttpOrder {
            slot,
            run: current.run.0,
            job: job.id.0,
            job_name: ServerText::new(name.to_bytes()).readable().into_owned(),
            // SAFETY: constant since the server started.
            system: unsafe { pg_sys::GetSystemIdentifier() },
            database,
            scheduled_for: current.occurrence.scheduled_for.0,
            attempt: current.occurrence.attempt,
            retries,
            shares_lock: job.policy.overlap == Overlap::Allow,
            flush_lsn,
            method: http.method.clone(),
            url: http.url.clone(),
            headers: http.headers.clone(),
            body: http.body.clone(),
            expect_status: http.expect_status.clone(),
            follow_redirects: http.follow_redirects,
            alert: alert.as_deref().map(str::to_owned),
            secrets,
            timeout: limit(&lasting(job).watch()).unwrap_or(u64::MAX),
            max_wait: own.unwrap_or(MAX_WAIT),
            retry_max_delay: u64::try_from(job.policy.retry.max_delay).unwrap_or(u64::MAX),
            dry: current.dry,
        };
        Some(order.encode())
    }
}
