//! When the scheduler rests although there is work for it.
//!
//! An operating system lets a process that has slept run at once, and one that uses all the time it is
//! given wait for its turn: some 5 ms behind each other one, on a machine with more work than it can do.
//! A flood of one user's runs keeps the scheduler at work without pause. So what is due for somebody else
//! would start late; unless the scheduler stops working shortly before, and is woken by its timer.
//!
//! Invariant: no more than half of the time is spent resting, and none on a machine with idle cores.

use crate::time::Timestamp;

/// How long before an instant the scheduler stops working. In microseconds, as all spans here.
pub const BEFORE: i64 = 20_000;

/// A process that is made to wait more rarely than once in this time has the machine to itself.
const CROWDED: i64 = 100_000;

/// When there was a rest, and how crowded the machine is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rests {
    /// There is no rest before this instant.
    not_before: Timestamp,
    /// When the machine was looked at, and how often this process had been made to wait by then.
    looked_at: Timestamp,
    made_to_wait: i64,
}

impl Rests {
    /// Whether to rest from `now` until `due`, when something comes due for somebody who has nothing to do
    /// now. `made_to_wait` tells how often another process was let run in place of this one, ever.
    pub fn begins(
        &mut self,
        now: Timestamp,
        due: Timestamp,
        made_to_wait: impl FnOnce() -> i64,
    ) -> bool {
        let length = due.since(now);
        let early = now < self.not_before && self.not_before.since(now) <= BEFORE;
        if length <= 0 || length > BEFORE || early {
            return false;
        }
        // As much work follows as there was rest; also after a look that found room.
        self.not_before = due.plus(length);
        let waits = made_to_wait();
        let (since, times) = (now.since(self.looked_at), waits - self.made_to_wait);
        (self.looked_at, self.made_to_wait) = (now, waits);
        since >= 0 && times.saturating_mul(CROWDED) >= since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * MS)
    }

    /// After a look at an instant; nobody has made the process wait yet.
    fn rests() -> Rests {
        let mut rests = Rests::default();
        assert!(!rests.begins(at(1_000), at(1_001), || 0));
        rests
    }

    #[test]
    fn a_crowded_machine_makes_it_rest_before_something_is_due() {
        assert!(rests().begins(at(2_000), at(2_015), || 50));
    }

    #[test]
    fn a_machine_with_idle_cores_does_not() {
        assert!(!rests().begins(at(2_000), at(2_015), || 3));
    }

    #[test]
    fn what_is_due_now_or_much_later_makes_no_rest() {
        let mut rests = rests();
        for due in [1_990, 2_000, 2_021] {
            assert!(!rests.begins(at(2_000), at(due), || unreachable!()), "{due}");
        }
    }

    #[test]
    fn as_much_work_follows_as_there_was_rest() {
        let mut rests = rests();
        assert!(rests.begins(at(2_000), at(2_010), || 50));
        assert!(!rests.begins(at(2_010), at(2_015), || 100));
        assert!(!rests.begins(at(2_019), at(2_025), || 100));
        assert!(rests.begins(at(2_020), at(2_025), || 100));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_it_from_resting_for_a_moment_only() {
        let mut rests = rests();
        assert!(rests.begins(at(900_000), at(900_010), || 50_000));
        assert!(!rests.begins(at(5_000), at(5_010), || 50_010));
        assert!(rests.begins(at(6_000), at(6_010), || 50_060));
    }
}
