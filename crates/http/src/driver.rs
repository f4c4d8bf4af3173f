//! The event loop: takes orders, lets the gate decide, hands completions back.
//!
//! Owns one invariant: every order that arrives leaves as exactly one completion, also when its
//! exchange panics, is cancelled, or the loop ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pg_tock_core::http::gate::{Contact, Gate, Hold, Released};
use pg_tock_core::http::outcome::Failure;
use pg_tock_core::time::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_rustls::TlsConnector;

use crate::client::{Event, Shared};
use crate::config::Config;
use crate::connect::Connector;
use crate::exchange::{Http, Keep, run};
use crate::order::{Completion, Order, Times};
use crate::progress::Progress;
use crate::resolve::Resolve;

/// How many orders or completions are handled before the others get a turn.
const BATCH: usize = 256;

/// How often an HTTP/2 connection with requests on it is asked whether it still lives.
const PING: Duration = Duration::from_secs(20);

/// The most that the headers of a response can be, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;

/// What the owner of the client wants.
pub(crate) enum Command {
    Submit(Box<Order>),
    Cancel(u64),
    Inspect(u64, String),
    Configure(Box<Config>, Arc<rustls::ClientConfig>),
    Stop,
}

struct Flight {
    order: Arc<Order>,
    released: Released,
    abort: AbortHandle,
    /// Why it was aborted.
    cancelled: bool,
}

pub(crate) struct Driver {
    gate: Gate,
    http: Http,
    /// What `http` makes its connections with.
    connector: Connector,
    keep: Keep,
    resolver: Arc<dyn Resolve>,
    waiting: HashMap<u64, Arc<Order>>,
    flying: HashMap<u64, Flight>,
    ids: HashMap<Id, u64>,
    tasks: JoinSet<Completion>,
    shared: Arc<Shared>,
    epoch: Instant,
}

impl Driver {
    pub(crate) fn new(
        config: &Config,
        tls: Arc<rustls::ClientConfig>,
        resolver: Arc<dyn Resolve>,
        shared: Arc<Shared>,
    ) -> Self {
        let connector = connector(config, tls, Arc::clone(&resolver));
        Self {
            gate: Gate::new(config.limits),
            http: client(config, connector.clone()),
            connector,
            keep: keep(config),
            resolver,
            waiting: HashMap::new(),
            flying: HashMap::new(),
            ids: HashMap::new(),
            tasks: JoinSet::new(),
            shared,
            epoch: Instant::now(),
        }
    }

    /// Runs until it is told to stop, or nobody can tell it anything any more.
    pub(crate) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.let_go();
            self.shared.publish(self.gate.in_flight(), self.gate.waiting());
            let wake = self.gate.next_wake().map(|at| self.instant(at));
            tokio::select! {
                count = commands.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    let mut stop = false;
                    for command in batch.drain(..) {
                        stop |= !self.obey(command);
                    }
                    if stop {
                        break;
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.land(ended);
                    for _ in 1..BATCH {
                        let Some(ended) = self.tasks.try_join_next_with_id() else { break };
                        self.land(ended);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        self.stop(commands);
    }

    /// False if the loop is to end.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Submit(order) => self.submit(Arc::new(*order)),
            Command::Cancel(id) => self.cancel(id),
            Command::Inspect(id, host) => self.inspect(id, host),
            Command::Configure(config, tls) => {
                self.resolver.refresh();
                self.gate.set_limits(config.limits);
                self.connector = connector(&config, tls, Arc::clone(&self.resolver));
                self.http = client(&config, self.connector.clone());
                self.keep = keep(&config);
            }
            Command::Stop => return false,
        }
        true
    }

    fn submit(&mut self, order: Arc<Order>) {
        let now = self.now();
        let wait = i64::try_from(order.max_wait.as_micros()).unwrap_or(i64::MAX);
        if self.gate.submit(order.id, &order.request.origin(), now.plus(wait), now) {
            self.waiting.insert(order.id, order);
        }
    }

    fn cancel(&mut self, id: u64) {
        if self.gate.cancel(id) {
            self.waiting.remove(&id);
            self.shared.push(Event::Done(Box::new(cancelled(id, false))));
        } else if let Some(flight) = self.flying.get_mut(&id) {
            flight.cancelled = true;
            flight.abort.abort();
        }
    }

    fn inspect(&self, id: u64, host: String) {
        let (connector, shared) = (self.connector.clone(), Arc::clone(&self.shared));
        tokio::spawn(async move {
            let found = connector.inspect(&host).await;
            let addresses = found.map_err(|failed| failed.message);
            shared.tell(Event::Inspected { id, addresses });
        });
    }

    /// Sends what may be sent, and gives up what has waited too long.
    fn let_go(&mut self) {
        let now = self.now();
        while let Some(released) = self.gate.expire(now) {
            if self.waiting.remove(&released.id).is_some() {
                self.shared.push(Event::Done(Box::new(held_back(released))));
            }
        }
        while let Some(released) = self.gate.start(now) {
            let Some(order) = self.waiting.remove(&released.id) else { continue };
            let exchange =
                run(self.http.clone(), self.keep, Arc::clone(&order), Progress::default());
            let abort = self.tasks.spawn(exchange);
            self.ids.insert(abort.id(), released.id);
            self.flying.insert(released.id, Flight { order, released, abort, cancelled: false });
        }
    }

    /// A request is over.
    fn land(&mut self, ended: Result<(Id, Completion), JoinError>) {
        let task = match &ended {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let flight = self.ids.remove(&task).and_then(|id| self.flying.remove(&id));
        let Some(flight) = flight else { return };
        let id = flight.order.id;
        let mut completion = match ended {
            Ok((_, completion)) => completion,
            Err(_) if flight.cancelled => cancelled(id, true),
            Err(_) => Completion {
                sent: true,
                ..Completion::unsent(id, Failure::Resources, "the HTTP client failed".to_owned())
            },
        };
        completion.times.waited = waited(flight.released);
        completion.held = flight.released.held;
        if let Some(change) = self.gate.finish(id, contact(&completion), self.now()) {
            self.shared.push(Event::Breaker(change));
        }
        self.shared.push(Event::Done(Box::new(completion)));
    }

    /// Ends everything that is left, without waiting for anybody.
    fn stop(mut self, mut commands: UnboundedReceiver<Command>) {
        commands.close();
        let message = || "the HTTP worker was stopped".to_owned();
        let left = self
            .waiting
            .keys()
            .map(|&id| (id, false))
            .chain(self.flying.keys().map(|&id| (id, true)));
        for (id, sent) in left {
            let completion =
                Completion { sent, ..Completion::unsent(id, Failure::Shutdown, message()) };
            self.shared.push(Event::Done(Box::new(completion)));
        }
        while let Ok(command) = commands.try_recv() {
            if let Command::Submit(order) = command {
                let completion = Completion::unsent(order.id, Failure::Shutdown, message());
                self.shared.push(Event::Done(Box::new(completion)));
            }
        }
        self.tasks.abort_all();
        self.shared.publish(0, 0);
        self.shared.finished.store(true, Ordering::Release);
    }

    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn instant(&self, at: Timestamp) -> Instant {
        let micros = u64::try_from(at.0).unwrap_or_default();
        // As far off as it can be said: the loop wakes up and looks again.
        let far = self.epoch.elapsed() + Duration::from_secs(3600);
        self.epoch + Duration::from_micros(micros).min(far)
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

fn keep(config: &Config) -> Keep {
    Keep { bytes: config.response_limit, read: config.read_limit.max(config.response_limit) }
}

fn connector(
    config: &Config,
    tls: Arc<rustls::ClientConfig>,
    resolver: Arc<dyn Resolve>,
) -> Connector {
    Connector {
        access: Arc::new(config.access.clone()),
        resolver,
        tls: TlsConnector::from(tls),
        timeout: config.connect_timeout,
    }
}

fn client(config: &Config, connector: Connector) -> Http {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.idle_timeout)
        .pool_max_idle_per_host(config.limits.per_host)
        .http1_max_buf_size(MAX_HEADERS as usize)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keep_alive_interval(PING)
        .build(connector)
}

fn contact(completion: &Completion) -> Contact {
    match &completion.failure {
        None => Contact::Reached,
        // Somebody answered, be it only to send us elsewhere.
        Some(_) if completion.status.is_some() || completion.redirects > 0 => Contact::Reached,
        Some((failure, _)) if failure.blames_host() => Contact::Failed,
        Some(_) => Contact::Unknown,
    }
}

pub(crate) fn cancelled(id: u64, sent: bool) -> Completion {
    let message = "request was cancelled".to_owned();
    Completion { sent, ..Completion::unsent(id, Failure::Cancelled, message) }
}

fn waited(released: Released) -> Duration {
    Duration::from_micros(u64::try_from(released.waited).unwrap_or_default())
}

fn held_back(released: Released) -> Completion {
    let waited = waited(released);
    let reason = released.held.map_or("the HTTP worker", Hold::as_str);
    let message = format!("request was held back for {waited:?} by the {reason}");
    Completion {
        times: Times { waited, ..Times::default() },
        held: released.held,
        ..Completion::unsent(released.id, Failure::HeldBack, message)
    }
}
