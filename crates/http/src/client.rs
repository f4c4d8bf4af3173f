//! The client as its owner sees it: a queue in, a queue out, and a file descriptor that says when
//! to look.
//!
//! Owns these invariants: no call waits for the network; the descriptor is readable from the moment
//! an event is in the queue until [`Client::take`] was called; the event loop's thread is born with
//! every signal blocked.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use pg_tock_core::http::access::Denied;
use pg_tock_core::http::gate::BreakerChange;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::config::{Config, StartError};
use crate::driver::{Command, Driver};
use crate::order::{Completion, Order};
use crate::resolve::{Resolve, SystemResolver};
use crate::tls;

/// An address of a host, and whether a request would connect to it.
pub type Seen = (IpAddr, Result<(), Denied>);

/// Something the owner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An order is over.
    Done(Box<Completion>),
    /// A host's circuit breaker opened or closed.
    Breaker(BreakerChange),
    /// The answer to [`Client::inspect`].
    Inspected {
        /// The id that was given.
        id: u64,
        /// Each address of the host, with whether a request would connect to it; or why there is
        /// none.
        addresses: Result<Vec<Seen>, String>,
    },
}

/// What both threads see.
#[derive(Debug)]
pub(crate) struct Shared {
    events: Mutex<VecDeque<Event>>,
    /// Whether events were pushed since the descriptor was last written.
    fresh: AtomicBool,
    signal: EventFd,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    pub(crate) finished: AtomicBool,
}

impl Shared {
    pub(crate) fn push(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.fresh.store(true, Ordering::Release);
    }

    /// Wakes the owner if there is something new for it; once for any number of events.
    pub(crate) fn publish(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        if self.fresh.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Tells the owner from outside the loop's own round.
    pub(crate) fn tell(&self, event: Event) {
        self.push(event);
        if self.fresh.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        // It fails only when the counter is full, and then the descriptor is readable anyway.
        let _ = self.signal.write(1);
    }
}

/// Wakes the owner and marks the loop as over, however its thread ends.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
        self.0.wake();
    }
}

/// The loop is over: it was stopped, or its thread died. Holds the order back.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client is not running")]
pub struct SubmitError(pub Box<Order>);

/// The client. Dropping it ends everything under way.
#[derive(Debug)]
pub struct Client {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts the event loop, with the system's name servers.
    ///
    /// # Errors
    /// Certificates that cannot be read; a thread or a descriptor that cannot be had.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Arc::new(SystemResolver::default()))
    }

    /// Starts the event loop with another way to find addresses.
    ///
    /// # Errors
    /// As [`Client::start`].
    pub fn start_with(config: &Config, resolver: Arc<dyn Resolve>) -> Result<Self, StartError> {
        let tls = tls::client_config(config)?;
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let signal = EventFd::from_value_and_flags(0, flags).map_err(std::io::Error::from)?;
        let shared = Arc::new(Shared {
            events: Mutex::new(VecDeque::new()),
            fresh: AtomicBool::new(false),
            signal,
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            finished: AtomicBool::new(false),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (commands, received) = unbounded_channel();
        let (config, theirs) = (config.clone(), Arc::clone(&shared));
        let thread = spawn_without_signals(move || {
            let farewell = Farewell(Arc::clone(&theirs));
            let driver = Driver::new(&config, tls, resolver, theirs);
            runtime.block_on(driver.run(received));
            // The events are there; connections need not be closed one by one first.
            drop(farewell);
        })?;
        Ok(Self { commands, shared, thread: Some(thread) })
    }

    /// Takes an order. Its completion comes as an event.
    ///
    /// # Errors
    /// The loop is over; the order was not sent.
    pub fn submit(&self, order: Order) -> Result<(), SubmitError> {
        let Err(unsent) = self.commands.send(Command::Submit(Box::new(order))) else {
            return Ok(());
        };
        match unsent.0 {
            Command::Submit(order) => Err(SubmitError(order)),
            // What comes back is what was sent.
            Command::Cancel(_) | Command::Inspect(..) | Command::Configure(..) | Command::Stop => {
                Ok(())
            }
        }
    }

    /// Ends an order; its completion says [`Cancelled`](pg_tock_core::http::outcome::Failure::Cancelled),
    /// unless it was over already.
    pub fn cancel(&self, id: u64) {
        // A loop that is over has nothing to cancel.
        let _ = self.commands.send(Command::Cancel(id));
    }

    /// Asks which addresses `host` has and whether they may be reached, for `cron.dry_run`; sends
    /// nothing to them. The answer comes as an event with this id.
    pub fn inspect(&self, id: u64, host: &str) {
        // A loop that is over has nothing to say.
        let _ = self.commands.send(Command::Inspect(id, host.to_owned()));
    }

    /// Uses new settings for whatever is sent from now on. Connections and names that are
    /// remembered are forgotten.
    ///
    /// # Errors
    /// Certificates that cannot be read; then the old settings stay.
    pub fn configure(&self, config: &Config) -> Result<(), StartError> {
        let tls = tls::client_config(config)?;
        // A loop that is over needs no settings.
        let _ = self.commands.send(Command::Configure(Box::new(config.clone()), tls));
        Ok(())
    }

    /// The descriptor that becomes readable when there are events, for a wait set. Not to be read
    /// from: [`Client::take`] does.
    #[must_use]
    pub fn signal(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }

    /// Appends all events that are there to `out`; never waits.
    pub fn take(&self, out: &mut Vec<Event>) {
        // Nothing to read means that nobody was woken since.
        let _ = self.shared.signal.read();
        let mut events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend(events.drain(..));
    }

    /// Whether the loop runs. If it ends without being asked to, the descriptor becomes readable;
    /// orders without a completion then have an unknown fate.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.shared.finished.load(Ordering::Acquire)
    }

    /// How many requests are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// How many requests wait for their turn or for a circuit breaker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Ends everything under way and the thread. Orders that were not over complete with
    /// [`Shutdown`](pg_tock_core::http::outcome::Failure::Shutdown). After `patience` the thread
    /// is left to the end of the process.
    #[must_use]
    pub fn shutdown(mut self, patience: Duration) -> Vec<Event> {
        self.end(patience)
    }

    /// As [`Client::shutdown`], for an owner that cannot give the client away. It runs no more.
    pub fn end(&mut self, patience: Duration) -> Vec<Event> {
        self.stop(patience);
        let mut events = Vec::new();
        self.take(&mut events);
        events
    }

    fn stop(&mut self, patience: Duration) {
        let Some(thread) = self.thread.take() else { return };
        // A loop that is over has been stopped.
        let _ = self.commands.send(Command::Stop);
        let deadline = Instant::now() + patience;
        while self.is_running() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Events that are there already make it readable; they are kept, the signal is not.
            let _ = self.shared.signal.read();
            if self.is_running() {
                let mut wanted = [PollFd::new(self.shared.signal.as_fd(), PollFlags::POLLIN)];
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                // A signal in between only shortens the wait.
                let _ = poll(&mut wanted, timeout);
            }
        }
        // What is left is freeing memory. A panic has been reported by the panic hook.
        let _ = thread.join();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(5));
    }
}

/// Starts a thread that takes no signal: handlers of the process run on its other threads only.
fn spawn_without_signals(body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let thread = std::thread::Builder::new().name("pg_tock http".to_owned()).spawn(body);
    before.thread_set_mask()?;
    thread
}

/// Lets this process have `wanted` files open, as far as the hard limit allows, and says how many
/// it may have now. Each request under way needs one.
///
/// # Errors
/// The system's, if it does not say or does not let us.
pub fn raise_file_limit(wanted: u64) -> std::io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let target = wanted.min(hard);
    if soft >= target {
        return Ok(soft);
    }
    setrlimit(Resource::RLIMIT_NOFILE, target, hard)?;
    Ok(target)
}
