//! Alerts over histories, rule by rule.

mod model;
mod words;

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
fn a_run_that_cannot_speak_and_is_ended_is_stuck_when_it_has_ended() {
    let mut book = book(Rules { stuck: SECOND, ends_stuck: true, ..Rules::default() });
    book.began(JOB, RunId(1), 0, true);
    assert_eq!(book.next_wake(), (None, None));
    book.pass(at(9), 9 * SECOND);
    assert_eq!(heard(&mut book), [], "it may have waited before it was sent");
    book.stuck(JOB, RunId(1), at(10));
    book.ended(JOB, &ended(1, 10, Outcome::Timeout), at(10));
    assert_eq!(heard(&mut book), [(Rule::Stuck, true), (Rule::Stuck, false)]);
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
