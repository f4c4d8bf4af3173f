//! All executors at a glance: who is there, for whom, and who is to leave.

use super::layout;
use super::slots::{Slot, State};

/// The slot with this index.
pub(crate) fn get(index: u32) -> Option<&'static Slot> {
    layout::slots().get(index as usize)
}

/// The executors that work for the scheduler of this database, with their indexes.
pub(crate) fn of_scheduler(database: u32) -> impl Iterator<Item = (u32, &'static Slot)> {
    layout::slots().iter().zip(0_u32..).filter_map(move |(slot, index)| {
        let mine = slot.state() != State::Free && slot.scheduler() == database;
        mine.then_some((index, slot))
    })
}

/// How many executors there are.
pub(crate) fn in_use() -> usize {
    layout::slots().iter().filter(|slot| slot.state() != State::Free).count()
}

/// How many executors there are that work for other schedulers.
pub(crate) fn of_others(database: u32) -> usize {
    let theirs = |slot: &&Slot| slot.state() != State::Free && slot.scheduler() != database;
    layout::slots().iter().filter(theirs).count()
}

/// A role (0 = all), its settings or rights changed: its executors leave after the run they have,
/// because a session sees such changes only when it begins.
pub(crate) fn retire_for_role(role: u32) {
    for slot in layout::slots() {
        let affected = role == 0 || slot.role() == role;
        if affected && matches!(slot.state(), State::Starting | State::Ready) {
            slot.ask_to_retire();
        }
    }
}

/// Somebody wants a database for himself: executors in it that wait for work leave now, the others
/// after the run they have.
pub(crate) fn retire_in_database(database: u32) {
    for slot in layout::slots() {
        if slot.database() == database && matches!(slot.state(), State::Starting | State::Ready) {
            slot.ask_to_retire();
        }
    }
}
