//! Alerts over histories, and against a model that looks at all of a history at once.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const JOB: JobId = JobId(7);
const SECOND: i64 = Timestamp::SECOND;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

fn terms(rules: Rules) -> Terms {
    Terms { rules, on: true, since: at(0), paused_until: None }
}

/// A book with one job of which everything is known.
fn book(rules: Rules) -> Book {
    let mut book = Book::default();
    book.put(JOB, terms(rules), at(0));
    book.remember(JOB, &Past { complete: true, ..Past::default() }, at(0), 0);
    book
}

fn ended(run: i64, seconds: i64, outcome: Outcome) -> Ended {
    Ended {
        run: RunId(run),
        at: at(seconds),
        outcome,
        will_retry: false,
        by_hand: false,
        lasted: SECOND,
    }
}

/// What happened since this was asked last: rule, and whether it was raised.
fn heard(book: &mut Book) -> Vec<(Rule, bool)> {
    let raised = |event: &Event| matches!(event.change, Change::Raised { .. });
    book.take_events().iter().map(|event| (event.rule, raised(event))).collect()
}

fn why(book: &mut Book) -> Vec<Recovery> {
    let why = |event: &Event| match event.change {
        Change::Recovered { why, .. } => Some(why),
        Change::Raised { .. } => None,
    };
    book.take_events().iter().filter_map(why).collect()
}

#[test]
fn failures_in_a_row_are_one_alert() {
    let mut book = book(Rules { after_failures: 3, ..Rules::default() });
    for run in 1..=2 {
        book.ended(JOB, &ended(run, run, Outcome::Failed), at(run));
    }
    assert_eq!(heard(&mut book), []);
    let retried = Ended { will_retry: true, ..ended(3, 3, Outcome::Timeout) };
    book.ended(JOB, &retried, at(3));
    book.ended(JOB, &Ended { by_hand: true, ..ended(4, 4, Outcome::Failed) }, at(4));
    book.ended(JOB, &ended(5, 5, Outcome::Cancelled), at(5));
    assert_eq!(heard(&mut book), [], "retried, asked for and cancelled ones do not count");
    book.ended(JOB, &ended(6, 6, Outcome::Crashed), at(6));
    let [event] = book.take_events()[..] else { panic!("one alert") };
    let finding = Finding::Failures { count: 3 };
    let (run, outcome) = (Some(RunId(6)), Some(Outcome::Crashed));
    assert_eq!(event.change, Change::Raised { run, outcome, finding });
    book.ended(JOB, &ended(7, 7, Outcome::Failed), at(7));
    assert_eq!(heard(&mut book), [], "the episode goes on");
    book.ended(JOB, &Ended { by_hand: true, ..ended(8, 8, Outcome::Succeeded) }, at(8));
    assert_eq!(heard(&mut book), [(Rule::Failures, false)], "a success is one, whoever asked");
}

#[test]
fn a_slow_run_is_noticed_while_it_runs() {
    let mut book = book(Rules { slower: 10 * SECOND, ..Rules::default() });
    book.began(JOB, RunId(1), 5 * SECOND, false);
    assert_eq!(book.next_wake(), (None, Some(15 * SECOND)));
    book.pass(at(100), 15 * SECOND - 1);
    assert_eq!(heard(&mut book), []);
    assert_eq!(book.overdue(15 * SECOND), [(JOB, RunId(1))]);
    book.pass(at(101), 15 * SECOND);
    assert_eq!(heard(&mut book), [(Rule::Slow, true)]);
    assert_eq!(book.next_wake(), (None, None));
    let slow = Ended { lasted: 20 * SECOND, ..ended(1, 110, Outcome::Succeeded) };
    book.ended(JOB, &slow, at(110));
    let failed = Ended { lasted: SECOND, ..ended(2, 111, Outcome::Failed) };
    book.ended(JOB, &failed, at(111));
    assert_eq!(heard(&mut book), [], "it was slow, and a failure is no better");
    book.ended(JOB, &ended(3, 112, Outcome::Succeeded), at(112));
    assert_eq!(heard(&mut book), [(Rule::Slow, false)]);
}

#[test]
fn a_run_counts_from_when_it_began() {
    let mut book = book(Rules { slower: 10 * SECOND, ..Rules::default() });
    book.began(JOB, RunId(1), 0, false);
    // It waited for its lock, and has begun a second before its limit seemed to be over.
    book.began(JOB, RunId(1), 9 * SECOND, false);
    book.pass(at(10), 10 * SECOND);
    assert_eq!(heard(&mut book), []);
    assert_eq!(book.next_wake().1, Some(19 * SECOND));
    book.forget_run(JOB, RunId(1));
    book.pass(at(60), 60 * SECOND);
    assert_eq!(heard(&mut book), [], "a run that did not begin is not slow");
}

#[test]
fn a_stuck_run_is_one_alert_until_none_is() {
    let mut book = book(Rules { stuck: SECOND, ..Rules::default() });
    book.stuck(JOB, RunId(1), at(1));
    book.stuck(JOB, RunId(2), at(2));
    assert_eq!(heard(&mut book), [(Rule::Stuck, true)]);
    book.spoke(JOB, RunId(1), at(3));
    assert_eq!(heard(&mut book), []);
    book.ended(JOB, &ended(2, 4, Outcome::Cancelled), at(4));
    assert_eq!(heard(&mut book), [(Rule::Stuck, false)]);
    // One that cannot speak is stuck by itself.
    book.began(JOB, RunId(3), 0, true);
    book.pass(at(5), SECOND);
    assert_eq!(heard(&mut book), [(Rule::Stuck, true)]);
    book.ended(JOB, &ended(3, 6, Outcome::Succeeded), at(6));
    assert_eq!(heard(&mut book), [(Rule::Stuck, false)]);
}

#[test]
fn a_run_that_is_slow_can_be_stuck_as_well() {
    for (slower, stuck) in [(SECOND, 2 * SECOND), (2 * SECOND, SECOND)] {
        let mut book = book(Rules { slower, stuck, ..Rules::default() });
        book.began(JOB, RunId(1), 0, true);
        let mut seen = Vec::new();
        for second in 1..=2 {
            assert_eq!(book.next_wake().1, Some(second * SECOND));
            book.pass(at(second), second * SECOND);
            seen.extend(heard(&mut book));
        }
        seen.sort_unstable();
        assert_eq!(seen, [(Rule::Slow, true), (Rule::Stuck, true)]);
        assert_eq!(book.next_wake().1, None);
    }
}

#[test]
fn the_absence_of_a_success_is_noticed_by_itself() {
    let mut book = book(Rules { absent: 60 * SECOND, ..Rules::default() });
    assert_eq!(book.next_wake(), (Some(at(60)), None));
    book.ended(JOB, &ended(1, 50, Outcome::Succeeded), at(50));
    book.ended(JOB, &ended(2, 55, Outcome::Failed), at(55));
    book.pass(at(60), 0);
    assert_eq!(heard(&mut book), []);
    assert_eq!(book.next_wake().0, Some(at(110)), "from the last success");
    book.pass(at(110), 0);
    let [event] = book.take_events()[..] else { panic!("one alert") };
    let finding = Finding::Absent { limit: 60 * SECOND, last_success: Some(at(50)) };
    assert_eq!(event.change, Change::Raised { run: None, outcome: None, finding });
    assert_eq!(book.next_wake().0, None, "nobody wakes up for what is known");
    book.ended(JOB, &ended(3, 500, Outcome::Succeeded), at(500));
    assert_eq!(heard(&mut book), [(Rule::Absent, false)]);
    assert_eq!(book.next_wake().0, Some(at(560)));
}

#[test]
fn a_job_that_rests_is_not_missed() {
    let rules = Rules { absent: 60 * SECOND, ..Rules::default() };
    let mut book = book(rules);
    let paused = Terms { paused_until: Some(at(1_000)), ..terms(rules) };
    book.put(JOB, paused, at(10));
    book.pass(at(999), 0);
    assert_eq!(heard(&mut book), []);
    // It was resumed early, and is given its time.
    book.put(JOB, terms(rules), at(500));
    book.pass(at(559), 0);
    assert_eq!(heard(&mut book), []);
    book.pass(at(560), 0);
    assert_eq!(heard(&mut book), [(Rule::Absent, true)]);
    book.put(JOB, Terms { on: false, ..terms(rules) }, at(600));
    assert_eq!(why(&mut book), [Recovery::JobChanged]);
    book.pass(at(10_000), 0);
    assert_eq!(heard(&mut book), [], "a job that is off is not expected to run");
}

#[test]
fn the_rate_needs_a_whole_window() {
    let mut book = book(Rules { below_success: 95.0, ..Rules::default() });
    for run in 1..=19 {
        book.ended(JOB, &ended(run, run, Outcome::Failed), at(run));
    }
    assert_eq!(heard(&mut book), []);
    book.ended(JOB, &ended(20, 20, Outcome::Succeeded), at(20));
    assert_eq!(heard(&mut book), [(Rule::SuccessRate, true)]);
    for run in 21..=37 {
        book.ended(JOB, &ended(run, run, Outcome::Succeeded), at(run));
    }
    assert_eq!(heard(&mut book), [], "eighteen of twenty are 90 percent");
    book.ended(JOB, &ended(38, 38, Outcome::Succeeded), at(38));
    assert_eq!(heard(&mut book), [(Rule::SuccessRate, false)], "95 is not below 95");
}

#[test]
fn changes_of_the_job_end_episodes() {
    let rules = Rules { after_failures: 1, ..Rules::default() };
    let fail = |book: &mut Book, second| {
        book.ended(JOB, &ended(second, second, Outcome::Failed), at(second));
        assert_eq!(heard(book), [(Rule::Failures, true)], "at {second}");
    };
    let mut book = book(rules);
    fail(&mut book, 1);
    book.put(JOB, terms(Rules { after_failures: 2, ..rules }), at(2));
    assert_eq!(why(&mut book), [Recovery::JobChanged], "the rule allows one");
    fail(&mut book, 3);
    book.put(JOB, Terms { since: at(4), ..terms(rules) }, at(4));
    assert_eq!(why(&mut book), [Recovery::JobChanged], "another schedule begins anew");
    fail(&mut book, 5);
    book.put(JOB, terms(Rules::default()), at(6));
    assert_eq!(why(&mut book), [Recovery::JobChanged], "it has no rules any more");
    assert!(book.is_empty() && book.next_wake() == (None, None));
    book.put(JOB, terms(rules), at(7));
    let past =
        Past { runs: vec![ended(5, 5, Outcome::Failed)], complete: true, last_success: None };
    book.remember(JOB, &past, at(7), 0);
    assert_eq!(heard(&mut book), [(Rule::Failures, true)], "its past counts for a new rule");
    book.drop_job(JOB);
    assert_eq!(why(&mut book), [Recovery::JobDropped]);
}

#[test]
fn what_is_open_stays_open_where_nothing_is_known() {
    let rules = Rules {
        after_failures: 3,
        slower: SECOND,
        absent: 60 * SECOND,
        below_success: 50.0,
        ..Rules::default()
    };
    let mut book = Book::default();
    book.put(JOB, terms(rules), at(1_000));
    for rule in [Rule::Failures, Rule::Slow, Rule::Absent, Rule::SuccessRate] {
        book.was_open(JOB, rule, true);
    }
    book.remember(JOB, &Past::default(), at(1_000), 0);
    assert_eq!(heard(&mut book), []);
    // Nothing says that it is stuck.
    book.was_open(JobId(8), Rule::Stuck, true);
    book.was_open(JobId(9), Rule::Slow, false);
    let gone = [Recovery::JobChanged, Recovery::JobDropped];
    assert_eq!(why(&mut book), gone, "a job without rules has no alerts");
    let quick = Ended { lasted: 1, ..ended(9, 1_001, Outcome::Succeeded) };
    book.ended(JOB, &quick, at(1_001));
    let over: Vec<Rule> = heard(&mut book).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(over, [Rule::Failures, Rule::Slow, Rule::Absent]);
}

#[test]
fn a_success_out_of_sight_delays_an_alert_and_makes_none() {
    let mut book = Book::default();
    book.put(JOB, terms(Rules { absent: 60 * SECOND, ..Rules::default() }), at(1_000));
    let runs = vec![ended(5, 990, Outcome::Failed), ended(6, 999, Outcome::Failed)];
    book.remember(JOB, &Past { runs, complete: false, last_success: None }, at(1_000), 0);
    assert_eq!(heard(&mut book), [], "a success just before these cannot be ruled out");
    assert_eq!(book.next_wake().0, Some(at(1_050)));
}

fn episode(name: Option<String>) -> Episode {
    Episode {
        id: i64::MAX,
        rule: Rule::SuccessRate,
        job: JobId(i64::MIN),
        name,
        database: "\u{1f600}".repeat(64),
        raised_at: at(1_763_700_000),
        recovered: Some((at(1_763_700_060), Recovery::JobDropped)),
        run: Some(RunId(i64::MIN)),
        outcome: Some(Outcome::Cancelled),
        detail: Finding::Absent { limit: i64::MAX, last_success: Some(at(0)) }.detail(),
        message: Finding::SuccessRate { succeeded: 7, limit: 99.123_456_789 }.message(),
    }
}

#[test]
fn a_document_says_it_all() {
    let alert = Episode {
        id: 3,
        rule: Rule::Failures,
        job: JobId(7),
        database: "postgres".to_owned(),
        recovered: None,
        run: Some(RunId(42)),
        outcome: Some(Outcome::Failed),
        detail: Finding::Failures { count: 3 }.detail(),
        message: Finding::Failures { count: 3 }.message(),
        ..episode(Some("nightly \"é\"".to_owned()))
    };
    let text = document(Call::Alert, &alert);
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        read,
        json!({
            "id": 3, "event": "alert", "rule": "failures", "jobid": 7, "job": "nightly \"é\"",
            "database": "postgres", "raised_at": "2025-11-21T04:40:00Z", "recovered_at": null,
            "recovery": null, "runid": 42, "outcome": "failed", "detail": {"failures": 3},
            "text": "alert: nightly \"é\" (job 7 in postgres): 3 occurrences in a row have failed",
        })
    );
    let over = Episode { recovered: Some((at(1_763_700_060), Recovery::Recovered)), ..alert };
    let read: Value = serde_json::from_str(&document(Call::Recovery, &over)).unwrap();
    assert_eq!(read["event"], "recovery");
    assert!(read["text"].as_str().unwrap().starts_with("recovered: nightly"), "{read}");
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A run ends: how, whether it is retried or was asked for, and how long it took.
    End(Outcome, bool, bool, i64),
    /// A run that lasts begins; the oldest of these ends.
    Begin,
    Finish(Outcome),
    /// So many seconds pass.
    Pass(i64),
    /// The scheduler is gone, and another one comes.
    Restart,
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Succeeded),
        3 => Just(Outcome::Failed),
        1 => Just(Outcome::Timeout),
        1 => Just(Outcome::Cancelled),
        1 => Just(Outcome::Crashed),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = (outcomes(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), 0..8_i64);
    let step = prop_oneof![
        6 => end.prop_map(|(outcome, retry, by_hand, lasted)| Step::End(outcome, retry, by_hand, lasted)),
        2 => Just(Step::Begin),
        2 => outcomes().prop_map(Step::Finish),
        4 => (1..20_i64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

/// Everything that has happened, and what the rules make of it when all of it is looked at.
#[derive(Default)]
struct Model {
    ends: Vec<Ended>,
    running: Vec<(RunId, i64)>,
    now: i64,
}

impl Model {
    fn holds(&self, rules: &Rules, slower: i64, rule: Rule) -> bool {
        let for_good = |end: &&Ended| {
            !end.will_retry
                && !end.by_hand
                && matches!(end.outcome, Outcome::Failed | Outcome::Timeout | Outcome::Crashed)
        };
        let succeeded = |end: &&Ended| end.outcome == Outcome::Succeeded;
        let newest = || self.ends.iter().rev();
        match rule {
            Rule::Failures => {
                newest().take_while(|end| !succeeded(end)).filter(for_good).count()
                    >= rules.after_failures as usize
            }
            Rule::Slow => {
                let runs = self.running.iter();
                let mut ends = newest();
                let fast = |end: &&Ended| succeeded(end) && end.lasted < slower;
                runs.into_iter().any(|(_, began)| self.now * SECOND - began >= slower)
                    || ends
                        .by_ref()
                        .take_while(|end| !fast(end))
                        .any(|end| end.outcome != Outcome::Crashed && end.lasted >= slower)
            }
            Rule::Stuck => false,
            Rule::Absent => {
                let last = newest().find(succeeded).map_or(0, |end| end.at.0);
                self.now * SECOND - last >= rules.absent
            }
            Rule::SuccessRate => {
                let counted = |end: &&Ended| for_good(end) || succeeded(end) && !end.by_hand;
                let last: Vec<_> = newest().filter(counted).take(WINDOW as usize).collect();
                let good = last.iter().filter(|end| succeeded(end)).count();
                let percent = 100.0 * good as f64 / f64::from(WINDOW);
                last.len() == WINDOW as usize && percent < rules.below_success
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// After every step exactly those episodes are open whose rule holds, across restarts too, and no
    /// episode begins twice or ends twice.
    #[test]
    fn open_is_what_holds(
        steps in steps(),
        after_failures in 1..5_u32,
        fixed in prop::option::of(2..8_i64),
        times in 1..4_i32,
        p95 in 1..4_i64,
        absent in 5..60_i64,
        percent in 10..100_i32,
    ) {
        let rules = Rules {
            after_failures,
            slower: fixed.unwrap_or(0) * SECOND,
            absent: absent * SECOND,
            below_success: f64::from(percent),
            times_slower: f64::from(times),
            ..Rules::default()
        };
        let pace = Pace { runs: 20, p95: p95 * SECOND };
        let slower = fixed.unwrap_or(i64::MAX).min(p95 * i64::from(times)) * SECOND;
        let mut book = book(rules);
        book.measured(JOB, pace, at(0));
        let mut model = Model::default();
        let mut open = std::collections::BTreeSet::new();
        let mut runs = 0;
        for step in steps {
            runs += 1;
            let (run, now) = (RunId(runs), at(model.now));
            match step {
                Step::End(outcome, will_retry, by_hand, lasted) => {
                    let lasted = lasted * SECOND;
                    let ended = Ended { run, at: now, outcome, will_retry, by_hand, lasted };
                    book.ended(JOB, &ended, now);
                    model.ends.push(ended);
                }
                Step::Begin => {
                    model.running.push((run, model.now * SECOND));
                    book.began(JOB, run, model.now * SECOND, false);
                }
                Step::Finish(outcome) if !model.running.is_empty() => {
                    let (run, began) = model.running.remove(0);
                    let lasted = model.now * SECOND - began;
                    let (will_retry, by_hand) = (false, false);
                    let ended = Ended { run, at: now, outcome, will_retry, by_hand, lasted };
                    book.ended(JOB, &ended, now);
                    model.ends.push(ended);
                }
                Step::Finish(_) => {}
                Step::Pass(seconds) => model.now += seconds,
                Step::Restart => {
                    book = Book::default();
                    book.put(JOB, terms(rules), now);
                    for &rule in &open {
                        book.was_open(JOB, rule, true);
                    }
                    for &(run, began) in &model.running {
                        book.began(JOB, run, began, false);
                    }
                    book.measured(JOB, pace, now);
                    let most = rules.rows_to_read() as usize;
                    let from = model.ends.len().saturating_sub(most);
                    let past = Past {
                        runs: model.ends[from..].to_vec(),
                        complete: from == 0,
                        last_success: None,
                    };
                    book.remember(JOB, &past, now, model.now * SECOND);
                }
            }
            // Time is passed whenever the book wants it, and never otherwise.
            let (wall, steady) = book.next_wake();
            let due = wall.is_some_and(|at| at.0 <= model.now * SECOND)
                || steady.is_some_and(|at| at <= model.now * SECOND);
            if due {
                book.pass(at(model.now), model.now * SECOND);
            }
            for (rule, raised) in heard(&mut book) {
                let fresh = if raised { open.insert(rule) } else { open.remove(&rule) };
                prop_assert!(fresh, "{} twice: raised {}", rule, raised);
            }
            for &rule in Rule::ALL {
                prop_assert_eq!(open.contains(&rule), model.holds(&rules, slower, rule), "{}", rule);
            }
        }
    }

    #[test]
    fn documents_have_room_and_are_ascii(name in proptest::option::of(any::<String>())) {
        for name in [name, Some("\u{1f600}\u{1}".repeat(64))] {
            for call in [Call::Alert, Call::Recovery] {
                let text = document(call, &episode(name.clone()));
                prop_assert!(text.len() <= MOST_BYTES, "{}", text.len());
                prop_assert!(text.is_ascii());
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read["job"].is_null(), name.is_none());
            }
        }
    }
}
