//! Sleeping until an instant, a latch or the postmaster's death, whichever comes first.
//!
//! `WaitLatch` counts in milliseconds and wakes late; a `timerfd` on the real-time clock is exact
//! and tells when the clock was set (see timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).

use core::ffi::c_int;

use std::time::{Duration, Instant};

use pg_tock_core::lead::{self, Lead};
use pg_tock_core::time::Timestamp;
use pgrx::pg_sys;

use super::time;

/// `TFD_TIMER_CANCEL_ON_SET`, which the libc crate lacks on some targets.
const CANCEL_ON_SET: c_int = 1 << 1;

/// How much too early a timer may ring, in microseconds.
const SLACK: i64 = 200;

/// An alarm clock on this process's latch.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: c_int,
    set: *mut pg_sys::WaitEventSet,
    armed: Option<Timestamp>,
    lead: Lead,
    /// When it was to ring, if it was that what woke this process last.
    rang_at: Option<Timestamp>,
    /// What it rang for, if that is due a moment later.
    due: Option<Timestamp>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// The operating system has no file descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        // SAFETY: creates a file descriptor.
        let timer = unsafe {
            libc::timerfd_create(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if timer < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let set = latch_and(timer);
        Ok(Self { timer, set, armed: None, lead: Lead::default(), rang_at: None, due: None })
    }

    /// Sleeps as [`Alarm::sleep`] does, but until a moment before something is due: as long as it takes to wake
    /// up and see that there is nothing else to do, which [`Alarm::rung_for`] has to be told of then.
    pub(crate) fn sleep_lightly(&mut self, due: Timestamp) {
        self.sleep(Some(self.lead.ring_at(time::now(), due)));
        self.due = self.rang_at.map(|_| due);
    }

    /// What the alarm has rung for, a moment before it is due, if that is what is due next. It is for [`wait_out`]
    /// to wait for it.
    pub(crate) fn rung_for(&mut self, next: Option<Timestamp>) -> Option<Timestamp> {
        let (rang_at, due) = (self.rang_at.take()?, self.due.take()?);
        self.lead.rang(time::now().since(rang_at));
        next.filter(|next| *next == due)
    }

    /// Sleeps until `at` (None: for as long as nobody sets the latch) or until the latch is set,
    /// which it resets.
    pub(crate) fn sleep(&mut self, at: Option<Timestamp>) {
        // A timer that rings too early costs one turn, setting it again costs a system call each.
        let early = match (self.armed, at) {
            (Some(armed), Some(at)) => armed <= at && at.since(armed) < SLACK,
            (None, None) => true,
            _ => false,
        };
        if !early {
            self.arm(at);
        }
        // SAFETY: a plain C struct, for which all zeroes is a valid value.
        let mut event: pg_sys::WaitEvent = unsafe { core::mem::zeroed() };
        // SAFETY: room for one event; the set is ours.
        let count = unsafe {
            pg_sys::WaitEventSetWait(self.set, -1, &raw mut event, 1, pg_sys::PG_WAIT_EXTENSION)
        };
        let rang = count > 0 && event.events & pg_sys::WL_SOCKET_READABLE != 0;
        self.rang_at = if rang { self.rang() } else { None };
        // SAFETY: this process's own latch. Resetting it also when the timer rang is right: the
        // caller looks at everything after each wake-up.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }

    fn arm(&mut self, at: Option<Timestamp>) {
        // An instant in the past rings at once; zero would disarm.
        let micros = at.map_or(0, |at| at.0.max(1));
        let value = libc::timespec {
            tv_sec: micros.div_euclid(1_000_000),
            tv_nsec: micros.rem_euclid(1_000_000) * 1_000,
        };
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: none, it_value: value };
        let flags = libc::TFD_TIMER_ABSTIME | CANCEL_ON_SET;
        // SAFETY: the descriptor is ours, the struct is only read.
        unsafe { libc::timerfd_settime(self.timer, flags, &raw const spec, core::ptr::null_mut()) };
        self.armed = at;
    }

    /// Takes the expiration, or the news that the clock was set, off the timer. Returns what it was set for.
    fn rang(&mut self) -> Option<Timestamp> {
        let mut count = 0_u64;
        // SAFETY: eight bytes, as timerfd_create(2) asks for; does not block.
        unsafe { libc::read(self.timer, (&raw mut count).cast(), 8) };
        self.armed.take()
    }
}

/// Waits until the clock shows an instant, awake, for as long as a lead may be at the most.
pub(crate) fn wait_out(due: Timestamp) {
    let since = Instant::now();
    while time::now() < due && since.elapsed() < Duration::from_micros(lead::MOST.unsigned_abs()) {
        core::hint::spin_loop();
    }
}

/// Sleeping until a descriptor is readable, the latch is set or the postmaster dies.
#[derive(Debug)]
pub(crate) struct Watch {
    set: *mut pg_sys::WaitEventSet,
}

impl Watch {
    /// `descriptor` stays open as long as this is used.
    pub(crate) fn new(descriptor: c_int) -> Self {
        Self { set: latch_and(descriptor) }
    }

    /// Sleeps until something happens, and resets the latch.
    pub(crate) fn sleep(&self) {
        // SAFETY: a plain C struct, for which all zeroes is a valid value; room for one event; the
        // set and the latch are this process's own.
        unsafe {
            let mut event: pg_sys::WaitEvent = core::mem::zeroed();
            pg_sys::WaitEventSetWait(self.set, -1, &raw mut event, 1, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
}

/// A set of this process's latch, the postmaster's death, and that descriptor.
fn latch_and(descriptor: c_int) -> *mut pg_sys::WaitEventSet {
    // SAFETY: the set lives until the process ends; the latch is this process's own.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let set = pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, 3);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let set = pg_sys::CreateWaitEventSet(core::ptr::null_mut(), 3);
        let none = core::ptr::null_mut();
        pg_sys::AddWaitEventToSet(set, pg_sys::WL_LATCH_SET, -1, pg_sys::MyLatch, none);
        let death = pg_sys::WL_EXIT_ON_PM_DEATH;
        pg_sys::AddWaitEventToSet(set, death, -1, core::ptr::null_mut(), none);
        let readable = pg_sys::WL_SOCKET_READABLE;
        pg_sys::AddWaitEventToSet(set, readable, descriptor, core::ptr::null_mut(), none);
        set
    }
}
