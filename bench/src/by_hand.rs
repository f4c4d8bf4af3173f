//! Measurements that take minutes and gigabytes, made when they are asked for by name.

use crate::Measurement;
use crate::{failover, hostile, job_stats, prune, restart, soak, usage};

pub(crate) const BY_HAND: [Measurement; 7] = [
    ("soak", "memory over 1,000,000 runs (BENCH_SOAK_RUNS)", soak::measure),
    (
        "restart",
        "first run after a restart with 100,000 jobs and 10 million rows",
        restart::measure,
    ),
    (
        "failover",
        "first run on a standby that is promoted while jobs run (BENCH_FAILOVER_ROUNDS)",
        failover::measure,
    ),
    (
        "hostile",
        "start lag of one user's job while another user tries everything",
        hostile::measure,
    ),
    (
        "prune",
        "start lag while millions of rows of history are deleted (BENCH_PRUNE_SLOW_DISK)",
        prune::measure,
    ),
    (
        "job-stats",
        "reading cron.job_stats with 10,000 jobs and a long history (BENCH_JOB_STATS_ROWS)",
        job_stats::measure,
    ),
    ("usage", "what it costs a run that its row says what it used", usage::measure),
];
