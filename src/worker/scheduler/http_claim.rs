//! The claims of HTTP runs.
//!
//! Owns one invariant: what proves that a run has begun is in WAL before its order goes to the
//! worker, which waits until it is on disk.

use pg_tock_core::engine::Occurrence;
use pg_tock_core::http::wire::SealedSecret;
use pgrx::pg_sys;

use crate::catalog::run::{self, RunRow};
use crate::catalog::state::Reached;
use crate::catalog::{http, request};
use crate::guc;
use crate::pg::lock;
use crate::pg::txn::{self, Failure};

/// Secrets to be read.
pub(super) struct Secrets<'a> {
    /// Who has to have the right to them.
    pub(super) role: u32,
    pub(super) names: &'a [String],
    pub(super) found: &'a mut Vec<SealedSecret>,
}

impl Secrets<'_> {
    /// Reads them, in a transaction.
    fn read(&mut self) -> Result<(), pgrx::spi::Error> {
        *self.found = http::secrets(self.role, self.names)?;
        Ok(())
    }
}

/// Writes the claims of HTTP runs and reads the secrets of their jobs, in one transaction, and
/// says up to where WAL has to be on disk before a request leaves. Otherwise that has to wait, or an
/// occurrence has a row already. A dry run has no row.
pub(super) fn claim_all<'a>(
    claims: &mut dyn Iterator<Item = (Option<&'a RunRow>, Occurrence, Secrets<'a>)>,
) -> Result<u64, Failure> {
    let recorded = guc::log_run();
    let done = txn::attempt("claiming HTTP runs", || {
        let Some(ledger) = run::ledger()? else { return Ok(false) };
        if recorded && !lock::try_lock_table(ledger) {
            return Ok(false);
        }
        let (mut rows, mut reached, mut answered) = (Vec::new(), Vec::new(), Vec::new());
        for (row, occurrence, mut secrets) in claims {
            secrets.read()?;
            let Some(row) = row else { continue };
            let Occurrence { job, scheduled_for, run, .. } = occurrence;
            match run {
                // Without a ledger only the cursor tells that this has begun, or that nobody
                // asks any more.
                _ if recorded => {}
                Some(run) if !occurrence.is_nominal() => answered.push(run.0),
                _ => {
                    let cursor = Some(scheduled_for);
                    reached.push(Reached { job, cursor, window_start: None, made_good: None });
                }
            }
            rows.push(row);
        }
        if recorded {
            run::write(rows.into_iter())?;
        }
        request::forget(&answered, &reached)?;
        Ok(true)
    });
    match done? {
        // SAFETY: this process's own variable, set by the commit just made.
        Ok::<bool, pgrx::spi::Error>(true) => Ok(unsafe { pg_sys::XactLastCommitEnd }),
        Ok(false) => Err(Failure::Locked),
        Err(_) => Err(Failure::Other),
    }
}
