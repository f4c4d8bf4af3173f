//! When the scheduler rests although there is work for it.
//!
//! An operating system lets a process that has slept run at once, and one that uses all the time it is
//! given wait for its turn: some 5 ms behind each other one, on a machine with more work than it can do.
//! A flood of one user's runs keeps the scheduler at work without pause. So what is due for somebody else
//! would start late; unless the scheduler stops working shortly before, and is woken by its timer.
//!
//! Invariant: no more than half of the time is spent resting, and none on a machine with idle cores, or where
//! the system does not tell whether it has any.

use crate::time::Timestamp;

/// How long before an instant the scheduler may stop working. In microseconds, as all spans here.
pub const BEFORE: i64 = 80_000;

/// How often it looks for such an instant, and so by how much a rest may be shorter than [`BEFORE`].
const LOOK: i64 = 5_000;

/// How often it looks whether the machine is crowded.
const WINDOW: i64 = 100_000;

/// A machine is crowded for a process that waits for a core for more than this part of its time.
const CROWDED: i64 = 10;

/// When there may be a rest, and how crowded the machine is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rests {
    /// There is no rest, and no look for a reason, before this instant.
    not_before: Timestamp,
    /// When it was last looked at how long this process had waited for a core by then.
    looked_at: Timestamp,
    waited: i64,
    crowded: bool,
}

impl Rests {
    /// How long to rest, from `now` until something comes due for somebody who has nothing to do now.
    /// `waited` tells how long this process was ready to run and had no core, ever, if the system says;
    /// `due` when the first such thing is due, if that is before an instant.
    pub fn length(
        &mut self,
        now: Timestamp,
        waited: impl FnOnce() -> Option<i64>,
        due: impl FnOnce(Timestamp) -> Option<Timestamp>,
    ) -> Option<i64> {
        if !self.is_crowded(now, waited) || is_ahead(self.not_before, now) {
            return None;
        }
        self.not_before = now.plus(LOOK);
        let length = due(now.plus(BEFORE))?.since(now);
        if length <= 0 || length > BEFORE {
            return None;
        }
        // As much work follows as there was rest.
        self.not_before = now.plus(2 * length);
        Some(length)
    }

    /// Whether the machine was crowded in the last window. It is not known of one who has slept, and so
    /// has no need to rest.
    pub fn is_crowded(&mut self, now: Timestamp, waited: impl FnOnce() -> Option<i64>) -> bool {
        let span = now.since(self.looked_at);
        if (0..WINDOW).contains(&span) {
            return self.crowded;
        }
        let before = std::mem::replace(&mut self.waited, waited().unwrap_or(0));
        self.looked_at = now;
        let recent = (0..5 * WINDOW).contains(&span);
        self.crowded = recent && (self.waited - before).saturating_mul(CROWDED) >= span;
        self.crowded
    }
}

/// Whether an instant lies ahead; one further ahead than any set here was set by another clock.
fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    (1..=2 * BEFORE).contains(&at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * MS)
    }

    /// At 1,000 ms, in a process that has waited for a core for `percent` of the 200 ms before.
    fn rests(percent: i64) -> Rests {
        let mut rests = Rests::default();
        assert_eq!(rests.length(at(800), || Some(7 * MS), |_| unreachable!()), None);
        assert_eq!(rests.length(at(1_000), || Some((7 + 2 * percent) * MS), |_| None), None);
        rests
    }

    /// How long it rests then, in ms, without another look at the machine.
    fn length(rests: &mut Rests, now: i64, due: i64) -> Option<i64> {
        let length = rests.length(
            at(now),
            || unreachable!(),
            |until| Some(at(due)).filter(|&at| at <= until),
        );
        length.map(|length| length / MS)
    }

    #[test]
    fn a_crowded_machine_makes_it_rest_before_something_is_due() {
        assert_eq!(length(&mut rests(10), 1_010, 1_030), Some(20));
    }

    #[test]
    fn a_machine_with_idle_cores_does_not() {
        assert_eq!(length(&mut rests(9), 1_010, 1_030), None);
    }

    #[test]
    fn a_system_that_does_not_say_how_crowded_it_is_counts_as_idle() {
        let mut rests = Rests::default();
        for now in [800, 1_000, 1_200] {
            assert_eq!(rests.length(at(now), || None, |_| unreachable!()), None);
        }
    }

    #[test]
    fn what_is_due_now_or_much_later_makes_no_rest() {
        for due in [990, 1_010, 1_091] {
            assert_eq!(length(&mut rests(50), 1_010, due), None, "{due}");
        }
        assert_eq!(length(&mut rests(50), 1_010, 1_090), Some(80));
    }

    #[test]
    fn a_look_for_something_due_is_not_repeated_at_once() {
        let mut rests = rests(50);
        assert_eq!(rests.length(at(1_004), || unreachable!(), |_| unreachable!()), None);
        assert_eq!(length(&mut rests, 1_005, 1_020), Some(15));
    }

    #[test]
    fn as_much_work_follows_as_there_was_rest() {
        let mut rests = rests(50);
        assert_eq!(length(&mut rests, 1_010, 1_020), Some(10));
        assert_eq!(length(&mut rests, 1_020, 1_035), None);
        assert_eq!(length(&mut rests, 1_029, 1_035), None);
        assert_eq!(length(&mut rests, 1_030, 1_035), Some(5));
    }

    #[test]
    fn what_the_machine_was_like_before_a_sleep_says_nothing() {
        let mut rests = rests(50);
        assert_eq!(rests.length(at(1_600), || Some(900 * MS), |_| unreachable!()), None);
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_it_from_resting_for_a_moment_only() {
        let mut rests = rests(50);
        assert_eq!(rests.length(at(100), || Some(200 * MS), |_| unreachable!()), None);
        assert_eq!(rests.length(at(200), || Some(250 * MS), |_| Some(at(210))), Some(10 * MS));
    }
}
