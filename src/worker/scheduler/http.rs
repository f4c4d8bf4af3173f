//! HTTP runs: handing them to the worker, and what it reports.
//!
//! Owns these invariants: an order goes to the worker only after the claim of its run is committed;
//! a run keeps its slot and counts as running until its end is in the ledger; a run the worker has
//! not taken, and cannot take any more, is due again. Nothing here waits: not for the worker, not
//! for a lock, and no transaction is open while a request is under way.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use pg_tock_core::cancel::{Cause, DROPPED, REPLACED};
use pg_tock_core::engine::{ExecutorId, Occurrence, PoolKey};
use pg_tock_core::http::wire::{HttpReport, SealedSecret};
use pg_tock_core::run::Guarantee;
use pg_tock_core::time::{RunId, Timestamp};

use super::http_claim::{Secrets, claim_all};
use super::http_end::{end_of, guarantee, last_will};
use super::http_link::HttpLink;
use super::http_order::{Order, lasting};
use super::pool::Current;
use super::records::Records;
use super::rows::Written;
use super::runs::{End, final_row, running_row};
use super::watch::Watched;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::http::HttpAnswer;
use crate::catalog::run::RunRow;
use crate::guc;
use crate::pg::time;
use crate::pg::txn::Failure;
use crate::shmem::http::{self, Handed, HttpSlot, Phase};
use crate::shmem::slots::CurrentRun;

/// Most claims in one transaction.
const BATCH: usize = 256;

/// HTTP runs of one scheduler.
#[derive(Debug, Default)]
pub(super) struct Http {
    pub(super) link: HttpLink,
    /// Decided by the engine, and not handed over yet.
    pub(super) due: VecDeque<(ExecutorId, Occurrence, bool)>,
    /// When to try again to hand them over.
    retry_at: Option<Timestamp>,
    pub(super) runs: HashMap<ExecutorId, HttpRun>,
    by_run: HashMap<RunId, ExecutorId>,
    /// Runs that are over and whose rows are not written yet.
    told: Vec<(ExecutorId, End)>,
    told_retry_at: Option<Timestamp>,
}

/// A run that was handed over.
#[derive(Debug)]
pub(super) struct HttpRun {
    pub(super) current: Current,
    pub(super) slot: &'static HttpSlot,
    pub(super) retries: bool,
    /// The queues its order went through; 0 if an earlier scheduler has handed it over.
    link: u32,
    /// Its end is among those told.
    told: bool,
}

/// A run about to be handed over: it has a slot, and its claim is being written.
struct Claim {
    id: ExecutorId,
    current: Current,
    index: u32,
    slot: &'static HttpSlot,
    retries: bool,
    row: RunRow,
    secrets: Vec<SealedSecret>,
}

impl Http {
    /// The engine wants a request to be sent.
    pub(super) fn decided(&mut self, id: ExecutorId, occurrence: Occurrence, claim: bool) {
        self.due.push_back((id, occurrence, claim));
    }

    /// The runs that were handed over.
    pub(super) fn currents(&self) -> impl Iterator<Item = &Current> {
        self.runs.values().map(|run| &run.current)
    }

    /// When something has to be done.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let retry_at = self.retry_at.filter(|_| !self.due.is_empty());
        [retry_at, self.told_retry_at, self.link.next_look()].into_iter().flatten().min()
    }

    /// A run that was handed over.
    pub(super) fn sent(&self, run: RunId) -> Option<&HttpRun> {
        self.by_run.get(&run).and_then(|id| self.runs.get(id))
    }

    /// Somebody wants a run to end. False if it was not handed over.
    pub(super) fn want_end(&self, run: RunId, reason: &[u8]) -> bool {
        let sent = self.sent(run);
        if let Some(sent) = sent {
            sent.slot.want_end(run, Cause::Requested, reason);
        }
        sent.is_some()
    }

    /// How a run ended.
    fn tell(&mut self, id: ExecutorId, end: End) {
        if let Some(run) = self.runs.get_mut(&id)
            && !std::mem::replace(&mut run.told, true)
        {
            self.told.push((id, end));
        }
    }

    fn insert(&mut self, id: ExecutorId, run: HttpRun) {
        self.by_run.insert(run.current.run, id);
        self.runs.insert(id, run);
    }

    fn remove(&mut self, id: ExecutorId) -> Option<HttpRun> {
        let run = self.runs.remove(&id)?;
        self.by_run.remove(&run.current.run);
        Some(run)
    }
}

impl Scheduler {
    /// Takes over the runs that an earlier scheduler has handed to the worker.
    pub(super) fn adopt_http(&mut self) {
        let now = time::now();
        for (_, slot) in http::of_scheduler(self.oid) {
            if slot.advance(Phase::Handed, Phase::Over) {
                slot.free(); // its order was not sent as a whole, and it has not begun
                continue;
            }
            let run = slot.current();
            let key = PoolKey::http(slot.role());
            let id = self.engine.adopt_send(key, run.job, now);
            let occurrence = Occurrence {
                job: run.job,
                scheduled_for: run.scheduled_for,
                trigger: run.trigger,
                attempt: run.attempt,
                run: None,
            };
            let current = Current {
                occurrence,
                run: run.run,
                job: self.jobs.stranger(run.job, key),
                handed_at: run.started_at,
                claim: false,
                local: false,
                record_at: None,
                extension: 0,
                watched: Watched::adopted(),
                requested_by: None,
                dry: slot.is_dry(),
                asks: false,
            };
            let retries = slot.guarantee() == Guarantee::AtLeastOnce;
            self.http.insert(id, HttpRun { current, slot, retries, link: 0, told: false });
        }
        if !self.http.runs.is_empty() {
            self.http.link.want();
        }
    }

    /// Takes reports, and notices that the worker is gone.
    pub(super) fn look_after_http(&mut self) {
        let mut reports = Vec::new();
        let lost = self.http.link.look_after(self.database, time::now(), &mut reports);
        for report in reports {
            self.reported(&report);
        }
        if lost || self.http.link.has_become_present(self.database) {
            self.worker_lost();
        }
    }

    fn reported(&mut self, bytes: &[u8]) {
        let report = match HttpReport::decode(bytes) {
            Ok(report) => report,
            Err(error) => {
                pgrx::log!("pg_tock: an HTTP report cannot be read: {error}");
                return;
            }
        };
        if let Some(&id) = self.http.by_run.get(&RunId(report.run))
            && let Some(run) = self.http.runs.get(&id)
        {
            let end = end_of(report, run);
            self.http.tell(id, end);
        }
    }

    /// The worker that had the queues is gone, or another one has new ones by now. What an earlier
    /// worker had begun has ended with it; what nobody will begin is due again.
    fn worker_lost(&mut self) {
        let now = time::now();
        let alive = if http::worker_pid() > 0 { http::life() } else { 0 };
        let ids: Vec<ExecutorId> = self.http.runs.keys().copied().collect();
        for id in ids {
            let Some(run) = self.http.runs.get(&id).filter(|run| !run.told) else { continue };
            if self.http.link.is_present(run.link) {
                continue;
            }
            match run.slot.phase() {
                // The next queues bring its report.
                Phase::Taken | Phase::Over if run.slot.life() == alive => {}
                Phase::Over if run.slot.ending().is_none() => self.not_taken(id, now),
                Phase::Taken | Phase::Over => {
                    let end = last_will(run, now);
                    self.http.tell(id, end);
                }
                from => {
                    if run.slot.advance(from, Phase::Over) {
                        self.not_taken(id, now);
                    }
                }
            }
        }
        if !self.http.runs.is_empty() {
            self.http.link.want();
        }
    }

    /// A run that was claimed will not be begun: it is due again, under its id.
    fn not_taken(&mut self, id: ExecutorId, now: Timestamp) {
        if let Some(mut run) = self.http.remove(id) {
            run.hear();
            run.slot.free();
            self.try_again(&run.current);
        }
        self.engine.run_finished(id, now);
    }

    /// Ends a run.
    pub(super) fn cancel_http(&mut self, id: ExecutorId, cause: Cause, now: Timestamp) {
        if let Some(run) = self.http.runs.get(&id) {
            let reason = if cause == Cause::Replaced { REPLACED } else { DROPPED };
            run.slot.want_end(run.current.run, cause, reason.as_bytes());
        } else if let Some(at) = self.http.due.iter().position(|(due, ..)| *due == id)
            && let Some((id, occurrence, claim)) = self.http.due.remove(at)
        {
            // Nothing of it has begun, and nobody wants it any more.
            if let Some(run) = occurrence.run.filter(|_| self.jobs.get(occurrence.job).is_none()) {
                self.asked.dry_run_over(run);
            }
            self.not_begun(id, occurrence, claim, now);
        }
    }

    /// Hands over what is due, as far as there are a worker and slots for it.
    pub(super) fn send_requests(&mut self, now: Timestamp) {
        if self.http.retry_at.is_some_and(|at| at > now) {
            return self.http.link.send(self.database);
        }
        self.http.retry_at = None;
        while !self.http.due.is_empty() {
            if !self.http.link.is_up(self.database, now) {
                self.http.link.want();
                break;
            }
            let claims = self.reserve(now);
            if claims.is_empty() || !self.claim(claims, now) {
                break;
            }
        }
        self.http.link.send(self.database);
    }

    /// Takes slots for the runs that come next.
    fn reserve(&mut self, now: Timestamp) -> Vec<Claim> {
        let mut claims = Vec::new();
        while claims.len() < BATCH
            && let Some((id, occurrence, claim)) = self.http.due.pop_front()
        {
            let taken_back = occurrence.run.is_some_and(|run| self.is_taken_back(run));
            let (Some(job), Some(dry), false) = (
                self.jobs.get(occurrence.job).map(Rc::clone),
                self.asked.segment(&occurrence).map(|segment| segment.is_some()),
                taken_back,
            ) else {
                occurrence.run.and_then(|run| self.asked.dry_run_over(run));
                self.engine.run_finished(id, now);
                continue;
            };
            if !self.is_in_place(id, &occurrence, claim, &job, now) {
                continue;
            }
            let job = self.retries.as_asked(occurrence.run, job);
            if job.http.is_none() {
                // It has come to run SQL while it waited here.
                self.not_begun(id, occurrence, claim, now);
                continue;
            }
            if self.is_held(&occurrence, false) {
                self.engine.hold(job.id);
                self.not_begun(id, occurrence, claim, now);
                continue;
            }
            let Some(run) = occurrence.run.or_else(|| self.records.next_id()) else {
                self.not_now(id, occurrence, claim, now);
                continue;
            };
            let retries = job.retries();
            let handed = Handed {
                run: CurrentRun {
                    job: job.id,
                    run,
                    scheduled_for: occurrence.scheduled_for,
                    started_at: now,
                    attempt: occurrence.attempt,
                    trigger: occurrence.trigger,
                    window: None,
                    lasting: lasting(&job),
                },
                scheduler: self.oid,
                role: job.key.role,
                retries,
                dry,
            };
            let occurrence = Occurrence { run: Some(run), ..occurrence };
            let Some((index, slot)) = http::reserve(&handed) else {
                self.http.due.push_front((id, occurrence, claim));
                break; // who frees a slot wakes this process
            };
            let current = Current {
                occurrence,
                run,
                job,
                handed_at: now,
                claim,
                local: false,
                record_at: None,
                extension: self.extension,
                watched: Watched::default(),
                requested_by: self.asked.by(run),
                dry,
                asks: false,
            };
            let mut row = running_row(&current, Some(http::worker_pid()), now);
            row.guarantee = guarantee(retries);
            row.http = current.job.http.as_deref().map(|http| {
                Box::new(HttpAnswer { details: Some(http.kept()), ..HttpAnswer::default() })
            });
            let secrets = Vec::new();
            claims.push(Claim { id, current, index, slot, retries, row, secrets });
        }
        claims
    }

    /// Writes the claims, reads the secrets, and sends the orders. False if that has to wait.
    fn claim(&mut self, mut claims: Vec<Claim>, now: Timestamp) -> bool {
        let flush_lsn = match claim_all(&mut claims.iter_mut().map(Claim::parts)) {
            Ok(flush_lsn) => flush_lsn,
            Err(Failure::Duplicate) if claims.len() > 1 => {
                let rest = claims.split_off(claims.len() / 2);
                let claimed = self.claim(claims, now);
                return self.claim(rest, now) && claimed;
            }
            Err(Failure::Duplicate) => {
                for Claim { id, current, slot, .. } in claims {
                    slot.free();
                    self.ran_already(id, &current, now);
                }
                return true;
            }
            Err(_) => {
                self.http.retry_at = Some(now.plus(LOCK_RETRY));
                for Claim { id, current, slot, .. } in claims.into_iter().rev() {
                    slot.free();
                    self.http.due.push_front((id, current.occurrence, current.claim));
                }
                return false;
            }
        };
        for claim in claims {
            let Claim { id, current, index, slot, retries, secrets, .. } = claim;
            let alert = self.alerts.call_of(&current.occurrence);
            let order =
                Order { slot: index, current: &current, retries, flush_lsn, alert, secrets };
            if let Some(order) = order.encode(self.oid) {
                self.http.link.push(slot, order);
            }
            let link = self.http.link.number();
            self.alerts.began(&current, true);
            let run = HttpRun { current, slot, retries, link, told: false };
            self.http.insert(id, run);
        }
        true
    }

    /// Writes the rows of runs that are over, in one transaction, and lets go of them. While the
    /// ledger is locked they wait.
    pub(super) fn conclude_http(&mut self, now: Timestamp) {
        if self.http.told.is_empty() || self.http.told_retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.http.told_retry_at = None;
        let told = std::mem::take(&mut self.http.told);
        let rows: Vec<RunRow> = told
            .iter()
            .filter(|(_, end)| end.held.is_none())
            .filter_map(|(id, end)| self.http_row(*id, end))
            .collect();
        let wanted = self.installed && guc::log_run() && !rows.is_empty();
        let unread = !self.installed && self.read_at.is_some();
        let written = match (unread, wanted) {
            (true, _) => Written::LedgerLocked,
            (false, true) => Records::write_some(rows.iter()),
            (false, false) => Written::Done,
        };
        if written == Written::LedgerLocked {
            self.http.told = told;
            self.http.told_retry_at = Some(now.plus(LOCK_RETRY));
            return;
        }
        for (id, mut end) in told {
            let dry = self.http.runs.get(&id).is_some_and(|run| run.current.dry);
            end.recorded = written == Written::Done && !dry;
            self.http_over(id, end, now);
        }
    }

    fn http_row(&self, id: ExecutorId, end: &End) -> Option<RunRow> {
        let run = self.http.runs.get(&id)?;
        if run.current.dry || ![0, self.extension].contains(&run.current.extension) {
            return None;
        }
        let mut row = final_row(&run.current, http::worker_pid(), end.clone());
        if let Some(job) = self.jobs.get(row.job).filter(|_| run.link == 0) {
            // an earlier scheduler knew, and did not leave it in the slot
            let job = self.retries.as_asked(Some(row.run), Rc::clone(job));
            row.database = job.database.as_ref().to_owned();
            row.username = job.username.as_ref().to_owned();
            row.command.clone_from(&job.command);
            row.jobname.clone_from(&job.name);
        }
        Some(row)
    }

    /// The run is over and its row is written, or not to be written, or it has not begun.
    fn http_over(&mut self, id: ExecutorId, end: End, now: Timestamp) {
        let Some(mut run) = self.http.remove(id) else { return };
        run.hear();
        run.slot.free();
        if let Some(holds_ended) = end.held {
            self.was_held(&run.current, holds_ended);
            self.engine.run_finished(id, now);
        } else {
            self.engine.run_finished(id, now);
            self.account(&run.current, http::worker_pid(), end, now);
        }
    }
}

impl HttpRun {
    /// Takes over what was noted in its slot, which another run may have soon.
    fn hear(&mut self) {
        self.current.watched.hear(self.current.run, &self.slot.cancel);
    }
}

impl Claim {
    /// What is needed for, and what comes of, the claim.
    fn parts(&mut self) -> (Option<&RunRow>, Occurrence, Secrets<'_>) {
        let names = self.current.job.http.as_deref().map_or(&[][..], |http| &http.secrets);
        let role = self.current.job.key.role;
        let row = Some(&self.row).filter(|_| !self.current.dry);
        (row, self.current.occurrence, Secrets { role, names, found: &mut self.secrets })
    }
}
