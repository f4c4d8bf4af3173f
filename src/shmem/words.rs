//! The last words of a process, for whoever finds it gone.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Most bytes that are kept.
const ROOM: usize = 1_000;

/// An SQLSTATE and a message. Written by one process, read when it is gone or has said that it is
/// done.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Words {
    len: AtomicU32,
    state: [AtomicU8; 5],
    bytes: [AtomicU8; ROOM],
}

impl Words {
    /// Nothing has been said.
    pub(super) fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    /// Keeps what is said. Called from an error hook: allocates nothing and cannot fail.
    pub(super) fn keep(&self, sqlstate: [u8; 5], message: &[u8]) {
        for (to, from) in self.state.iter().zip(sqlstate) {
            to.store(from, Ordering::Relaxed);
        }
        let mut len = 0;
        for (to, from) in self.bytes.iter().zip(message) {
            to.store(*from, Ordering::Relaxed);
            len += 1;
        }
        self.len.store(len, Ordering::Release);
    }

    /// What was said, if anything was.
    pub(super) fn get(&self) -> Option<([u8; 5], String)> {
        let len = self.len.load(Ordering::Acquire) as usize;
        if len == 0 {
            return None;
        }
        let words: Vec<u8> =
            self.bytes.iter().take(len).map(|byte| byte.load(Ordering::Relaxed)).collect();
        let mut sqlstate = [0; 5];
        for (to, from) in sqlstate.iter_mut().zip(&self.state) {
            *to = from.load(Ordering::Relaxed);
        }
        Some((sqlstate, String::from_utf8_lossy(&words).into_owned()))
    }
}
