//! How long a run may take, where that depends on how long the job's runs have taken so far.

use super::Rules;

/// So many runs have to be counted before it is said what is usual.
pub const ENOUGH_RUNS: i64 = 20;

/// The most times as long as usual that a rule can allow.
pub const MOST_TIMES: f64 = 1_000_000.0;

/// What the statistics of a job say of how long its runs take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How many runs are counted.
    pub runs: i64,
    /// 95 percent of them took no longer, in microseconds.
    pub p95: i64,
}

/// What is usual, and how many times as much is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// 95 percent of the runs took no longer, in microseconds.
    pub p95: i64,
    /// So many times as long is slow.
    pub times: f64,
}

/// From when on a run is slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowLimit {
    /// A run that takes this long, in microseconds, is.
    pub micros: i64,
    /// What that was taken from, if it is no fixed one.
    pub usual: Option<Usual>,
}

impl Rules {
    /// From when on a run is slow: the shorter one of the limits there are. None if nothing can be said.
    #[must_use]
    pub fn slow_limit(&self, pace: Pace) -> Option<SlowLimit> {
        let fixed = Some(SlowLimit { micros: self.slower, usual: None });
        let fixed = fixed.filter(|limit| limit.micros > 0);
        let known = self.is_relative() && pace.runs >= ENOUGH_RUNS;
        let relative = known.then(|| self.relative_limit(pace.p95));
        [fixed, relative].into_iter().flatten().min_by_key(|limit| limit.micros)
    }

    /// A run without any duration is never slow.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the percentile is within 3 percent, and what is too large becomes the largest"
    )]
    fn relative_limit(&self, p95: i64) -> SlowLimit {
        let usual = Usual { p95: p95.max(0), times: self.times_slower };
        let micros = (usual.p95 as f64 * usual.times).ceil() as i64;
        SlowLimit { micros: micros.max(1), usual: Some(usual) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Book, Change, Ended, Finding, Past, Recovery, Rule, Terms};
    use super::*;
    use crate::run::Outcome;
    use crate::time::{JobId, RunId, Timestamp};

    const JOB: JobId = JobId(7);
    const SECOND: i64 = Timestamp::SECOND;
    /// Three times as long as usual.
    const THRICE: Rules = rules(0, 3.0);
    /// Usually ten seconds.
    const TEN: Pace = Pace { runs: ENOUGH_RUNS, p95: 10 * SECOND };

    const fn rules(slower: i64, times_slower: f64) -> Rules {
        Rules {
            after_failures: 0,
            slower,
            stuck: 0,
            ends_stuck: false,
            absent: 0,
            below_success: 0.0,
            times_slower,
        }
    }

    fn put(book: &mut Book, rules: Rules) {
        let terms = Terms { rules, on: true, since: Timestamp(0), paused_until: None };
        book.put(JOB, terms, Timestamp(0));
    }

    /// A book with a job of which everything is known.
    fn book(rules: Rules, pace: Pace) -> Book {
        let mut book = Book::default();
        put(&mut book, rules);
        book.measured(JOB, pace, Timestamp(0));
        book.remember(JOB, &Past { complete: true, ..Past::default() }, Timestamp(0), 0);
        book
    }

    fn end(book: &mut Book, run: i64, seconds: i64) {
        let ended = Ended {
            run: RunId(run),
            at: Timestamp(0),
            outcome: Outcome::Succeeded,
            will_retry: false,
            by_hand: false,
            lasted: seconds * SECOND,
        };
        book.ended(JOB, &ended, Timestamp(0));
    }

    fn changes(book: &mut Book) -> Vec<Change> {
        book.take_events().iter().map(|event| event.change).collect()
    }

    /// Whether an alert was raised, for each that was or is over.
    fn raised(book: &mut Book) -> Vec<bool> {
        let raised = |change: &Change| matches!(change, Change::Raised { .. });
        changes(book).iter().map(raised).collect()
    }

    #[test]
    fn the_limit_is_so_many_times_what_is_usual() {
        let limit = |rules: Rules, pace| rules.slow_limit(pace).map(|limit| limit.micros);
        assert_eq!(limit(THRICE, TEN), Some(30 * SECOND));
        assert_eq!(limit(rules(0, 1.5), TEN), Some(15 * SECOND));
        assert_eq!(limit(rules(0, 0.0), TEN), None, "there is no rule");
        let few = Pace { runs: ENOUGH_RUNS - 1, ..TEN };
        assert_eq!(limit(THRICE, few), None, "of so few runs nothing can be said");
        assert_eq!(limit(THRICE, Pace::default()), None);
        assert_eq!(limit(THRICE, Pace { p95: 0, ..TEN }), Some(1), "what takes no time is quick");
        let all = Pace { p95: i64::MAX, ..TEN };
        assert_eq!(limit(rules(0, MOST_TIMES), all), Some(i64::MAX));
    }

    #[test]
    fn a_slow_run_that_crashes_after_a_restart_ends_its_alert() {
        let mut book = Book::default();
        put(&mut book, THRICE);
        book.was_open(JOB, Rule::Slow, true);
        book.began(JOB, RunId(1), 0, false);
        book.measured(JOB, TEN, Timestamp(0));
        let past = Past { complete: true, ..Past::default() };
        book.remember(JOB, &past, Timestamp(0), 40 * SECOND);
        assert_eq!(changes(&mut book), [], "the run goes on");
        let crashed = Ended {
            run: RunId(1),
            at: Timestamp(0),
            outcome: Outcome::Crashed,
            will_retry: false,
            by_hand: false,
            lasted: 40 * SECOND,
        };
        book.ended(JOB, &crashed, Timestamp(0));
        assert_eq!(raised(&mut book), [false]);
    }

    #[test]
    fn the_shorter_limit_counts() {
        let usual = Some(Usual { p95: TEN.p95, times: 3.0 });
        let relative = Some(SlowLimit { micros: 30 * SECOND, usual });
        assert_eq!(rules(31 * SECOND, 3.0).slow_limit(TEN), relative);
        for fixed in [1, 29 * SECOND, 30 * SECOND] {
            let limit = Some(SlowLimit { micros: fixed, usual: None });
            assert_eq!(rules(fixed, 3.0).slow_limit(TEN), limit);
        }
        // The fixed one does not wait for runs.
        let limit = Some(SlowLimit { micros: 60 * SECOND, usual: None });
        assert_eq!(rules(60 * SECOND, 3.0).slow_limit(Pace::default()), limit);
    }

    #[test]
    fn a_run_slower_than_usual_is_noticed_while_it_runs() {
        let mut book = book(THRICE, TEN);
        book.began(JOB, RunId(1), 0, false);
        assert_eq!(book.next_wake().1, Some(30 * SECOND));
        book.pass(Timestamp(0), 30 * SECOND);
        let [Change::Raised { run, outcome, finding }] = changes(&mut book)[..] else {
            panic!("one alert")
        };
        assert_eq!((run, outcome), (Some(RunId(1)), None));
        let usual = Some(Usual { p95: 10 * SECOND, times: 3.0 });
        let limit = 30 * SECOND;
        assert_eq!(finding, Finding::Slow { limit, elapsed: limit, usual });
        assert_eq!(finding.detail()["p95_seconds"], 10.0);
        end(&mut book, 1, 40);
        end(&mut book, 2, 31);
        assert_eq!(raised(&mut book), [false; 0], "the episode goes on");
        end(&mut book, 3, 29);
        let recovered = Change::Recovered {
            run: Some(RunId(3)),
            outcome: Some(Outcome::Succeeded),
            why: Recovery::Recovered,
        };
        assert_eq!(changes(&mut book), [recovered]);
    }

    #[test]
    fn what_is_usual_changes_under_a_run() {
        let mut book = book(THRICE, Pace::default());
        book.began(JOB, RunId(1), 0, false);
        assert_eq!(book.next_wake().1, None, "nothing is usual yet");
        book.counted(JOB);
        assert_eq!(book.unmeasured(9), [JOB]);
        book.measured(JOB, TEN, Timestamp(0));
        assert!(book.unmeasured(9).is_empty());
        assert_eq!(book.next_wake().1, Some(30 * SECOND));
        book.measured(JOB, Pace { p95: 20 * SECOND, ..TEN }, Timestamp(0));
        assert_eq!(book.next_wake().1, Some(60 * SECOND), "only the last word counts");
        book.pass(Timestamp(0), 60 * SECOND);
        assert_eq!(raised(&mut book), [true]);
        // Other runs of the job last longer and longer: this one is slow all the same.
        book.measured(JOB, Pace { p95: 50 * SECOND, ..TEN }, Timestamp(0));
        book.pass(Timestamp(0), 70 * SECOND);
        assert_eq!((raised(&mut book), book.next_wake().1), (vec![], None));
        end(&mut book, 1, 80);
        assert_eq!(raised(&mut book), [false], "80 seconds are usual by now");
    }

    #[test]
    fn nothing_is_usual_once_statistics_are_reset() {
        let mut book = book(THRICE, TEN);
        book.began(JOB, RunId(1), 0, false);
        book.pass(Timestamp(0), 31 * SECOND);
        assert_eq!(raised(&mut book), [true]);
        book.measured(JOB, Pace::default(), Timestamp(0));
        let why = Recovery::JobChanged;
        let over = Change::Recovered { run: None, outcome: None, why };
        assert_eq!(changes(&mut book), [over]);
        end(&mut book, 1, 1_000);
        book.measured(JOB, TEN, Timestamp(0));
        assert_eq!(raised(&mut book), [false; 0], "a run is judged by what is known when it ends");
        end(&mut book, 2, 1_000);
        assert_eq!(raised(&mut book), [true]);
        // A fixed limit is still there.
        put(&mut book, rules(50 * SECOND, 3.0));
        book.measured(JOB, Pace::default(), Timestamp(0));
        assert_eq!(raised(&mut book), [false; 0]);
        end(&mut book, 3, 49);
        assert_eq!(raised(&mut book), [false]);
    }

    #[test]
    fn only_jobs_with_the_rule_are_measured() {
        let mut book = Book::default();
        put(&mut book, rules(SECOND, 0.0));
        book.counted(JOB);
        assert!(book.unmeasured(9).is_empty());
        assert_eq!(book.unknown(9), [JOB]);
        put(&mut book, THRICE);
        assert_eq!(book.unmeasured(9), [JOB]);
        assert!(book.unknown(9).is_empty(), "its past is judged by what is usual");
        book.measured(JOB, TEN, Timestamp(0));
        assert_eq!(book.unknown(9), [JOB]);
        book.counted(JOB);
        put(&mut book, rules(SECOND, 0.0));
        assert!(book.unmeasured(9).is_empty());
        put(&mut book, THRICE);
        book.drop_job(JOB);
        assert!(book.unmeasured(9).is_empty() && !book.has_unknown());
    }

    #[test]
    fn an_open_episode_goes_on_with_the_next_scheduler() {
        let mut book = Book::default();
        put(&mut book, THRICE);
        book.was_open(JOB, Rule::Slow, true);
        book.measured(JOB, TEN, Timestamp(0));
        book.began(JOB, RunId(5), -40 * SECOND, false);
        book.remember(JOB, &Past::default(), Timestamp(0), 0);
        assert_eq!(raised(&mut book), [false; 0]);
        end(&mut book, 5, 41);
        assert_eq!(raised(&mut book), [false; 0]);
        end(&mut book, 6, 5);
        assert_eq!(raised(&mut book), [false]);
    }
}
