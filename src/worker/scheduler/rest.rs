//! What is due comes first, also on a machine with more work than it can do.

use std::time::Duration;

use super::Scheduler;
use crate::pg::time;

/// Work of a turn that takes longer than the rest of it, and can wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// Rows of the ledger, and what follows from them.
    Rows,
    /// What somebody waits for.
    Wanted,
}

/// Which of them have given way when they were last about to be done.
#[derive(Debug, Default)]
pub(super) struct GaveWay {
    rows: bool,
    wanted: bool,
}

impl GaveWay {
    fn last(&mut self, piece: Piece) -> &mut bool {
        match piece {
            Piece::Rows => &mut self.rows,
            Piece::Wanted => &mut self.wanted,
        }
    }
}

impl Scheduler {
    /// Whether this piece of work is left to the next turn, which begins with what is due: on a crowded
    /// machine, if something has become due or was about to be. It does not give way twice in a row, so
    /// it is done in the end.
    pub(super) fn gives_way(&mut self, piece: Piece) -> bool {
        if std::mem::take(self.gave_way.last(piece)) {
            return false;
        }
        let crowded = self.rests.is_crowded(time::now(), || self.crowd.waited());
        let gives = crowded && (self.lie_in_wait() || self.engine.is_due(time::now()));
        *self.gave_way.last(piece) = gives;
        gives
    }

    /// Sleeps until something is due for an owner with nothing to do now, if that is about to be, and tells
    /// whether it was: woken by a timer this process runs at once, and in the middle of others' work it
    /// might have to wait.
    pub(super) fn lie_in_wait(&mut self) -> bool {
        let due = |until| self.engine.next_of_idle_owner(until);
        let length = self.rests.length(time::now(), || self.crowd.waited(), due);
        if let Some(length) = length {
            std::thread::sleep(Duration::from_micros(length.unsigned_abs()));
        }
        length.is_some()
    }
}
