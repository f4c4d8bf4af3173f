//! What could be better about a set of jobs: schedules that repeat one another, fixed offsets where
//! a time zone is meant, runs longer than their interval, minutes in which everything starts.
//!
//! Owns one invariant: nothing is said that the jobs' own instants do not show. Schedules are
//! compared by when they fire, not by how they are written.

mod alone;
mod compare;
mod normalize;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use chrono::DateTime;

use crate::engine::Occurrences;
use crate::quote::literal;
use crate::schedule::Zone;
use crate::time::Timestamp;

use compare::{Fires, Flock, Reach, Relation};
pub use normalize::{Doing, normalize};

/// A job as far as advice is concerned. Durations are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its id.
    pub id: i64,
    /// What it is called; jobs without a name are called by their id.
    pub name: &'a str,
    /// Its schedule as it is written.
    pub schedule: &'a str,
    /// When it is due.
    pub times: &'a dyn Occurrences,
    /// Jobs for which this is the same are due at the same instants.
    pub same_times: &'a str,
    /// What it does, as [`Doing::key`] has it.
    pub work: &'a str,
    /// What names it, in words: it cannot go without their being changed.
    pub named_by: &'a [String],
    /// The zone its schedule is read in has one offset all year.
    pub fixed_offset: bool,
    /// It is paused, so that nothing it does is done at present.
    pub paused: bool,
    /// Its jitter keeps its starts apart from those of others.
    pub spread: bool,
    /// How long a run takes on average, once there were any.
    pub duration: Option<i64>,
    /// How long the longest took.
    pub longest: Option<i64>,
    /// It has a timeout.
    pub limited: bool,
    /// It says what it is for.
    pub described: bool,
    /// Runs in living memory.
    pub runs: u64,
    /// Occurrences that were skipped since the last of them.
    pub skipped: u64,
    /// If it has been failing for long: how many attempts there were since the last that succeeded.
    pub failed: Option<u64>,
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
    /// A statement that does it, or leads further.
    pub remedy: Option<String>,
}

/// What a topic is a matter of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// A job could go, and nothing would be lost.
    Redundancy,
    /// A job does not do what it is there for.
    Trouble,
    /// Runs are in one another's way.
    Load,
    /// What a job should say about itself.
    Upkeep,
}

impl Concern {
    /// The word for it in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redundancy => "redundancy",
            Self::Trouble => "trouble",
            Self::Load => "load",
            Self::Upkeep => "upkeep",
        }
    }
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
    /// The job's latest attempts all failed.
    Failing,
    /// The job never runs: all its occurrences are skipped.
    AlwaysSkipped,
    /// Runs take longer than the time between two of them.
    TooSlow,
    /// Many jobs start at one instant.
    Herd,
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
            Self::Failing => "failing",
            Self::NoTimeout => "no timeout",
            Self::NoDescription => "no description",
        }
    }

    /// What it is a matter of.
    #[must_use]
    pub const fn concern(self) -> Concern {
        match self {
            Self::Duplicate | Self::Subset | Self::OffsetPair => Concern::Redundancy,
            Self::Failing | Self::AlwaysSkipped => Concern::Trouble,
            Self::TooSlow | Self::Herd => Concern::Load,
            Self::NoTimeout | Self::NoDescription => Concern::Upkeep,
        }
    }
}

/// As many starts at one instant are a herd.
const HERD: usize = 10;
/// So many herds are named, the largest.
const MOST_HERDS: usize = 10;
/// Of more jobs than these that name one the others are counted.
const MOST_NAMING: usize = 3;
/// Of more jobs than these that do the same not every pair of duplicates is named.
const MANY: usize = 5;
/// So many jobs that do the same are compared with one another.
const COMPARED: usize = 200;
const HOUR: i64 = 3_600 * Timestamp::SECOND;

/// A subject, where it stands in the list, and when it fires.
#[derive(Clone, Debug)]
struct Case<'a> {
    place: usize,
    job: &'a Subject<'a>,
    fires: Rc<Fires>,
}

/// When jobs fire, worked out once for all that fire at the same instants.
struct Calendar<'a> {
    now: Timestamp,
    reach: Reach,
    known: HashMap<&'a str, Rc<Fires>>,
}

impl<'a> Calendar<'a> {
    fn new(now: Timestamp, reach: Reach) -> Self {
        Self { now, reach, known: HashMap::new() }
    }

    fn case(&mut self, place: usize, job: &'a Subject<'a>) -> Case<'a> {
        let (now, reach) = (self.now, self.reach);
        let fires = || Rc::new(Fires::of(job.times, now, reach));
        let fires = Rc::clone(self.known.entry(job.same_times).or_insert_with(fires));
        Case { place, job, fires }
    }
}

/// What could be better about these jobs, counted from `now`; the weightiest first.
#[must_use]
pub fn advise(jobs: &[Subject<'_>], now: Timestamp) -> Vec<Advice> {
    let mut calendar = Calendar::new(now, Reach::SHORT);
    let cases = jobs.iter().enumerate().map(|(place, job)| calendar.case(place, job));
    let cases: Vec<Case<'_>> = cases.collect();
    let mut found: Vec<Advice> = cases.iter().flat_map(alone::of_one).collect();
    found.extend(alone::upkeep(jobs));
    found.extend(herds(&cases));
    // Few jobs do the same as another: only those are looked at more closely. One that is paused does not
    // stand in for another, and somebody wants it to be there.
    let mut calendar = Calendar::new(now, Reach::LONG);
    let mut alike: Vec<(usize, &Subject<'_>)> =
        jobs.iter().enumerate().filter(|(_, job)| !job.paused).collect();
    // Of two that do the same the one that nobody names is to go.
    alike.sort_by_key(|(place, job)| (job.work, job.named_by.is_empty(), *place));
    for group in alike.chunk_by(|(_, one), (_, other)| one.work == other.work) {
        if group.len() > 1 {
            let compared = group.iter().take(COMPARED);
            let cases = compared.map(|&(place, job)| calendar.case(place, job));
            pairs(&cases.collect::<Vec<_>>(), &mut found);
        }
    }
    found.sort_by_key(|advice| (advice.topic, advice.jobs.clone()));
    found
}

/// What jobs that all do the same say to one another. Of many that fire at the same instants, each
/// is compared with one of them only.
fn pairs(group: &[Case<'_>], found: &mut Vec<Advice>) {
    for (nth, one) in group.iter().enumerate() {
        for other in group.iter().skip(nth + 1) {
            if let Some(advice) = pair(one, other) {
                let is_duplicate = advice.topic == Topic::Duplicate;
                found.push(advice);
                if is_duplicate && group.len() > MANY {
                    break;
                }
            }
        }
    }
}

/// What two jobs that do the same say to one another; the second is to go if either could.
fn pair(one: &Case<'_>, other: &Case<'_>) -> Option<Advice> {
    match compare::relation(&one.fires, &other.fires) {
        Relation::Same => Some(Advice {
            topic: Topic::Duplicate,
            jobs: vec![one.place, other.place],
            finding: format!(
                "\"{}\" and \"{}\" run the same at the same times.",
                one.job.name, other.job.name
            ),
            advice: format!("Drop \"{}\"{}.", other.job.name, once_unnamed(other.job)),
            remedy: drop_job(other.job),
        }),
        Relation::Within => Some(within(other, one)),
        Relation::Contains => Some(within(one, other)),
        Relation::Apart => {
            let fixed = one.job.fixed_offset && other.job.fixed_offset;
            let shift = compare::shift(&one.fires, &other.fires)?;
            let early = if shift > 0 { one } else { other };
            (fixed && shift.abs() == HOUR).then(|| offset_pair(early, one, other))
        }
    }
}

fn within(keep: &Case<'_>, drop: &Case<'_>) -> Advice {
    let (more, less, once) = (keep.job.name, drop.job.name, once_unnamed(drop.job));
    Advice {
        topic: Topic::Subset,
        jobs: vec![keep.place, drop.place],
        finding: format!("Whenever \"{less}\" is due, \"{more}\" runs the same anyway."),
        advice: format!(
            "Drop \"{less}\"{once}, or \"{more}\" if it runs more often than is needed."
        ),
        remedy: drop_job(drop.job),
    }
}

/// The statement that drops a job, if nothing names it.
fn drop_job(job: &Subject<'_>) -> Option<String> {
    job.named_by.is_empty().then(|| format!("SELECT cron.unschedule({})", job.id))
}

/// When a job can go, if not at once.
fn once_unnamed(job: &Subject<'_>) -> String {
    if job.named_by.is_empty() {
        return String::new();
    }
    let first: Vec<&str> = job.named_by.iter().map(String::as_str).take(MOST_NAMING).collect();
    let more = match job.named_by.len() - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(" once it is no longer named by {}{more}", first.join(", "))
}

/// Jobs an hour apart, of which the second is to go if nobody minds: the early one is at its local time while
/// clocks are ahead.
fn offset_pair(early: &Case<'_>, one: &Case<'_>, other: &Case<'_>) -> Advice {
    let late = if early.place == one.place { other } else { one };
    let other_goes = !one.job.named_by.is_empty() && other.job.named_by.is_empty();
    let (keep, drop) = if other_goes { (one, other) } else { (early, late) };
    let (one, other) = (early.job.name, late.job.name);
    let zone = zone_hint(one).or_else(|| zone_hint(other));
    let remedy = zone.and_then(|zone| one_for_both(early, (keep.job, drop.job), zone));
    let once = once_unnamed(drop.job);
    let advice = match zone {
        Some(zone) => format!(
            "Keep one of them at its local time with timezone => '{zone}', and drop the other{once}."
        ),
        None => format!(
            "Keep one of them at its local time with a time zone that has both offsets, and drop the \
             other{once}."
        ),
    };
    Advice {
        topic: Topic::OffsetPair,
        jobs: vec![keep.place, drop.place],
        finding: format!(
            "\"{one}\" and \"{other}\" run the same one hour apart, as for the two offsets of a \
             zone with daylight-saving time: one of them is at the wrong hour all year."
        ),
        advice,
        remedy,
    }
}

/// The statement that makes of both one job at its local time, if its schedule is a time of day.
fn one_for_both(
    early: &Case<'_>,
    (keep, drop): (&Subject<'_>, &Subject<'_>),
    zone: &str,
) -> Option<String> {
    if !drop.named_by.is_empty() {
        return None;
    }
    let fields: Vec<&str> = early.job.schedule.split_whitespace().collect();
    let [minute, hour, "*", "*", "*"] = fields[..] else { return None };
    minute.parse::<u8>().ok().zip(hour.parse::<u8>().ok())?;
    let name = zone;
    let zone = Zone::resolve(zone).ok()?;
    // The early one is right while clocks are ahead.
    let ahead = |at: &Timestamp| zone.local(*at).secs - at.secs();
    let at = early.fires.all().iter().max_by_key(|at| ahead(at))?;
    let local = zone.local(*at).secs.rem_euclid(86_400);
    let options = serde_json::json!({
        "schedule": format!("{} {} * * *", local / 60 % 60, local / 3_600),
        "timezone": name,
    });
    let options = literal(&options.to_string());
    let (keep, drop) = (keep.id, drop.id);
    Some(format!("SELECT cron.set_job({keep}, {options}), cron.unschedule({drop})"))
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
    let mut flocks: Vec<Flock<'_>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for case in cases.iter().filter(|case| !case.job.spread) {
        let place = *places.entry(case.job.same_times).or_insert(flocks.len());
        match flocks.get_mut(place) {
            Some(flock) => flock.jobs.push(case.place),
            None => flocks.push(Flock { fires: &case.fires, jobs: vec![case.place] }),
        }
    }
    let mut seen: Vec<HashSet<usize>> = Vec::new();
    let mut found = Vec::new();
    for (at, count, met) in compare::crowds(&flocks, HERD) {
        if seen.iter().any(|herd| met.iter().all(|flock| herd.contains(flock))) {
            continue;
        }
        let jobs = met.iter().filter_map(|&flock| flocks.get(flock)).flat_map(|flock| &flock.jobs);
        let mut jobs: Vec<usize> = jobs.copied().collect();
        jobs.sort_unstable();
        found.push(herd(at, count, jobs, cases));
        seen.push(met.into_iter().collect());
        if found.len() == MOST_HERDS {
            break;
        }
    }
    found
}

fn herd(at: Timestamp, count: usize, jobs: Vec<usize>, cases: &[Case<'_>]) -> Advice {
    let subjects = || jobs.iter().filter_map(|&place| cases.get(place)).map(|case| case.job);
    let names: Vec<&str> = subjects().map(|job| job.name).take(3).collect();
    let ids: Vec<String> = subjects().map(|job| job.id.to_string()).collect();
    let spread = (count * 2).min(60);
    let remedy = format!(
        "SELECT cron.set_job(job, '{{\"jitter\": \"{spread} seconds\"}}') \
         FROM pg_catalog.unnest('{{{}}}'::bigint[]) AS job",
        ids.join(",")
    );
    let names = names.join("\", \"");
    Advice {
        topic: Topic::Herd,
        jobs,
        finding: format!("{count} jobs start at {}, \"{names}\" among them.", utc(at)),
        advice: format!(
            "Spread them: jitter => '{spread} seconds' gives each an offset of its own."
        ),
        remedy: Some(remedy),
    }
}

/// An instant as ISO 8601 has it, in UTC and without seconds.
fn utc(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0)
        .map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
}
