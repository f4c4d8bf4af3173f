//! What a run can read of itself, and what is set for it before its command.
//!
//! The settings `cron.job_id` and so on have no value anywhere: whoever reads one reads the slot of
//! the run it is part of. So nobody can set them, they are the same in the parallel workers of a
//! query and in other databases, nothing has to be reset, and outside a run they are empty.

use core::cell::RefCell;
use core::ffi::{CStr, c_char};
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};
use std::ffi::CString;

use pg_tock_core::alert::MOST_BYTES;
use pg_tock_core::options::setting_text;
use pg_tock_core::time::Timestamp;
use pg_tock_core::wire::RunOrder;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};
use serde_json::Value;

use crate::pg::raw;
use crate::pg::time::to_pg;
use crate::pg::trap::PgError;
use crate::shmem::mine;
use crate::shmem::slots::{CurrentRun, Slot};

type Setting = GucSetting<Option<CString>>;

macro_rules! context_settings {
    ($($variable:ident $hook:ident $name:literal $short:literal $shown:expr;)+) => {
        $(
            static $variable: Setting = Setting::new(Some(c""));

            unsafe extern "C-unwind" fn $hook() -> *const c_char {
                $shown
            }
        )+

        /// Defines the settings; once, from `_PG_init` in the postmaster.
        pub(crate) fn define() {
            let long = c"It is empty outside a run, and nobody can set it.";
            let flags = GucFlags::DISALLOW_IN_FILE;
            $(
                // SAFETY: the hook reads shared memory and raises nothing.
                unsafe {
                    GucRegistry::define_string_guc_with_hooks(
                        $name, $short, long, &$variable, GucContext::Internal, flags,
                        None, None, Some($hook),
                    );
                }
            )+
        }
    };
}

context_settings! {
    ALERT show_alert c"cron.alert" c"The alert this run handles, as JSON."
        alert();
    JOB_ID show_job_id c"cron.job_id" c"The job whose run this is."
        show(|run, text| number(text, run.job.0));
    RUN_ID show_run_id c"cron.run_id" c"The id of this run."
        show(|run, text| number(text, run.run.0));
    SCHEDULED_FOR show_scheduled_for c"cron.scheduled_for" c"The instant this run was due at."
        show(|run, text| instant(text, run.scheduled_for));
    ATTEMPT show_attempt c"cron.attempt" c"Which attempt at its occurrence this run is, from 1."
        show(|run, text| number(text, run.attempt.into()));
    WINDOW_START show_window_start c"cron.window_start" c"The data this run is for is later than this."
        show(|run, text| if let Some((start, _)) = run.window { instant(text, start) });
    WINDOW_END show_window_end c"cron.window_end" c"The data this run is for ends here."
        show(|run, text| if let Some((_, end)) = run.window { instant(text, end) });
}

/// The alert that the run this process is part of handles, or nothing.
fn alert() -> *const c_char {
    static mut TEXT: [u8; MOST_BYTES + 1] = [0; MOST_BYTES + 1];
    let text = &raw mut TEXT;
    // SAFETY: one thread; Postgres copies the text before it asks for another.
    let text = unsafe { &mut *text };
    let running = mine::slot_of_leader().filter(|slot| slot.current().is_some());
    let len = running
        .map_or(0, |slot| text.get_mut(..MOST_BYTES).map_or(0, |room| slot.alert.copy(room)));
    if let Some(end) = text.get_mut(len) {
        *end = 0;
    }
    text.as_ptr().cast()
}

/// A value on its way out, with the NUL that ends it.
struct Shown([u8; 64], usize);

impl Write for Shown {
    fn write_str(&mut self, part: &str) -> core::fmt::Result {
        let end = self.1 + part.len();
        let room = self.0.get_mut(self.1..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(part.as_bytes());
        self.1 = end;
        Ok(())
    }
}

/// What a setting shows: something about the run this process is part of, or nothing.
fn show(write: fn(&CurrentRun, &mut Shown)) -> *const c_char {
    static mut TEXT: Shown = Shown([0; 64], 0);
    let mut shown = Shown([0; 64], 0);
    if let Some(run) = mine::slot_of_leader().and_then(Slot::current) {
        write(&run, &mut shown);
    }
    if let Some(last) = shown.0.last_mut() {
        *last = 0;
    }
    // SAFETY: one thread; Postgres copies the text before it asks for another.
    unsafe {
        TEXT = shown;
        (&raw const TEXT).cast()
    }
}

fn number(text: &mut Shown, value: i64) {
    // Twenty digits have room.
    let _ = write!(text, "{value}");
}

/// An instant as ISO 8601 has it, in the session's time zone: read back right whatever `DateStyle`
/// says.
fn instant(text: &mut Shown, at: Timestamp) {
    // SAFETY: raises nothing; a C string in a static buffer, copied at once.
    let iso = unsafe { CStr::from_ptr(pg_sys::timestamptz_to_str(to_pg(at))) };
    let _ = text.write_str(iso.to_str().unwrap_or_default());
}

thread_local! {
    /// The name of the job whose run this process has, in the database's encoding.
    static JOB_NAME: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// The run has written a checkpoint, or read one.
static CHECKPOINTED: AtomicBool = AtomicBool::new(false);

/// A run begins in this process.
pub(crate) fn begin(order: &RunOrder<'_>) {
    JOB_NAME.set(order.job_name.map(CStr::to_owned));
    CHECKPOINTED.store(false, Ordering::Relaxed);
}

/// The name of the job whose run this process has, in the database's encoding.
pub(crate) fn job_name() -> Option<Vec<u8>> {
    JOB_NAME.with_borrow(|name| name.as_ref().map(|name| name.as_bytes().to_vec()))
}

/// The run has written or read a checkpoint, which goes when it succeeds.
pub(crate) fn checkpointed() {
    CHECKPOINTED.store(true, Ordering::Relaxed);
}

/// Whether there may be a checkpoint for the run's occurrence: its own or an earlier attempt's.
pub(super) fn may_have_checkpoint(order: &RunOrder<'_>) -> bool {
    order.attempt > 1 || CHECKPOINTED.load(Ordering::Relaxed)
}

/// What to set before a command: names and values, in the database's encoding if that is ASCII's
/// superset, as all server encodings are.
pub(super) type Presets = Vec<(CString, CString)>;

/// Reads the settings of an order.
///
/// # Errors
/// What is not an object of strings, numbers and booleans.
pub(super) fn presets(order: &RunOrder<'_>) -> Result<Presets, Box<PgError>> {
    let Some(text) = order.settings else { return Ok(Presets::new()) };
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(invalid("settings of the job are not a JSON object".to_owned()));
    };
    let mut presets = Presets::with_capacity(object.len());
    for (name, value) in object {
        let Some(value) = setting_text(&value) else {
            return Err(invalid(format!("setting \"{name}\" of the job has no plain value")));
        };
        match (CString::new(name), CString::new(value)) {
            (Ok(name), Ok(value)) => presets.push((name, value)),
            _ => return Err(invalid("a setting of the job holds a NUL character".to_owned())),
        }
    }
    Ok(presets)
}

fn invalid(message: String) -> Box<PgError> {
    let hint = Some("Settings are names with strings, numbers or booleans.".to_owned());
    Box::new(PgError { sqlstate: *b"22023", message, hint, ..PgError::default() })
}

/// Sets what a job wants set, as its role would with SET, in a transaction of its own: the command
/// is parsed and its transaction begins with these in force. `DISCARD ALL` ends them.
///
/// # Safety
/// Inside [`trap::catch`](crate::pg::trap::catch), outside a transaction; the texts outlive the call.
pub(super) unsafe fn apply(presets: &[(CString, CString)]) {
    if presets.is_empty() {
        return;
    }
    // SAFETY: promised by the caller; the sequence of ExecSetVariableStmt.
    unsafe {
        raw::StartTransactionCommand();
        for (name, value) in presets {
            let utf8 = pg_sys::pg_enc::PG_UTF8.cast_signed();
            let len = i32::try_from(value.count_bytes()).unwrap_or(i32::MAX);
            let value = raw::pg_any_to_server(value.as_ptr(), len, utf8);
            let context = if raw::superuser() {
                pg_sys::GucContext::PGC_SUSET
            } else {
                pg_sys::GucContext::PGC_USERSET
            };
            raw::set_config_option(
                name.as_ptr(),
                value,
                context,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SET,
                true,
                0,
                false,
            );
        }
        raw::CommitTransactionCommand();
        pg_sys::CurrentMemoryContext = pg_sys::MessageContext;
    }
}
