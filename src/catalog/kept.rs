//! Plans that are kept, for statements a process runs again and again: to parse and to plan most of
//! them costs more than to run them.
//!
//! Invariant: one plan for each text, for the life of the process. Postgres itself plans again when a
//! table has become another one.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{self, OwnedPreparedStatement, SpiClient, SpiTupleTable};

type Kept = &'static OwnedPreparedStatement;

thread_local! {
    static PLANS: RefCell<HashMap<&'static str, Kept>> = RefCell::new(HashMap::new());
}

/// Runs a statement that reads.
pub(crate) fn select<'c>(
    client: &SpiClient<'c>,
    query: &'static str,
    arguments: &[DatumWithOid<'_>],
) -> spi::SpiResult<SpiTupleTable<'c>> {
    let plan = match known(query) {
        Some(plan) => plan,
        None => keep(query, client.prepare(query, &types(arguments))?.keep()),
    };
    client.select(plan, None, arguments)
}

/// Runs a statement that writes.
pub(crate) fn update<'c>(
    client: &mut SpiClient<'c>,
    query: &'static str,
    arguments: &[DatumWithOid<'_>],
) -> spi::SpiResult<SpiTupleTable<'c>> {
    let plan = match known(query) {
        Some(plan) => plan,
        None => keep(query, client.prepare_mut(query, &types(arguments))?.keep()),
    };
    client.update(plan, None, arguments)
}

/// The oid a statement finds, if it finds one. In a transaction.
pub(crate) fn oid(query: &'static str) -> Result<Option<pg_sys::Oid>, spi::Error> {
    Spi::connect(|client| {
        let rows = select(client, query, &[])?;
        if rows.is_empty() { Ok(None) } else { rows.first().get_one() }
    })
}

fn known(query: &'static str) -> Option<Kept> {
    PLANS.with_borrow(|plans| plans.get(query).copied())
}

fn keep(query: &'static str, plan: OwnedPreparedStatement) -> Kept {
    let plan: Kept = Box::leak(Box::new(plan));
    PLANS.with_borrow_mut(|plans| plans.insert(query, plan));
    plan
}

fn types(arguments: &[DatumWithOid<'_>]) -> Vec<PgOid> {
    arguments.iter().map(|argument| PgOid::from(argument.oid())).collect()
}
