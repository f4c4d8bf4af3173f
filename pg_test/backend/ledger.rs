//! `catalog::run` and `catalog::stats`: what the scheduler writes about runs.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pg_tock_core::run::{Guarantee, Outcome, Trigger};
    use pg_tock_core::stats::Ended;
    use pg_tock_core::time::{JobId, RunId, Timestamp};
    use pg_tock_core::usage::Usage;
    use pgrx::prelude::*;

    use crate::catalog::run::{self, RunRow};
    use crate::catalog::stats::{self, Tally};

    const START: i64 = 1_800_000_000_000_000;

    /// A run of job 42 that is under way.
    fn begun(run: i64) -> RunRow {
        RunRow {
            job: JobId(42),
            run: RunId(run),
            pid: Some(4711),
            database: c"pgrx_tests".to_owned(),
            username: c"o'neill".to_owned(),
            command: c"select '\xc5\xbe'".to_owned(),
            jobname: None,
            message: None,
            started_at: Timestamp(START),
            ended_at: None,
            scheduled_for: Timestamp(START - run), // an occurrence of its own
            attempt: 2,
            trigger: Trigger::Retry,
            outcome: None,
            reason: None,
            guarantee: Guarantee::AtMostOnce,
            sqlstate: None,
            error: None,
            row_count: None,
            usage: Usage::default(),
            requested_by: Some(c"ann".to_owned()),
            http: None,
        }
    }

    /// The same run at its end, a quarter of a second later.
    fn ended(run: i64, outcome: Outcome, message: &str) -> RunRow {
        RunRow {
            ended_at: Some(Timestamp(START + 250_000)),
            outcome: Some(outcome),
            message: Some(message.to_owned()),
            sqlstate: Some(*b"22012"),
            error: Some("{\"message\": \"x\"}".to_owned()),
            row_count: Some(3),
            usage: Usage { wal_bytes: 9, cpu_us: 2_500, rows: 7, ..Usage::default() },
            ..begun(run)
        }
    }

    fn row(run: i64) -> String {
        let statement = "SELECT concat_ws('|', jobid, job_pid, username, command, status, \
             outcome, coalesce(return_message, 'none'), extract(epoch FROM start_time), \
             extract(epoch FROM end_time - start_time), attempt, trigger, guarantee, sqlstate, \
             error->>'message', row_count, usage) FROM cron.job_run_details WHERE runid = $1";
        Spi::get_one_with_args(statement, &[run.into()]).unwrap().unwrap()
    }

    #[pg_test]
    fn the_first_end_of_a_run_is_the_one_that_counts() {
        let id = run::draw_ids(1).unwrap()[0];
        run::write([begun(id)].iter()).unwrap();
        let head = "42|4711|o'neill|select '\u{17e}'";
        let start = "1800000000.000000";
        assert_eq!(row(id), format!("{head}|running|none|{start}|2|retry|at_most_once"));
        let usage = "{\"rows\": 7, \"cpu_ms\": 2.5, \"wal_bytes\": 9}";
        let end = format!("1 row|{start}|0.250000|2|retry|at_most_once|22012|x|3|{usage}");
        let settled = format!("{head}|succeeded|succeeded|{end}");
        run::write([ended(id, Outcome::Succeeded, "1 row")].iter()).unwrap();
        assert_eq!(row(id), settled);
        run::write([ended(id, Outcome::Crashed, "late"), begun(id)].iter()).unwrap();
        assert_eq!(row(id), settled);
    }

    #[pg_test]
    fn run_ids_are_drawn_in_order_and_once() {
        let first = run::draw_ids(300).unwrap();
        let second = run::draw_ids(2).unwrap();
        assert_eq!((first.len(), second.len()), (300, 2));
        assert!(first.iter().chain(&second).is_sorted_by(|a, b| a < b));
        assert_eq!(run::draw_ids(0).unwrap(), [] as [i64; 0]);
    }

    #[pg_test]
    fn rows_of_runs_nobody_runs_are_closed() {
        let ids = run::draw_ids(3).unwrap();
        let rows = [begun(ids[0]), begun(ids[1]), ended(ids[2], Outcome::Failed, "no")];
        run::write(rows.iter()).unwrap();
        let (alive, over) = (row(ids[1]), row(ids[2]));
        assert_eq!(run::close_dead(&[ids[1]]).unwrap(), 1);
        assert!(row(ids[0]).contains("|failed|crashed|server restarted|"), "{}", row(ids[0]));
        assert_eq!((row(ids[1]), row(ids[2])), (alive, over));
    }

    fn statistics() -> Option<String> {
        Spi::get_one(
            "SELECT concat_ws('|', total_runs, successful_runs, failed_runs, total_ms, max_ms, \
             last_runid, last_status, coalesce(last_error, 'none'), consecutive_failures, \
             wal_bytes, rows, skipped_runs, \
             (SELECT count(*) || ' hours with ' || sum(h.total_runs) FROM cron.job_stat_hour h), \
             (SELECT count(*) || ' days with ' || sum(d.total_runs) FROM cron.job_stat_day d)) \
             FROM cron.job_stat WHERE jobid = 42",
        )
        .or_else(|error| match error {
            spi::Error::InvalidPosition => Ok(None),
            other => Err(other),
        })
        .unwrap()
    }

    /// Counts what has not been counted, as a scheduler does that finds it.
    fn catch_up() -> usize {
        let from = stats::counted_below().unwrap();
        let (runs, next) = stats::uncounted(from, 100).unwrap();
        assert_eq!(next, None);
        let mut tally = Tally::default();
        for run in &runs {
            assert_eq!(run.job, JobId(42));
            tally.add(run.run, &run.ended, run.error.as_deref());
        }
        stats::count(&[(JobId(42), tally)], None).unwrap();
        stats::mark_caught_up(None).unwrap();
        runs.len()
    }

    #[pg_test]
    fn a_run_is_counted_once_by_whichever_scheduler() {
        let ids = run::draw_ids(4).unwrap();
        assert_eq!(statistics(), None);
        // Nobody counts runs of jobs that are gone.
        let job =
            "INSERT INTO cron.job (jobid, schedule, command) VALUES (42, '@yearly', 'select 1')";
        Spi::run(job).unwrap();
        let mut counted = Tally::default();
        let first = Ended {
            outcome: Outcome::Failed,
            attempt: 2,
            due: Some(Timestamp(START - 5_000)),
            started_at: Timestamp(START),
            ended_at: Timestamp(START + 100_500),
            wal_bytes: 9,
            rows: 7,
        };
        counted.add(RunId(ids[0]), &first, Some("first"));
        counted.skip(Timestamp(START - 3_600_000_000), 5);
        let rows = [
            ended(ids[0], Outcome::Failed, "first"),
            ended(ids[1], Outcome::Succeeded, "ok"),
            begun(ids[2]),
        ];
        run::write(rows.iter()).unwrap();
        stats::count(&[(JobId(42), counted)], Some(ids[0])).unwrap();
        let spans = |runs: u32| format!("9|7|5|2 hours with {runs}|1 days with {runs}");
        assert_eq!(
            statistics().unwrap(),
            format!("1|0|1|100.5|100.5|{}|failed|first|1|{}", ids[0], spans(1))
        );
        // The scheduler died before it counted the second run; the third goes on.
        let caught_up = format!("2|1|1|350.5|250|{}|succeeded|first|0|18|14|5", ids[1]);
        for counted in [1, 0] {
            assert_eq!(catch_up(), counted);
            let now = statistics().unwrap();
            assert!(now.starts_with(&caught_up) && now.ends_with("1 days with 2"), "{now}");
        }
        run::write([ended(ids[3], Outcome::Failed, "last")].iter()).unwrap();
        assert_eq!(catch_up(), 1);
        let now = statistics().unwrap();
        assert!(
            now.starts_with(&format!("3|1|2|600.5|250|{}|failed|last|1|27|21", ids[3])),
            "{now}"
        );
    }

    #[pg_test]
    fn histograms_say_what_was_put_into_them() {
        let mut tally = Tally::default();
        for n in 1..=100 {
            let ended = Ended {
                outcome: Outcome::Succeeded,
                attempt: 1,
                due: Some(Timestamp(START)),
                started_at: Timestamp(START + n * 10),
                ended_at: Timestamp(START + n * 10 + n * 1_000),
                wal_bytes: 0,
                rows: 0,
            };
            tally.add(RunId(n), &ended, None);
        }
        stats::count(&[(JobId(42), tally.clone())], None).unwrap();
        stats::count(&[(JobId(42), tally)], None).unwrap();
        let said: String = Spi::get_one(
            "SELECT concat_ws('|', total_runs, abs(p50_duration_ms - 50) <= 1.6, \
             abs(p95_duration_ms - 95) <= 3.1, abs(p99_duration_ms - 99) <= 3.2, \
             abs(p50_start_lag_ms - 0.5) <= 0.016, abs(p99_start_lag_ms - 0.99) <= 0.032, \
             durations = (SELECT cron.sketch_merge(h.durations) FROM cron.job_stat_hour h), \
             cron.shown_ms(cron.sketch_quantile(cron.sketch_merge(durations, NULL), 0.5, max_ms)) = p50_duration_ms, \
             cron.shown_ms(cron.sketch_quantile(cron.sketch_add('rubbish', durations), 0.5, max_ms)) = p50_duration_ms, \
             cron.sketch_quantile(durations, 1, 0.5) = 0.5) FROM cron.job_stat",
        )
        .unwrap()
        .unwrap();
        assert_eq!(said, "200|t|t|t|t|t|t|t|t|t");
    }
}
