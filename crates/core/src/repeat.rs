//! Saying something once that happens again and again.
//!
//! Invariant: a message is said when it is new, and then at most once in [`PAUSE`], with how often it
//! has come in between. So a full disk does not fill the log as well.

use core::time::Duration;
use std::collections::HashMap;

/// How long a message that comes again is not said.
pub const PAUSE: Duration = Duration::from_secs(10);

/// Most messages remembered.
const MOST: usize = 64;

/// What has been said lately.
#[derive(Debug, Default)]
pub struct Repeats {
    said: HashMap<String, Said>,
}

#[derive(Debug)]
struct Said {
    at: Duration,
    kept: u64,
}

impl Repeats {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to say this message now, and how often it was not said since the last time. `now` is the
    /// time since any fixed instant, on a clock that does not go back.
    pub fn say(&mut self, message: &str, now: Duration) -> Option<u64> {
        if let Some(said) = self.said.get_mut(message) {
            if now.saturating_sub(said.at) < PAUSE {
                said.kept += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.kept));
        }
        if self.said.len() >= MOST {
            self.said.retain(|_, said| now.saturating_sub(said.at) < PAUSE);
        }
        if self.said.len() < MOST {
            self.said.insert(message.to_owned(), Said { at: now, kept: 0 });
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_message_is_said_once_in_a_while_with_how_often_it_came() {
        let mut repeats = Repeats::new();
        assert_eq!(repeats.say("disk full", at(1)), Some(0));
        assert_eq!(repeats.say("disk full", at(2)), None);
        assert_eq!(repeats.say("something else", at(2)), Some(0));
        assert_eq!(repeats.say("disk full", at(3)), None);
        assert_eq!(repeats.say("disk full", at(11)), Some(2));
        assert_eq!(repeats.say("disk full", at(12)), None);
        assert_eq!(repeats.say("disk full", at(30)), Some(1));
    }

    #[test]
    fn many_different_messages_take_no_more_memory_and_are_all_said() {
        let mut repeats = Repeats::new();
        for n in 0..1_000 {
            assert_eq!(repeats.say(&n.to_string(), at(1)), Some(0));
        }
        assert_eq!(repeats.said.len(), MOST);
        assert_eq!(repeats.say("999", at(20)), Some(0));
        assert_eq!(repeats.said.len(), 1);
    }
}
