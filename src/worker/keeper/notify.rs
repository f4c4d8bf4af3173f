//! The chore of sending events on channel `cron_events`.
//!
//! NOTIFY waits for a lock of the whole server at COMMIT, so the scheduler leaves it to this process.

use core::ffi::CStr;

use pg_tock_core::time::Timestamp;
use pgrx::spi;

use super::{Batch, Work};
use crate::catalog::alert;
use crate::catalog::load::Installed;

/// Most events sent in one transaction.
const EVENTS: i64 = 500;

/// The chore. What there is to send is in a table.
pub(super) struct Notify;

impl Work for Notify {
    fn name(&self) -> &'static CStr {
        c"sending events"
    }

    fn begin(&mut self, _now: Timestamp) {}

    fn batch(&mut self, _installed: Installed) -> Result<Batch, spi::Error> {
        let sent = alert::send(EVENTS)?;
        let more = i64::try_from(sent).is_ok_and(|sent| sent >= EVENTS);
        Ok(if more { Batch::MoreAtOnce } else { Batch::Done })
    }
}
