//! Which request is sent next: limits, fairness among hosts, circuit breakers.
//!
//! Owns these invariants: at most `max_in_flight` requests are under way, at most `per_host` to one
//! host; hosts take turns, so that one with a long queue delays no other; while a host's breaker is
//! open nothing is sent to it but one probe at a time. Time is what the caller says, so that hours
//! are played through in tests. Every change costs O(log n).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::time::Timestamp;

mod host;

use host::{Breaker, Host};

/// How many deadlines of requests that are over are kept before they are swept out.
const SLACK: usize = 1024;

/// Settings of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at one time; `cron.http_max_requests`.
    pub max_in_flight: usize,
    /// Of those, to one host.
    pub per_host: usize,
    /// Failures in a row that open the breaker of a host; 0 = never.
    pub breaker_failures: u32,
    /// How long a breaker stays open before a probe, in microseconds; twice as long after each
    /// probe that fails, up to 16 times.
    pub breaker_open_for: i64,
}

impl Default for Limits {
    /// 2,048 in all, 64 to one host; 5 failures, 30 s.
    fn default() -> Self {
        Self {
            max_in_flight: 2048,
            per_host: 64,
            breaker_failures: 5,
            breaker_open_for: 30 * Timestamp::SECOND,
        }
    }
}

/// What kept a request waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// `max_in_flight`.
    Limit,
    /// `per_host`.
    HostLimit,
    /// The breaker of its host.
    Breaker,
}

impl Hold {
    /// A phrase for the run's row.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit of requests",
            Self::HostLimit => "limit of requests to the host",
            Self::Breaker => "circuit breaker of the host",
        }
    }
}

/// What a request taught about its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It answered, whatever the answer was.
    Reached,
    /// It did not ([`super::outcome::Failure::blames_host`]).
    Failed,
    /// Nothing: the request was cancelled, or failed for a reason of our own.
    Unknown,
}

/// What became of a breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// Scheme, host and port.
    pub origin: String,
    /// Whether it is open now.
    pub open: bool,
    /// Failures in a row.
    pub failures: u32,
    /// Requests that wait because of it.
    pub holds: usize,
}

/// A request that is to be sent now, or whose time to wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The request.
    pub id: u64,
    /// How long it waited, in microseconds.
    pub waited: i64,
    /// What kept it waiting most, if anything did.
    pub held: Option<Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    host: usize,
    since: Timestamp,
    deadline: Timestamp,
    /// Whether the breaker was open when it came.
    behind_breaker: bool,
    sent: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    by_origin: HashMap<String, usize>,
    hosts: HashMap<usize, Host>,
    next_host: usize,
    requests: HashMap<u64, Request>,
    in_flight: usize,
    /// The latest instant it was told.
    now: Timestamp,
    /// When a request last had to wait because of `max_in_flight`.
    last_full: Option<Timestamp>,
    /// Hosts that may have something to send, each once, in turn.
    ready: VecDeque<usize>,
    /// When an open breaker lets a probe through. Entries may be stale.
    openings: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// When requests give up waiting. Entries may be stale.
    deadlines: BinaryHeap<Reverse<(Timestamp, u64)>>,
}

impl Gate {
    /// With nothing under way.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_origin: HashMap::new(),
            hosts: HashMap::new(),
            next_host: 0,
            requests: HashMap::new(),
            in_flight: 0,
            now: Timestamp::default(),
            last_full: None,
            ready: VecDeque::new(),
            openings: BinaryHeap::new(),
            deadlines: BinaryHeap::new(),
        }
    }

    /// Changes the settings. What is under way stays so.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        let all: Vec<_> = self.hosts.keys().copied().collect();
        for host in all {
            self.refresh(host);
        }
    }

    /// How many requests are under way.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.requests.len() - self.in_flight
    }

    /// How many hosts are known.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// A request to `origin` that waits until `deadline` at the longest. False if its id is known
    /// already: then nothing happens.
    pub fn submit(&mut self, id: u64, origin: &str, deadline: Timestamp, now: Timestamp) -> bool {
        if self.requests.contains_key(&id) {
            return false;
        }
        self.now = now;
        let number = self.host(origin);
        let Some(host) = self.hosts.get_mut(&number) else { return false };
        let behind_breaker = host.breaker != Breaker::Closed;
        host.queue.push_back(id);
        host.waiting += 1;
        let request = Request { host: number, since: now, deadline, behind_breaker, sent: false };
        self.requests.insert(id, request);
        self.deadlines.push(Reverse((deadline, id)));
        if self.deadlines.len() > 2 * self.requests.len() + SLACK {
            // One that waits long keeps those behind it from being dropped one by one.
            let requests = &self.requests;
            self.deadlines.retain(|Reverse((_, id))| requests.get(id).is_some_and(|r| !r.sent));
        }
        self.refresh(number);
        true
    }

    /// The next request to send, if one may be sent now. Call until it says `None`.
    pub fn start(&mut self, now: Timestamp) -> Option<Released> {
        self.now = now;
        self.half_open(now);
        while self.in_flight < self.limits.max_in_flight {
            let number = self.ready.pop_front()?;
            let Some(host) = self.hosts.get_mut(&number) else { continue };
            host.ready = false;
            // Much may have happened since it was put in line.
            match host.breaker {
                Breaker::Closed if host.in_flight < self.limits.per_host => {}
                Breaker::Open(until) if until <= now => {}
                Breaker::Open(until) => {
                    self.openings.push(Reverse((until, number)));
                    continue;
                }
                Breaker::Closed | Breaker::Probing(_) => continue,
            }
            let Some(id) = pop(host, &self.requests) else { continue };
            host.waiting -= 1;
            host.in_flight += 1;
            if let Breaker::Open(_) = host.breaker {
                host.breaker = Breaker::Probing(id);
            }
            let Some(request) = self.requests.get_mut(&id) else { continue };
            request.sent = true;
            let released = released(id, request, host, self.last_full, now);
            self.in_flight += 1;
            self.refresh(number);
            return Some(released);
        }
        if !self.ready.is_empty() {
            self.last_full = Some(now);
        }
        None
    }

    /// A request that waited until its deadline; it is gone. Call until it says `None`.
    pub fn expire(&mut self, now: Timestamp) -> Option<Released> {
        while let Some(&Reverse((deadline, id))) = self.deadlines.peek() {
            let waits = self.requests.get(&id).is_some_and(|r| !r.sent && r.deadline == deadline);
            if waits && deadline > now {
                return None;
            }
            self.deadlines.pop();
            if waits {
                let request = self.forget_waiting(id)?;
                let host = self.hosts.get(&request.host)?;
                let released = released(id, &request, host, self.last_full, now);
                self.tidy(request.host);
                return Some(released);
            }
        }
        None
    }

    /// A request that was sent is over. Says if that changed its host's breaker.
    pub fn finish(&mut self, id: u64, contact: Contact, now: Timestamp) -> Option<BreakerChange> {
        if !self.requests.get(&id)?.sent {
            return None;
        }
        self.now = now;
        let number = self.requests.remove(&id)?.host;
        self.in_flight -= 1;
        let limits = self.limits;
        let host = self.hosts.get_mut(&number)?;
        host.in_flight -= 1;
        let was_open = host.breaker != Breaker::Closed;
        host.learn(id, contact, limits, now);
        if let Breaker::Open(until) = host.breaker {
            self.openings.push(Reverse((until, number)));
        }
        let change = (was_open != (host.breaker != Breaker::Closed)).then(|| BreakerChange {
            origin: host.origin.clone(),
            open: !was_open,
            failures: host.failures,
            holds: host.waiting,
        });
        self.refresh(number);
        self.tidy(number);
        change
    }

    /// Takes a request that waits away. False if it does not wait: then it is under way, and
    /// [`Gate::finish`] will be called for it, or unknown.
    pub fn cancel(&mut self, id: u64) -> bool {
        if self.requests.get(&id).is_none_or(|request| request.sent) {
            return false;
        }
        if let Some(request) = self.forget_waiting(id) {
            self.tidy(request.host);
        }
        true
    }

    /// When to call [`Gate::start`] and [`Gate::expire`] again, if nothing happens before.
    #[must_use]
    pub fn next_wake(&mut self) -> Option<Timestamp> {
        while let Some(&Reverse((_, id))) = self.deadlines.peek()
            && self.requests.get(&id).is_none_or(|request| request.sent)
        {
            self.deadlines.pop();
        }
        while let Some(&Reverse((until, number))) = self.openings.peek()
            && self
                .hosts
                .get(&number)
                .is_none_or(|h| h.breaker != Breaker::Open(until) || h.waiting == 0)
        {
            self.openings.pop();
        }
        let deadline = self.deadlines.peek().map(|Reverse((at, _))| *at);
        let opening = self.openings.peek().map(|Reverse((at, _))| *at);
        // A breaker that could be probed already waits for a free place, not for time.
        let opening = opening.filter(|_| self.in_flight < self.limits.max_in_flight);
        deadline.into_iter().chain(opening).min()
    }

    /// The origins whose breaker is open, with the number of requests each holds back.
    pub fn open_breakers(&self) -> impl Iterator<Item = (&str, usize)> {
        let open = self.hosts.values().filter(|host| host.breaker != Breaker::Closed);
        open.map(|host| (host.origin.as_str(), host.waiting))
    }

    fn host(&mut self, origin: &str) -> usize {
        if let Some(&number) = self.by_origin.get(origin) {
            return number;
        }
        let number = self.next_host;
        self.next_host += 1;
        self.by_origin.insert(origin.to_owned(), number);
        self.hosts.insert(number, Host::new(origin));
        number
    }

    /// Puts a host in line if it may send, or arranges for its probe.
    fn refresh(&mut self, number: usize) {
        let Some(host) = self.hosts.get_mut(&number) else { return };
        if host.waiting == 0 || host.ready {
            return;
        }
        match host.breaker {
            Breaker::Closed if host.in_flight < self.limits.per_host => {
                host.ready = true;
                self.ready.push_back(number);
            }
            Breaker::Closed => host.last_full = Some(self.now),
            // For the others the entry is there already.
            Breaker::Open(until) if host.waiting == 1 => {
                self.openings.push(Reverse((until, number)));
            }
            Breaker::Open(_) | Breaker::Probing(_) => {}
        }
    }

    /// Puts hosts whose breaker was open long enough in line, for one request.
    fn half_open(&mut self, now: Timestamp) {
        while let Some(&Reverse((until, number))) = self.openings.peek()
            && until <= now
        {
            self.openings.pop();
            let Some(host) = self.hosts.get_mut(&number) else { continue };
            if host.breaker == Breaker::Open(until) && host.waiting > 0 && !host.ready {
                host.ready = true;
                self.ready.push_back(number);
            }
        }
    }

    /// Removes a waiting request; its id stays in its host's queue, to be passed over.
    fn forget_waiting(&mut self, id: u64) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        if let Some(host) = self.hosts.get_mut(&request.host) {
            host.waiting = host.waiting.saturating_sub(1);
            if host.waiting == 0 {
                host.queue.clear();
            }
        }
        Some(request)
    }

    /// Forgets a host that nothing is known about that a new one would not have.
    fn tidy(&mut self, number: usize) {
        let Some(host) = self.hosts.get(&number) else { return };
        let idle = host.waiting == 0 && host.in_flight == 0;
        if idle
            && host.breaker == Breaker::Closed
            && host.failures == 0
            && let Some(host) = self.hosts.remove(&number)
        {
            self.by_origin.remove(&host.origin);
        }
    }
}

/// The first id in the queue that is still known.
fn pop(host: &mut Host, requests: &HashMap<u64, Request>) -> Option<u64> {
    loop {
        let id = host.queue.pop_front()?;
        if requests.get(&id).is_some_and(|request| !request.sent) {
            return Some(id);
        }
    }
}

/// What a request is told when it need not wait any longer.
fn released(
    id: u64,
    request: &Request,
    host: &Host,
    full: Option<Timestamp>,
    now: Timestamp,
) -> Released {
    let since = |at: Option<Timestamp>| at.is_some_and(|at| at >= request.since);
    let held = if request.behind_breaker || since(host.last_opened) {
        Some(Hold::Breaker)
    } else if since(host.last_full) {
        Some(Hold::HostLimit)
    } else {
        since(full).then_some(Hold::Limit)
    };
    Released { id, waited: now.since(request.since).max(0), held }
}

#[cfg(test)]
mod tests;
