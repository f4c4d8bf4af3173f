//! The HTTP worker: sends the requests of all schedulers, and tells each how its runs ended.
//!
//! Owns these invariants: a request leaves only after its claim is on disk and its job's lock is
//! held; every run it takes ends in its slot and in a report, also when the process is asked to
//! stop; it waits for nothing but its latch and the client's descriptor, and has no transaction.
//!
//! The client's event loop is a thread of its own, which never calls Postgres. A process that ends
//! is started again by the next scheduler that needs it.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use pg_tock_core::cancel::Cause;
use pg_tock_core::http::gate::BreakerChange;
use pg_tock_core::http::wire::{HttpOrder, HttpReport};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pg_tock_http::cipher::Keyring;
use pg_tock_http::job::Run;
use pg_tock_http::look::Look;
use pg_tock_http::{Client, Config, Event, StartError, raise_file_limit};
use pgrx::pg_sys;

use crate::guc;
use crate::pg::bgw::Worker;
use crate::pg::job_lock::{JobLock, Mode};
use crate::pg::process;
use crate::pg::queues::{self, OtherEnd};
use crate::pg::wait::Watch;
use crate::shmem::databases::{self, Database};
use crate::shmem::http::{self, Ending, HttpSlot};
use crate::shmem::taken_back;

/// Bytes of each of the two queues between a scheduler and the worker.
pub(crate) const QUEUE: usize = 256 * 1024;

/// Most orders taken before their claims are flushed and they are sent.
const BATCH: usize = 256;

/// Files a process has open beside its connections.
const OTHER_FILES: u64 = 256;

/// How long the end of requests under way may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the HTTP worker is to the postmaster. It is in no database; being a session all the same
/// lets people see it, and end it.
pub(crate) const WORKER: Worker = Worker {
    name: "pg_tock http",
    main: "pg_tock_http_main",
    connects: true,
    restart: None,
    argument: 0,
};

/// Tells the schedulers that this process is gone.
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    http::depart();
}

/// Main of the HTTP worker.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_tock_http_main(_argument: pg_sys::Datum) {
    process::accept_signals_and_stop();
    if !http::arrive() {
        return;
    }
    // SAFETY: the callback touches shared memory only; without a database only shared catalogs
    // could be read.
    unsafe {
        pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0));
        pg_sys::BackgroundWorkerInitializeConnection(core::ptr::null(), core::ptr::null(), 0);
    }
    process::set_application_name(c"pg_tock http");
    process::set_config(c"log_min_messages", guc::log_min_messages());
    process::report_idle();
    let wanted = u64::try_from(guc::http::max_requests()).unwrap_or(u64::MAX) + OTHER_FILES;
    match raise_file_limit(wanted) {
        Ok(limit) if limit < wanted => pgrx::log!(
            "pg_tock: the HTTP worker may have {limit} files open, cron.http_max_requests would need {wanted}"
        ),
        Ok(_) => {}
        Err(error) => pgrx::log!("pg_tock: the limit of open files cannot be raised: {error}"),
    }
    let client = start_client().unwrap_or_else(|error| {
        pgrx::log!("pg_tock: the HTTP worker cannot start: {error}");
        process::exit_for_restart()
    });
    let watch = Watch::new(client.signal().as_raw_fd());
    for database in databases::all() {
        database.wake();
    }
    HttpWorker::new(client).run(&watch);
}

fn config() -> Config {
    Config {
        access: guc::http::access(),
        limits: guc::http::limits(),
        ca_file: guc::http::ca_file(),
        connect_timeout: guc::http::connect_timeout(),
        response_limit: guc::http::response_limit(),
        ..Config::default()
    }
}

/// A client with the present settings; without the certificates of a file that cannot be read.
fn start_client() -> Result<Client, StartError> {
    match Client::start(&config()) {
        Err(error @ StartError::Certificates { .. }) => {
            pgrx::log!("pg_tock: {error}");
            Client::start(&Config { ca_file: None, ..config() })
        }
        started => started,
    }
}

/// The keys of secrets. What is wrong with the file is said when a secret is needed, too.
fn keys() -> Keyring {
    let path = guc::secrets::key_file();
    if path.is_empty() {
        return Keyring::default();
    }
    Keyring::load(Path::new(&path)).unwrap_or_else(|error| {
        pgrx::log!("pg_tock: {error}");
        Keyring::default()
    })
}

/// A run the worker has taken.
struct Taken {
    run: Run,
    slot: &'static HttpSlot,
    lock: Option<JobLock>,
}

/// A dry run, whose host's addresses are being looked up.
struct Looking {
    taken: Taken,
    look: Look,
}

/// What belongs to one database.
#[derive(Default)]
struct Peer {
    queues: Option<OtherEnd>,
    /// Reports that have not been sent as a whole yet.
    reports: VecDeque<Vec<u8>>,
}

struct HttpWorker {
    client: Client,
    keys: Keyring,
    peers: HashMap<u32, Peer>,
    /// By the index of their slots.
    runs: HashMap<u32, Taken>,
    /// By their numbers: no other look-up ever gets the answer of one that was given up.
    looks: HashMap<u64, Looking>,
    /// The number of the last look-up.
    last_look: u64,
    orders: Vec<(u32, HttpOrder)>,
    events: Vec<Event>,
    /// How many cancelled runs have been seen.
    cancels: u64,
}

impl HttpWorker {
    fn new(client: Client) -> Self {
        Self {
            client,
            keys: keys(),
            peers: HashMap::new(),
            runs: HashMap::new(),
            looks: HashMap::new(),
            last_look: 0,
            orders: Vec::new(),
            events: Vec::new(),
            cancels: 0,
        }
    }

    /// The main loop. Returns when the process is asked to stop.
    fn run(mut self, watch: &Watch) {
        loop {
            process::check_interrupts();
            // SAFETY: outside a transaction, as in every main loop.
            unsafe { pg_sys::AcceptInvalidationMessages() };
            if process::asked_to_stop() {
                self.stop();
                return;
            }
            if process::reload_config() {
                self.configure();
            }
            self.take_links();
            let more = self.take_orders();
            self.send_orders();
            self.take_events();
            self.cancel();
            self.deliver();
            if !self.client.is_running() {
                pgrx::log!("pg_tock: the thread of the HTTP worker has ended");
                self.stop();
                process::exit_for_restart();
            }
            if !more {
                watch.sleep();
            }
        }
    }

    fn configure(&mut self) {
        process::set_config(c"log_min_messages", guc::log_min_messages());
        self.keys = keys();
        if let Err(error) = self.client.configure(&config()) {
            pgrx::log!("pg_tock: the HTTP worker keeps its settings: {error}");
        }
    }

    /// Takes the queues that schedulers offer, once what an earlier scheduler of the database has
    /// left in its own is taken.
    fn take_links(&mut self) {
        for database in databases::all() {
            let peer = self.peers.entry(database.oid()).or_default();
            if peer.queues.is_some() {
                continue;
            }
            let Some(dsm) = database.http.accept() else { continue };
            peer.queues = queues::join(dsm, QUEUE);
            if peer.queues.is_none() {
                // The scheduler has gone in between, or makes others.
                database.http.withdraw();
            }
            database.wake();
        }
    }

    /// Takes orders out of the queues; true if there may be more.
    fn take_orders(&mut self) -> bool {
        let mut more = false;
        for (&database, peer) in &mut self.peers {
            let Some(queues) = &mut peer.queues else { continue };
            for _ in 0..BATCH {
                match queues.orders.try_receive() {
                    Ok(Some(bytes)) => match HttpOrder::decode(bytes) {
                        Ok(order) => self.orders.push((database, order)),
                        Err(error) => pgrx::log!("pg_tock: an HTTP order cannot be read: {error}"),
                    },
                    Ok(None) => break,
                    Err(_) => {
                        // The scheduler is gone. Another one may have come, with queues of its own.
                        peer.queues = None;
                        more = true;
                        break;
                    }
                }
            }
            more |= self.orders.len() >= BATCH;
        }
        more
    }

    /// Sends what was ordered, once the claims are on disk.
    fn send_orders(&mut self) {
        let mut orders = std::mem::take(&mut self.orders);
        if let Some(claimed) = orders.iter().map(|(_, order)| order.flush_lsn).max()
            && claimed != 0
        {
            // SAFETY: a position in WAL that was inserted, by a scheduler before it sent the order.
            unsafe { pg_sys::XLogFlush(claimed) };
        }
        for (database, order) in orders.drain(..) {
            self.send(database, &order);
        }
        self.orders = orders;
    }

    fn send(&mut self, database: u32, order: &HttpOrder) {
        let run = Run::begin(order);
        let mine = |slot: &&HttpSlot| slot.scheduler() == database;
        let slot = http::get(order.slot).filter(mine);
        let Some(slot) = slot.filter(|slot| slot.take(order.run, run.started_at)) else {
            return; // it was taken back
        };
        let mut taken = Taken { run, slot, lock: None };
        let mode = if order.shares_lock { Mode::Shared } else { Mode::Alone };
        let lock = JobLock::new(database, JobId(order.job), mode);
        let holds_ended = databases::find(database).map_or(0, Database::holds_ended);
        match lock.try_keep() {
            Ok(true) => {
                taken.lock = Some(lock);
                slot.sets_to_work();
                if let Some(reason) = taken_back::find(database, RunId(order.run)) {
                    slot.want_end(RunId(order.run), Cause::Requested, reason.as_bytes());
                }
            }
            Ok(false) => return self.report(&taken, &run.put_off(holds_ended)),
            Err(error) => return self.report(&taken, &run.refused(&error)),
        }
        if slot.cause().is_some() {
            // That was noted before it came here, when there was nothing to cancel yet.
            return self.report(&taken, &run.cancelled());
        }
        if order.dry {
            return self.look(taken, order);
        }
        match run.order(u64::from(order.slot), order, &self.keys, env!("CARGO_PKG_VERSION")) {
            // A client that does not run any more is noticed when this turn is over.
            Ok(order) => drop(self.client.submit(order)),
            Err(report) => return self.report(&taken, &report),
        }
        self.runs.insert(order.slot, taken);
    }

    /// Has the addresses looked up that a request would go to.
    fn look(&mut self, taken: Taken, order: &HttpOrder) {
        match Look::at(&taken.run, order, &self.keys, env!("CARGO_PKG_VERSION")) {
            Ok(look) => {
                self.last_look = self.last_look.wrapping_add(1);
                self.client.inspect(self.last_look, look.host());
                self.looks.insert(self.last_look, Looking { taken, look });
            }
            Err(report) => self.report(&taken, &report),
        }
    }

    /// A run is over.
    fn report(&mut self, taken: &Taken, report: &HttpReport) {
        if let Some(lock) = &taken.lock {
            lock.release();
        }
        let database = taken.slot.scheduler();
        let sqlstate = report.sqlstate.as_deref().map(str::as_bytes);
        let ending = Ending {
            outcome: report.outcome,
            http_status: report.http_status,
            sqlstate: sqlstate.and_then(|code| code.try_into().ok()),
            ended_at: Timestamp(report.ended_at),
        };
        if report.held.is_some() {
            taken.slot.put_off();
        } else {
            taken.slot.end(&ending);
        }
        if databases::find(database).is_none() {
            taken.slot.free(); // nobody will ask
            return;
        }
        self.peers.entry(database).or_default().reports.push_back(report.encode());
    }

    /// Takes what the client has to say.
    fn take_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.client.take(&mut events);
        self.hear(&mut events);
        self.events = events;
    }

    fn hear(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            match event {
                Event::Done(done) => {
                    let index = u32::try_from(done.id).unwrap_or(u32::MAX);
                    if let Some(taken) = self.runs.remove(&index) {
                        self.report(&taken, &taken.run.report(&done));
                    }
                }
                Event::Breaker(change) => tell(&change),
                Event::Inspected { id, addresses } => {
                    if let Some(Looking { taken, look }) = self.looks.remove(&id) {
                        self.report(&taken, &look.report(addresses));
                    }
                }
            }
        }
    }

    /// Ends the runs that somebody has cancelled.
    fn cancel(&mut self) {
        let cancels = http::cancels();
        if std::mem::replace(&mut self.cancels, cancels) == cancels {
            return;
        }
        for (&index, taken) in &self.runs {
            if taken.slot.cause().is_some() {
                self.client.cancel(u64::from(index));
            }
        }
        let given_up: Vec<Looking> = self
            .looks
            .extract_if(|_, looking| looking.taken.slot.cause().is_some())
            .map(|(_, looking)| looking)
            .collect();
        for Looking { taken, look } in given_up {
            self.report(&taken, &look.given_up("request was cancelled"));
        }
    }

    /// Sends reports, as far as there is room for them.
    fn deliver(&mut self) {
        for peer in self.peers.values_mut() {
            let Some(queues) = &mut peer.queues else { continue };
            while let Some(report) = peer.reports.front() {
                match queues.reports.try_send(report) {
                    Ok(true) => drop(peer.reports.pop_front()),
                    Ok(false) => break,
                    Err(_) => {
                        peer.queues = None;
                        break;
                    }
                }
            }
        }
        let there = |database: u32| databases::find(database).is_some();
        self.peers.retain(|&database, peer| peer.queues.is_some() || there(database));
    }

    /// Ends all runs under way, and says so as far as anybody listens.
    fn stop(&mut self) {
        let mut events = self.client.end(FAREWELL);
        self.hear(&mut events);
        for taken in std::mem::take(&mut self.runs).into_values() {
            self.report(&taken, &taken.run.lost("the HTTP worker was stopped"));
        }
        for Looking { taken, look } in std::mem::take(&mut self.looks).into_values() {
            self.report(&taken, &look.given_up("the HTTP worker was stopped"));
        }
        self.deliver();
    }
}

/// A line in the server log for a circuit breaker.
fn tell(change: &BreakerChange) {
    let BreakerChange { origin, open, failures, holds } = change;
    if *open {
        pgrx::log!(
            "pg_tock: circuit breaker of {origin} opened after {failures} failures, {holds} requests wait"
        );
    } else {
        pgrx::log!("pg_tock: circuit breaker of {origin} closed");
    }
}
