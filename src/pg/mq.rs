//! One end of a `shm_mq`: a queue of messages between two processes in a DSM segment.

use core::ffi::{c_char, c_void};

use pgrx::pg_sys;

/// The peer has detached or died; no message will pass any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detached;

/// The end that sends.
#[derive(Debug)]
pub(crate) struct Sender(*mut pg_sys::shm_mq_handle);

/// The end that receives.
#[derive(Debug)]
pub(crate) struct Receiver(*mut pg_sys::shm_mq_handle);

impl Sender {
    /// # Safety
    /// `handle` is attached, this process is the queue's sender, and the segment stays mapped as
    /// long as this value is used.
    pub(crate) const unsafe fn new(handle: *mut pg_sys::shm_mq_handle) -> Self {
        Self(handle)
    }

    /// Sends `message`, or a part of it. `Ok(false)`: the queue is full; the call must be repeated
    /// with the same bytes once the latch is set.
    pub(crate) fn try_send(&mut self, message: &[u8]) -> Result<bool, Detached> {
        self.send(message, true)
    }

    /// Sends `message`, waiting for room.
    pub(crate) fn send_all(&mut self, message: &[u8]) -> Result<(), Detached> {
        self.send(message, false).map(|_| ())
    }

    /// Detaches and frees what the handle holds.
    pub(crate) fn detach(&mut self) {
        detach(&mut self.0);
    }

    fn send(&mut self, message: &[u8], nowait: bool) -> Result<bool, Detached> {
        // SAFETY: the handle is attached; the bytes are only read.
        let result = unsafe {
            pg_sys::shm_mq_send(
                self.0,
                message.len(),
                message.as_ptr().cast::<c_void>(),
                nowait,
                true,
            )
        };
        match result {
            pg_sys::shm_mq_result::SHM_MQ_SUCCESS => Ok(true),
            pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => Ok(false),
            _ => Err(Detached),
        }
    }
}

impl Receiver {
    /// # Safety
    /// As [`Sender::new`], for the receiving end.
    pub(crate) const unsafe fn new(handle: *mut pg_sys::shm_mq_handle) -> Self {
        Self(handle)
    }

    /// The next message, if one is there. It stays valid until the next call.
    pub(crate) fn try_receive(&mut self) -> Result<Option<&[u8]>, Detached> {
        let mut len = 0;
        let mut data: *mut c_void = core::ptr::null_mut();
        // SAFETY: the handle is attached; both results are written before SUCCESS is returned.
        match unsafe { pg_sys::shm_mq_receive(self.0, &raw mut len, &raw mut data, true) } {
            pg_sys::shm_mq_result::SHM_MQ_SUCCESS => {
                // SAFETY: Postgres keeps the bytes until the next receive, and the borrow of self
                // keeps the caller from calling it.
                Ok(Some(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), len) }))
            }
            pg_sys::shm_mq_result::SHM_MQ_WOULD_BLOCK => Ok(None),
            _ => Err(Detached),
        }
    }
}

impl Receiver {
    /// Detaches and frees what the handle holds.
    pub(crate) fn detach(&mut self) {
        detach(&mut self.0);
    }
}

fn detach(handle: &mut *mut pg_sys::shm_mq_handle) {
    let handle = std::mem::replace(handle, core::ptr::null_mut());
    if !handle.is_null() {
        // SAFETY: attached, and not used afterwards.
        unsafe { pg_sys::shm_mq_detach(handle) };
    }
}

/// Copies `text` into a fixed array of a `BackgroundWorker`, leaving room for the NUL.
pub(crate) fn copy_name(to: &mut [c_char], text: &str) {
    let room = to.len().saturating_sub(1);
    for (to, from) in to.iter_mut().take(room).zip(text.bytes()) {
        *to = from.cast_signed();
    }
}
