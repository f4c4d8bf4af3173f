//! The words of a run: what started it, how it ended, how surely it ran.
//!
//! This module owns the one mapping between these enums, their names in SQL (the columns `trigger`,
//! `outcome` and `guarantee` of `cron.job_run_details`) and their bytes on the wire between
//! processes. Names and bytes are stored, so neither may change once released.

/// Declares an enum together with its SQL names and wire bytes, so that the three cannot drift.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $byte:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $byte,)+ }

        impl $name {
            /// Every value, in the order of their wire bytes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in SQL.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this SQL name (exact, lower case); `None` when there is none.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// The byte used between processes.
            #[must_use]
            pub const fn as_u8(self) -> u8 {
                match self { $(Self::$variant => $byte,)+ }
            }

            /// The value with this wire byte; `None` when there is none.
            #[must_use]
            pub const fn from_u8(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$variant),)+ _ => None }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self { value.as_u8() }
        }

        impl TryFrom<u8> for $name {
            type Error = $crate::run::UnknownByte;
            fn try_from(byte: u8) -> Result<Self, $crate::run::UnknownByte> {
                Self::from_u8(byte).ok_or($crate::run::UnknownByte(byte))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use words;

/// A byte that stands for no value of the enum asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown code {0}")]
pub struct UnknownByte(pub u8);

words! {
    /// What made a run start.
    Trigger {
        /// Its instant in the job's schedule came.
        Schedule = 0 "schedule",
        /// Somebody asked for it.
        Manual = 1 "manual",
        /// An earlier attempt at the same occurrence failed.
        Retry = 2 "retry",
        /// Its instant passed while no scheduler lived, and the job wants such runs made up for.
        CatchUp = 3 "catch_up",
        /// Somebody asked for a stretch of past instants.
        Backfill = 4 "backfill",
        /// The server started (`@reboot`).
        Startup = 5 "startup",
        /// The jobs it waits for have run.
        Dependency = 6 "dependency",
        /// An alert was raised, or is over, and the job handles it.
        Alert = 7 "alert",
    }
}

impl Trigger {
    /// Whether it stands for an instant of the job's schedule, which the job's cursor has to
    /// account for.
    #[must_use]
    pub const fn is_nominal(self) -> bool {
        matches!(self, Self::Schedule | Self::CatchUp | Self::Dependency)
    }

    /// What an occurrence with a run of this trigger is; `None` for a retry, which says nothing of it.
    #[must_use]
    pub const fn origin(self) -> Option<Origin> {
        match self {
            Self::Schedule | Self::CatchUp | Self::Dependency => Some(Origin::Schedule),
            Self::Startup => Some(Origin::Start),
            Self::Backfill => Some(Origin::Backfill),
            Self::Manual | Self::Alert => Some(Origin::Asked),
            Self::Retry => None,
        }
    }
}

/// What an occurrence is to its job, whichever of its attempts is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An instant of the schedule that came.
    #[default]
    Schedule,
    /// A start of the server.
    Start,
    /// An instant of the schedule that somebody asked for once more.
    Backfill,
    /// None of the schedule: somebody, or an alert, asked for a run.
    Asked,
}

impl Origin {
    /// What an occurrence is whose attempts have these triggers.
    #[must_use]
    pub fn of(triggers: impl IntoIterator<Item = Trigger>) -> Self {
        triggers.into_iter().filter_map(Trigger::origin).max().unwrap_or_default()
    }

    /// Whether its success moves the job's window of data.
    #[must_use]
    pub const fn moves_window(self) -> bool {
        matches!(self, Self::Schedule | Self::Start)
    }

    /// Whether it is an instant of the job's schedule, which other jobs may wait for.
    #[must_use]
    pub const fn is_instant(self) -> bool {
        matches!(self, Self::Schedule | Self::Backfill)
    }
}

words! {
    /// How a run ended.
    Outcome {
        /// Every statement ran and the work was committed.
        Succeeded = 0 "succeeded",
        /// It raised an error.
        Failed = 1 "failed",
        /// It took longer than its job allows.
        Timeout = 2 "timeout",
        /// Somebody ended it.
        Cancelled = 3 "cancelled",
        /// The process or the server died under it.
        Crashed = 4 "crashed",
    }
}

words! {
    /// What became of a job's condition (the option `run_if`) before its run.
    Condition {
        /// It was true, or there is none.
        Met = 0 "met",
        /// It was false or NULL: nothing ran.
        Unmet = 1 "unmet",
        /// It raised an error, which is the run's.
        Failed = 2 "failed",
    }
}

words! {
    /// How many times the effects of an occurrence can have happened, given what its row says.
    Guarantee {
        /// Effects and final status were one commit.
        ExactlyOnce = 0 "exactly_once",
        /// The run was claimed before it started and is never repeated by itself.
        AtMostOnce = 1 "at_most_once",
        /// The run may be repeated after a crash although its effects happened.
        AtLeastOnce = 2 "at_least_once",
    }
}

words! {
    /// Why an occurrence that was due did not run (the column `reason` of `cron.job_skip`).
    SkipReason {
        /// It was outside its job's `run_window`.
        Window = 0 "window",
        /// Its date was excluded by a calendar.
        Calendar = 1 "calendar",
        /// Its job was paused.
        Paused = 2 "paused",
        /// No scheduler lived when it was due, or the clock jumped over it.
        Missed = 3 "missed",
        /// It was due before the server crashed, and had not run.
        ServerCrashed = 4 "server crashed",
        /// Earlier runs of its job were in its way.
        Overlap = 5 "overlap",
        /// Its job's condition did not hold.
        Condition = 6 "condition",
        /// A job it depends on did not succeed.
        Upstream = 7 "upstream",
        /// Its job was held, and too many of its occurrences waited already.
        Held = 8 "held",
        /// It waited when its job was switched off.
        Inactive = 9 "inactive",
    }
}

words! {
    /// What becomes of occurrences that could not run at their time (the option `on_missed`).
    MissedPolicy {
        /// They are recorded as skipped.
        Skip = 0 "skip",
        /// The latest of them runs, the others are skipped.
        Once = 1 "once",
        /// Each of them runs, oldest first.
        All = 2 "all",
    }
}

words! {
    /// What becomes of an occurrence that is due while its job runs (the option `on_overlap`).
    Overlap {
        /// It waits until the run has ended, as in pg_cron.
        Queue = 0 "queue",
        /// It is recorded as skipped.
        Skip = 1 "skip",
        /// It runs as well, up to the job's `max_concurrency`.
        Allow = 2 "allow",
        /// The run under way is cancelled, and it runs instead.
        Replace = 3 "replace",
    }
}

words! {
    /// What becomes of a run that gives no heartbeat for too long (the option `on_stuck`).
    OnStuck {
        /// It is shown, and an alert is raised.
        Alert = 0 "alert",
        /// It is ended as well, as at its timeout.
        Cancel = 1 "cancel",
    }
}

/// What the shape of a job's schedule (its window, its calendars, its jitter) says of one nominal
/// instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs, and starts at this instant: at the nominal one or, with jitter, after it.
    Start(crate::time::Timestamp),
    /// It does not run, for this reason.
    Skip(SkipReason),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_sql_columns() {
        let names = |all: &[Trigger]| all.iter().map(|t| t.as_str()).collect::<Vec<_>>();
        assert_eq!(
            names(Trigger::ALL),
            [
                "schedule",
                "manual",
                "retry",
                "catch_up",
                "backfill",
                "startup",
                "dependency",
                "alert"
            ]
        );
        let names = Outcome::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names, ["succeeded", "failed", "timeout", "cancelled", "crashed"]);
        let names = Guarantee::ALL.iter().map(|g| g.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["exactly_once", "at_most_once", "at_least_once"]);
    }

    #[test]
    fn every_value_survives_both_mappings() {
        for &value in Trigger::ALL {
            assert_eq!(Trigger::parse(value.as_str()), Some(value));
            assert_eq!(Trigger::try_from(u8::from(value)), Ok(value));
        }
        for &value in Outcome::ALL {
            assert_eq!(Outcome::parse(value.as_str()), Some(value));
            assert_eq!(Outcome::try_from(u8::from(value)), Ok(value));
        }
        for &value in SkipReason::ALL {
            assert_eq!(SkipReason::parse(value.as_str()), Some(value));
            assert_eq!(SkipReason::try_from(u8::from(value)), Ok(value));
        }
        for &value in MissedPolicy::ALL {
            assert_eq!(MissedPolicy::parse(value.as_str()), Some(value));
        }
        for &value in Overlap::ALL {
            assert_eq!(Overlap::parse(value.as_str()), Some(value));
        }
        for &value in Guarantee::ALL {
            assert_eq!(Guarantee::parse(value.as_str()), Some(value));
            assert_eq!(Guarantee::try_from(u8::from(value)), Ok(value));
        }
    }

    #[test]
    fn a_retry_is_for_what_the_attempts_before_it_were_for() {
        let of = |words: &[&str]| Origin::of(words.iter().filter_map(|word| Trigger::parse(word)));
        for (attempts, moves_window, is_instant) in [
            (&["schedule", "retry"] as &[&str], true, true),
            (&["dependency"], true, true),
            (&["catch_up", "retry", "retry"], true, true),
            (&["retry"], true, true),
            (&["startup", "retry"], true, false),
            (&["schedule", "retry", "backfill", "retry"], false, true),
            (&["backfill", "retry"], false, true),
            (&["manual", "retry"], false, false),
            (&["alert"], false, false),
        ] {
            let origin = of(attempts);
            assert_eq!((origin.moves_window(), origin.is_instant()), (moves_window, is_instant));
        }
    }

    #[test]
    fn strangers_are_refused() {
        assert_eq!(Trigger::parse("Schedule"), None);
        assert_eq!(Outcome::from_u8(5), None);
        assert_eq!(Guarantee::try_from(9), Err(UnknownByte(9)));
    }
}
