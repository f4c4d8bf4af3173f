//! How soon jobs run again on a standby that is promoted while they run, their primary being killed.
//! Each round has servers of its own; `BENCH_FAILOVER_ROUNDS` says how many (9).

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::{Cluster, PATIENCE, poll_until};

/// Due at each second.
const DUE: i64 = 20;

pub(crate) fn measure(report: &mut Report) {
    let rounds: usize = std::env::var("BENCH_FAILOVER_ROUNDS")
        .map_or(9, |rounds| rounds.parse().expect("a number of rounds"));
    let times: Vec<(f64, f64)> = (0..rounds).map(|_| round(report)).collect();
    let whole: Vec<f64> = times.iter().map(|time| time.0).collect();
    let since = times.iter().map(|time| time.1).collect();
    let worst = whole.iter().copied().fold(f64::MIN, f64::max);
    report.add("first run after pg_promote() was called: median", "s", PG_TOCK, median(whole));
    report.add("first run after pg_promote() was called: worst", "s", PG_TOCK, worst);
    report.add("first run after pg_promote() has returned: median", "s", PG_TOCK, median(since));
}

/// Seconds until the first run on the new primary, from the call of `pg_promote` and from its return.
/// The latter is negative if the run was first.
fn round(report: &mut Report) -> (f64, f64) {
    let primary = server::pg_tock();
    report.about(&primary.one::<String>("select split_part(version(), ' on ', 1)"));
    primary.sql("create table sink (n int)");
    server::add_jobs(&primary, DUE, "1 second", "insert into sink values (1)");
    let long = primary.schedule("long", "1 second", "select pg_sleep(3600)");
    let standby = primary.standby();
    let _ = primary.run_in_status(long, "running");
    primary.wait_for(&format!("(select count(*) from sink) > 3 * {DUE}"));
    standby.catch_up_with(&primary);
    // Nobody does anything in order, and the old primary does nothing any more.
    primary.kill_postmaster();
    let called: String = now(&standby);
    standby.sql("select pg_promote()");
    let returned: String = now(&standby);
    let (whole, since) = poll_until("a run on the new primary", PATIENCE * 2, || {
        let row = &standby.rows(
            "select extract(epoch from min(start_time) - $1::text::timestamptz)::float8, \
               extract(epoch from min(start_time) - $2::text::timestamptz)::float8 \
             from cron.job_run_details where start_time > $1::text::timestamptz",
            &[&called, &returned],
        )[0];
        Some((row.get::<_, Option<f64>>(0)?, row.get::<_, Option<f64>>(1)?))
    });
    println!("    {whole:.3} s after pg_promote() was called, {since:.3} s after it has returned");
    (whole, since)
}

fn now(cluster: &Cluster) -> String {
    cluster.one("select clock_timestamp()::text")
}
