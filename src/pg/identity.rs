//! Who is calling, and running statements of our own as the extension's owner.
//!
//! Owns one invariant: whatever happens inside [`as_role`], the caller's role, security context
//! and `search_path` are back afterwards; on an ERROR, Postgres restores them when it aborts the
//! transaction or subtransaction.

use core::ffi::{CStr, c_int};

use pgrx::pg_sys;

use super::text::ServerText;

/// The role whose rights are in force (`current_user`), by oid and name.
#[derive(Debug, Clone)]
pub(crate) struct CurrentUser {
    pub(crate) oid: pg_sys::Oid,
    name: Vec<u8>,
}

impl CurrentUser {
    /// The role's name.
    pub(crate) fn name(&self) -> ServerText<'_> {
        ServerText::new(&self.name)
    }
}

/// The current user. `SET ROLE` and SECURITY DEFINER functions count.
pub(crate) fn current_user() -> CurrentUser {
    // SAFETY: a backend inside a transaction has a user id.
    let oid = unsafe { pg_sys::GetUserId() };
    // SAFETY: with noerr = false the answer is a palloc'd C string, or an ERROR.
    let name = unsafe { pg_sys::GetUserNameFromId(oid, false) };
    // SAFETY: see above; it is copied before anything can free it.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes().to_vec();
    CurrentUser { oid, name }
}

/// The name of the database this session is in, in the database's own encoding.
pub(crate) fn current_database() -> Vec<u8> {
    // SAFETY: inside a transaction; the database exists as long as this session does.
    let name = unsafe { pg_sys::get_database_name(pg_sys::MyDatabaseId) };
    if name.is_null() {
        return Vec::new();
    }
    // SAFETY: a palloc'd C string; copied before anything can free it.
    unsafe { CStr::from_ptr(name) }.to_bytes().to_vec()
}

/// Whether the current user is a superuser.
pub(crate) fn is_superuser() -> bool {
    // SAFETY: reads the current user's cached attributes inside a transaction.
    unsafe { pg_sys::superuser() }
}

/// Whether the session was logged in as this role and acts as it. Who came to it by SET ROLE or SET
/// SESSION AUTHORIZATION does not count: what runs there may go back to where it came from.
pub(crate) fn is_oneself(role: pg_sys::Oid) -> bool {
    // SAFETY: a backend inside a transaction has both ids.
    unsafe { pg_sys::GetUserId() == role && pg_sys::GetAuthenticatedUserId() == role }
}

/// Whether this server is a standby (or still recovering).
pub(crate) fn in_recovery() -> bool {
    // SAFETY: reads shared memory that exists in every backend.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether the current user may know of everybody's runs: whoever may read `cron.monitor_health`.
pub(crate) fn sees_everybody() -> bool {
    may_read(c"monitor_health")
}

/// Whether the current user may read a view in `cron`.
pub(crate) fn may_read(view: &CStr) -> bool {
    // SAFETY: look-ups inside a transaction; a view that is missing is nobody's.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"cron".as_ptr(), true);
        let view = pg_sys::get_relname_relid(view.as_ptr(), schema);
        let right = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        view != pg_sys::InvalidOid
            && pg_sys::pg_class_aclcheck(view, pg_sys::GetUserId(), right)
                == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Runs `body` as `role`, with `search_path` set to `pg_catalog, pg_temp`, so that nothing the
/// caller has set up (a role setting, objects in a schema of its own) takes part in it. The body
/// cannot leave the role: `SET ROLE` is refused meanwhile.
pub(crate) fn as_role<R>(role: pg_sys::Oid, body: impl FnOnce() -> R) -> R {
    let _restore = Restore::enter(role);
    body()
}

struct Restore {
    user: pg_sys::Oid,
    context: c_int,
    settings: c_int,
}

impl Restore {
    fn enter(role: pg_sys::Oid) -> Self {
        let mut user = pg_sys::InvalidOid;
        let mut context: c_int = 0;
        // SAFETY: writes to the two locals.
        unsafe { pg_sys::GetUserIdAndSecContext(&raw mut user, &raw mut context) };
        // SAFETY: inside a transaction; ended by `drop`, or by the transaction's abort.
        let settings = unsafe { pg_sys::NewGUCNestLevel() };
        let restore = Self { user, context, settings };
        // SAFETY: the setting exists, both strings are constants; an ERROR unwinds through `drop`.
        unsafe {
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
        let flags = context | pg_sys::SECURITY_LOCAL_USERID_CHANGE.cast_signed();
        // SAFETY: the old values are kept in `restore`.
        unsafe { pg_sys::SetUserIdAndSecContext(role, flags) };
        restore
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // an ERROR on its way: the abort restores all of it, in its own order
        }
        // SAFETY: the values `enter` found.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        // SAFETY: ends exactly the level `enter` began.
        unsafe { pg_sys::AtEOXact_GUC(false, self.settings) };
    }
}

/// The name of a database; None if it is gone.
pub(crate) fn database_name(oid: u32) -> Option<String> {
    // SAFETY: inside a transaction; the answer is null or a palloc'd C string.
    owned(unsafe { pg_sys::get_database_name(oid.into()) })
}

/// The name of a role; None if it is gone.
pub(crate) fn role_name(oid: u32) -> Option<String> {
    // SAFETY: inside a transaction; with noerr = true the answer is null or a C string.
    owned(unsafe { pg_sys::GetUserNameFromId(oid.into(), true) })
}

fn owned(name: *const core::ffi::c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null; a C string by the callers' contract, copied at once.
    Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// Whether the current user may see what belongs to this role: its own, or all as a superuser.
pub(crate) fn may_see(owner: u32) -> bool {
    // SAFETY: inside a transaction.
    is_superuser() || unsafe { pg_sys::GetUserId() }.to_u32() == owner
}
