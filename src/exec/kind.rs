//! What a parsed command is, as far as its execution depends on it.

use pgrx::pg_sys::{self, NodeTag};

/// What the statements of a command are, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    /// A statement copies to or from a client, which an executor does not have.
    pub(crate) copies_to_client: bool,
    /// A statement has effects a rollback does not undo.
    pub(crate) reaches_outside: bool,
    /// A statement may commit before the command ends, so the run must be claimed first.
    pub(crate) may_commit: bool,
}

/// Looks at a raw parse list.
///
/// # Safety
/// `list` is null or a list of `RawStmt`.
pub(crate) unsafe fn of_list(list: *const pg_sys::List) -> Kind {
    let mut kind = Kind::default();
    if list.is_null() {
        return kind;
    }
    // SAFETY: a list has `length` elements.
    let count = unsafe { (*list).length };
    for i in 0..count {
        // SAFETY: within the list, whose elements are RawStmt by contract.
        let statement = unsafe {
            let cell = (*list).elements.add(usize::try_from(i).unwrap_or(0));
            (*(*cell).ptr_value.cast::<pg_sys::RawStmt>()).stmt
        };
        // SAFETY: every node begins with its tag.
        let tag = unsafe { (*statement).type_ };
        if tag == NodeTag::T_CopyStmt {
            // SAFETY: its tag says so.
            unsafe {
                kind.copies_to_client |= copies_to_client(statement.cast());
                kind.reaches_outside |= copies_outside(statement.cast());
            }
        }
        if tag == NodeTag::T_DropStmt {
            // SAFETY: its tag says so.
            kind.may_commit |= unsafe { (*statement.cast::<pg_sys::DropStmt>()).concurrent };
        }
        kind.may_commit |= kind.reaches_outside || !stays_in_transaction(tag);
    }
    kind
}

/// # Safety
/// `copy` is a valid `CopyStmt`.
unsafe fn copies_to_client(copy: *const pg_sys::CopyStmt) -> bool {
    // SAFETY: promised by the caller.
    unsafe { (*copy).filename.is_null() }
}

/// Writes a file, or runs a program.
///
/// # Safety
/// `copy` is a valid `CopyStmt`.
unsafe fn copies_outside(copy: *const pg_sys::CopyStmt) -> bool {
    // SAFETY: promised by the caller.
    unsafe { !(*copy).filename.is_null() && ((*copy).is_program || !(*copy).is_from) }
}

/// Statements that neither end the transaction nor need to run outside one. Everything that is
/// not named here is taken to commit on its own, which costs it one more row version and nothing
/// else.
const fn stays_in_transaction(tag: NodeTag) -> bool {
    matches!(
        tag,
        NodeTag::T_SelectStmt
            | NodeTag::T_InsertStmt
            | NodeTag::T_UpdateStmt
            | NodeTag::T_DeleteStmt
            | NodeTag::T_MergeStmt
            | NodeTag::T_ExplainStmt
            | NodeTag::T_CreateTableAsStmt
            | NodeTag::T_RefreshMatViewStmt
            | NodeTag::T_TruncateStmt
            | NodeTag::T_LockStmt
            | NodeTag::T_NotifyStmt
            | NodeTag::T_VariableSetStmt
            | NodeTag::T_VariableShowStmt
            | NodeTag::T_ConstraintsSetStmt
            | NodeTag::T_CreateStmt
            | NodeTag::T_DropStmt
            | NodeTag::T_ViewStmt
            | NodeTag::T_CommentStmt
            | NodeTag::T_GrantStmt
            | NodeTag::T_PrepareStmt
            | NodeTag::T_ExecuteStmt
            | NodeTag::T_DeallocateStmt
            | NodeTag::T_DeclareCursorStmt
            | NodeTag::T_FetchStmt
            | NodeTag::T_ClosePortalStmt
            | NodeTag::T_CopyStmt
    )
}
