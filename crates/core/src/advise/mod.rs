//! What could be better about a set of jobs: schedules that repeat one another, fixed offsets where
//! a time zone is meant, runs longer than their interval, minutes in which everything starts.
//!
//! Owns one invariant: nothing is said that the jobs' own instants do not show. Schedules are
//! compared by when they fire, not by how they are written.

mod compare;
mod normalize;
#[cfg(test)]
mod tests;

use chrono::DateTime;

use crate::engine::Occurrences;
use crate::time::Timestamp;

use compare::{Fires, Relation};
pub use normalize::normalize;

/// A job as far as advice is concerned. Durations are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What it is called; jobs without a name are called by their id.
    pub name: &'a str,
    /// When it is due.
    pub times: &'a dyn Occurrences,
    /// What it runs, [normalized](normalize), with the database and the role it runs as.
    pub work: &'a str,
    /// The zone its schedule is read in has one offset all year.
    pub fixed_offset: bool,
    /// How long a run takes on average, once there were any.
    pub duration: Option<i64>,
    /// It has a timeout.
    pub limited: bool,
    /// It says what it is for.
    pub described: bool,
    /// Runs, and occurrences skipped, in living memory.
    pub runs: u64,
    /// See `runs`.
    pub skipped: u64,
}

/// One thing that could be better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub topic: Topic,
    /// The jobs concerned, by their places in the list given; the one to keep comes first.
    pub jobs: Vec<usize>,
    /// What was found, a sentence.
    pub finding: String,
    /// What to do, a sentence.
    pub advice: String,
}

/// Kinds of advice, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Two jobs do the same at the same instants.
    Duplicate,
    /// One job does at some of another's instants what that does anyway.
    Subset,
    /// Two jobs an hour apart do the same, for the two offsets of one zone.
    OffsetPair,
    /// Runs take longer than the time between two of them.
    TooSlow,
    /// Many jobs start at one instant.
    Herd,
    /// The job never runs: all its occurrences are skipped.
    AlwaysSkipped,
    /// Nothing ends a run that hangs.
    NoTimeout,
    /// Nobody knows what it is for.
    NoDescription,
}

impl Topic {
    /// The word for it in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Subset => "subset",
            Self::OffsetPair => "offset pair",
            Self::TooSlow => "too slow",
            Self::Herd => "herd",
            Self::AlwaysSkipped => "always skipped",
            Self::NoTimeout => "no timeout",
            Self::NoDescription => "no description",
        }
    }
}

/// As many starts at one instant are a herd.
const HERD: usize = 10;
/// So many occurrences have to be skipped without a run in between to be worth a word.
const ALWAYS: u64 = 10;
const HOUR: i64 = 3_600 * Timestamp::SECOND;

/// A subject, where it stands in the list, and when it fires.
#[derive(Clone, Debug)]
struct Case<'a> {
    place: usize,
    job: &'a Subject<'a>,
    fires: Fires,
}

/// What could be better about these jobs, counted from `now`; the weightiest first.
#[must_use]
pub fn advise(jobs: &[Subject<'_>], now: Timestamp) -> Vec<Advice> {
    let case = |(place, job)| Case { place, job, fires: Fires::of(job.times, now) };
    let mut cases: Vec<Case<'_>> = jobs.iter().enumerate().map(case).collect();
    let mut found: Vec<Advice> = cases.iter().flat_map(of_one).collect();
    found.extend(herds(&cases));
    cases.sort_by_key(|case| (case.job.work, case.place));
    for group in cases.chunk_by(|one, other| one.job.work == other.job.work) {
        for (nth, one) in group.iter().enumerate() {
            found.extend(group.iter().skip(nth + 1).filter_map(|other| pair(one, other)));
        }
    }
    found.sort_by_key(|advice| (advice.topic, advice.jobs.clone()));
    found
}

/// What two jobs that do the same say to one another.
fn pair(one: &Case<'_>, other: &Case<'_>) -> Option<Advice> {
    match compare::relation(&one.fires, &other.fires) {
        Relation::Same => Some(Advice {
            topic: Topic::Duplicate,
            jobs: vec![one.place, other.place],
            finding: format!(
                "\"{}\" and \"{}\" run the same at the same times.",
                one.job.name, other.job.name
            ),
            advice: format!("Drop \"{}\".", other.job.name),
        }),
        Relation::Within => Some(within(other, one)),
        Relation::Contains => Some(within(one, other)),
        Relation::Apart => {
            let fixed = one.job.fixed_offset && other.job.fixed_offset;
            let shift = compare::shift(&one.fires, &other.fires)?;
            let (early, late) = if shift > 0 { (one, other) } else { (other, one) };
            (fixed && shift.abs() == HOUR).then(|| offset_pair(early, late))
        }
    }
}

fn within(keep: &Case<'_>, drop: &Case<'_>) -> Advice {
    let (more, less) = (keep.job.name, drop.job.name);
    Advice {
        topic: Topic::Subset,
        jobs: vec![keep.place, drop.place],
        finding: format!("Whenever \"{less}\" is due, \"{more}\" runs the same anyway."),
        advice: format!("Drop \"{less}\", or \"{more}\" if it runs more often than is needed."),
    }
}

/// Jobs an hour apart: the early one is at its local time while clocks are ahead.
fn offset_pair(early: &Case<'_>, late: &Case<'_>) -> Advice {
    let (one, other) = (early.job.name, late.job.name);
    let zone = zone_hint(one).or_else(|| zone_hint(other));
    let advice = match zone {
        Some(zone) => format!(
            "Keep one of them at its local time with timezone => '{zone}', and drop the other."
        ),
        None => "Keep one of them at its local time with a time zone that has both offsets, and \
                 drop the other."
            .to_owned(),
    };
    Advice {
        topic: Topic::OffsetPair,
        jobs: vec![early.place, late.place],
        finding: format!(
            "\"{one}\" and \"{other}\" run the same one hour apart, as for the two offsets of a \
             zone with daylight-saving time: one of them is at the wrong hour all year."
        ),
        advice,
    }
}

/// The zone an abbreviation in a name stands for in common use.
fn zone_hint(name: &str) -> Option<&'static str> {
    const ZONES: [(&str, &str); 13] = [
        ("est", "America/New_York"),
        ("edt", "America/New_York"),
        ("cst", "America/Chicago"),
        ("cdt", "America/Chicago"),
        ("mst", "America/Denver"),
        ("mdt", "America/Denver"),
        ("pst", "America/Los_Angeles"),
        ("pdt", "America/Los_Angeles"),
        ("cet", "Europe/Berlin"),
        ("cest", "Europe/Berlin"),
        ("bst", "Europe/London"),
        ("aest", "Australia/Sydney"),
        ("aedt", "Australia/Sydney"),
    ];
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphabetic());
    words.find_map(|word| ZONES.iter().find(|(short, _)| *short == word).map(|&(_, zone)| zone))
}

/// The instants at which the most jobs start, one for each set of jobs.
fn herds(cases: &[Case<'_>]) -> Vec<Advice> {
    let mut found: Vec<Advice> = Vec::new();
    let fires = cases.iter().map(|case| (case.place, &case.fires));
    for (at, together) in compare::crowds(fires, HERD) {
        if found.iter().any(|other| together.iter().all(|job| other.jobs.contains(job))) {
            continue;
        }
        let count = together.len();
        let names: Vec<&str> = together
            .iter()
            .filter_map(|&place| cases.get(place))
            .map(|case| case.job.name)
            .take(3)
            .collect();
        found.push(Advice {
            topic: Topic::Herd,
            jobs: together,
            finding: format!(
                "{count} jobs start at {}, \"{}\" among them.",
                utc(at),
                names.join("\", \"")
            ),
            advice: format!(
                "Spread them: jitter => '{} seconds' gives each an offset of its own.",
                (count * 2).min(60)
            ),
        });
    }
    found
}

/// An instant as ISO 8601 has it, in UTC and without seconds.
fn utc(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0)
        .map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// What can be said of a job by itself.
fn of_one(Case { place, job, fires }: &Case<'_>) -> Vec<Advice> {
    let mut found = Vec::new();
    let mut say = |topic: Topic, finding: String, advice: &str| {
        found.push(Advice { topic, jobs: vec![*place], finding, advice: advice.to_owned() });
    };
    let name = job.name;
    let seconds = |micros: i64| micros / Timestamp::SECOND;
    if let Some((duration, gap)) = job.duration.zip(fires.shortest_gap())
        && duration > gap
    {
        let (took, gap) = (seconds(duration), seconds(gap));
        say(
            Topic::TooSlow,
            format!("A run of \"{name}\" takes {took} s, and the next is due after {gap} s."),
            "Run it less often, make it quicker, or use a schedule such as every 10 minutes after \
             completion.",
        );
    }
    if job.runs == 0 && job.skipped >= ALWAYS {
        let skipped = job.skipped;
        say(
            Topic::AlwaysSkipped,
            format!("All {skipped} occurrences of \"{name}\" on record were skipped."),
            "cron.job_skip says why; change its window, calendars or schedule, or drop it.",
        );
    }
    if !job.limited {
        say(
            Topic::NoTimeout,
            format!("Nothing ends a run of \"{name}\" that hangs."),
            "Give it a timeout, or set cron.default_timeout.",
        );
    }
    if !job.described {
        say(
            Topic::NoDescription,
            format!("\"{name}\" does not say what it is for."),
            "Give it a description.",
        );
    }
    found
}
