//! `catalog::run` and the statistics in `catalog::state`: what the scheduler writes about runs.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pg_tock_core::run::{Guarantee, Outcome, Trigger};
    use pg_tock_core::time::{JobId, RunId, Timestamp};
    use pgrx::prelude::*;

    use crate::catalog::run::{self, RunRow};
    use crate::catalog::state::{self, Tally};

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
            ..begun(run)
        }
    }

    fn row(run: i64) -> String {
        let statement = "SELECT concat_ws('|', jobid, job_pid, username, command, status, \
             outcome, coalesce(return_message, 'none'), extract(epoch FROM start_time), \
             extract(epoch FROM end_time - start_time), attempt, trigger, guarantee, sqlstate, \
             error->>'message', row_count) FROM cron.job_run_details WHERE runid = $1";
        Spi::get_one_with_args(statement, &[run.into()]).unwrap().unwrap()
    }

    #[pg_test]
    fn the_first_end_of_a_run_is_the_one_that_counts() {
        let id = run::draw_ids(1).unwrap()[0];
        run::write([begun(id)].iter()).unwrap();
        let head = "42|4711|o'neill|select '\u{17e}'";
        let start = "1800000000.000000";
        assert_eq!(row(id), format!("{head}|running|none|{start}|2|retry|at_most_once"));
        let end = format!("1 row|{start}|0.250000|2|retry|at_most_once|22012|x|3");
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
             last_runid, last_status, coalesce(last_error, 'none')) \
             FROM cron.job_stat WHERE jobid = 42",
        )
        .or_else(|error| match error {
            spi::Error::InvalidPosition => Ok(None),
            other => Err(other),
        })
        .unwrap()
    }

    #[pg_test]
    fn a_run_is_counted_once_by_whichever_scheduler() {
        let ids = run::draw_ids(4).unwrap();
        assert_eq!(statistics(), None);
        let counted = Tally {
            total: 1,
            total_ms: 100.5,
            max_ms: 100.5,
            last_started: Timestamp(START),
            last_run: ids[0],
            last_error: Some("first".to_owned()),
            ..Tally::default()
        };
        let rows = [
            ended(ids[0], Outcome::Failed, "first"),
            ended(ids[1], Outcome::Succeeded, "ok"),
            begun(ids[2]),
        ];
        run::write(rows.iter()).unwrap();
        state::count(&[(JobId(42), counted)], Some(ids[0])).unwrap();
        assert_eq!(statistics().unwrap(), format!("1|0|1|100.5|100.5|{}|failed|first", ids[0]));
        // The scheduler died before it counted the second run; the third goes on.
        let caught_up = format!("2|1|1|350.5|250|{}|succeeded|first", ids[1]);
        for _ in 0..2 {
            state::catch_up(None, true).unwrap();
            assert_eq!(statistics().unwrap(), caught_up);
        }
        run::write([ended(ids[3], Outcome::Failed, "last")].iter()).unwrap();
        state::catch_up(None, true).unwrap();
        assert_eq!(statistics().unwrap(), format!("3|1|2|600.5|250|{}|failed|last", ids[3]));
    }
}
