//! What it costs a run that column `usage` says what it used of the server: two readings of the CPU clock, and
//! building a jsonb of the figures that are not zero.
//!
//! A run builds it by calls in C. Here SQL's own function builds one from as many figures, which takes longer, so
//! that what is measured is the most it can be.

use crate::report::{PG_TOCK, Report, median};
use crate::server;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Instant;

const TIMES: usize = 15;
const READINGS: u32 = 100_000;
const ROWS: f64 = 200_000.0;

/// The figures a run has that writes: those of WAL, two of buffers, CPU time and rows.
const FIGURES: &str = "'cpu_ms', n / 1000.0, 'rows', n, 'shared_dirtied', n, 'shared_hit', n, 'wal_bytes', n, \
    'wal_records', n";

pub(crate) fn measure(report: &mut Report) {
    let clock = median((0..TIMES).map(|_| 2.0 * reading()).collect());
    report.add("two readings of the CPU clock", "us per run", PG_TOCK, clock);
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    let mut client = cluster.client();
    let mut time = |what: &str| {
        let query = format!(
            "explain (analyze, timing off) select {what} from generate_series(1000, 999 + {ROWS}::bigint) n"
        );
        let lines = client.query(&query, &[]).expect("EXPLAIN succeeds");
        let lines = lines.iter().map(|line| line.get::<_, String>(0));
        let line = lines.filter_map(|line| Some(line.strip_prefix("Execution Time: ")?.to_owned()));
        let line = line.last().expect("such a line");
        line.trim_end_matches(" ms").parse::<f64>().expect("a number") * 1_000.0 / ROWS
    };
    let mut medians = ["n", &format!("jsonb_build_object({FIGURES})")]
        .map(|what| median((0..TIMES).map(|_| time(what)).collect()));
    medians[1] -= medians[0];
    report.add("a jsonb of six figures, by SQL's own function", "us per run", PG_TOCK, medians[1]);
    report.add("both", "us per run", PG_TOCK, clock + medians[1]);
}

/// Microseconds that a reading takes.
fn reading() -> f64 {
    let since = Instant::now();
    for _ in 0..READINGS {
        black_box(clock_gettime(ClockId::ProcessCPUTime));
    }
    since.elapsed().as_secs_f64() * 1e6 / f64::from(READINGS)
}
