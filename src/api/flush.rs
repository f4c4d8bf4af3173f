//! `cron.flush()`, and the trigger that calls it before history is deleted.

use pgrx::prelude::*;

use crate::error::{Error, SqlResult};
use crate::pg::{process, time, trigger};
use crate::shmem::databases;

/// How long whoever deletes history waits for the scheduler. It may be in the middle of something,
/// but never waits for locks itself.
const PATIENCE: i64 = 2_000_000;
/// Milliseconds between two looks.
const NAP: i64 = 2;

/// Has the scheduler of this database write all it knows, and waits for that, `patience`
/// microseconds at the most. False if it did not, or if there is none.
fn flush(patience: Option<i64>) -> bool {
    let Some(database) = databases::find(process::database().to_u32()) else { return false };
    let scheduler = database.pid();
    if scheduler == 0 || scheduler == process::pid() {
        return false;
    }
    let ticket = database.ask_to_flush();
    let until = patience.map(|patience| time::now().plus(patience));
    while !database.is_flushed(ticket) {
        if database.pid() != scheduler || until.is_some_and(|until| until <= time::now()) {
            return false;
        }
        process::nap(NAP);
    }
    true
}

/// `cron.flush()`: statistics, skipped occurrences and cursors are in their tables when it returns
/// true; false when this database has no scheduler, or lost it meanwhile.
#[pg_extern(sql = false)]
fn cron_flush() -> bool {
    flush(None)
}

/// `cron.ledger_shrinks()`, a statement trigger before DELETE and TRUNCATE on the ledger: what a
/// row says to have run must be in the job's cursor before the row goes, or it could run again
/// after a crash.
#[pg_extern(sql = false)]
fn cron_ledger_shrinks(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    trigger::call(fcinfo).ok_or(Error::NotATrigger)?;
    flush(Some(PATIENCE));
    Ok(())
}
