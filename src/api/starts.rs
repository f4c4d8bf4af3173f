//! When jobs start next, each remembered until that has passed: a view asks for all jobs, and between two
//! readings most have neither changed nor started.
//!
//! Owns one invariant: what is remembered is what would be found anew. It is for a job whose columns are
//! the same, byte for byte, under the same settings, and only what follows from them and the clock alone
//! is remembered: nothing that calendars decide, nothing that counts from when a job took effect.

use std::cell::RefCell;

use pg_tock_core::plan::NextStart;
use pg_tock_core::time::Timestamp;

use super::known::Columns;

/// Room for time zone, run window and schedule of nearly all jobs.
const ROOM: usize = 44;

/// Most jobs remembered, of 88 bytes each: a power of two. Of jobs whose ids are the same modulo that,
/// the last one is.
const MOST: usize = 16_384;

thread_local! {
    /// At their ids modulo its length, so that a reading of many goes through them in order.
    static STARTS: RefCell<Vec<Start>> = const { RefCell::new(Vec::new()) };
}

/// What decides when a job starts next, by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    jobid: i64,
    jitter: i64,
    /// Settings, which columns are not NULL, and how long the texts are.
    shape: [u8; 4],
    text: [u8; ROOM],
}

#[derive(Clone, Copy, Debug)]
struct Start {
    job: Job,
    next: NextStart,
}

/// No job's: each has a schedule.
const NONE: Start = Start {
    job: Job { jobid: 0, jitter: 0, shape: [0; 4], text: [0; ROOM] },
    next: NextStart::NEVER,
};

impl Job {
    /// The job with these columns; None if it is not one to remember.
    pub(super) fn new(jobid: i64, jitter: i64, columns: &Columns<'_>) -> Option<Self> {
        if columns.has_calendars() {
            return None;
        }
        let parts = [columns.timezone, columns.run_window, Some(columns.schedule)];
        let mut shape = [columns.settings(), 0, 0, 0];
        let mut text = [0; ROOM];
        let mut free = text.as_mut_slice();
        for (length, part) in shape.iter_mut().skip(1).zip(parts) {
            // NULL is not the empty text.
            let Some(part) = part else { continue };
            let (place, rest) = free.split_at_mut_checked(part.len())?;
            place.copy_from_slice(part);
            free = rest;
            *length = u8::try_from(part.len() + 1).ok()?;
        }
        Some(Self { jobid, jitter, shape, text })
    }

    /// When it starts next after `after`, if that is remembered.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        STARTS.with_borrow(|starts| {
            let start = starts.get(self.place(starts.len())).filter(|start| start.job == *self)?;
            start.next.after(after)
        })
    }

    /// Remembers when it starts next.
    pub(super) fn remember(self, next: NextStart) {
        STARTS.with_borrow_mut(|starts| {
            // Until there are most, a job's place is its id, which stays as more come.
            let needed = self.jobid.cast_unsigned().saturating_add(1).checked_next_power_of_two();
            let needed = needed.and_then(|needed| usize::try_from(needed).ok());
            let needed = needed.unwrap_or(MOST).min(MOST);
            if starts.len() < needed {
                starts.resize(needed, NONE);
            }
            let place = self.place(starts.len());
            if let Some(start) = starts.get_mut(place) {
                *start = Start { job: self, next };
            }
        });
    }

    #[allow(clippy::cast_possible_truncation, reason = "its lower half will do")]
    const fn place(&self, places: usize) -> usize {
        self.jobid.cast_unsigned() as usize & places.wrapping_sub(1)
    }
}
