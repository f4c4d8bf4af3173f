//! The executor: one role's session in one database, running one run after another.
//!
//! It is logged in as the role, so nothing a job does can climb back to a superuser. It takes
//! orders from a queue, one at a time, and answers each with a report. It leaves when it is asked
//! to, when its scheduler is gone, and when a session could not be reset.

use core::ffi::CStr;
use std::ffi::CString;

use pg_tock_core::wire::RunOrder;
use pgrx::pg_sys;

use crate::exec::command::log_line;
use crate::exec::context;
use crate::exec::ended::Ended;
use crate::exec::run::{self, Session};
use crate::exec::{libraries, reset};
use crate::guc;
use crate::pg::bgw::Worker;
use crate::pg::mq::{Receiver, Sender};
use crate::pg::{process, time, trap};
use crate::shmem::lasting::Lasting;
use crate::shmem::roster;
use crate::shmem::slots::{CurrentRun, Slot};
use crate::shmem::{databases, mine};

/// Bytes of each of the two queues in an executor's segment.
pub(crate) const QUEUE: usize = 64 * 1024;

/// What an executor is to the postmaster; its argument is its slot, and which life of the
/// slot it is for.
pub(crate) const fn worker(slot: u32, life: u32) -> Worker {
    Worker {
        name: "pg_tock executor",
        main: "pg_tock_executor_main",
        connects: true,
        restart: None,
        argument: (life as u64) << 32 | slot as u64,
    }
}

static mut PREVIOUS_LOG_HOOK: pg_sys::emit_log_hook_type = None;

/// Keeps the message of a FATAL, which is the last thing this process says: nobody else could
/// tell why it went. Called inside error processing: allocates nothing, raises nothing.
#[allow(ffi_unwind_calls, reason = "inside error processing: owns nothing with a destructor")]
unsafe extern "C-unwind" fn keep_last_words(data: *mut pg_sys::ErrorData) {
    // SAFETY: Postgres passes the error being reported.
    let error = unsafe { &*data };
    let last = error.elevel >= pg_sys::FATAL.cast_signed() && !error.message.is_null();
    if let Some(slot) = mine::slot().filter(|_| last) {
        // SAFETY: a static buffer of five characters; a C string.
        let (code, message) = unsafe {
            let code = CStr::from_ptr(crate::pg::raw::unpack_sql_state(error.sqlerrcode));
            (code, CStr::from_ptr(error.message))
        };
        let code = <[u8; 5]>::try_from(code.to_bytes()).unwrap_or(*b"XX000");
        slot.keep_last_words(code, message.to_bytes());
    }
    // SAFETY: set once before this hook was installed.
    if let Some(previous) = unsafe { PREVIOUS_LOG_HOOK } {
        // SAFETY: the hook that was there before ours.
        unsafe { previous(data) };
    }
}

/// Tells the scheduler that this process is gone.
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(slot) = mine::slot() {
        let scheduler = slot.scheduler();
        slot.exited(libraries::reach_outside());
        if let Some(database) = databases::find(scheduler) {
            database.wake();
        }
    }
}

/// Main of an executor process.
#[pgrx::pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pg_tock_executor_main(argument: pg_sys::Datum) {
    process::accept_signals();
    let argument = argument.value() as u64;
    let (index, life) = (argument & u64::from(u32::MAX), argument >> 32);
    let (Ok(index), Ok(life)) = (u32::try_from(index), u32::try_from(life)) else { return };
    let Some(slot) = roster::get(index) else { return };
    if !slot.arrive(life, process::pid(), process::latch()) {
        return;
    }
    mine::take(slot);
    // SAFETY: a plain function that touches shared memory only.
    unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::from(0)) };
    // SAFETY: one thread, before anything can be logged by a job.
    unsafe {
        PREVIOUS_LOG_HOOK = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(keep_last_words);
    }
    let Some((receiver, sender)) = attach(slot) else { return };
    let session = connect(slot);
    slot.ready();
    if let Some(database) = databases::find(slot.scheduler()) {
        database.wake();
    }
    serve(&session, receiver, sender);
}

/// Attaches to the queues the scheduler has made. None if it is gone already.
fn attach(slot: &Slot) -> Option<(Receiver, Sender)> {
    // SAFETY: the segment holds two queues one behind the other, as the scheduler made them; it
    // stays mapped until this process ends.
    unsafe {
        let segment = pg_sys::dsm_attach(slot.dsm());
        if segment.is_null() {
            return None;
        }
        pg_sys::dsm_pin_mapping(segment);
        let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let orders = base.cast::<pg_sys::shm_mq>();
        let reports = base.add(QUEUE).cast::<pg_sys::shm_mq>();
        pg_sys::shm_mq_set_receiver(orders, pg_sys::MyProc);
        pg_sys::shm_mq_set_sender(reports, pg_sys::MyProc);
        let none = core::ptr::null_mut();
        let old = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        let orders = pg_sys::shm_mq_attach(orders, segment, none);
        let reports = pg_sys::shm_mq_attach(reports, segment, none);
        pg_sys::CurrentMemoryContext = old;
        Some((Receiver::new(orders), Sender::new(reports)))
    }
}

/// Logs in. What is wrong with the role or the database is a FATAL, which the scheduler reads
/// from the slot.
fn connect(slot: &'static Slot) -> Session {
    // SAFETY: once, before anything else; the sequence of a session's start in PostgresMain.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            slot.database().into(),
            slot.role().into(),
            0,
        );
        pg_sys::process_session_preload_libraries();
    }
    run::prepare_session();
    let (database, username) = names(slot);
    process::set_application_name(c"pg_tock executor");
    process::report_idle();
    Session { slot, ledger: slot.ledger().into(), database, username }
}

/// The names of this session's database and role, as the ledger keeps them.
fn names(slot: &Slot) -> (CString, CString) {
    // SAFETY: palloc'd copies; catalog look-ups need the transaction around them.
    unsafe {
        pg_sys::StartTransactionCommand();
        let copy = |name: *const core::ffi::c_char| {
            if name.is_null() { CString::default() } else { CStr::from_ptr(name).to_owned() }
        };
        let database = copy(pg_sys::get_database_name(slot.database().into()));
        let username = copy(pg_sys::GetUserNameFromId(slot.role().into(), true));
        pg_sys::CommitTransactionCommand();
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        (database, username)
    }
}

/// Takes orders until there will be none.
fn serve(session: &Session, mut receiver: Receiver, mut sender: Sender) {
    let mut report = Vec::new();
    let mut idle = Idle::default();
    let mut used = false;
    loop {
        let message = match receiver.try_receive() {
            Err(_) => return,
            Ok(None) if session.slot.must_retire() => return,
            Ok(None) => {
                idle.wait();
                continue;
            }
            Ok(Some(message)) => message,
        };
        idle = Idle::default();
        let Ok(order) = RunOrder::decode(message) else {
            pgrx::log!("pg_tock: executor got an order it cannot read");
            return;
        };
        if order.fresh && used {
            return; // the run has not begun, and gets another executor
        }
        used = true;
        if process::reload_config() {
            pgrx::debug1!("pg_tock: executor has read the configuration again");
        }
        report.clear();
        let Some(ended) = obey(session, &order) else { return };
        if !ended.has_begun() {
            session.slot.comes_to_nothing();
        } else if !ended.is_recorded() {
            // Stays there until the scheduler, this or the next, has committed the row.
            ended.leave(session.slot);
        }
        if let Err(error) = ended.report(&order).encode(&mut report) {
            pgrx::log!("pg_tock: run {} cannot be reported: {error}", order.run);
            return;
        }
        if sender.send_all(&report).is_err() {
            return;
        }
        // What a library outside keeps in this process no reset reaches.
        if order.fresh || libraries::reach_outside() || !reset::discard_all() {
            return;
        }
        process::report_idle();
    }
}

/// One run, from order to end. None if the scheduler is gone: the order has not been begun, and the
/// next scheduler finds its occurrence due.
fn obey(session: &Session, order: &RunOrder<'_>) -> Option<Ended> {
    context::begin(order);
    session.slot.ordered.take(order);
    session.slot.alert.set(order.alert);
    let begun = session.slot.begin(&CurrentRun {
        job: order.job,
        run: order.run,
        scheduled_for: order.scheduled_for,
        started_at: time::now(),
        attempt: order.attempt,
        trigger: order.trigger,
        window: order.window,
        lasting: Lasting {
            began: time::monotonic(),
            timeout: order.timeout,
            stuck_after: order.stuck_after,
            ends_stuck: order.ends_stuck,
        },
    });
    if !begun {
        return None;
    }
    if order.flush_lsn != 0 {
        // SAFETY: a position in WAL that was inserted, by the scheduler, before it sent the order.
        unsafe { pg_sys::XLogFlush(order.flush_lsn) };
    }
    name_session(order);
    let log = guc::log_statement() && !order.only_asks;
    if log {
        let line = format!("cron job {} starting: ", order.job);
        log_with_command(&line, order.command);
    }
    let ended = run::run(session, order);
    if order.dry_run.is_none() && ended.has_failed() && guc::alerts::log_failures() {
        ended.log_failure(order);
    } else if log {
        let line = ended.log_line(order);
        log_with_command(&line, c"");
    }
    Some(ended)
}

/// Shows the job in `pg_stat_activity.application_name`.
fn name_session(order: &RunOrder<'_>) {
    let mut name = format!("pg_tock job {}", order.job).into_bytes();
    if let Some(job_name) = order.job_name {
        name.push(b' ');
        name.extend_from_slice(job_name.to_bytes());
    }
    name.truncate(63);
    if let Ok(name) = CString::new(name) {
        process::set_application_name(&name);
    }
}

/// A line in the server log that ends with the command's text, in whatever encoding it is.
fn log_with_command(line: &str, command: &CStr) {
    let mut text = line.as_bytes().to_vec();
    text.extend_from_slice(command.to_bytes());
    let Ok(text) = CString::new(text) else { return };
    let text = text.as_c_str();
    // SAFETY: the closure borrows; a line that cannot be logged is dropped.
    let _ = unsafe { trap::catch(|| log_line(c"%s", text.as_ptr())) };
}

/// An executor that waits. It sends its statistics once it has nothing to do, and those Postgres
/// keeps back for being too frequent a second later; then it sleeps until somebody wakes it.
#[derive(Default)]
struct Idle {
    reported: bool,
    pending: bool,
}

impl Idle {
    fn wait(&mut self) {
        // Somebody may wake it again and again with nothing to do.
        if !self.reported || self.pending {
            self.pending = process::report_stats(false);
            self.reported = true;
        }
        let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
        let mut timeout = -1;
        if self.pending {
            events |= pg_sys::WL_TIMEOUT;
            timeout = 1_000;
        }
        // SAFETY: this process's own latch.
        let woken = unsafe {
            let latch = pg_sys::MyLatch;
            let extension = pg_sys::PG_WAIT_EXTENSION;
            let woken = pg_sys::WaitLatch(latch, events.cast_signed(), timeout, extension);
            pg_sys::ResetLatch(latch);
            woken
        };
        process::check_interrupts();
        // An executor that sleeps for long must not hold the queue of invalidations back.
        // SAFETY: outside a transaction, as in every main loop.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        if self.pending && woken & pg_sys::WL_TIMEOUT.cast_signed() != 0 {
            process::report_stats(true);
            self.pending = false;
        }
        process::reload_config();
    }
}
