//! A text from one process to another, in a DSM segment that goes when its reader does.
//!
//! Layout: the length of the text, 0 until it is complete, then the text.

use core::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys;

/// Bytes of a segment.
const SIZE: usize = 256 * 1024;

/// The most bytes of a text.
pub(crate) const ROOM: usize = SIZE - size_of::<AtomicU32>();

/// The reader's end. The segment is gone with its transaction at the latest.
#[derive(Debug)]
pub(crate) struct Letter {
    segment: *mut pg_sys::dsm_segment,
}

impl Letter {
    /// An empty one. An ERROR when there is no room for a segment.
    pub(crate) fn new() -> Self {
        // SAFETY: in a transaction, whose resource owner detaches the segment.
        let segment = unsafe { pg_sys::dsm_create(SIZE, 0) };
        // SAFETY: just made, with room for it.
        unsafe { length(segment) }.store(0, Ordering::Release);
        Self { segment }
    }

    /// What a writer needs to find it.
    pub(crate) fn handle(&self) -> u32 {
        // SAFETY: it lives as long as the transaction.
        unsafe { pg_sys::dsm_segment_handle(self.segment) }
    }

    /// What was written, if anything.
    pub(crate) fn read(&self) -> Option<String> {
        // SAFETY: it lives as long as the transaction; a writer says the length last.
        let bytes = unsafe {
            let len = length(self.segment).load(Ordering::Acquire) as usize;
            let base = pg_sys::dsm_segment_address(self.segment).cast::<u8>();
            core::slice::from_raw_parts(base.add(size_of::<AtomicU32>()), len.min(ROOM)).to_vec()
        };
        if bytes.is_empty() { None } else { String::from_utf8(bytes).ok() }
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: attached since it was made; after an ERROR the transaction detaches it.
            unsafe { pg_sys::dsm_detach(self.segment) };
        }
    }
}

/// Writes a text of at most [`ROOM`] bytes, unless its reader is gone. Interrupts wait meanwhile.
pub(crate) fn write(handle: u32, text: &str) {
    if text.len() > ROOM {
        return;
    }
    // SAFETY: nothing but running out of memory raises an error here, which ends the process;
    // without a resource owner the mapping lasts until it is detached, below.
    unsafe {
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentResourceOwner = core::ptr::null_mut();
        pg_sys::InterruptHoldoffCount += 1;
        let segment = pg_sys::dsm_attach(handle);
        if !segment.is_null() {
            let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
            let place = base.add(size_of::<AtomicU32>());
            core::ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
            length(segment).store(u32::try_from(text.len()).unwrap_or(0), Ordering::Release);
            pg_sys::dsm_detach(segment);
        }
        pg_sys::InterruptHoldoffCount -= 1;
        pg_sys::CurrentResourceOwner = owner;
    }
}

/// # Safety
/// `segment` is attached, and as large as those of this module.
unsafe fn length<'a>(segment: *mut pg_sys::dsm_segment) -> &'a AtomicU32 {
    // SAFETY: promised by the caller; segments begin at addresses aligned for anything.
    unsafe { &*pg_sys::dsm_segment_address(segment).cast::<AtomicU32>() }
}
