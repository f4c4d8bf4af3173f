//! The tests, one file for each part of `src`.

mod catalog;
mod changes;
mod inside;
mod ledger;
mod running;
mod settings;
mod slots;
mod values;

use pgrx::prelude::*;

use crate::shmem::slots::{Assignment, Slot, reserve};

/// Slots a test has taken; they are freed whatever becomes of the test.
///
/// There are two in this server, so those who want some queue up for them: the queue ends with
/// the transaction.
struct Taken(Vec<&'static Slot>);

impl Taken {
    fn none() -> Self {
        Spi::run("SELECT pg_catalog.pg_advisory_xact_lock(1)").unwrap();
        Self(Vec::new())
    }

    fn one(&mut self, assignment: Assignment) -> Option<(u32, &'static Slot)> {
        let (index, slot) = reserve(assignment)?;
        self.0.push(slot);
        Some((index, slot))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for slot in &self.0 {
            slot.free();
        }
    }
}

/// An executor for the scheduler of one database, connected to another (or the same) as this role.
fn assignment(scheduler: u32, database: u32, role: u32) -> Assignment {
    Assignment { scheduler, ledger: 78, database, role, dsm: 77 }
}

/// The oid of a role.
fn oid_of_role(name: &str) -> u32 {
    let statement = "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1";
    Spi::get_one_with_args::<pg_sys::Oid>(statement, &[name.into()]).unwrap().unwrap().to_u32()
}
