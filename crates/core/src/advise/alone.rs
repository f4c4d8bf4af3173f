//! What can be said of a job without looking at others.

use super::{Advice, Case, Subject, Topic};
use crate::options::interval;
use crate::time::Timestamp;

const SECOND: i64 = Timestamp::SECOND;

/// So many occurrences have to be skipped without a run in between to be worth a word.
const ALWAYS: u64 = 10;
/// The least timeout that is suggested.
const LEAST: i64 = 60 * Timestamp::SECOND;
/// The timeout that is suggested for jobs that never ran.
const USUAL: i64 = 3_600 * Timestamp::SECOND;
/// How many names a finding has.
const NAMED: usize = 3;

/// What keeps a job from doing its work.
pub(super) fn of_one(Case { place, job, fires }: &Case<'_>) -> Vec<Advice> {
    let mut found = Vec::new();
    let mut say = |topic: Topic, finding: String, advice: &str, remedy: Option<String>| {
        let advice = advice.to_owned();
        found.push(Advice { topic, jobs: vec![*place], finding, advice, remedy });
    };
    let (name, why) = (job.name, format!("SELECT * FROM cron.diagnose({})", job.id));
    let seconds = |micros: i64| micros / Timestamp::SECOND;
    if let Some(many) = job.failed {
        say(
            Topic::Failing,
            format!("The latest {many} attempts of \"{name}\" all failed."),
            "Repair it, or switch it off until it can be.",
            Some(why.clone()),
        );
    }
    if job.runs == 0 && job.skipped >= ALWAYS {
        let skipped = job.skipped;
        say(
            Topic::AlwaysSkipped,
            format!("\"{name}\" has not run, and {skipped} of its occurrences were skipped."),
            "Change its window, calendars, condition or schedule, or drop it.",
            Some(why),
        );
    }
    if let Some((duration, gap)) = job.duration.zip(fires.shortest_gap())
        && duration > gap
    {
        let (took, gap) = (seconds(duration), seconds(gap));
        say(
            Topic::TooSlow,
            format!("A run of \"{name}\" takes {took} s, and the next is due after {gap} s."),
            "Run it less often, make it quicker, or use a schedule such as every 10 minutes after \
             completion.",
            None,
        );
    }
    found
}

/// What jobs should say about themselves, one advice for all jobs of each topic.
pub(super) fn upkeep(jobs: &[Subject<'_>]) -> Vec<Advice> {
    let mut found = Vec::new();
    let unlimited = places(jobs, |job| !job.limited);
    if let Some(finding) =
        sentence(jobs, &unlimited, "no timeout, so nothing ends a run that hangs")
    {
        // Three times as long as the longest run there was.
        let longest = unlimited.iter().filter_map(|&place| jobs.get(place)?.longest).max();
        let limit = longest.map_or(USUAL, |micros| micros.saturating_mul(3).max(LEAST));
        let minutes = limit.div_euclid(LEAST) + i64::from(limit % LEAST > 0);
        let limit = interval(minutes.saturating_mul(LEAST));
        let ids: Vec<String> =
            unlimited.iter().filter_map(|&place| Some(jobs.get(place)?.id.to_string())).collect();
        found.push(Advice {
            topic: Topic::NoTimeout,
            finding,
            advice: match longest {
                Some(longest) => format!(
                    "Give each a timeout, or set cron.default_timeout; the longest run so far took {}.",
                    interval(longest - longest % SECOND)
                ),
                None => "Give each a timeout, or set cron.default_timeout.".to_owned(),
            },
            remedy: Some(format!(
                "SELECT cron.set_job(job, '{{\"timeout\": \"{limit}\"}}') \
                 FROM pg_catalog.unnest('{{{}}}'::bigint[]) AS job",
                ids.join(",")
            )),
            jobs: unlimited,
        });
    }
    let unnamed = places(jobs, |job| !job.described);
    if let Some(finding) = sentence(jobs, &unnamed, "no description") {
        found.push(Advice {
            topic: Topic::NoDescription,
            finding,
            advice: "Say what each is for, with option description.".to_owned(),
            remedy: None,
            jobs: unnamed,
        });
    }
    found
}

fn places(jobs: &[Subject<'_>], lacks: impl Fn(&Subject<'_>) -> bool) -> Vec<usize> {
    jobs.iter().enumerate().filter(|(_, job)| lacks(job)).map(|(place, _)| place).collect()
}

/// `5 jobs, "a", "b", "c" among them, have …`; `None` if there are none.
fn sentence(jobs: &[Subject<'_>], places: &[usize], lack: &str) -> Option<String> {
    let names: Vec<String> = places
        .iter()
        .filter_map(|&place| jobs.get(place))
        .take(NAMED)
        .map(|job| format!("\"{}\"", job.name))
        .collect();
    let names = names.join(", ");
    match places.len() {
        0 => None,
        1 => Some(format!("{names} has {lack}.")),
        many if many <= NAMED => Some(format!("{names} have {lack}.")),
        many => Some(format!("{many} jobs, {names} among them, have {lack}.")),
    }
}
