//! The last words of a process, for whoever finds it gone.

use core::sync::atomic::{AtomicU8, Ordering};

use super::bytes::Bytes;

/// Most bytes that are kept.
const ROOM: usize = 1_000;

/// An SQLSTATE and a message. Written by one process, read when it is gone or has said that it is
/// done.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Words {
    state: [AtomicU8; 5],
    message: Bytes<ROOM>,
}

impl Words {
    /// Nothing has been said.
    pub(super) fn clear(&self) {
        self.message.clear();
    }

    /// Keeps what is said. Called from an error hook: allocates nothing and cannot fail.
    pub(super) fn keep(&self, sqlstate: [u8; 5], message: &[u8]) {
        for (to, from) in self.state.iter().zip(sqlstate) {
            to.store(from, Ordering::Relaxed);
        }
        self.message.set(message);
    }

    /// What was said, if anything was.
    pub(super) fn get(&self) -> Option<([u8; 5], String)> {
        let words = self.message.to_vec();
        if words.is_empty() {
            return None;
        }
        let mut sqlstate = [0; 5];
        for (to, from) in sqlstate.iter_mut().zip(&self.state) {
            *to = from.load(Ordering::Relaxed);
        }
        Some((sqlstate, String::from_utf8_lossy(&words).into_owned()))
    }
}
