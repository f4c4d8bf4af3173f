//! Alerts over any history, against a model that looks at all of it at once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

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
        let mut open = BTreeSet::new();
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
}
