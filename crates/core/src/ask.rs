//! How far a question is that a session asks the scheduler through shared memory, and waits for.
//!
//! `Free → Filling → Asked → Taken → Waiting → Ended | Gone | Refused → Free`. The session takes and
//! frees an entry; from `Asked` on the scheduler moves it. A session that gives up frees what nobody
//! has looked at, or sets `Withdrawn` where the scheduler has to hear of it.
//!
//! Invariant: an entry is freed by one side alone. Whoever frees it while the other one counts on it
//! would take it away from the session that has it next.

use core::sync::atomic::{AtomicU32, Ordering};

/// How far an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody's.
    Free = 0,
    /// A session writes its question.
    Filling = 1,
    /// The scheduler is to look.
    Asked = 2,
    /// It looks.
    Taken = 3,
    /// The run is on its way.
    Waiting = 4,
    /// The run is over.
    Ended = 5,
    /// The job has been dropped.
    Gone = 6,
    /// The request could not be written.
    Refused = 7,
    /// Nobody waits any more.
    Withdrawn = 8,
}

/// Where an entry stands, in shared memory. Zero is [`State::Free`].
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Stage(AtomicU32);

impl Stage {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            1 => State::Filling,
            2 => State::Asked,
            3 => State::Taken,
            4 => State::Waiting,
            5 => State::Ended,
            6 => State::Gone,
            7 => State::Refused,
            8 => State::Withdrawn,
            _ => State::Free,
        }
    }

    /// Moves it on if it is where the caller thinks; tells whether it did.
    pub fn advance(&self, from: State, to: State) -> bool {
        self.0.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The session has its answer: the scheduler is done with the entry.
    pub fn free(&self) {
        self.0.store(State::Free as u32, Ordering::Release);
    }

    /// The session does not wait any longer, for whatever reason. True if the scheduler has to hear of
    /// that, and frees the entry then.
    #[must_use]
    pub fn give_up(&self) -> bool {
        self.give_up_while(|| {})
    }

    /// As `give_up`; what the scheduler does `meanwhile` happens between each look and what follows
    /// from it.
    fn give_up_while(&self, mut meanwhile: impl FnMut()) -> bool {
        loop {
            let seen = self.state();
            meanwhile();
            match seen {
                State::Asked if self.advance(seen, State::Free) => return false,
                State::Taken | State::Waiting if self.advance(seen, State::Withdrawn) => {
                    return true;
                }
                // The scheduler was faster.
                State::Asked | State::Taken | State::Waiting => {}
                State::Filling | State::Ended | State::Gone | State::Refused => {
                    self.free();
                    return false;
                }
                State::Free | State::Withdrawn => return false,
            }
        }
    }

    /// The scheduler has heard that nobody waits, and is done with the entry.
    pub fn release(&self) {
        self.advance(State::Withdrawn, State::Free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(state: State) -> Stage {
        let stage = Stage::default();
        stage.0.store(state as u32, Ordering::Relaxed);
        stage
    }

    #[test]
    fn who_gives_up_frees_what_nobody_else_has() {
        for (before, after, heard) in [
            (State::Filling, State::Free, false),
            (State::Asked, State::Free, false),
            (State::Taken, State::Withdrawn, true),
            (State::Waiting, State::Withdrawn, true),
            (State::Ended, State::Free, false),
            (State::Gone, State::Free, false),
            (State::Refused, State::Free, false),
            (State::Withdrawn, State::Withdrawn, false),
            (State::Free, State::Free, false),
        ] {
            let stage = at(before);
            assert_eq!((stage.give_up(), stage.state()), (heard, after), "{before:?}");
        }
    }

    #[test]
    fn the_scheduler_frees_what_was_withdrawn_and_nothing_else() {
        for state in [State::Free, State::Filling, State::Asked, State::Taken, State::Ended] {
            let stage = at(state);
            stage.release();
            assert_eq!(stage.state(), state);
        }
        let stage = at(State::Withdrawn);
        stage.release();
        assert_eq!(stage.state(), State::Free);
    }

    #[test]
    fn what_the_scheduler_moves_meanwhile_is_not_freed_under_it() {
        for (before, meanwhile, after, heard) in [
            (State::Asked, State::Taken, State::Withdrawn, true),
            (State::Taken, State::Waiting, State::Withdrawn, true),
            (State::Taken, State::Refused, State::Free, false),
            (State::Waiting, State::Ended, State::Free, false),
            // A dry run is asked for anew.
            (State::Waiting, State::Asked, State::Free, false),
        ] {
            let stage = at(before);
            let gave_up = stage.give_up_while(|| {
                stage.advance(before, meanwhile);
            });
            assert_eq!((gave_up, stage.state()), (heard, after), "{before:?} to {meanwhile:?}");
            stage.release();
            assert_eq!(stage.state(), State::Free);
        }
    }
}
