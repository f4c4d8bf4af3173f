//! The scheduler of one database: clock, decisions, ledger.
//!
//! One loop: take the news, look after the executors, ask the engine what to do now, do it, write
//! what has to be written, sleep until the next instant at which there is something to do. It
//! holds no snapshot and no transaction while it sleeps, waits for no lock, and does nothing at
//! all while nothing is due.

mod alerts;
mod answers;
mod arrivals;
mod asked;
mod asks;
mod company;
mod conclude;
mod counting;
mod decided;
mod figures;
mod held;
mod http;
mod http_asks;
mod http_claim;
mod http_end;
mod http_link;
mod http_order;
mod jobs;
mod keeper;
mod long;
mod news;
mod place;
mod policy;
mod pool;
mod records;
mod requests;
mod rest;
mod resume;
mod retries;
mod room;
mod rows;
mod runs;
mod shared;
mod sight;
mod start;
mod stop;
mod successes;
mod sweep;
mod wanted;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};

use pg_tock_core::engine::{Action, Engine, ExecutorId, Limits, Occurrence, PoolKey};
use pg_tock_core::options::Stored;
use pg_tock_core::portion::Portion;
use pg_tock_core::rest::Rests;
use pg_tock_core::run::MissedPolicy;
use pg_tock_core::schedule::DstPolicy;
use pg_tock_core::time::{JobId, Timestamp};
use pgrx::pg_sys;

use super::session;
use crate::guc::{self, defaults};
use crate::pg::bgw::Worker;
use crate::pg::crowd::Crowd;
use crate::pg::wait::Alarm;
use crate::pg::{process, time, txn};
use crate::shmem::changes::News;
use crate::shmem::databases::{self, Database};
use crate::shmem::roster;
use crate::shmem::slots::Phase;
use jobs::Jobs;
use policy::Policy;
use pool::Executor;
use records::Records;

/// What a scheduler is to the postmaster; its argument is the oid of its database.
pub(crate) const fn worker(database: u32) -> Worker {
    Worker {
        name: "pg_tock scheduler",
        main: "pg_tock_scheduler_main",
        connects: true,
        restart: None,
        argument: database as u64,
    }
}

/// How long to wait before asking again for what somebody has locked.
const LOCK_RETRY: i64 = Timestamp::SECOND / 10;

static DATABASE: AtomicU32 = AtomicU32::new(0);

/// Gives the database up. Orders no executor has begun are not begun any more. What this process
/// was about to record is open again: its transaction has been, or is about to be, rolled back.
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    let oid = DATABASE.load(Ordering::Relaxed);
    for (_, slot) in roster::of_scheduler(oid) {
        slot.advance(Phase::Recording, Phase::Unrecorded);
        slot.orphan();
    }
    if let Some(database) = databases::find(oid) {
        database.release(process::pid());
    }
    databases::wake_launcher();
}

/// Main of a scheduler process.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_tock_scheduler_main(argument: pg_sys::Datum) {
    process::accept_signals_and_stop();
    let oid = u32::try_from(argument.value()).unwrap_or(0);
    let Some(database) = databases::find(oid) else { return };
    if !database.claim(process::pid(), process::latch()) {
        return;
    }
    DATABASE.store(oid, Ordering::Relaxed);
    // SAFETY: the callback touches shared memory only.
    unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0)) };
    session::connect(oid);
    // All that is due waits while this process waits for a row that somebody has locked.
    session::settle_in(c"pg_tock scheduler", c"3ms");
    session::keep_plans();
    let alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => {
            pgrx::log!("pg_tock: the scheduler gets no timer: {error}");
            process::exit_for_restart()
        }
    };
    Scheduler::new(database).run(alarm);
}

/// The scheduler of one database.
struct Scheduler {
    database: &'static Database,
    oid: u32,
    engine: Engine,
    jobs: Jobs,
    executors: HashMap<ExecutorId, Executor>,
    /// Why executors of a key could not be started lately.
    refusals: HashMap<PoolKey, ([u8; 5], String)>,
    /// How many executors were ended on their way since one arrived.
    cut_off: HashMap<PoolKey, u32>,
    records: Records,
    /// How many holds had ended when everything was tried last.
    holds_seen: u64,
    /// Until when jobs rest for whose runs nothing could be written.
    rest_until: Option<Timestamp>,
    /// Worker slots the engine was told of.
    slots: u32,
    retries: retries::Retries,
    alerts: alerts::Alerts,
    http: http::Http,
    actions: Vec<Action>,
    rests: Rests,
    /// What is about to be due for an owner with nothing to do, and the scheduler rests before.
    awaited: Option<Timestamp>,
    crowd: Crowd,
    /// Room for a list of executors.
    ids: Vec<ExecutorId>,
    order: Vec<u8>,
    /// Whether the database has the extension, and the jobs have been read.
    installed: bool,
    /// The oids of the extension and of its ledger.
    extension: u32,
    ledger: u32,
    /// News not acted upon yet, and when to try again.
    news: News,
    read_at: Option<Timestamp>,
    read_all_at: Timestamp,
    /// Jobs of which it is not known yet what has run.
    unknown: HashSet<JobId>,
    /// All jobs are being read.
    sweep: Option<sweep::Sweep>,
    /// How many of them at a time.
    page: Portion,
    /// What the roles were when all jobs were read last.
    roles: Option<u64>,
    started_at: Timestamp,

    /// The time before this scheduler has been judged.
    looked_back: bool,
    /// Until the clock shows this, jobs may have rows ahead of it.
    ahead_until: Timestamp,
    /// The extension was not there, and that is being looked at a second time.
    looked_again: bool,
    /// Settings as the jobs were read with them.
    rules: Rules,
    stats_pending: bool,
    /// Who asked for runs, and what was not run because of a condition.
    asked: asked::Asked,
    /// Requests the engine knows of.
    requests: requests::Requests,
    /// They could not be read: when to try again.
    requests_at: Option<Timestamp>,
    /// Whether the server has just started could not be known: when to ask again.
    start_up_at: Option<Timestamp>,
    /// Rows of dead runs were locked: when to look again.
    ledger_at: Option<Timestamp>,
    /// Whether jobs are run at all.
    launches: bool,
    /// Jobs whose runs have had effects a rollback does not undo: they claim first.
    outside: HashSet<JobId>,
    /// The keeper's process.
    keeper: keeper::Keeping,
    /// When what waits for longest was looked for.
    oldest_at: Timestamp,
    /// Whether its tables can be read.
    sight: sight::Sight,
}

/// The settings that say what a job's schedule and options mean.
#[derive(Debug, PartialEq)]
struct Rules {
    match_days: bool,
    on_missed: MissedPolicy,
    missed_window: Option<i64>,
    dst_policy: DstPolicy,
    jitter: i64,
    policy: Policy,
}

impl Rules {
    fn now() -> Self {
        Self {
            match_days: guc::match_dom_and_dow(),
            on_missed: defaults::on_missed(),
            missed_window: defaults::missed_window(),
            dst_policy: defaults::dst_policy(),
            jitter: defaults::jitter(),
            policy: Policy::read(&Stored::default()),
        }
    }
}

fn limits() -> Limits {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let micros = |d: core::time::Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
    Limits {
        max_running: small(guc::max_running_jobs()),
        max_running_per_role: guc::max_running_jobs_per_role(),
        max_queued_per_job: small(guc::max_queued_runs()),
        // Those that are sent, and as many that wait for their host.
        http_max_requests: small(crate::shmem::layout::http_slots().len()),
        idle_timeout: micros(guc::executor_idle_timeout()),
        max_age: micros(guc::executor_max_age()),
        launch: guc::launch_active_jobs(),
    }
}

impl Scheduler {
    fn new(database: &'static Database) -> Self {
        let mut engine = Engine::new(limits());
        if let Ok(cores) = std::thread::available_parallelism() {
            engine.set_cores(u32::try_from(cores.get()).unwrap_or(u32::MAX));
        }
        Self {
            database,
            oid: database.oid(),
            engine,
            jobs: Jobs::default(),
            executors: HashMap::new(),
            refusals: HashMap::new(),
            records: Records::new(database.oid()),
            cut_off: HashMap::new(),
            holds_seen: 0,
            rest_until: None,
            slots: 0,
            retries: retries::Retries::default(),
            alerts: alerts::Alerts::default(),
            http: http::Http::default(),
            actions: Vec::new(),
            rests: Rests::default(),
            awaited: None,
            crowd: Crowd::of_this_process(),
            ids: Vec::new(),
            order: Vec::new(),
            installed: false,
            extension: 0,
            ledger: 0,
            news: News::default(),
            read_at: None,
            read_all_at: Timestamp(0),
            unknown: HashSet::new(),
            sweep: None,
            page: Portion::default(),
            roles: None,
            started_at: time::now(),
            looked_back: false,
            ahead_until: Timestamp(i64::MIN),
            looked_again: false,
            rules: Rules::now(),
            stats_pending: false,
            asked: asked::Asked::default(),
            requests: requests::Requests::default(),
            requests_at: None,
            start_up_at: None,
            ledger_at: None,
            launches: limits().launch,
            outside: HashSet::new(),
            keeper: keeper::Keeping::default(),
            oldest_at: Timestamp(0),
            sight: sight::Sight::default(),
        }
    }

    /// The main loop. Returns when the database has to be let go.
    fn run(mut self, mut alarm: Alarm) {
        self.adopt();
        self.count_slots();
        self.adopt_asks();
        self.database.changes.push_everything();
        loop {
            process::check_interrupts();
            if self.database.must_leave() || process::asked_to_stop() {
                self.leave(&mut alarm);
                return;
            }
            if process::reload_config() {
                self.configure();
            }
            let probing = matches!(guc::database_names(), guc::DatabaseNames::All);
            if probing && !self.installed {
                // Before the look: a COMMIT that comes too late for it takes this back.
                self.database.set_absent(true);
            }
            self.take_news_and_rest();
            if self.installed {
                self.database.set_absent(false);
            } else if probing && self.read_at.is_none() {
                self.leave(&mut alarm);
                return;
            }
            let next = self.turn();
            self.database.announce(next);
            if let Some(due) = alarm.rung_for(next) {
                self.be_punctual(due);
                continue;
            }
            let news = self.database.changes.are_there();
            if news || next.is_some_and(|at| at <= time::now()) || txn::ran() {
                continue;
            }
            self.report_stats();
            self.sleep(&mut alarm, next);
        }
    }

    /// Starts what is due, and whatever else the engine wants.
    fn do_due(&mut self, now: Timestamp) {
        self.engine.tick(now, &mut self.actions);
        self.act(now);
    }

    /// Everything there is to do now; says when there will be more.
    fn turn(&mut self) -> Option<Timestamp> {
        // What is due comes first, and once more when it is known who has become idle.
        self.do_due(time::now());
        self.look_after_executors();
        self.look_after_http();
        self.take_released();
        self.make_way();
        self.take_requests_again();
        self.make_way();
        let now = time::now();
        self.take_names(now);
        self.conclude(now);
        self.give_up_requests(now);
        self.answer_asks(now);
        self.release_retries(now);
        self.conclude_http(now);
        self.do_due(now);
        self.send_requests(now);
        if self.installed {
            self.record_long_runs(now);
            self.note_moves();
            self.catch_up(now);
            self.make_way();
            self.records.flush(now, self.oldest_run());
            self.take_retries();
            self.look_at_alerts();
            self.look_after_keeper(now);
        }
        self.make_way();
        self.write_wanted(now);
        let engine = self.engine.next_wake();
        let executors = self.executors.values().filter_map(Executor::next_look).min();
        let lasting = watch::next_look(self.executors.values());
        let records = if self.installed { self.records.next_look() } else { None };
        let retries = self.retries.next_look();
        let http = self.http.next_look();
        let names = if self.installed { self.jobs.company.next_look() } else { None };
        let given_up = self.asked.next_look();
        let earlier = self.next_catch_up();
        let alerts = if self.installed { self.alerts.next_look() } else { None };
        let nexts = [
            engine,
            executors,
            lasting,
            http,
            records,
            retries,
            self.next_read(),
            self.requests_at,
            self.ledger_at,
            self.start_up_at,
            self.rest_until,
            given_up,
            alerts,
            names,
            self.next_look_at_keeper(),
            earlier,
            self.publish(now),
        ];
        nexts.into_iter().flatten().min()
    }

    /// Sends this process's statistics when it goes to sleep, at most once a second.
    fn report_stats(&mut self) {
        if std::mem::take(&mut self.stats_pending) {
            process::report_stats(false);
        }
    }

    /// Settings changed.
    fn configure(&mut self) {
        process::set_config(c"log_min_messages", guc::log_min_messages());
        let limits = limits();
        self.engine.set_limits(limits, time::now());
        if std::mem::replace(&mut self.launches, limits.launch) != limits.launch {
            if !limits.launch {
                // Every job has lost what it had waiting.
                self.forget_all_requests();
                self.ask_dry_runs_again(|_| true);
            }
            self.take_all_requests();
            if self.alerts.is_needed() {
                self.database.changes.push_everything();
            }
        }
        if Rules::now() != self.rules {
            // schedules mean something else now
            self.rules = Rules::now();
            self.jobs.forget_instants();
            self.database.changes.push_everything();
        }
    }

    /// Notes how far jobs have come since this was asked last.
    fn note_moves(&mut self) {
        let now = time::now();
        for (job, cursor) in self.engine.take_moved() {
            let cursor = if guc::log_run() {
                cursor
            } else {
                cursor.max(self.handed_over(job).unwrap_or(cursor))
            };
            self.records.moved(job, cursor, now);
        }
    }

    /// The latest instant of its schedule a job's runs under way are for.
    fn handed_over(&self, job: JobId) -> Option<Timestamp> {
        let occurrence = |id: ExecutorId| match self.executors.get(&id) {
            Some(executor) => Some(executor.current.as_ref()?.occurrence),
            None => Some(self.http.runs.get(&id)?.current.occurrence),
        };
        let occurrences = self.engine.runs_of(job).filter_map(occurrence);
        let nominal = occurrences.filter(Occurrence::is_nominal);
        nominal.map(|occurrence| occurrence.scheduled_for).max()
    }

    /// Writes all there is to write. False if something has to wait.
    fn flush_everything(&mut self) -> bool {
        let now = time::now();
        self.engine.flush_skips(now, &mut self.actions);
        self.act(now);
        self.note_moves();
        let alerts = self.flush_alerts();
        self.records.flush_all(self.oldest_run()) && alerts
    }
}
