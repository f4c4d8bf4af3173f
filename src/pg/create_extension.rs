//! `CREATE EXTENSION pg_cron` where `make install-alias` has put our stand-in for it.
//!
//! The stand-in requires `pg_tock`. Old migrations and dumps do not say CASCADE, so it is said for
//! them. The real pg_cron requires nothing: for it, CASCADE means nothing.

use core::ffi::CStr;

use pgrx::pg_sys;

/// The statement to run in place of `statement`: a copy with CASCADE if it creates extension
/// `pg_cron`, otherwise the statement itself. The original is never changed, it may belong to a
/// cached plan.
///
/// # Safety
/// `statement` is what a `ProcessUtility` hook was called with.
pub(crate) unsafe fn with_cascade(statement: *mut pg_sys::PlannedStmt) -> *mut pg_sys::PlannedStmt {
    // SAFETY: promised by the caller, as is what it points to.
    if unsafe { creation_of_pg_cron(statement) }.is_none() {
        return statement;
    }
    // SAFETY: any node can be copied.
    let copy = unsafe { pg_sys::copyObjectImpl(statement.cast()) }.cast::<pg_sys::PlannedStmt>();
    // SAFETY: the copy is a statement of the same kind.
    let Some(creation) = (unsafe { creation_of_pg_cron(copy) }) else {
        return statement;
    };
    // SAFETY: an option without a value counts as true; the name is a constant and is only read.
    let cascade =
        unsafe { pg_sys::makeDefElem(c"cascade".as_ptr().cast_mut(), std::ptr::null_mut(), -1) };
    // SAFETY: the list is the copy's own.
    creation.options = unsafe { pg_sys::lappend(creation.options, cascade.cast()) };
    copy
}

/// The CREATE EXTENSION in `statement`, if it is of `pg_cron` and does not say CASCADE itself.
///
/// # Safety
/// `statement` is a valid node that lives for `'a`.
unsafe fn creation_of_pg_cron<'a>(
    statement: *mut pg_sys::PlannedStmt,
) -> Option<&'a mut pg_sys::CreateExtensionStmt> {
    // SAFETY: promised by the caller.
    let utility = unsafe { statement.as_ref() }?.utilityStmt;
    // SAFETY: a utility statement is a node.
    if unsafe { utility.as_ref() }?.type_ != pg_sys::NodeTag::T_CreateExtensionStmt {
        return None;
    }
    // SAFETY: the tag says what it is.
    let creation = unsafe { utility.cast::<pg_sys::CreateExtensionStmt>().as_mut() }?;
    // SAFETY: the parser always sets the name.
    let is_pg_cron = unsafe { CStr::from_ptr(creation.extname) } == c"pg_cron";
    // SAFETY: the options are a list of DefElem, or nil.
    (is_pg_cron && !unsafe { says_cascade(creation.options) }).then_some(creation)
}

/// # Safety
/// `options` is nil or a list of `DefElem`.
unsafe fn says_cascade(options: *mut pg_sys::List) -> bool {
    // SAFETY: promised by the caller; nil has no length.
    let length = unsafe { options.as_ref() }.map_or(0, |list| list.length);
    (0..length).any(|at| {
        // SAFETY: below the list's length.
        let option = unsafe { pg_sys::list_nth(options, at) }.cast::<pg_sys::DefElem>();
        // SAFETY: promised by the caller; the parser names every option.
        unsafe {
            option.as_ref().is_some_and(|option| CStr::from_ptr(option.defname) == c"cascade")
        }
    })
}
