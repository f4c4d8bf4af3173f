//! The alert that a run handles, for whoever reads the setting `cron.alert` in it.

use pg_tock_core::alert::MOST_BYTES;

use super::bytes::Bytes;

/// A document in ASCII. Written by the executor before its run begins, read by it and its parallel
/// workers while the run goes on.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Alert(Bytes<MOST_BYTES>);

impl Alert {
    /// The run that comes next handles this, or nothing. One that is too long is none.
    pub(crate) fn set(&self, document: Option<&str>) {
        let document = document.filter(|document| document.len() <= MOST_BYTES);
        self.0.set(document.map_or(&[], str::as_bytes));
    }

    /// Copies the document; returns its length, 0 if there is none. Allocates nothing.
    pub(crate) fn copy(&self, to: &mut [u8]) -> usize {
        self.0.copy(to)
    }
}
