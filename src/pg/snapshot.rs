//! Telling whether two reads of a table can differ.

use pgrx::pg_sys;

/// What the active snapshot sees, as far as it tells it from others of this session.
///
/// Up to `newest`, transactions can only end: how many are under way says which ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The first transaction that does not count, whatever becomes of it.
    newest: pg_sys::TransactionId,
    /// How many others before it were under way.
    under_way: u32,
    /// The own transaction, if it has written anything.
    own: pg_sys::TransactionId,
    /// Which of its commands count.
    command: pg_sys::CommandId,
    /// A subtransaction that is rolled back takes its changes along, but not its commands' numbers.
    subtransaction: pg_sys::SubTransactionId,
}

/// The present view: while it stays equal, a table has the same rows. None if there is none.
pub(crate) fn view() -> Option<View> {
    // SAFETY: reads the state of this session's transaction.
    if !unsafe { pg_sys::ActiveSnapshotSet() } {
        return None;
    }
    // SAFETY: there is one, as was asked before; it lives until it is popped.
    let snapshot = unsafe { pg_sys::GetActiveSnapshot().as_ref() }?;
    Some(View {
        newest: snapshot.xmax,
        under_way: snapshot.xcnt,
        // SAFETY: reads the state of this session's transaction.
        own: unsafe { pg_sys::GetTopTransactionIdIfAny() },
        command: snapshot.curcid,
        // SAFETY: as above.
        subtransaction: unsafe { pg_sys::GetCurrentSubTransactionId() },
    })
}
