//! `cron.flush()`, and the trigger that calls it before history is deleted.

use pgrx::prelude::*;

use crate::error::{Error, SqlResult};
use crate::pg::{process, time, trigger};
use crate::shmem::{databases, keeper};

/// How long whoever deletes history waits for the scheduler. It may be in the middle of something,
/// but never waits for locks itself.
const PATIENCE: i64 = 2_000_000;
/// How long `cron.flush()` waits: what it waits for may be locked by its own transaction.
const LONG_PATIENCE: i64 = 10_000_000;
/// Milliseconds between two looks.
const NAP: i64 = 2;

/// Has the scheduler of this database write all it knows, with `skips` also what was skipped and had
/// to be told nobody yet, and waits for that, `patience`
/// microseconds at the most. False if it did not, or if there is none.
fn flush(skips: bool, patience: i64) -> bool {
    let Some(database) = databases::find(process::database().to_u32()) else { return false };
    let scheduler = database.pid();
    if scheduler == 0 || scheduler == process::pid() {
        return false;
    }
    let ticket = database.ask_to_flush(skips);
    let until = time::now().plus(patience);
    while !database.is_flushed(ticket) {
        if database.pid() != scheduler || until <= time::now() {
            return false;
        }
        process::nap(NAP);
    }
    true
}

/// `cron.flush()`: statistics, skipped occurrences and cursors are in their tables when it returns
/// true; false when this database has no scheduler, lost it meanwhile, or has one that could not write
/// for ten seconds because somebody has the tables locked.
#[pg_extern(sql = false)]
fn cron_flush() -> bool {
    flush(true, LONG_PATIENCE)
}

/// `cron.ledger_shrinks()`, a statement trigger before DELETE and TRUNCATE on the ledger: what a
/// row says to have run must be in the job's cursor before the row goes, or it could run again
/// after a crash.
#[pg_extern(sql = false)]
fn cron_ledger_shrinks(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<()> {
    trigger::call(fcinfo).ok_or(Error::NotATrigger)?;
    // A keeper deletes what is behind the cursors as they are written.
    if !keeper::is_this_process() {
        flush(false, PATIENCE);
    }
    Ok(())
}
