//! The chore of deleting statistics of hours and days: those that are old, and those of jobs that are
//! gone.

use core::ffi::CStr;

use pg_tock_core::time::Timestamp;
use pgrx::spi;

use super::{Batch, Work};
use crate::catalog::load::Installed;
use crate::catalog::roll_up::{self, Span};
use crate::guc::retention;
use crate::pg::lock;

/// Most rows deleted in one batch, and most jobs looked at.
const ROWS: i64 = 1_000;

const DAY: i64 = 86_400 * Timestamp::SECOND;

/// What is next.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    Old(Span, Timestamp),
    /// Jobs beyond this one.
    Gone(Span, i64),
    #[default]
    Over,
}

/// The chore.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    step: Step,
    /// The step after the batch, once that is committed.
    next: Step,
}

impl Work for Statistics {
    fn name(&self) -> &'static CStr {
        c"pruning statistics"
    }

    fn begin(&mut self, now: Timestamp) {
        self.step = Step::Old(Span::Hour, now);
    }

    fn batch(&mut self, installed: Installed) -> Result<Batch, spi::Error> {
        let [hours, days] = retention::keep_stats();
        self.next = self.step;
        self.next = match self.step {
            Step::Old(span, now) => {
                let keep = if span == Span::Hour { hours } else { days };
                let deleted = match keep {
                    Some(keep) => {
                        roll_up::prune(span, now.plus(-i64::from(keep).saturating_mul(DAY)), ROWS)?
                    }
                    None => 0,
                };
                match span {
                    _ if i64::try_from(deleted).is_ok_and(|deleted| deleted >= ROWS) => self.step,
                    Span::Hour => Step::Old(Span::Day, now),
                    Span::Day => Step::Gone(Span::Hour, i64::MIN),
                }
            }
            Step::Gone(span, after) => {
                if !lock::try_read_table(installed.jobs) {
                    return Ok(Batch::Later);
                }
                match (roll_up::forget(span, after, ROWS)?, span) {
                    (Some(after), _) => Step::Gone(span, after),
                    (None, Span::Hour) => Step::Gone(Span::Day, i64::MIN),
                    (None, Span::Day) => Step::Over,
                }
            }
            Step::Over => Step::Over,
        };
        Ok(if matches!(self.next, Step::Over) { Batch::Done } else { Batch::More })
    }

    fn committed(&mut self) {
        self.step = self.next;
    }
}
