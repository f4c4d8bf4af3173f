//! What jobs cost that are not due: wake-ups and CPU of everything that belongs to the scheduler, and
//! its memory, with 0, 10,000 and 100,000 jobs; and what it costs to change one of them.

use crate::process::{anonymous_megabytes, cpu_milliseconds};
use crate::report::{PG_TOCK, Report, median};
use crate::server;
use pg_tock_test::{Cluster, poll_until, voluntary_switches};
use std::time::{Duration, Instant};

const SIZES: [(i64, &str); 3] = [(0, "0 jobs"), (10_000, "10,000 jobs"), (100_000, "100,000 jobs")];
const WINDOWS: usize = 3;
const WINDOW_SECONDS: f64 = 4.0;
const CHANGES: i64 = 11;
/// pg_cron reads its jobs again at its next wake-up, once a second.
const PG_CRON_CHANGES: i64 = 5;

/// Not due while anybody measures.
const RARELY: &str = "0 0 29 2 *";

pub(crate) fn pg_tock(report: &mut Report) {
    let cluster = server::pg_tock();
    report.about(&cluster.one::<String>("select split_part(version(), ' on ', 1)"));
    let processes =
        || vec![cluster.pid_of("pg_tock launcher"), cluster.pid_of("pg_tock scheduler")];
    measure(report, &cluster, PG_TOCK, &processes);

    // Once more from the table, as after a restart of the server.
    cluster.restart();
    cluster.wait_scheduler();
    settle(&cluster, &processes());
    let scheduler = cluster.pid_of("pg_tock scheduler");
    report.add(
        "100,000 jobs: memory of the scheduler after a restart",
        "MB",
        PG_TOCK,
        anonymous_megabytes(scheduler),
    );
    change(report, &cluster, scheduler);
}

pub(crate) fn pg_cron(report: &mut Report) {
    if std::env::var_os("PG_TOCK_BENCH_ALONE").is_some() {
        println!("    skipped: there is no pg_cron here");
        return;
    }
    let cluster = server::pg_cron(true);
    let version: String =
        cluster.one("select extversion from pg_extension where extname = 'pg_cron'");
    let whose = format!("pg_cron {version} workers");
    let processes = || vec![cluster.pid_of("pg_cron launcher")];
    measure(report, &cluster, &whose, &processes);

    let launcher = cluster.pid_of("pg_cron launcher");
    let idle = window(&[launcher]).cpu;
    let (began, used) = (Instant::now(), cpu_milliseconds(launcher));
    for round in 0..PG_CRON_CHANGES {
        cluster.sql(&format!("update cron.job set command = 'select {round}' where jobid = 77"));
        cluster.sql("select pg_sleep(1.5)");
    }
    let used = cpu_milliseconds(launcher) - used;
    let own = used - idle * began.elapsed().as_secs_f64();
    report.add(CHANGED_CPU, "ms", &whose, own / PG_CRON_CHANGES as f64);
}

const CHANGED_CPU: &str = "one job changed among 100,000: CPU of the scheduler";

/// Wake-ups and milliseconds of CPU per second, of all processes together.
struct Window {
    wakeups: f64,
    cpu: f64,
}

fn window(processes: &[i32]) -> Window {
    let wakeups = || processes.iter().map(|&process| voluntary_switches(process)).sum::<u64>();
    let cpu = || processes.iter().map(|&process| cpu_milliseconds(process)).sum::<f64>();
    let (began, wakeups_before, cpu_before) = (Instant::now(), wakeups(), cpu());
    std::thread::sleep(Duration::from_secs_f64(WINDOW_SECONDS));
    let seconds = began.elapsed().as_secs_f64();
    Window {
        wakeups: (wakeups() - wakeups_before) as f64 / seconds,
        cpu: (cpu() - cpu_before) / seconds,
    }
}

/// Waits until everything that a change of many jobs causes is over: less than a millisecond of CPU in
/// a second, three times in a row. pg_cron wakes up each second and never gets there with many jobs.
fn settle(cluster: &Cluster, processes: &[i32]) {
    let used = || processes.iter().map(|&process| cpu_milliseconds(process)).sum::<f64>();
    let (mut before, mut quiet, began) = (used(), 0, Instant::now());
    while quiet < 3 && began.elapsed() < Duration::from_secs(20) {
        cluster.sql("select pg_sleep(1)");
        let now = used();
        quiet = if now - before < 1.0 { quiet + 1 } else { 0 };
        before = now;
    }
}

fn measure(report: &mut Report, cluster: &Cluster, whose: &str, processes: &dyn Fn() -> Vec<i32>) {
    for (jobs, name) in SIZES {
        let before: i64 = cluster.one("select count(*) from cron.job");
        server::add_jobs(cluster, jobs - before, RARELY, "select 1");
        let processes = processes();
        settle(cluster, &processes);
        let windows: Vec<Window> = (0..WINDOWS).map(|_| window(&processes)).collect();
        let of = |figure: fn(&Window) -> f64| median(windows.iter().map(figure).collect());
        report.add(&format!("{name}, none due: wake-ups"), "1/s", whose, of(|w| w.wakeups));
        // a millisecond per second is a tenth of a hundredth of a core
        let share = of(|w| w.cpu) / 10.0;
        report.add(&format!("{name}, none due: CPU"), "% of a core", whose, share);
        if jobs > 0 {
            let memory = processes.iter().map(|&process| anonymous_megabytes(process));
            let largest = memory.fold(0.0, f64::max);
            report.add(&format!("{name}: memory of the scheduler"), "MB", whose, largest);
        }
    }
}

/// One schedule changed at a time: from COMMIT until the scheduler goes by it, which it notes itself
/// (`effective_from`), and what that costs it, with the writing of that note.
fn change(report: &mut Report, cluster: &Cluster, scheduler: i32) {
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    let mut client = cluster.client();
    for round in 0..CHANGES {
        let used = cpu_milliseconds(scheduler);
        let mut transaction = client.transaction().expect("a transaction");
        let job = 77 + round;
        transaction
            .execute("update cron.job set schedule = '1 0 29 2 *' where jobid = $1", &[&job])
            .expect("a changed job");
        let row = transaction.query_one("select clock_timestamp()::text", &[]).expect("the time");
        let committing: String = row.get(0);
        transaction.commit().expect("a commit");
        let noted = format!(
            "select extract(epoch from effective_from - '{committing}')::float8 \
             from cron.job_state where jobid = {job} and effective_from > '{committing}'"
        );
        let seconds = poll_until("the change is in force", Duration::from_secs(20), || {
            cluster.column::<f64>(&noted).first().copied()
        });
        times.push(seconds * 1000.0);
        cpu.push(cpu_milliseconds(scheduler) - used);
    }
    report.add("one job changed among 100,000: in force after", "ms", PG_TOCK, median(times));
    report.add(CHANGED_CPU, "ms", PG_TOCK, median(cpu));
}
