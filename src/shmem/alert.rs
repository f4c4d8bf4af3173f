//! The alert that a run handles, for whoever reads the setting `cron.alert` in it.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use pg_tock_core::alert::MOST_BYTES;

/// A document in ASCII. Written by the executor before its run begins, read by it and its parallel
/// workers while the run goes on.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Alert {
    len: AtomicU32,
    bytes: [AtomicU8; MOST_BYTES],
}

impl Alert {
    /// The run that comes next handles this, or nothing. One that is too long is none.
    pub(crate) fn set(&self, document: Option<&str>) {
        self.len.store(0, Ordering::Relaxed);
        let bytes = document.map_or(&[][..], str::as_bytes);
        let Ok(len) = u32::try_from(bytes.len()) else { return };
        if bytes.len() > MOST_BYTES {
            return;
        }
        for (to, from) in self.bytes.iter().zip(bytes) {
            to.store(*from, Ordering::Relaxed);
        }
        self.len.store(len, Ordering::Release);
    }

    /// Copies the document; returns its length, 0 if there is none. Allocates nothing.
    pub(crate) fn copy(&self, to: &mut [u8]) -> usize {
        let len = self.len.load(Ordering::Acquire) as usize;
        let len = len.min(MOST_BYTES).min(to.len());
        for (to, from) in to.iter_mut().zip(&self.bytes).take(len) {
            *to = from.load(Ordering::Relaxed);
        }
        len
    }
}
