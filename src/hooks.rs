//! The utility hook: hears of what no trigger sees, and makes room for it.
//!
//! Databases and the extension that come and go, roles and settings that change, prepared
//! transactions that commit, locks on the ledger nobody but its owner may take.

use core::ffi::{CStr, c_char};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{PgSqlErrorCode, pg_guard};

use crate::catalog::secret;
use crate::pg::{create_extension, lock, raw};
use crate::shmem::{changes, databases, roster};

static mut PREVIOUS: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hook. Only while libraries are preloaded.
pub(crate) fn install() {
    // SAFETY: one thread, in _PG_init of the postmaster; the hook chains to its predecessor.
    unsafe {
        PREVIOUS = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

// No pgrx guard here: it would turn every error of every utility statement of the server into a
// Rust unwind and back, which loses its context, position and object names. This frame owns
// nothing with a destructor, so an ERROR may jump over it; what of ours can fail is behind guards
// of its own.
#[allow(ffi_unwind_calls, reason = "plain C calls; see above")]
#[allow(clippy::too_many_arguments, reason = "the hook's own signature")]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: Postgres passes a valid statement, which the hook before ours, or what Postgres
    // does itself, gets in our place.
    unsafe {
        let run = before(statement);
        let next = PREVIOUS.unwrap_or(raw::standard_ProcessUtility);
        next(run.statement, query, read_only_tree, context, params, env, dest, completion);
        after(run);
    }
}

/// What is to be run, and what it means to us.
#[repr(C)]
struct Run {
    statement: *mut pg_sys::PlannedStmt,
    effect: Effect,
    /// The extension as it was before.
    extension: u32,
}

/// The oid of the extension in this database, 0 if there is none.
///
/// # Safety
/// Called with a statement under way.
unsafe fn extension() -> u32 {
    // SAFETY: look-ups need a transaction, which some statements run without.
    unsafe {
        if pg_sys::IsTransactionState() && !pg_sys::IsAbortedTransactionBlockState() {
            pg_sys::get_extension_oid(c"pg_tock".as_ptr(), true).to_u32()
        } else {
            0
        }
    }
}

/// # Safety
/// `statement` is valid.
#[pg_guard]
unsafe extern "C-unwind" fn before(statement: *mut pg_sys::PlannedStmt) -> Run {
    // SAFETY: promised by the caller.
    unsafe {
        let statement = create_extension::with_cascade(statement);
        let extension = extension();
        let effect = effect((*statement).utilityStmt);
        Run { statement, effect, extension }
    }
}

/// # Safety
/// In the transaction of the statement.
#[pg_guard]
unsafe extern "C-unwind" fn after(run: Run) {
    match run.effect {
        Effect::Databases => changes::databases_changed(),
        // SAFETY: promised by the caller.
        Effect::Extension if unsafe { extension() } != run.extension => {
            changes::databases_changed();
        }
        Effect::Role(role) => changes::roles_changed(role),
        Effect::RolesGone => {
            changes::roles_changed(0);
            forget_secrets(run.extension);
        }
        Effect::Prepared => changes::prepared_committed(),
        // SAFETY: promised by the caller.
        Effect::Lock => unsafe { refuse_indirect_lock() },
        Effect::Extension | Effect::Nothing => {}
    }
}

/// What a statement means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
enum Effect {
    Nothing,
    /// Databases come, go or change.
    Databases,
    /// An extension comes or goes.
    Extension,
    /// This role changes; 0 = any number of roles, their settings or their rights.
    Role(u32),
    /// Roles are dropped.
    RolesGone,
    /// A prepared transaction is committed.
    Prepared,
    /// Tables are locked.
    Lock,
}

/// A database is about to be dropped, altered or copied.
fn database(name: Option<String>) -> Effect {
    if let Some(name) = name {
        make_room(&name);
    }
    Effect::Databases
}

fn name(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null; names in parse trees are C strings.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// # Safety
/// `node` is a valid utility statement.
unsafe fn effect(node: *const pg_sys::Node) -> Effect {
    // SAFETY: promised by the caller; each cast is what the tag says.
    unsafe {
        match (*node).type_ {
            NodeTag::T_DropdbStmt => {
                let drop = node.cast::<pg_sys::DropdbStmt>();
                database(name((*drop).dbname))
            }
            NodeTag::T_CreatedbStmt => database(template(node.cast())),
            NodeTag::T_AlterDatabaseStmt => {
                let alter = node.cast::<pg_sys::AlterDatabaseStmt>();
                database(name((*alter).dbname))
            }
            NodeTag::T_RenameStmt => rename(node.cast()),
            NodeTag::T_CreateExtensionStmt | NodeTag::T_AlterExtensionStmt => Effect::Extension,
            NodeTag::T_DropStmt => {
                let drop = node.cast::<pg_sys::DropStmt>();
                match (*drop).removeType {
                    pg_sys::ObjectType::OBJECT_EXTENSION | pg_sys::ObjectType::OBJECT_SCHEMA => {
                        Effect::Extension
                    }
                    _ => Effect::Nothing,
                }
            }
            NodeTag::T_AlterRoleStmt => one_role((*node.cast::<pg_sys::AlterRoleStmt>()).role),
            NodeTag::T_AlterRoleSetStmt => {
                one_role((*node.cast::<pg_sys::AlterRoleSetStmt>()).role)
            }
            NodeTag::T_CreateRoleStmt
            | NodeTag::T_AlterDatabaseSetStmt
            | NodeTag::T_GrantRoleStmt => Effect::Role(0),
            NodeTag::T_DropRoleStmt => Effect::RolesGone,
            NodeTag::T_DropOwnedStmt => Effect::Extension,
            NodeTag::T_GrantStmt => {
                let grant = node.cast::<pg_sys::GrantStmt>();
                match (*grant).objtype {
                    pg_sys::ObjectType::OBJECT_DATABASE => Effect::Role(0),
                    _ => Effect::Nothing,
                }
            }
            NodeTag::T_TransactionStmt => {
                let transaction = node.cast::<pg_sys::TransactionStmt>();
                match (*transaction).kind {
                    pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED => Effect::Prepared,
                    _ => Effect::Nothing,
                }
            }
            NodeTag::T_LockStmt => {
                refuse_ledger_lock(node.cast());
                Effect::Lock
            }
            _ => Effect::Nothing,
        }
    }
}

/// # Safety
/// `rename` is a valid statement.
unsafe fn rename(rename: *const pg_sys::RenameStmt) -> Effect {
    // SAFETY: promised by the caller.
    unsafe {
        match (*rename).renameType {
            pg_sys::ObjectType::OBJECT_DATABASE => database(name((*rename).subname)),
            pg_sys::ObjectType::OBJECT_ROLE => Effect::Role(0),
            _ => Effect::Nothing,
        }
    }
}

/// # Safety
/// `role` is null (ALTER ROLE ALL) or valid.
unsafe fn one_role(role: *const pg_sys::RoleSpec) -> Effect {
    if role.is_null() {
        return Effect::Role(0);
    }
    // SAFETY: promised by the caller; a role that does not exist is InvalidOid.
    Effect::Role(unsafe { pg_sys::get_rolespec_oid(role, true) }.to_u32())
}

/// The template a CREATE DATABASE copies, if it names one.
///
/// # Safety
/// `create` is a valid statement.
unsafe fn template(create: *const pg_sys::CreatedbStmt) -> Option<String> {
    // SAFETY: promised by the caller; options are DefElems.
    unsafe {
        let options = (*create).options;
        if options.is_null() {
            return None;
        }
        for i in 0..(*options).length {
            let cell = (*options).elements.add(usize::try_from(i).unwrap_or(0));
            let option = (*cell).ptr_value.cast::<pg_sys::DefElem>();
            if CStr::from_ptr((*option).defname) == c"template" && !(*option).arg.is_null() {
                return name(pg_sys::defGetString(option));
            }
        }
        None
    }
}

/// Lets the idle executors and the scheduler of a database leave, which would be in the way of
/// whoever wants it for himself. The server waits five seconds for them.
fn make_room(name: &str) {
    let Ok(name) = std::ffi::CString::new(name) else { return };
    // SAFETY: inside a transaction; missing is fine.
    let oid = unsafe { pg_sys::get_database_oid(name.as_ptr(), true) }.to_u32();
    // SAFETY: inside a transaction. Whoever may not have the database gets no room.
    if oid == 0 || !unsafe { pg_sys::superuser() || owns_database(oid.into()) } {
        return;
    }
    roster::retire_in_database(oid);
    // SAFETY: constant in a session.
    let own = unsafe { pg_sys::MyDatabaseId }.to_u32();
    if let Some(database) = databases::find(oid).filter(|_| oid != own) {
        database.ask_to_leave();
    }
    changes::look_again_at_end();
}

/// The tables everybody may delete from, in the extension's schema: the ledger, as with pg_cron, and what runs
/// have noted.
///
/// # Safety
/// Inside a transaction.
unsafe fn history(schema: pg_sys::Oid) -> [(pg_sys::Oid, &'static CStr); 2] {
    // SAFETY: promised by the caller; a table that is not there is `InvalidOid`.
    [c"job_run_details", c"run_log"]
        .map(|name| unsafe { (pg_sys::get_relname_relid(name.as_ptr(), schema), name) })
}

/// Whoever may delete may lock: a lock that keeps runs from being recorded, or from noting something, is for the
/// owner and superusers.
///
/// # Safety
/// `lock` is a valid statement.
unsafe fn refuse_ledger_lock(lock: *const pg_sys::LockStmt) {
    // SAFETY: promised by the caller; the relations of LOCK are RangeVars.
    unsafe {
        if (*lock).mode <= pg_sys::RowExclusiveLock.cast_signed() || pg_sys::superuser() {
            return;
        }
        let schema = pg_sys::get_namespace_oid(c"cron".as_ptr(), true);
        if schema == pg_sys::InvalidOid {
            return;
        }
        let history = history(schema);
        let relations = (*lock).relations;
        for i in 0..(*relations).length {
            let cell = (*relations).elements.add(usize::try_from(i).unwrap_or(0));
            let relation = (*cell).ptr_value.cast::<pg_sys::RangeVar>();
            let none = core::ptr::null_mut();
            let missing_ok = pg_sys::RVROption::RVR_MISSING_OK;
            let no_lock = pg_sys::NoLock.cast_signed();
            let oid = pg_sys::RangeVarGetRelidExtended(relation, no_lock, missing_ok, None, none);
            let table = history.iter().find(|(table, _)| *table == oid);
            if let Some((_, name)) = table.filter(|_| oid != pg_sys::InvalidOid && !owns(oid)) {
                refuse(name);
            }
        }
    }
}

/// # Safety
/// Inside a transaction.
unsafe fn owns(table: pg_sys::Oid) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        let owner = pg_sys::pg_class_ownercheck(table, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        let owner =
            pg_sys::object_ownercheck(pg_sys::RelationRelationId, table, pg_sys::GetUserId());
        owner
    }
}

/// # Safety
/// Inside a transaction.
unsafe fn owns_database(database: pg_sys::Oid) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        let owner = pg_sys::pg_database_ownercheck(database, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        let owner =
            pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, pg_sys::GetUserId());
        owner
    }
}

/// LOCK of a view locks what is below it, with the rights of the view's owner.
///
/// # Safety
/// After LOCK, in its transaction.
unsafe fn refuse_indirect_lock() {
    // SAFETY: promised by the caller.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"cron".as_ptr(), true);
        if schema == pg_sys::InvalidOid || pg_sys::superuser() {
            return;
        }
        for (table, name) in history(schema) {
            let exists = table != pg_sys::InvalidOid;
            if exists && !owns(table) && lock::holds_more_than_row_exclusive(table) {
                refuse(name);
            }
        }
    }
}

/// A role that is dropped takes its secrets along, those of this database. The schedulers of others
/// see to theirs when they start.
fn forget_secrets(extension: u32) {
    if extension != 0
        && let Err(error) = secret::forget_the_gone()
    {
        ErrorReport::from(error).report(pgrx::PgLogLevel::ERROR);
    }
}

fn refuse(table: &CStr) {
    pgrx::ereport!(
        pgrx::PgLogLevel::ERROR,
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("permission denied to lock table {} in this mode", table.to_string_lossy()),
        "Only its owner and superusers may keep runs from being recorded."
    );
}
