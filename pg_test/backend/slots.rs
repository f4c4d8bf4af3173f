//! `shmem::slots`: the life of an executor's slot and of the run in it.

use pg_tock_core::cancel::Cause;
use pg_tock_core::run::{Guarantee, Outcome, Trigger};
use pg_tock_core::time::{JobId, RunId, Timestamp};
use pg_tock_core::usage::Usage;
use pgrx::prelude::*;

use super::Taken;
use crate::shmem::cancel::{Asked, REASON};
use crate::shmem::lasting::Lasting;
use crate::shmem::left::Left;
use crate::shmem::slots::{Assignment, CurrentRun};

/// A database no server has: its slots are nobody's but the test's.
const NOWHERE: u32 = u32::MAX - 1;

fn assignment(database: u32) -> Assignment {
    super::assignment(NOWHERE, database, 10)
}

/// A run all of whose figures follow from one number.
fn run(n: u32) -> CurrentRun {
    let wide = i64::from(n);
    CurrentRun {
        job: JobId(wide),
        run: RunId(wide + 1),
        scheduled_for: Timestamp(wide + 2),
        started_at: Timestamp(wide + 3),
        attempt: n,
        trigger: if n.is_multiple_of(2) { Trigger::Schedule } else { Trigger::Retry },
        lasting: Lasting {
            began: wide + 6,
            timeout: n.is_multiple_of(2).then_some(wide + 7),
            stuck_after: (!n.is_multiple_of(5)).then_some(wide + 8),
            ends_stuck: n.is_multiple_of(2),
        },
        window: (!n.is_multiple_of(3)).then_some((Timestamp(wide + 4), Timestamp(wide + 5))),
    }
}

type Figures = (i64, i64, i64, i64, u32, Trigger, Option<(Timestamp, Timestamp)>, Lasting);

/// A report with nothing special about it.
fn left(outcome: Outcome) -> Left {
    let (guarantee, ended_at) = (Guarantee::AtMostOnce, Timestamp(5));
    let cause = (outcome == Outcome::Timeout).then_some(Cause::Timeout);
    let usage = Usage { wal_bytes: 5, rows: 6, ..Usage::default() };
    Left { outcome, cause, guarantee, ended_at, row_count: Some(3), usage }
}

/// Everything a run consists of.
fn figures(run: &CurrentRun) -> Figures {
    let CurrentRun { job, run, scheduled_for, started_at, attempt, trigger, window, lasting } =
        *run;
    (job.0, run.0, scheduled_for.0, started_at.0, attempt, trigger, window, lasting)
}

#[pg_schema]
mod tests {
    use super::*;
    use crate::shmem::roster;
    use crate::shmem::slots::{Phase, State};

    #[pg_test]
    fn a_slot_that_was_used_comes_back_clean() {
        let mut taken = Taken::none();
        let (index, slot) = taken.one(assignment(1)).unwrap();
        assert_eq!((slot.state(), slot.phase(), slot.pid()), (State::Starting, Phase::None, 0));
        assert_eq!((slot.scheduler(), slot.database()), (NOWHERE, 1));
        assert_eq!((slot.role(), slot.dsm()), (10, 77));
        assert!(std::ptr::eq(roster::get(index).unwrap(), slot));
        assert!(slot.arrive(slot.life(), 4711, std::ptr::null_mut()));
        slot.ready();
        assert_eq!((slot.state(), slot.pid()), (State::Ready, 4711));
        assert!(slot.begin(&run(5)));
        slot.ask_to_retire();
        slot.leave_report(&left(Outcome::Failed), Some(*b"22012"), "division by zero");
        slot.exited(true);
        assert!(slot.reached_outside());
        assert_eq!(slot.state(), State::Exited);
        assert!(slot.current().is_some(), "what it ran must be known after its exit");
        slot.free();
        assert_eq!(roster::of_scheduler(NOWHERE).count(), 0);

        let (again, slot) = taken.one(assignment(2)).unwrap();
        assert_eq!((again, slot.database(), slot.state()), (index, 2, State::Starting));
        assert!(slot.current().is_none() && slot.last_words().is_none());
        assert!(!slot.must_retire());
        assert_eq!((slot.left(), slot.pid()), (None, 0));
    }

    #[pg_test]
    fn there_are_as_many_slots_as_worker_processes_and_no_more() {
        let workers = Spi::get_one::<i32>("SELECT current_setting('max_worker_processes')::int");
        let workers = usize::try_from(workers.unwrap().unwrap()).unwrap();
        let mut taken = Taken::none();
        let mut indexes: Vec<u32> = Vec::new();
        while let Some((index, _)) = taken.one(assignment(1)) {
            assert!(!indexes.contains(&index), "slot {index} was given out twice");
            indexes.push(index);
        }
        assert_eq!(indexes.len(), workers);
        assert_eq!(roster::of_scheduler(NOWHERE).count(), workers);
        assert!(roster::get(u32::try_from(workers).unwrap()).is_none());
        let last = *taken.0.last().unwrap();
        last.exited(false);
        assert!(!last.reached_outside());
        assert!(taken.one(assignment(1)).is_none(), "a slot whose executor died is not free");
        last.free();
        assert_eq!(taken.one(assignment(1)).unwrap().0, *indexes.last().unwrap());
    }

    #[pg_test]
    fn one_process_alone_gets_to_write_the_row_of_a_run() {
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(1)).unwrap();
        for winner in [Phase::Settling, Phase::Recording, Phase::Claiming] {
            assert!(slot.begin(&run(8)));
            assert_eq!(slot.phase(), Phase::Unrecorded);
            assert!(slot.advance(Phase::Unrecorded, winner));
            for loser in [Phase::Settling, Phase::Recording, Phase::Claiming] {
                assert!(!slot.advance(Phase::Unrecorded, loser));
            }
            assert_eq!(slot.phase(), winner);
            assert!(slot.current().is_some());
            slot.end();
            assert_eq!(slot.phase(), Phase::Done);
            assert!(slot.current().is_none());
        }
        // Recorded by the scheduler, settled by the executor.
        assert!(slot.begin(&run(9)));
        assert!(slot.advance(Phase::Unrecorded, Phase::Recording));
        assert!(!slot.advance(Phase::Recorded, Phase::Settling));
        assert!(slot.advance(Phase::Recording, Phase::Recorded));
        assert!(slot.advance(Phase::Recorded, Phase::Settling));
    }

    #[pg_test]
    fn a_run_is_read_as_it_was_written_and_a_cancel_is_not_the_next_run_s() {
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(1)).unwrap();
        let mut before = RunId(0);
        for n in [3, u32::MAX, 4] {
            let run = run(n);
            assert!(slot.begin(&run));
            assert_eq!(figures(&slot.current().unwrap()), figures(&run));
            assert_eq!((slot.cancel.cause(run.run), slot.cancel.reason(run.run)), (None, None));
            let ask = |run, cause, why| slot.want_end(run, cause, 7, why);
            assert_eq!(ask(before, Cause::Dropped, b"late"), Asked::OtherRun);
            assert_eq!(slot.cancel.cause(run.run), None);
            assert_eq!(ask(run.run, Cause::Requested, b"first"), Asked::Noted);
            assert_eq!(ask(run.run, Cause::Timeout, b"second"), Asked::Before);
            assert_eq!(slot.cancel.cause(run.run), Some(Cause::Requested));
            assert_eq!(slot.cancel.asked_at(run.run), Some(7));
            assert_eq!(slot.cancel.reason(run.run).as_deref(), Some(b"first".as_slice()));
            assert_eq!(slot.cancel.cause(before), None);
            assert!(!slot.has_committed());
            slot.committed();
            assert!(slot.has_committed());
            slot.end();
            before = run.run;
        }
    }

    #[pg_test]
    fn a_long_reason_is_cut_and_leaves_nothing_to_the_next() {
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(1)).unwrap();
        for (n, why, kept) in [(1, vec![b'x'; REASON + 9], REASON), (2, b"y".to_vec(), 1)] {
            let run = run(n);
            assert!(slot.begin(&run));
            assert_eq!(slot.want_end(run.run, Cause::Requested, 1, &why), Asked::Noted);
            assert_eq!(slot.cancel.reason(run.run).as_deref(), why.get(..kept));
            slot.end();
        }
    }

    #[pg_test]
    fn no_run_begins_after_its_scheduler_has_gone() {
        // An executor that has had no run yet, and one that is between two.
        for had in [false, true] {
            let mut taken = Taken::none();
            let (_, slot) = taken.one(assignment(1)).unwrap();
            if had {
                assert!(slot.begin(&run(1)));
                slot.end();
            }
            slot.orphan();
            assert!(!slot.begin(&run(2)));
            assert!(slot.current().is_none());
        }
        // A run that has begun goes on, and its report stays.
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(2)).unwrap();
        assert!(slot.begin(&run(3)));
        slot.orphan();
        assert_eq!(slot.phase(), Phase::Unrecorded);
        slot.leave_report(&left(Outcome::Succeeded), None, "1 row");
        slot.report();
        slot.orphan();
        assert_eq!(figures(&slot.current().unwrap()), figures(&run(3)));
        assert!(!slot.begin(&run(4)), "its report is not recorded yet");
        assert!(slot.advance(Phase::Reported, Phase::Done));
        assert!(slot.begin(&run(4)) && slot.left().is_none());
    }

    #[pg_test]
    fn a_process_that_comes_too_late_has_no_slot() {
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(1)).unwrap();
        let life = slot.life();
        assert!(slot.give_up());
        assert_eq!((slot.state(), slot.pid()), (State::Exited, 0));
        assert!(!slot.arrive(life, 4711, std::ptr::null_mut()));
        slot.free();
        // The slot has been taken for another executor meanwhile.
        let (_, slot) = taken.one(assignment(2)).unwrap();
        assert!(!slot.arrive(life, 4711, std::ptr::null_mut()));
        assert!(slot.arrive(slot.life(), crate::pg::process::pid(), std::ptr::null_mut()));
        assert!(!slot.give_up(), "it lives");
        assert_eq!(slot.state(), State::Starting);
    }

    #[pg_test]
    fn last_words_are_cut_not_refused() {
        let mut taken = Taken::none();
        let (_, slot) = taken.one(assignment(1)).unwrap();
        assert_eq!((slot.last_words(), slot.left()), (None, None));
        slot.keep_last_words(*b"57P01", b"terminating");
        assert_eq!(slot.last_words(), Some((*b"57P01", "terminating".to_owned())));
        // 999 bytes and a letter of two: the cut goes through the letter.
        let long = format!("{}\u{e9}{}", "x".repeat(999), "y".repeat(500));
        slot.leave_report(&left(Outcome::Succeeded), None, &long);
        let (sqlstate, words) = slot.last_words().unwrap();
        assert_eq!(sqlstate, *b"00000");
        assert_eq!(words, format!("{}\u{fffd}", "x".repeat(999)));
        for &outcome in Outcome::ALL {
            slot.leave_report(&left(outcome), None, "bye");
            assert_eq!(slot.left(), Some(left(outcome)));
        }
        assert_eq!(slot.last_words().unwrap().1, "bye");
    }

    #[pg_test]
    fn executors_are_asked_to_leave_by_database_or_all() {
        let mut taken = Taken::none();
        let (_, here) = taken.one(assignment(1)).unwrap();
        let (_, there) = taken.one(assignment(2)).unwrap();
        there.ready();
        roster::retire_in_database(3);
        assert!(!here.must_retire() && !there.must_retire());
        roster::retire_in_database(2);
        assert!(!here.must_retire() && there.must_retire());
        roster::retire_for_role(0);
        assert!(here.must_retire());
    }
}

/// The reader of a slot and the executor that writes it are two processes; two threads see the
/// same memory. Needs no server, only a slot.
#[cfg(test)]
#[test]
fn a_reader_never_sees_half_of_a_run() {
    use crate::shmem::slots::Slot;

    // SAFETY: all parts are atomics, for which zeroes are valid and mean a free slot.
    let slot = unsafe { std::mem::MaybeUninit::<Slot>::zeroed().assume_init() };
    assert!(slot.begin(&run(0)));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Until the two have met often enough, however many processors there are.
            let (mut reads, mut changes, mut last) = (0_u32, 0_u32, 0_u32);
            while reads < 3_000_000 || changes < 1_000 {
                // None between the end of a run and the beginning of the next
                let Some(read) = slot.current() else { continue };
                assert_eq!(figures(&read), figures(&run(read.attempt)));
                reads += 1;
                changes += u32::from(read.attempt != last);
                last = read.attempt;
            }
        });
        let mut n = 0_u32;
        while !reader.is_finished() {
            n = n.wrapping_add(1);
            slot.end();
            assert!(slot.begin(&run(n)));
            // A writer that never pauses would leave the reader no moment to read.
            for _ in 0..10 {
                std::hint::spin_loop();
            }
        }
    });
}
