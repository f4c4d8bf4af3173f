//! `cron.prune()`: has the history pruned now.

use pgrx::prelude::*;

use crate::error::SqlResult;
use crate::pg::process;
use crate::shmem::databases;
use crate::shmem::keeper::Chore;

use super::rights::refuse_in_recovery;

/// Has the keeper of this database begin to delete what need not be kept any longer, and look at all
/// of it. Returns at once; false if there is no scheduler, which would start the keeper.
#[pg_extern(sql = false)]
fn cron_prune() -> SqlResult<bool> {
    refuse_in_recovery("cron.prune()")?;
    let Some(database) = databases::find(process::database().to_u32()) else { return Ok(false) };
    database.keeper.pruned.look_at_all();
    database.keeper.want(Chore::Prune);
    database.keeper.want(Chore::Statistics);
    database.wake_for_news();
    Ok(database.pid() != 0)
}
