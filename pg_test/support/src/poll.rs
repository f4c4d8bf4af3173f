//! Waiting for a fact. Owns the invariant that tests synchronise on conditions, never on time: the
//! only sleep of the test code is the pause between two looks in here.

use std::time::{Duration, Instant};

/// How long a scenario waits for something that ought to happen at once. Generous, because a loaded
/// machine is slow and a wait that is over early costs nothing.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives a value, and returns it.
///
/// # Panics
/// When `deadline` passes first, naming `what` was awaited.
#[track_caller]
pub fn poll_until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Checks that `holds` stays true for as long as `span`: for facts of the form "and it never
/// happens". Unlike a sleep followed by one look, it fails at the moment the fact breaks.
///
/// # Panics
/// When `holds` is false at any look.
#[track_caller]
pub fn stays_true(what: &str, span: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(holds(), "no longer true after {:?}: {what}", started.elapsed());
        std::thread::sleep(PAUSE);
    }
}
