//! Leaving nothing of a run behind in its session.

use pgrx::pg_sys;

use crate::pg::{raw, trap};

/// `DISCARD ALL`, without the detour through the parser: portals, settings, role, prepared
/// statements, temporary tables, advisory locks, sequences' last values; and temporary replication
/// slots. False if it failed, which
/// leaves a session nobody may use any more.
pub(crate) fn discard_all() -> bool {
    // SAFETY: outside a transaction; nothing with a destructor lives in the closure.
    let discarded = unsafe {
        trap::catch(|| {
            let mut statement = pg_sys::DiscardStmt {
                type_: pg_sys::NodeTag::T_DiscardStmt,
                target: pg_sys::DiscardMode::DISCARD_ALL,
            };
            // DISCARD ALL leaves these to the end of the session.
            raw::drop_temporary_replication_slots();
            raw::StartTransactionCommand();
            raw::DiscardCommand(&raw mut statement, true);
            raw::CommitTransactionCommand();
        })
    };
    // SAFETY: ending the transaction has left the context to us.
    unsafe { pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext };
    discarded.is_ok()
}
