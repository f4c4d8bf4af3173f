//! A text of limited length in shared memory.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Up to `N` bytes. Written by one process at a time; who may read them while that goes on has to find out
/// otherwise whether they are of one piece.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Bytes<const N: usize> {
    len: AtomicU32,
    bytes: [AtomicU8; N],
}

impl<const N: usize> Bytes<N> {
    /// Keeps these, or as many of them as there is room for. Allocates nothing and cannot fail.
    pub(super) fn set(&self, bytes: &[u8]) {
        let mut len = 0;
        for (to, from) in self.bytes.iter().zip(bytes) {
            to.store(*from, Ordering::Relaxed);
            len += 1;
        }
        self.len.store(len, Ordering::Release);
    }

    /// There are none.
    pub(super) fn clear(&self) {
        self.len.store(0, Ordering::Release);
    }

    /// Copies them, as many as there is room for; returns how many. Allocates nothing.
    pub(super) fn copy(&self, to: &mut [u8]) -> usize {
        let len = self.len().min(to.len());
        for (to, from) in to.iter_mut().zip(&self.bytes).take(len) {
            *to = from.load(Ordering::Relaxed);
        }
        len
    }

    /// A copy of them.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().take(self.len()).map(|byte| byte.load(Ordering::Relaxed)).collect()
    }

    fn len(&self) -> usize {
        (self.len.load(Ordering::Acquire) as usize).min(N)
    }
}
