use std::sync::Arc;

use super::*;
use crate::plan::{Plan, Shape};
use crate::schedule::{DayRule, DstPolicy, Schedule, Zone};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn plan(schedule: &str, zone: &str) -> Plan {
    let schedule = Schedule::parse(schedule).expect("a schedule");
    let zone = Arc::new(Zone::resolve(zone).expect("a zone"));
    Plan::new(schedule, zone, DayRule::Vixie, DstPolicy::Cron, NOW, Shape::default())
}

fn subject<'a>(name: &'a str, times: &'a Plan, work: &'a str) -> Subject<'a> {
    written(name, "", times, work)
}

fn written<'a>(name: &'a str, schedule: &'a str, times: &'a Plan, work: &'a str) -> Subject<'a> {
    let mut shifts = times.zone().shifts_between(NOW, NOW.plus(800 * 86_400_000_000));
    let fixed_offset = shifts.next().is_none();
    Subject {
        id: 1,
        name,
        schedule,
        times,
        // No two of them.
        same_times: name,
        work,
        named_by: &[],
        fixed_offset,
        paused: false,
        spread: false,
        duration: None,
        longest: None,
        limited: true,
        described: true,
        runs: 1,
        skipped: 0,
        failed: None,
    }
}

/// What is found about jobs of (name, schedule, work), as topic and names.
fn found(jobs: &[(&str, &str, &str)]) -> Vec<(Topic, Vec<String>)> {
    let plans: Vec<Plan> = jobs.iter().map(|(_, schedule, _)| plan(schedule, "GMT")).collect();
    let subjects: Vec<Subject<'_>> =
        jobs.iter().zip(&plans).map(|((name, _, work), plan)| subject(name, plan, work)).collect();
    let named = |advice: Advice| {
        (advice.topic, advice.jobs.iter().map(|&job| jobs[job].0.to_owned()).collect())
    };
    advise(&subjects, NOW).into_iter().map(named).collect()
}

fn expect(topic: Topic, names: &[&str]) -> (Topic, Vec<String>) {
    (topic, names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn every_redundancy_of_the_nine_jobs_is_named() {
    let jobs = [
        ("daily-batch-trigger-resilient", "*/15 * * * *", "trigger"),
        ("daily-batch-trigger-every-5min", "*/5 * * * *", "trigger"),
        ("batch-reconciler-cleanup", "*/30 * * * *", "reconcile"),
        ("batch-reconciler-every-10min", "*/10 * * * *", "reconcile"),
        ("daily-batch-midnight-edt", "0 5 * * *", "batch"),
        ("daily-batch-midnight-est", "0 4 * * *", "batch"),
        ("daily-batch-trigger-12am-est", "0 5 * * *", "batch"),
        ("daily-scheduler-3am-edt", "0 7 * * *", "schedule"),
        ("daily-scheduler-3am-est", "0 8 * * *", "schedule"),
    ];
    let expected = [
        expect(Topic::Duplicate, &["daily-batch-midnight-edt", "daily-batch-trigger-12am-est"]),
        expect(Topic::Subset, &["daily-batch-trigger-every-5min", "daily-batch-trigger-resilient"]),
        expect(Topic::Subset, &["batch-reconciler-every-10min", "batch-reconciler-cleanup"]),
        expect(Topic::OffsetPair, &["daily-batch-midnight-est", "daily-batch-midnight-edt"]),
        expect(Topic::OffsetPair, &["daily-batch-midnight-est", "daily-batch-trigger-12am-est"]),
        expect(Topic::OffsetPair, &["daily-scheduler-3am-edt", "daily-scheduler-3am-est"]),
    ];
    assert_eq!(found(&jobs), expected);
}

#[test]
fn jobs_that_do_different_things_are_left_alone() {
    let jobs = [
        ("reset-daily-challenges", "0 0 * * *", "a"),
        ("update-user-streaks", "0 0 * * *", "b"),
        ("calculate-daily-metrics", "0 1 * * *", "c"),
        ("send-daily-reminders", "0 18 * * *", "d"),
        ("cleanup-expired-stories", "0 * * * *", "e"),
        ("update-leaderboards", "0 * * * *", "f"),
        ("cleanup-expired-sessions", "*/15 * * * *", "g"),
        ("process-moderation-queue", "0 * * * *", "h"),
        ("send-weekly-reports", "0 0 * * 0", "i"),
        ("cleanup-inactive-accounts", "0 2 1 * *", "j"),
        ("database-maintenance", "0 3 1 * *", "k"),
    ];
    assert_eq!(found(&jobs), []);
}

#[test]
fn schedules_are_compared_by_when_they_fire() {
    let same = [("a", "0 */2 * * *", "x"), ("b", "0 0,2,4,6,8,10,12,14,16,18,20,22 * * *", "x")];
    assert_eq!(found(&same), [expect(Topic::Duplicate, &["a", "b"])]);
    let yearly = [("a", "@yearly", "x"), ("b", "0 0 1 1 *", "x"), ("c", "0 0 2 1 *", "x")];
    assert_eq!(found(&yearly), [expect(Topic::Duplicate, &["a", "b"])]);
    let never = [("a", "0 0 30 2 *", "x"), ("b", "0 0 31 2 *", "x")];
    assert_eq!(found(&never), []);
    let an_hour_apart_every_hour = [("a", "0 * * * *", "x"), ("b", "30 * * * *", "x")];
    assert_eq!(found(&an_hour_apart_every_hour), []);
}

#[test]
fn an_offset_pair_needs_a_fixed_offset() {
    let (four, five) = (plan("0 4 * * *", "Europe/Berlin"), plan("0 5 * * *", "Europe/Berlin"));
    let jobs = [subject("a", &four, "x"), subject("b", &five, "x")];
    assert_eq!(advise(&jobs, NOW), []);
    let (four, five) = (plan("0 4 * * *", "GMT"), plan("0 5 * * *", "GMT"));
    let jobs = [subject("x-edt", &four, "x"), subject("y-est", &five, "x")];
    let advice = advise(&jobs, NOW).pop().expect("advice");
    assert_eq!(advice.topic, Topic::OffsetPair);
    assert!(advice.advice.contains("America/New_York"), "{advice:?}");
    let jobs = [subject("best", &four, "x"), subject("b", &five, "x")];
    let advice = advise(&jobs, NOW).pop().expect("advice");
    assert!(!advice.advice.contains('/'), "{advice:?}");
}

#[test]
fn a_herd_is_named_once() {
    let daily = plan("0 3 * * *", "GMT");
    let works: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let jobs: Vec<Subject<'_>> = works.iter().map(|work| subject(work, &daily, work)).collect();
    let advice = advise(&jobs, NOW);
    assert_eq!(advice.len(), 1, "{advice:?}");
    assert_eq!(advice[0].jobs.len(), 12);
    let remedy = advice[0].remedy.as_deref().unwrap_or_default();
    assert!(remedy.contains(r#"'{"jitter": "24 seconds"}'"#), "{remedy}");
    assert!(
        remedy.contains(" FROM pg_catalog.unnest("),
        "anybody may have a better match: {remedy}"
    );
    assert_eq!(advice[0].topic, Topic::Herd);
    assert!(advice[0].finding.contains(" 03:00 UTC"), "{advice:?}");
    assert_eq!(advise(&jobs[..9], NOW), []);
    let spread: Vec<_> = jobs.iter().map(|job| Subject { spread: true, ..*job }).collect();
    assert_eq!(advise(&spread, NOW), []);
}

#[test]
fn what_one_job_lacks() {
    let often = plan("*/10 * * * *", "GMT");
    let job = Subject {
        duration: Some(700 * Timestamp::SECOND),
        limited: false,
        described: false,
        longest: Some(701 * Timestamp::SECOND),
        runs: 0,
        skipped: 10,
        failed: Some(5),
        ..subject("job", &often, "x")
    };
    let advice = advise(&[job], NOW);
    let said: Vec<_> = advice.iter().map(|advice| (advice.topic, advice.topic.concern())).collect();
    assert_eq!(
        said,
        [
            (Topic::Failing, Concern::Trouble),
            (Topic::AlwaysSkipped, Concern::Trouble),
            (Topic::TooSlow, Concern::Load),
            (Topic::NoTimeout, Concern::Upkeep),
            (Topic::NoDescription, Concern::Upkeep),
        ]
    );
    assert!(advice[3].advice.contains("took 11 minutes 41 seconds."), "{advice:?}");
    let remedy = advice[3].remedy.as_deref().unwrap_or_default();
    assert!(
        remedy.contains(" FROM pg_catalog.unnest("),
        "anybody may have a better match: {remedy}"
    );
}

#[test]
fn skips_are_worth_a_word_from_ten_on() {
    let often = plan("*/10 * * * *", "GMT");
    for (runs, skipped, said) in [(0, 9, false), (0, 10, true), (0, 11, true), (1, 11, false)] {
        let job = Subject { runs, skipped, ..subject("job", &often, "x") };
        let found: Vec<Topic> = advise(&[job], NOW).iter().map(|advice| advice.topic).collect();
        let expected: &[Topic] = if said { &[Topic::AlwaysSkipped] } else { &[] };
        assert_eq!(found, expected, "{runs} runs, {skipped} skipped");
    }
}

#[test]
fn what_many_jobs_lack_is_said_once() {
    let daily = plan("@daily", "GMT");
    let works: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    let jobs: Vec<Subject<'_>> = works
        .iter()
        .map(|work| Subject { described: false, ..subject(work, &daily, work) })
        .collect();
    let advice = advise(&jobs, NOW);
    assert_eq!(advice.len(), 1, "{advice:?}");
    assert_eq!(advice[0].jobs, [0, 1, 2, 3, 4]);
    assert_eq!(advice[0].finding, "5 jobs, \"0\", \"1\", \"2\" among them, have no description.");
}

#[test]
fn a_pair_of_offsets_becomes_one_job() {
    for (early, late, local) in
        [("0 4 * * *", "0 5 * * *", "0 0 * * *"), ("30 7 * * *", "30 8 * * *", "30 3 * * *")]
    {
        let plans = [plan(early, "GMT"), plan(late, "GMT")];
        let jobs = [
            Subject { id: 7, ..written("x-est", late, &plans[1], "x") },
            Subject { id: 8, ..written("x-edt", early, &plans[0], "x") },
        ];
        let remedy = advise(&jobs, NOW).remove(0).remedy.expect("a remedy");
        let options = format!(r#"{{"schedule":"{local}","timezone":"America/New_York"}}"#);
        let expected = format!("SELECT cron.set_job(8, '{options}'), cron.unschedule(7)");
        assert_eq!(remedy, expected);
    }
}

/// The jobs of the only advice there is, what it says and the statement.
fn said(jobs: &[Subject<'_>]) -> (Vec<usize>, String, Option<String>) {
    let mut found = advise(jobs, NOW);
    assert_eq!(found.len(), 1, "{found:?}");
    let Advice { jobs, advice, remedy, .. } = found.remove(0);
    (jobs, advice, remedy)
}

fn drop_of(id: i64) -> Option<String> {
    Some(format!("SELECT cron.unschedule({id})"))
}

fn named<'a>(id: i64, name: &'a str, times: &'a Plan, by: &'a [String]) -> Subject<'a> {
    Subject { id, named_by: by, ..subject(name, times, "w") }
}

#[test]
fn what_others_name_is_not_the_one_to_go() {
    let by = ["\"x\"".to_owned()];
    let five: Vec<String> = (1..=5).map(|n| format!("\"{n}\"")).collect();
    let (hourly, daily) = (plan("0 * * * *", "GMT"), plan("0 4 * * *", "GMT"));
    // The older one goes where only the newer one is named.
    let twice = [named(1, "a", &daily, &[]), named(2, "b", &daily, &by)];
    assert_eq!(said(&twice), (vec![1, 0], "Drop \"a\".".to_owned(), drop_of(1)));
    let twice = [named(1, "a", &daily, &by), named(2, "b", &daily, &[])];
    assert_eq!(said(&twice), (vec![0, 1], "Drop \"b\".".to_owned(), drop_of(2)));
    // Nothing that can be run breaks what others rely on.
    let twice = [named(1, "a", &daily, &by), named(2, "b", &daily, &five)];
    let words = "Drop \"b\" once it is no longer named by \"1\", \"2\", \"3\" and 2 more.";
    assert_eq!(said(&twice), (vec![0, 1], words.to_owned(), None));
    let subset = [named(1, "a", &daily, &by), named(2, "b", &hourly, &[])];
    let (jobs, words, remedy) = said(&subset);
    assert_eq!((jobs, remedy), (vec![1, 0], None));
    let expected = "Drop \"a\" once it is no longer named by \"x\", or \"b\" if";
    assert!(words.starts_with(expected), "{words}");
}

#[test]
fn the_one_of_a_pair_of_offsets_that_others_name_becomes_the_one_job() {
    let by = ["\"x\"".to_owned()];
    let (early, late) = (plan("0 4 * * *", "GMT"), plan("0 5 * * *", "GMT"));
    let pair = |first, second| {
        said(&[
            Subject { schedule: "0 4 * * *", ..named(7, "a-edt", &early, first) },
            Subject { schedule: "0 5 * * *", ..named(8, "a-est", &late, second) },
        ])
    };
    for (first, second, keep) in [(&[][..], &by[..], 1), (&by, &[], 0), (&[], &[], 0)] {
        let (jobs, _, remedy) = pair(first, second);
        assert_eq!(jobs, [keep, 1 - keep]);
        let options = r#"{"schedule":"0 0 * * *","timezone":"America/New_York"}"#;
        let (stays, goes) = (keep + 7, 8 - keep);
        let expected =
            format!("SELECT cron.set_job({stays}, '{options}'), cron.unschedule({goes})");
        assert_eq!(remedy, Some(expected));
    }
    let (_, words, remedy) = pair(&by, &by);
    assert_eq!(remedy, None);
    let expected = "drop the other once it is no longer named by \"x\".";
    assert!(words.ends_with(expected), "{words}");
}

#[test]
fn of_many_copies_the_one_that_others_name_stays() {
    let (by, daily) = (["\"x\"".to_owned()], plan("@daily", "GMT"));
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let copy = |(n, name)| {
        let by = if n == 9 { &by[..] } else { &[] };
        Subject { same_times: "@daily", ..named(n, name, &daily, by) }
    };
    let copies: Vec<Subject<'_>> = (0..).zip(names.iter().map(String::as_str)).map(copy).collect();
    let duplicates =
        advise(&copies, NOW).into_iter().filter(|found| found.topic == Topic::Duplicate);
    let mut gone: Vec<Option<String>> = duplicates.map(|found| found.remedy).collect();
    let mut expected: Vec<Option<String>> = (0..20).filter(|&n| n != 9).map(drop_of).collect();
    gone.sort();
    expected.sort();
    assert_eq!(gone, expected);
}

#[test]
fn many_copies_of_a_job_are_named_once_each() {
    let daily = plan("@daily", "GMT");
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let jobs: Vec<Subject<'_>> = names
        .iter()
        .map(|name| Subject { same_times: "@daily", ..subject(name, &daily, "x") })
        .collect();
    let advice = advise(&jobs, NOW);
    let duplicates = advice.iter().filter(|advice| advice.topic == Topic::Duplicate).count();
    assert_eq!(duplicates, 49);
}

#[test]
fn commands_are_compared_without_their_layout() {
    let same = |one: &str, other: &str| assert_eq!(normalize(one), normalize(other));
    same("SELECT  1 ;\n", "select 1");
    same("select /* a /* b */ c */ 1 -- end", "select 1");
    same("select 'A'  , \"B\"", "SELECT 'A' , \"B\"");
    for (one, other) in [
        ("select 'A'", "select 'a'"),
        ("select \"A\"", "select \"a\""),
        ("do $x$ A $x$", "do $x$ a $x$"),
        ("select '--'", "select '"),
        ("select 'a''b'", "select 'a' 'b'"),
        // Strings with escapes.
        (r"select E'it\'s ACME'", r"select E'it\'s acme'"),
        (r"select e'it\'s ACME'", r"select e'it\'s acme'"),
        (r"select E'a\\', 'A'", r"select E'a\\', 'a'"),
        ("select E'it''s ACME'", "select E'it''s acme'"),
        ("select E'x' 'A'", "select E'x' 'a'"),
        // Whether this is one depends on a setting.
        (r"select 'it\'s ACME'", r"select 'it\'s acme'"),
        ("select E'a'\n'it\\'s ACME'", "select E'a'\n'it\\'s acme'"),
        (r"select U&'\0061 A'", r"select U&'\0061 a'"),
        (r#"select U&"\0061 A""#, r#"select U&"\0061 a""#),
        ("select \"a\"\"B\"", "select \"a\"\"b\""),
        ("do $é$ A $é$", "do $é$ a $é$"),
        ("do $☃$ A $☃$", "do $☃$ a $☃$"),
        ("select x$a$ from b, 'A' c$a$", "select x$a$ from b, 'a' c$a$"),
        ("select /* a /* b */ 'A' */ 'A'", "select /* a /* b */ 'A' */ 'a'"),
        ("select 1 -- a\r, 2", "select 1 -- a\r, 3"),
        // Names that are two.
        ("select Ä", "select ä"),
        ("select 1 a\u{a0}b", "select 1 a b"),
    ] {
        assert_ne!(normalize(one), normalize(other), "{one}");
    }
    // The string is not one with escapes: its type's name ends so.
    same(r"select date'\', X", r"SELECT date'\', X");
    same(r"select type '2020', E'\'' , X", r"SELECT TYPE '2020', E'\'' , x");
    same("select 1 A$E", "select 1 a$e");
    same("do $$ BEGIN $$", "DO $$ BEGIN $$");
    same("select $1", "SELECT  $1");
}

/// What two tenants' jobs have in common.
const DOING: Doing<'_> = Doing {
    command: Some("select bill()"),
    request: None,
    database: "postgres",
    username: "ann",
    settings: None,
    run_if: None,
    run_after: &[],
};

#[test]
fn jobs_do_the_same_only_if_all_that_decides_what_they_do_is_the_same() {
    let laid_out = Doing { command: Some("SELECT  bill();"), ..DOING };
    assert_eq!(laid_out.key(), DOING.key());
    let upstreams = ["a".to_owned(), "b".to_owned()];
    let request = |body| Doing { command: None, request: Some(body), ..DOING };
    let different = [
        DOING,
        Doing { command: Some("select bill(1)"), ..DOING },
        Doing { database: "elsewhere", ..DOING },
        Doing { username: "bob", ..DOING },
        Doing { settings: Some(r#"{"app.tenant": "ACME"}"#), ..DOING },
        Doing { settings: Some(r#"{"app.tenant": "acme"}"#), ..DOING },
        Doing { run_if: Some("open()"), ..DOING },
        Doing { run_if: Some("not open()"), ..DOING },
        Doing { run_after: &upstreams, ..DOING },
        Doing { run_after: &upstreams[..1], ..DOING },
        // A request is no SQL.
        request(r#"{"body": {"customer": "ACME"}}"#),
        request(r#"{"body": {"customer": "acme"}}"#),
        request(r#"{"body": "a -- b"}"#),
        request(r#"{"body": "a -- c"}"#),
        request("select bill()"),
    ];
    for (place, one) in different.iter().enumerate() {
        for other in &different[place + 1..] {
            assert_ne!(one.key(), other.key());
        }
    }
    let turned: Vec<String> = upstreams.iter().rev().cloned().collect();
    let (one, other) =
        (Doing { run_after: &upstreams, ..DOING }, Doing { run_after: &turned, ..DOING });
    assert_eq!(one.key(), other.key(), "it waits for all of them");
    let (one, other) =
        (Doing { run_if: Some("OPEN()"), ..DOING }, Doing { run_if: Some("open()"), ..DOING });
    assert_eq!(one.key(), other.key());
}

#[test]
fn a_job_that_is_paused_stands_in_for_no_other() {
    let (often, daily) = (plan("0 * * * *", "GMT"), plan("0 3 * * *", "GMT"));
    let paused = Subject { paused: true, ..subject("a", &often, "x") };
    let jobs = [paused, subject("b", &often, "x")];
    assert_eq!(advise(&jobs, NOW), []);
    let jobs = [paused, subject("b", &daily, "x"), subject("c", &daily, "x")];
    let advice = advise(&jobs, NOW);
    assert_eq!(advice.len(), 1, "{advice:?}");
    assert_eq!((advice[0].topic, &advice[0].jobs[..]), (Topic::Duplicate, &[1, 2][..]));
}

proptest::proptest! {
    #[test]
    fn any_text_is_normalized_and_stays_so(text in "\\PC*") {
        let once = normalize(&text);
        proptest::prop_assert!(once.len() <= text.len() * 3);
    }
}
