//! Two queues in one DSM segment, as schedulers make them for those who work for them: orders go
//! one way, reports the other.

use pgrx::{PgTryBuilder, pg_sys};

use super::bgw::Handle;
use super::mq::{Receiver, Sender};

/// Both ends that the maker keeps. Dropping it detaches from the queues, which the other side
/// notices.
#[derive(Debug)]
pub(crate) struct Queues {
    /// What goes to the other side.
    pub(crate) orders: Sender,
    /// What comes from there.
    pub(crate) reports: Receiver,
    segment: *mut pg_sys::dsm_segment,
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.orders.detach();
        self.reports.detach();
        // SAFETY: created by `make`, detached once; the queues are not used afterwards.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}

/// A segment with two queues nobody is attached to yet. It is gone unless it is attached to.
#[derive(Debug)]
pub(crate) struct Made {
    segment: *mut pg_sys::dsm_segment,
    orders: *mut pg_sys::shm_mq,
    reports: *mut pg_sys::shm_mq,
}

/// A DSM segment with two queues of `size` bytes; None when there is no room for one.
pub(crate) fn make(size: usize) -> Option<Made> {
    // SAFETY: without a resource owner the mapping lasts until it is detached; the segment has
    // room for two queues, which begin at addresses aligned for them.
    unsafe {
        let old_context = pg_sys::CurrentMemoryContext;
        let old_owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::CurrentResourceOwner = core::ptr::null_mut();
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS.cast_signed();
        // A full /dev/shm is an ERROR: no segment for the time being.
        let segment = PgTryBuilder::new(|| pg_sys::dsm_create(2 * size, flags))
            .catch_others(|_| core::ptr::null_mut())
            .execute();
        pg_sys::CurrentResourceOwner = old_owner;
        pg_sys::CurrentMemoryContext = old_context;
        if segment.is_null() {
            return None;
        }
        let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
        let orders = pg_sys::shm_mq_create(base.cast(), size);
        let reports = pg_sys::shm_mq_create(base.add(size).cast(), size);
        pg_sys::shm_mq_set_sender(orders, pg_sys::MyProc);
        pg_sys::shm_mq_set_receiver(reports, pg_sys::MyProc);
        Some(Made { segment, orders, reports })
    }
}

impl Made {
    /// What others attach to it with.
    pub(crate) fn handle(&self) -> u32 {
        // SAFETY: just created.
        unsafe { pg_sys::dsm_segment_handle(self.segment) }
    }

    /// Attaches. With the handle of the worker it is for, a worker that never comes counts as one
    /// that has detached.
    pub(crate) fn attach(self, worker: Option<&Handle>) -> Queues {
        let handle = worker.map_or(core::ptr::null_mut(), Handle::as_ptr);
        // SAFETY: both queues lie in the segment, which stays mapped while the result lives.
        unsafe { attach(self.segment, self.orders, self.reports, handle) }
    }

    /// Gives it up.
    pub(crate) fn discard(self) {
        // SAFETY: nobody else knows the segment.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}

unsafe fn attach(
    segment: *mut pg_sys::dsm_segment,
    orders: *mut pg_sys::shm_mq,
    reports: *mut pg_sys::shm_mq,
    handle: *mut pg_sys::BackgroundWorkerHandle,
) -> Queues {
    // SAFETY: promised by the caller; the handles have to live in a context that lasts.
    unsafe {
        let old = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        let orders = pg_sys::shm_mq_attach(orders, segment, handle);
        let reports = pg_sys::shm_mq_attach(reports, segment, handle);
        pg_sys::CurrentMemoryContext = old;
        Queues { orders: Sender::new(orders), reports: Receiver::new(reports), segment }
    }
}

/// The other side's ends of the queues in such a segment. Dropping it detaches.
#[derive(Debug)]
pub(crate) struct OtherEnd {
    /// What comes from the maker.
    pub(crate) orders: Receiver,
    /// What goes there.
    pub(crate) reports: Sender,
    segment: *mut pg_sys::dsm_segment,
}

impl Drop for OtherEnd {
    fn drop(&mut self) {
        self.orders.detach();
        self.reports.detach();
        // SAFETY: attached by `join`, detached once; the queues are not used afterwards.
        unsafe { pg_sys::dsm_detach(self.segment) };
    }
}

/// Attaches to the segment with this handle, made with the same size. None if it is gone.
pub(crate) fn join(handle: u32, size: usize) -> Option<OtherEnd> {
    // SAFETY: the segment holds two queues one behind the other, as `make` left them; without a
    // resource owner the mapping lasts until it is detached.
    unsafe {
        let old_context = pg_sys::CurrentMemoryContext;
        let old_owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        pg_sys::CurrentResourceOwner = core::ptr::null_mut();
        let segment = PgTryBuilder::new(|| pg_sys::dsm_attach(handle))
            .catch_others(|_| core::ptr::null_mut())
            .execute();
        pg_sys::CurrentResourceOwner = old_owner;
        let joined = (!segment.is_null()).then(|| {
            let base = pg_sys::dsm_segment_address(segment).cast::<u8>();
            let orders = base.cast::<pg_sys::shm_mq>();
            let reports = base.add(size).cast::<pg_sys::shm_mq>();
            pg_sys::shm_mq_set_receiver(orders, pg_sys::MyProc);
            pg_sys::shm_mq_set_sender(reports, pg_sys::MyProc);
            let none = core::ptr::null_mut();
            let orders = Receiver::new(pg_sys::shm_mq_attach(orders, segment, none));
            let reports = Sender::new(pg_sys::shm_mq_attach(reports, segment, none));
            OtherEnd { orders, reports, segment }
        });
        pg_sys::CurrentMemoryContext = old_context;
        joined
    }
}
