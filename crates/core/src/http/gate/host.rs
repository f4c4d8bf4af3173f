//! One host: what waits for it, and its circuit breaker.
//!
//! Owns one invariant: the breaker opens only by failures in a row, and any answer closes it.

use std::collections::VecDeque;

use super::{Contact, Limits};
use crate::time::Timestamp;

/// The longest time a breaker stays open, as a multiple of `breaker_open_for`.
const MOST_PATIENCE: i64 = 16;

/// Whether anything may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaker {
    Closed,
    /// No request before this instant.
    Open(Timestamp),
    /// One request is on its way to see.
    Probing(u64),
}

/// What is known of a host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) origin: String,
    /// Ids in order; some may be gone from `requests`.
    pub(super) queue: VecDeque<u64>,
    /// Those in `queue` that are not gone.
    pub(super) waiting: usize,
    pub(super) in_flight: usize,
    pub(super) failures: u32,
    pub(super) breaker: Breaker,
    /// How long the next opening lasts, in microseconds.
    pub(super) patience: i64,
    pub(super) last_opened: Option<Timestamp>,
    /// When a request last had to wait because of `per_host`.
    pub(super) last_full: Option<Timestamp>,
    /// Whether it stands in `Gate::ready`.
    pub(super) ready: bool,
}

impl Host {
    pub(super) fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            queue: VecDeque::new(),
            waiting: 0,
            in_flight: 0,
            failures: 0,
            breaker: Breaker::Closed,
            patience: 0,
            last_opened: None,
            last_full: None,
            ready: false,
        }
    }

    /// What the end of a request means for the breaker.
    pub(super) fn learn(&mut self, id: u64, contact: Contact, limits: Limits, now: Timestamp) {
        let probed = self.breaker == Breaker::Probing(id);
        match contact {
            Contact::Reached => {
                self.failures = 0;
                self.patience = 0;
                self.breaker = Breaker::Closed;
            }
            Contact::Failed => {
                self.failures = self.failures.saturating_add(1);
                let enough =
                    limits.breaker_failures > 0 && self.failures >= limits.breaker_failures;
                if probed || self.breaker == Breaker::Closed && enough {
                    let longest = limits.breaker_open_for.saturating_mul(MOST_PATIENCE);
                    self.patience =
                        self.patience.saturating_mul(2).clamp(limits.breaker_open_for, longest);
                    self.breaker = Breaker::Open(now.plus(self.patience));
                    self.last_opened = Some(now);
                }
            }
            // The probe said nothing: the next one may go at once.
            Contact::Unknown if probed => self.breaker = Breaker::Open(now),
            Contact::Unknown => {}
        }
    }
}
