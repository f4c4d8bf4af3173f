//! The only place with SQL text for our tables. Statements are constants with `$n` parameters;
//! rows go in and out as typed values.
//!
//! Every name in them is schema-qualified, operators included, so that they mean the same under
//! any `search_path`.

pub(crate) mod advise;
pub(crate) mod alert;
pub(crate) mod anchor;
pub(crate) mod attempts;
pub(crate) mod backfill;
pub(crate) mod calendar;
pub(crate) mod cancel;
pub(crate) mod diagnose;
pub(crate) mod fates;
pub(crate) mod http;
pub(crate) mod inside;
pub(crate) mod job;
mod kept;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod manifest;
pub(crate) mod metrics;
pub(crate) mod options;
mod origin;
pub(crate) mod outlook;
pub(crate) mod pause;
pub(crate) mod prune;
pub(crate) mod queue;
pub(crate) mod report;
pub(crate) mod request;
pub(crate) mod resets;
pub(crate) mod resolve;
pub(crate) mod role;
pub(crate) mod roll_up;
pub(crate) mod run;
pub(crate) mod run_now;
pub(crate) mod secret;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod stats_reset;
pub(crate) mod upstream;

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::identity::as_role;
use crate::pg::text::ServerText;

/// How a queue or calendar is kept as it is until the transaction ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    /// Not at all.
    Not,
    /// It stays, for a job that names it.
    There,
    /// Nobody else changes it. Jobs may name it.
    Unchanged,
    /// Nobody changes or names it: it is to be dropped.
    Unnamed,
}

impl Keep {
    /// What it adds to a query.
    const fn clause(self) -> &'static str {
        match self {
            Self::Not => "",
            Self::There => " FOR KEY SHARE",
            Self::Unchanged => " FOR NO KEY UPDATE",
            Self::Unnamed => " FOR UPDATE",
        }
    }
}

/// The jobs that name something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Use {
    pub(crate) jobs: i64,
    /// Names of those the caller may see, in the database's encoding.
    pub(crate) seen: Option<Vec<u8>>,
    /// How many others there are.
    pub(crate) unseen: i64,
}

/// How many of something a role has, as others have left it by now: as an update, so that it sees what
/// was committed while a lock was waited for.
fn count(statement: &'static str, role: ServerText<'_>) -> Result<i64, Error> {
    let owner = role::extension_owner()?;
    as_role(owner, || {
        Spi::connect_mut(|client| {
            let count = client.update(statement, Some(1), &[role.param()])?.first().get_one()?;
            Ok(count.unwrap_or(0))
        })
    })
}
