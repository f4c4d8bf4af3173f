//! Schedules: what a text means, and when it fires next.
//!
//! Owns the promise that local time is right: `next` is a pure function of schedule, zone, policy,
//! anchor and instant; its answers are strictly after the instant given, strictly increasing, and
//! the same from whichever earlier instant one asks.
//!
//! # Forms
//!
//! | form | example | kind |
//! |---|---|---|
//! | five cron fields, pg_cron's dialect | `*/5 9-17 * * mon-fri` | [`Kind::Cron`] |
//! | macros | `@daily`, `@yearly`, `@hourly` | [`Kind::Cron`] |
//! | seconds | `30 seconds` (1 to 59) | [`Kind::Interval`] |
//! | start of the server | `@reboot`, `@restart`, `@startup` | [`Kind::Startup`] |
//! | interval | `every 10 minutes` | [`Kind::Every`] |
//! | pause between runs | `every 10 minutes after completion` | [`Kind::EveryAfterCompletion`] |
//! | one instant | `at 2026-12-24 18:00` | [`Kind::Once`] |
//! | six fields, seconds first | `seconds: */5 * 9-17 * * mon-fri` | [`Kind::Cron`] |
//! | with a zone of its own | `CRON_TZ=Europe/Berlin 0 3 * * *` | of what follows |
//!
//! # Where this differs from pg_cron on purpose
//!
//! What pg_cron accepts keeps its meaning, what it refuses stays refused or is a new form, but:
//!
//! * `@yearly` and `@annually` fire on 1 January (in pg_cron never);
//! * a range whose end is before its beginning wraps round, also with a step: `22-6`, `fri-mon`,
//!   `50-5/2` (in pg_cron: parts of it, or never);
//! * numbers that do not fit 32 bits are refused (in pg_cron `4294967301` is 5);
//! * `L`, `LW`, `15W` in the day of month and `5L`, `friL` in the day of week, alone or in a list,
//!   are new: pg_cron refuses them. They count as fields that do not begin with `*`;
//! * **`fri#2`** is the second Friday. pg_cron accepts the text and ignores `#2`, as it ignores
//!   whatever follows an item without a blank, so there it means every Friday, which nobody who
//!   writes it can mean. This is the only accepted text that gets another meaning, and only for
//!   a name, `#` and 1 to 5 that end the item. Numbers keep pg_cron's reading (`1#2` is every
//!   Monday); [`doubts()`] warns about both.
//!
//! # Clock changes
//!
//! See [`DstPolicy`]. A schedule is *wild* when its minute or hour field begins with `*` (or is
//! `@hourly`, or `every` up to an hour), otherwise *fixed*.

pub(crate) mod civil;
mod clock;
mod days;
mod doubts;
mod error;
mod explain;
mod fields;
mod forms;
mod print;
mod scan;
mod times;
#[cfg(test)]
mod vectors;
mod walk;
mod zone;

use std::str::FromStr;

pub use clock::{ClockEffect, ClockNote, Outcome};
pub use doubts::{Doubt, doubts, doubts_under, passed};
pub use error::{ScheduleError, ZoneError};
pub use zone::{LocalTime, Shift, Zone};

use crate::time::Timestamp;
use days::Days;
use fields::{FIELDS, Rest, Values};
use scan::Scan;
use times::Times;
use walk::Walk;

/// Schedules of this many bytes or more are invalid, as in pg_cron.
pub const MAX_LENGTH: usize = 1_000;

/// A parsed schedule.
///
/// ```
/// use pg_tock_core::schedule::{Context, DayRule, DstPolicy, Schedule, Zone};
/// use pg_tock_core::time::Timestamp;
///
/// let schedule = Schedule::parse("30 2 * * *")?;
/// let zone = Zone::resolve("america/new_york")?;
/// // 2026-03-08 06:00 UTC; an hour later New York's clocks go from 02:00 to 03:00.
/// let after = Timestamp::from_secs(1_772_949_600);
/// let ctx = Context { zone: &zone, policy: DstPolicy::Cron, days: DayRule::Vixie, anchor: after };
/// let next = schedule.next(after, &ctx).expect("a daily schedule has a next instant");
/// assert_eq!(zone.local(next).to_string(), "2026-03-08 03:00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Two schedules are equal when they mean the same, however they are written:
/// `*/15 * * * *` equals `0,15,30,45 * * * *` (both wild by their hour field), while `0-59 5 * * *`
/// and `* 5 * * *` differ (in what they do when clocks change).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    zone: Option<Zone>,
    form: Form,
}

/// What sort of schedule it is, for those who treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Cron fields or a macro: local dates and times.
    Cron,
    /// pg_cron's `N seconds`: elapsed time from the anchor.
    Interval,
    /// `@reboot`, `@restart`, `@startup`: never has a next instant.
    Startup,
    /// `at …`: one instant.
    Once,
    /// `every …`: from local midnight when the interval divides a day, else from the anchor.
    Every,
    /// `every … after completion`: elapsed time from the anchor, which is the end of the last run.
    EveryAfterCompletion,
}

/// What clock changes of less than three hours do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DstPolicy {
    /// Debian cron's rule: wild schedules follow real time; a fixed schedule whose time is skipped
    /// runs once right after the gap, and one whose time is repeated runs in the first pass only.
    #[default]
    Cron,
    /// pg_cron today: whatever the wall clock shows. Skipped times do not run, repeated ones run
    /// twice.
    Wall,
}

/// How the two day fields go together (`cron.match_dom_and_dow`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DayRule {
    /// Both must match when one of them begins with `*`; otherwise one is enough.
    #[default]
    Vixie,
    /// Both must match, always.
    And,
}

/// What a schedule's next instant depends on beside its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The job's zone; a schedule with `CRON_TZ=` has its own and does not look at this one.
    pub zone: &'a Zone,
    /// What clock changes do.
    pub policy: DstPolicy,
    /// How the day fields go together.
    pub days: DayRule,
    /// Where intervals count from: when the present schedule took effect, or for
    /// [`Kind::EveryAfterCompletion`] the end of the last run once there was one. An interval
    /// fires for the first time one interval after it. Previews without a job use `after`.
    pub anchor: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Cron(Cron),
    /// Seconds, 1-59.
    Interval(i64),
    Every {
        seconds: i64,
        after_completion: bool,
    },
    /// A local second.
    Once(i64),
    Startup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cron {
    times: Times,
    days: Days,
    wild: bool,
}

impl Schedule {
    /// Reads a schedule's text.
    ///
    /// # Errors
    /// The text is none of the forms above; the error names the field and the byte.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.len() >= MAX_LENGTH {
            return Err(ScheduleError::new(
                "schedule",
                0,
                format!("a schedule of {} bytes is too long", text.len()),
                "A schedule is shorter than 1,000 bytes.",
            ));
        }
        let mut scan = Scan::new(text);
        scan.comments();
        let zone = zone_prefix(&mut scan)?;
        let rest = scan.rest();
        let form = match scan.peek() {
            Some(b'@') => {
                scan.eat(b'@');
                forms::macro_form(&mut scan)?
            }
            _ if keyword(&mut scan, "every") => forms::every(&mut scan)?,
            _ if keyword(&mut scan, "at") => forms::once(&mut scan)?,
            _ if keyword(&mut scan, "seconds:") => {
                scan.blanks();
                cron_fields(&mut scan, Rest::Refuse)?
            }
            _ => match cron_fields(&mut scan, Rest::Skip) {
                Ok(form) => form,
                Err(error) => {
                    let text = if zone.is_some() { rest } else { text };
                    Form::Interval(forms::seconds_interval(text).unwrap_or(Err(error))?)
                }
            },
        };
        Ok(Self { zone, form })
    }

    /// What sort of schedule it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.form {
            Form::Cron(Cron { times: Times::Grid(_), .. }) => Kind::Every,
            Form::Cron(_) => Kind::Cron,
            Form::Interval(_) => Kind::Interval,
            Form::Every { after_completion: true, .. } => Kind::EveryAfterCompletion,
            Form::Every { after_completion: false, .. } => Kind::Every,
            Form::Once(_) => Kind::Once,
            Form::Startup => Kind::Startup,
        }
    }

    /// The zone named by `CRON_TZ=`, which goes before the context's.
    #[must_use]
    pub const fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The length of an interval in seconds, for the kinds that have one.
    #[must_use]
    pub const fn interval_secs(&self) -> Option<i64> {
        match &self.form {
            Form::Cron(Cron { times: Times::Grid(seconds), .. })
            | Form::Interval(seconds)
            | Form::Every { seconds, .. } => Some(*seconds),
            Form::Cron(_) | Form::Once(_) | Form::Startup => None,
        }
    }

    /// Whether its instants depend on the context's anchor.
    #[must_use]
    pub const fn counts_from_anchor(&self) -> bool {
        matches!(self.form, Form::Interval(_) | Form::Every { .. })
    }

    /// The first instant the schedule fires strictly after `after`; `None` when there is none,
    /// for cron fields within the 40 years that follow.
    #[must_use]
    pub fn next(&self, after: Timestamp, ctx: &Context<'_>) -> Option<Timestamp> {
        let zone = self.zone.as_ref().unwrap_or(ctx.zone);
        match &self.form {
            Form::Cron(cron) => {
                let from = after.secs().checked_add(1)?;
                // At the end of time the conversion saturates.
                let at = cron.walk(zone, ctx).next(from).map(Timestamp::from_secs)?;
                (at > after).then_some(at)
            }
            Form::Interval(seconds) | Form::Every { seconds, .. } => {
                next_interval(*seconds, ctx.anchor, after)
            }
            Form::Once(local) => {
                let at = zone.instant_of(*local);
                (at > after).then_some(at)
            }
            Form::Startup => None,
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Cron {
    fn walk<'a>(&'a self, zone: &'a Zone, ctx: &Context<'_>) -> Walk<'a> {
        Walk {
            times: &self.times,
            days: &self.days,
            rule: ctx.days,
            zone,
            fixed: !self.wild && ctx.policy == DstPolicy::Cron,
        }
    }
}

/// `anchor` + k intervals, k at least 1, the first that is after `after`.
fn next_interval(seconds: i64, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let step = seconds.checked_mul(Timestamp::SECOND)?;
    let passed = after.0.checked_sub(anchor.0)?;
    let steps = passed.div_euclid(step).checked_add(1)?.max(1);
    anchor.0.checked_add(steps.checked_mul(step)?).map(Timestamp)
}

/// Reads `CRON_TZ=zone` and the white space after it.
fn zone_prefix(scan: &mut Scan<'_>) -> Result<Option<Zone>, ScheduleError> {
    if !keyword_prefix(scan, "cron_tz=") {
        return Ok(None);
    }
    let at = scan.at();
    let name = scan.take_while(|c| !c.is_ascii_whitespace());
    let zone = Zone::resolve(name)
        .map_err(|error| ScheduleError::new("time zone", at, error.to_string(), error.hint()))?;
    scan.comments();
    Ok(Some(zone))
}

/// Reads a word in any case if it comes next and is not part of a longer one.
fn keyword(scan: &mut Scan<'_>, word: &str) -> bool {
    let mut ahead = *scan;
    let found = keyword_prefix(&mut ahead, word)
        && (word.ends_with(':') || !ahead.peek().is_some_and(|b| b.is_ascii_alphanumeric()));
    if found {
        *scan = ahead;
    }
    found
}

fn keyword_prefix(scan: &mut Scan<'_>, word: &str) -> bool {
    let found = scan.rest().get(..word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word));
    if found {
        scan.advance(word.len());
    }
    found
}

/// Reads the cron fields; six of them and nothing else when `rest` is [`Rest::Refuse`].
fn cron_fields(scan: &mut Scan<'_>, rest: Rest) -> Result<Form, ScheduleError> {
    let [second, minute, hour, month_day, month, weekday] = &FIELDS;
    let seconds = match rest {
        Rest::Skip => 1,
        Rest::Refuse => fields::read(scan, second, rest)?.set,
    };
    let minutes = fields::read(scan, minute, rest)?;
    let hours = fields::read(scan, hour, rest)?;
    let month_days = fields::read(scan, month_day, rest)?;
    let months = fields::read(scan, month, rest)?;
    let weekdays = fields::read(scan, weekday, rest)?;
    if rest == Rest::Refuse {
        scan.comments();
        if scan.peek().is_some() {
            return Err(ScheduleError::new(
                "schedule",
                scan.at(),
                "unexpected text after the sixth field",
                "After \"seconds:\" come second, minute, hour, day of month, month, day of week.",
            ));
        }
    }
    let wild = minutes.star || hours.star;
    let times = Times::Fields { seconds, minutes: minutes.set, hours: hours.set };
    Ok(Form::Cron(Cron { times, days: day_fields(&month_days, months.set, &weekdays), wild }))
}

/// Puts the day fields together in their normal form: the flag of the either-or rule is dropped
/// where it makes no difference under either rule.
fn day_fields(month_days: &Values, months: u64, weekdays: &Values) -> Days {
    let mut days = Days {
        months,
        month_days: month_days.set,
        last_day: month_days.last_day,
        last_workday: month_days.last_workday,
        near_workdays: month_days.near_workdays,
        weekdays: weekdays.set,
        nth_weekdays: weekdays.nth_weekdays,
        last_weekdays: weekdays.last_weekdays,
        either: !month_days.star && !weekdays.star,
    };
    // A field that allows everything has no use for special items.
    if days.any_month_day() {
        (days.last_day, days.last_workday, days.near_workdays) = (false, false, 0);
    }
    if days.any_weekday() {
        (days.nth_weekdays, days.last_weekdays) = (0, 0);
    }
    if days.any_month_day() && days.any_weekday() {
        days.either = false;
    }
    days
}
