//! What the scheduler tells those who ask how it is doing.

use pg_tock_core::time::Timestamp;

use super::Scheduler;

/// How often it is looked at the most what waits for longest: that costs the more the more waits.
const OLDEST_PAUSE: i64 = Timestamp::SECOND / 10;

impl Scheduler {
    /// Publishes how much there is to do. Says when to do so again although nothing may have happened:
    /// what waits for longest must not be an old story.
    pub(super) fn publish(&mut self, now: Timestamp) -> Option<Timestamp> {
        let load = self.engine.load();
        let figures = &self.database.figures;
        figures.publish(now, &load, self.slots, self.jobs.broken());
        figures.publish_blind(self.sight.lost_at());
        if load.waiting == 0 {
            return None;
        }
        // A clock that was set back makes the last time lie ahead.
        if (0..OLDEST_PAUSE).contains(&now.since(self.oldest_at)) {
            return Some(self.oldest_at.plus(OLDEST_PAUSE));
        }
        self.oldest_at = now;
        figures.publish_oldest(self.engine.oldest_waiting(), self.engine.oldest_due());
        None
    }
}
