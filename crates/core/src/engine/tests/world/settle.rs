//! How a world comes to rest, and the names of what it saw.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::support::*;
use super::World;
use crate::engine::{Action, JobSpec};
use crate::run::SkipReason;

impl World {
    /// Ends every schedule and lets everything come to its end.
    pub(in super::super) fn settle(&mut self) {
        self.tick();
        for id in self.job_ids() {
            let times = Arc::new(Span { period: SEC, until: i64::MIN });
            if let Some(spec) = self.spec(id) {
                self.put(JobSpec { times, ..spec });
            }
        }
        let mut steps = 0u32;
        while self.step() {
            steps += 1;
            assert!(steps < 20_000, "never comes to rest");
        }
        assert_eq!(self.owed, BTreeSet::new(), "left waiting for ever");
        assert_eq!(self.busy(), 0);
    }
}

pub(super) fn name(action: &Action) -> &'static str {
    match action {
        Action::Run { .. } => "run",
        Action::Send { .. } => "send",
        Action::StartExecutor { .. } => "start",
        Action::Retire { .. } => "retire",
        Action::Cancel { .. } => "cancel",
        Action::Fail { .. } => "fail",
        Action::Skipped { reason: SkipReason::Missed, .. } => "missed",
        Action::Skipped { .. } => "overflow",
        Action::ClockBack { .. } => "clock back",
    }
}

pub(super) fn is_missed(action: &&Action) -> bool {
    matches!(action, Action::Skipped { reason: SkipReason::Missed, .. })
}
