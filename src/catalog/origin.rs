//! What an occurrence is to its job, by the triggers its attempts have in the ledger.

use pg_tock_core::run::{Origin, Trigger};
use pgrx::spi::{self, SpiHeapTupleData};

/// Those triggers of the attempts at the occurrence of a row (of a table with this name) that say
/// something of it: a query, of few rows and by index.
macro_rules! telling_triggers {
    ($row:literal) => {
        concat!(
            "(SELECT pg_catalog.array_agg(o.trigger) FROM cron.job_run_details o \
              WHERE o.jobid OPERATOR(pg_catalog.=) ",
            $row,
            ".jobid AND o.scheduled_for OPERATOR(pg_catalog.=) ",
            $row,
            ".scheduled_for AND o.trigger OPERATOR(pg_catalog.=) \
              ANY (ARRAY['startup', 'backfill', 'manual', 'alert']))"
        )
    };
}
pub(super) use telling_triggers;

/// What such a column says.
pub(super) fn read(row: &SpiHeapTupleData<'_>, column: usize) -> Result<Origin, spi::Error> {
    let triggers = row.get::<Vec<String>>(column)?.unwrap_or_default();
    Ok(Origin::of(triggers.iter().filter_map(|word| Trigger::parse(word))))
}
