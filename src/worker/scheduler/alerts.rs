//! Alerts: what the scheduler tells the book of them, and what it writes of what comes back.
//!
//! Invariant: nothing here waits, and nothing here makes a run wait. What cannot be written now waits in
//! a queue that has an end. A job without rules costs one look whether there are any.

mod write;

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use pg_tock_core::alert::{Book, Ended, Rule, Terms};
use pg_tock_core::cancel::Cause;
use pg_tock_core::engine::Occurrence;
use pg_tock_core::options::Stored;
use pg_tock_core::time::{JobId, RunId, Timestamp};

use super::policy::alert_rules;
use super::pool::Current;
use super::runs::End;
use super::{LOCK_RETRY, Scheduler};
use crate::catalog::alert::{self, Noted};
use crate::catalog::load::JobRow;
use crate::catalog::request::Request;
use crate::guc;
use crate::pg::time;
use crate::pg::time::monotonic;
use crate::shmem::http;

/// How long to leave the time to runs after something was read or written.
const REST: i64 = Timestamp::SECOND / 50;

/// How long starts and ends of runs wait for others to be sent with.
const COMPANY: i64 = Timestamp::SECOND / 10;

/// How often to look, at the most, whether a run that was handed over has begun: one that waits for its
/// lock may do so for long, and what is slow of it for short.
const UNBEGUN: i64 = Timestamp::SECOND / 10;

/// Most events that wait. Beyond that the oldest are given up, with a line in the server log.
const MOST: usize = 10_000;

/// Alerts as this scheduler has them.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    book: Book,
    /// What earlier schedulers left open has been read.
    loaded: bool,
    /// A job of which an alert is open was changed, and may have another owner now: how often to try to
    /// give the alert to him.
    hand_over: u32,
    /// What is to be written.
    noted: VecDeque<Noted>,
    /// How often the first of these could not be.
    tries: u32,
    /// Starts and ends of runs that are to be sent, and when: they wait for company.
    runs: Vec<String>,
    runs_at: Option<Timestamp>,
    /// Some of those were given up, and it was said.
    lost: bool,
    retry_at: Option<Timestamp>,
    /// Handlers, by owner and name, that could not be called, and it was said.
    missing: HashSet<(Vec<u8>, Vec<u8>)>,
    /// What occurrences of handlers are called for.
    calls: HashMap<(JobId, Timestamp), Rc<str>>,
}

/// What a row of `cron.job` says of alerts, whether or not its job can run.
#[derive(Debug)]
pub(super) struct Watched {
    options: Option<String>,
    active: bool,
    /// Since when it is as it is, as far as that is stored.
    since: Option<Timestamp>,
}

impl Watched {
    /// Takes it from the row.
    pub(super) fn of(row: &JobRow) -> Self {
        let options = row.options.clone();
        Self { options, active: row.active, since: row.effective_from }
    }
}

impl Alerts {
    /// A job is gone.
    pub(super) fn gone(&mut self, job: JobId) {
        self.book.drop_job(job);
        self.calls.retain(|(of, _), _| *of != job);
    }

    /// The extension is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The clock was set back.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        self.book.set_back(to);
        self.retry_at = None;
    }

    /// A run that was asked for may be one that handles an alert.
    pub(super) fn note_call(&mut self, request: &Request) {
        let Occurrence { job, scheduled_for, .. } = request.occurrence;
        if let Some(alert) = &request.alert {
            self.calls.insert((job, scheduled_for), Rc::from(alert.as_str()));
        }
    }

    /// The alert an occurrence handles.
    pub(super) fn call_of(&self, occurrence: &Occurrence) -> Option<Rc<str>> {
        if self.calls.is_empty() {
            return None;
        }
        self.calls.get(&(occurrence.job, occurrence.scheduled_for)).cloned()
    }

    /// A run is handed over. `silent`: it cannot give a heartbeat.
    pub(super) fn began(&mut self, current: &Current, silent: bool) {
        if current.dry || current.asks {
            return;
        }
        let (job, run) = (current.occurrence.job, current.run);
        if !self.book.is_empty() {
            self.book.began(job, run, monotonic(), silent);
        }
        if guc::alerts::notify_runs() {
            self.tell(alert::payload("run_started", job, Some(run), None));
        }
    }

    /// A run is stuck, or is so no more.
    pub(super) fn heard(&mut self, job: JobId, run: RunId, stuck: bool, now: Timestamp) {
        if stuck {
            self.book.stuck(job, run, now);
        } else {
            self.book.spoke(job, run, now);
        }
    }

    /// A run was handed over and has not begun, and its occurrence is over.
    pub(super) fn not_run(&mut self, current: &Current) {
        let Occurrence { job, scheduled_for, .. } = current.occurrence;
        self.book.forget_run(job, current.run);
        self.calls.remove(&(job, scheduled_for));
    }

    fn tell(&mut self, payload: String) {
        if self.runs.len() < MOST {
            self.runs.push(payload);
            self.runs_at.get_or_insert_with(|| time::now().plus(COMPANY));
        } else {
            self.say_lost();
        }
    }

    /// Notes what has happened to alerts, to be written.
    fn note_events(&mut self, now: Timestamp) {
        let events = self.book.take_events();
        self.noted.extend(events.into_iter().map(|event| Noted { event, at: now }));
        while self.noted.len() > MOST {
            self.noted.pop_front();
            pgrx::log!("pg_tock: alerts could not be written for so long that one was given up");
        }
    }

    /// Whether jobs have rules.
    pub(super) fn is_needed(&self) -> bool {
        !self.book.is_empty()
    }

    /// Says once that nobody takes what is to be sent.
    fn say_lost(&mut self) {
        if !std::mem::replace(&mut self.lost, true) {
            pgrx::log!("pg_tock: too many events wait to be sent, and more are not kept");
        }
    }

    fn has_work(&self) -> bool {
        let read = self.loaded && !self.book.has_unknown();
        !read || self.hand_over > 0 || self.book.has_events() || !self.noted.is_empty()
    }

    /// When there is something to do.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let work = self.has_work().then(|| self.retry_at.unwrap_or(Timestamp(i64::MIN)));
        let (absent, slow) = self.book.next_wake();
        let slow = slow.map(|at| time::now().plus(at.saturating_sub(monotonic()).max(0)));
        let runs = self.runs_at.map(|at| self.retry_at.map_or(at, |retry| at.max(retry)));
        [work, runs, absent, slow].into_iter().flatten().min()
    }
}

impl Scheduler {
    /// A row of `cron.job` was taken; `until`: its job can run, and is paused until then.
    pub(super) fn watch_job(
        &mut self,
        id: JobId,
        watched: &Watched,
        until: Option<Option<Timestamp>>,
        now: Timestamp,
    ) {
        let book = &mut self.alerts.book;
        let (rules, since, paused_until) = match (self.jobs.get(id), until) {
            (Some(job), Some(until)) => (job.policy.alerts, Some(job.since), until),
            _ => {
                // Options that cannot be read count as none.
                let text = watched.options.as_deref().unwrap_or("{}");
                let options: Stored = serde_json::from_str(text).unwrap_or_default();
                let since = book.since(id).or(watched.since);
                (alert_rules(&options), since, options.paused_until.map(Timestamp))
            }
        };
        if !rules.any() && !book.watches(id) {
            return;
        }
        let on = watched.active && guc::launch_active_jobs();
        let terms = Terms { rules, on, since: since.unwrap_or(now), paused_until };
        let was_open = book.has_open(id);
        book.put(id, terms, now);
        if was_open || book.has_open(id) {
            self.alerts.hand_over = write::TRIES;
        }
        if rules.has(Rule::Slow) || rules.has(Rule::Stuck) {
            self.tell_currents(id);
        }
    }

    /// Tells of the runs of a job that are under way.
    fn tell_currents(&mut self, job: JobId) {
        let runs: Vec<_> = self.engine.runs_of(job).collect();
        for id in runs {
            if let Some(executor) = self.executors.get(&id) {
                let Some(current) = &executor.current else { continue };
                if current.dry || current.asks || current.occurrence.job != job {
                    continue;
                }
                let began = executor.slot.current().filter(|run| run.run == current.run);
                let began = began.map_or_else(monotonic, |run| run.lasting.began);
                self.alerts.book.began(job, current.run, began, false);
                if current.watched.is_stuck() {
                    self.alerts.book.stuck(job, current.run, time::now());
                }
            } else if let Some(run) = self.http.runs.get(&id).filter(|run| !run.current.dry) {
                let began = run.slot.current().lasting.began;
                self.alerts.book.began(job, run.current.run, began, true);
            }
        }
    }

    /// A run has ended, and everything about it is known.
    pub(super) fn note_end(
        &mut self,
        current: &Current,
        end: &End,
        will_retry: bool,
        by_hand: bool,
        now: Timestamp,
    ) {
        let Occurrence { job, scheduled_for, .. } = current.occurrence;
        let handles = !self.alerts.calls.is_empty()
            && if will_retry {
                self.alerts.calls.contains_key(&(job, scheduled_for))
            } else {
                self.alerts.calls.remove(&(job, scheduled_for)).is_some()
            };
        if !self.alerts.book.is_empty() {
            let asker = || current.requested_by.is_some() || self.asked.by(current.run).is_some();
            let ended = Ended {
                run: current.run,
                at: end.ended_at,
                outcome: end.outcome,
                will_retry,
                by_hand: by_hand && !handles || asker(),
                lasted: end.ended_at.since(end.started_at),
            };
            // A request is ended when the book would look, which may be later.
            if end.http.is_some() && end.cause == Some(Cause::Stuck) {
                self.alerts.book.stuck(job, current.run, now);
            }
            self.alerts.book.ended(job, &ended, now);
        }
        if guc::alerts::notify_runs() {
            let payload = alert::payload("run_finished", job, Some(current.run), Some(end.outcome));
            self.alerts.tell(payload);
        }
    }

    /// Looks what time has brought, and writes what there is to write.
    pub(super) fn look_at_alerts(&mut self) {
        for job in self.records.news.drain(..) {
            self.alerts.book.counted(job);
        }
        if !(self.alerts.is_needed() || self.alerts.has_work() || self.alerts.runs_at.is_some()) {
            return;
        }
        let steady = monotonic();
        self.verify_overdue(steady);
        let now = time::now();
        self.alerts.book.pass(now, steady);
        self.alerts.note_events(now);
        let runs = self.alerts.runs_at.is_some_and(|at| at <= now);
        let rests = self.alerts.retry_at.is_some_and(|at| at > now && at.since(now) <= LOCK_RETRY);
        if rests || !(runs || self.alerts.has_work()) {
            return;
        }
        // A locked ledger keeps nobody's alert from being written.
        let mut read = self.load_open_alerts() && self.read_paces(now);
        self.make_way();
        read = read && self.read_pasts(now);
        self.make_way();
        let given = self.give_alerts();
        let written = self.alerts.noted.is_empty() || self.write_some();
        let done = self.write_runs(now) && read && given && written;
        self.alerts.retry_at = Some(now.plus(if done { REST } else { LOCK_RETRY }));
    }

    /// Writes all that is known. False if something has to wait.
    pub(super) fn flush_alerts(&mut self) -> bool {
        loop {
            let before = self.alerts.noted.len();
            self.alerts.retry_at = None;
            self.look_at_alerts();
            let left = self.alerts.noted.len();
            if left == 0 || left == before {
                return left == 0;
            }
        }
    }

    /// Runs that were handed over count from when they began.
    fn verify_overdue(&mut self, steady: i64) {
        let unbegun = steady.saturating_add(UNBEGUN);
        for (job, run) in self.alerts.book.overdue(steady) {
            let executors = self.executors.values();
            let mut on = executors.filter_map(|one| Some((one.current.as_ref()?, one.slot)));
            let (began, silent) = if let Some((_, slot)) = on.find(|(one, _)| one.run == run) {
                let begun = slot.current().filter(|begun| begun.run == run);
                // Before it begins, or once it is over: its end says how long it took.
                (begun.map_or(unbegun, |begun| begun.lasting.began), false)
            } else if let Some(run) = self.http.sent(run) {
                let taken = run.slot.phase() == http::Phase::Taken;
                (if taken { run.slot.current().lasting.began } else { unbegun }, true)
            } else {
                self.alerts.book.forget_run(job, run);
                continue;
            };
            self.alerts.book.began(job, run, began, silent);
        }
    }
}
