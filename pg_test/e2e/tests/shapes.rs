//! Windows, calendars, jitter, and schedules that do not simply repeat.

use pg_tock_test::{Cluster, PATIENCE, poll_until, utc, voluntary_switches};
use serde_json::json;
use std::time::Duration;

fn server(start: i64) -> Cluster {
    Cluster::builder().clock(start).conf("timezone", "UTC").conf("cron.timezone", "UTC").start()
}

#[test]
fn a_one_second_job_outside_its_window_costs_one_row_and_no_wake_ups() {
    let cluster = server(utc(2026, 6, 1, 10, 0, 0));
    let night = cluster.create_job(&json!({
        "job_name": "night", "schedule": "1 second", "command": "select 1",
        "run_window": "22:00-06:00",
    }));
    cluster.wait_known();
    let scheduler = cluster.wait_scheduler();
    // Occurrences go by, and nobody wakes up for them.
    let mut seen = (voluntary_switches(scheduler), cluster.now());
    poll_until("five occurrences without a wake-up", PATIENCE, || {
        let (switches, now) = (voluntary_switches(scheduler), cluster.now());
        if switches != seen.0 {
            seen = (switches, now);
        }
        (now - seen.1 > 5).then_some(())
    });
    assert_eq!(cluster.skipped(night).len(), 1);
    // Nor is there another row when somebody asks again.
    let first: i64 = cluster.one("select count from cron.job_skip");
    poll_until("more occurrences are counted", PATIENCE, || {
        let _ = cluster.skipped(night);
        (cluster.one::<i64>("select count from cron.job_skip") > first).then_some(())
    });
    assert_eq!(cluster.runs_of(night).len(), 0);

    // A companion that falls due all the time has the timer set anew after the step.
    cluster.schedule("pace", "1 second", "select 1");
    cluster.step_clock(utc(2026, 6, 1, 21, 59, 58) - cluster.now());
    let opening = cluster.finished_run(night).must_have_succeeded();
    assert!(
        cluster.one_with::<bool>(
            "select $1 >= timestamptz '2026-06-01 22:00' \
               and $1 < timestamptz '2026-06-01 22:00:01'",
            &[&opening.scheduled_for]
        ),
        "the first occurrence in the window: {opening:#?}"
    );
    let skipped = cluster.skipped(night);
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert!(skipped[0].starts_with("window 10:00 to 21:59: 4"), "{skipped:?}");
    cluster.audit();
}

#[test]
fn a_window_is_read_in_the_jobs_zone() {
    // Half past eight in New York, half past two in Berlin.
    let cluster = server(utc(2026, 6, 1, 12, 31, 0));
    let job = |name: &str, zone: &str| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "*/5 * * * *", "command": "select 1",
            "timezone": zone, "run_window": "mon-fri 09:00-15:00",
        }))
    };
    let (york, berlin) = (job("york", "America/New_York"), job("berlin", "Europe/Berlin"));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    cluster.advance_clock(utc(2026, 6, 1, 13, 6, 0), UP_TO_DATE);
    cluster.wait_story(york, &["13:00 schedule", "13:05 schedule"]);
    cluster.wait_story(
        berlin,
        &["12:35 schedule", "12:40 schedule", "12:45 schedule", "12:50 schedule", "12:55 schedule"],
    );
    assert_eq!(cluster.skipped(york), ["window 12:35 to 12:55: 5"]);
    assert_eq!(cluster.skipped(berlin), ["window 13:00 to 13:05: 2"]);
    cluster.audit();
}

/// The job named `minute` has a row for the minute the clock shows.
const UP_TO_DATE: &str = "exists (select from cron.job_run_details where jobname = 'minute' \
    and status = 'succeeded' and scheduled_for = date_trunc('minute', now()))";

#[test]
fn a_run_that_waited_until_its_window_closed_waits_on() {
    let cluster = server(utc(2026, 6, 1, 10, 2, 30));
    let job = cluster.create_job(&json!({
        "job_name": "patient", "schedule": "* * * * *", "command": "select 1",
        "run_window": "10:00-10:05; 10:10-10:12",
    }));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    // At 10:05:30 two occurrences are late, and the window is closed.
    cluster.step_clock(180);
    cluster.wait_for(UP_TO_DATE);
    assert_eq!(cluster.story(job), Vec::<String>::new(), "closed is closed");
    cluster.advance_clock(utc(2026, 6, 1, 10, 7, 0), UP_TO_DATE);
    assert_eq!(cluster.story(job), Vec::<String>::new());
    cluster.advance_clock(utc(2026, 6, 1, 10, 10, 10), UP_TO_DATE);
    cluster.wait_story(job, &["10:03 schedule", "10:04 schedule", "10:10 schedule"]);
    assert_eq!(cluster.skipped(job), ["window 10:05 to 10:09: 5"]);
    cluster.audit();
}

#[test]
fn a_holiday_is_a_row_in_the_books() {
    let cluster = server(utc(2026, 12, 23, 23, 52, 0));
    cluster.sql("select cron.create_calendar('holidays')");
    cluster.sql("select cron.add_calendar_dates('holidays', '2026-12-24', '2026-12-26')");
    let job = |name: &str, list: &str| {
        cluster.create_job(&json!({
            "job_name": name, "schedule": "*/10 * * * *", "command": "select 1", list: ["holidays"],
        }))
    };
    let (work, party) = (job("work", "skip_on"), job("party", "only_on"));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    cluster.advance_clock(utc(2026, 12, 24, 0, 12, 0), UP_TO_DATE);
    cluster.wait_story(party, &["00:00 schedule", "00:10 schedule"]);
    // Nobody works on through the holidays: that time may fly.
    cluster.step_clock(utc(2026, 12, 27, 0, 2, 0) - cluster.now());
    cluster.wait_story(work, &["00:00 schedule"]);
    assert_eq!(cluster.skipped(work), ["calendar 00:00 to 23:50: 432"]);
    // A day becomes a holiday, and the scheduler knows at once.
    cluster.sql("select cron.add_calendar_dates('holidays', '2026-12-27', '2026-12-27')");
    cluster.advance_clock(utc(2026, 12, 27, 0, 12, 0), UP_TO_DATE);
    cluster.wait_story(party, &["00:00 schedule", "00:10 schedule", "00:10 schedule"]);
    assert_eq!(cluster.story(work), ["00:00 schedule"]);
    cluster.audit();
}

#[test]
fn jitter_is_what_the_preview_says() {
    let cluster = server(utc(2026, 6, 1, 10, 0, 30));
    let job = cluster.create_job(&json!({
        "job_name": "spread", "schedule": "*/2 * * * *", "command": "select 1", "jitter": "100 seconds",
    }));
    // A companion falls due all the time, so that the clock's steps are noticed.
    cluster.schedule("pace", "1 second", "select 1");
    cluster.wait_known();
    let starts: Vec<i64> = cluster.column(&format!(
        "select floor(extract(epoch from run_at))::bigint from cron.job_next_runs({job}::bigint, 6)"
    ));
    let nominal = utc(2026, 6, 1, 10, 2, 0);
    let offsets: Vec<i64> = (0..).zip(&starts).map(|(n, at)| at - nominal - 120 * n).collect();
    assert!(offsets.iter().all(|offset| (0..100).contains(offset)), "{offsets:?}");
    assert!(offsets.iter().any(|offset| *offset != offsets[0]), "they are spread: {offsets:?}");
    for (done, start) in starts.iter().enumerate() {
        // A moment before, it has not begun. Then it does.
        cluster.step_clock(start - 2 - cluster.now());
        let _ = cluster.finished_runs(job, done + 1);
    }
    let (early, nominal): (Vec<i64>, Vec<i64>) = cluster
        .rows(
            "select floor(extract(epoch from start_time))::bigint, \
               extract(epoch from scheduled_for)::bigint \
             from cron.job_run_details where jobid = $1 order by scheduled_for",
            &[&job],
        )
        .iter()
        .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
        .unzip();
    let minutes: Vec<i64> = (0..6).map(|n| utc(2026, 6, 1, 10, 2, 0) + 120 * n).collect();
    assert_eq!(nominal, minutes, "scheduled_for is the instant without jitter");
    assert!(early.iter().zip(&starts).all(|(run, said)| run >= said), "{early:?} {starts:?}");
    cluster.audit();
}

#[test]
fn a_job_for_one_instant_ends_inactive_with_its_outcome() {
    let cluster = server(utc(2026, 6, 1, 10, 2, 0));
    let job = cluster.schedule("party", "at 2026-06-01 10:05", "select 1");
    let past = cluster.create_job(&json!({
        "job_name": "missed", "schedule": "at 2026-06-01 10:10", "command": "select 1",
    }));
    cluster.schedule("minute", "* * * * *", "select 1");
    cluster.wait_known();
    cluster.advance_clock(utc(2026, 6, 1, 10, 5, 10), UP_TO_DATE);
    cluster.wait_story(job, &["10:05 schedule"]);
    cluster.wait_for("(select not active from cron.job where jobname = 'party')");
    assert_eq!(cluster.story(job), ["10:05 schedule"], "its run is not cancelled by that");
    assert!(cluster.one::<bool>("select active from cron.job where jobname = 'missed'"));
    // An instant that was missed is over as well.
    cluster.stop();
    cluster.step_clock(3600);
    cluster.boot();
    cluster.wait_scheduler();
    cluster.wait_for("(select not active from cron.job where jobname = 'missed')");
    assert_eq!(cluster.skipped(past), ["missed 10:10 to 10:10: 1"]);
    assert_eq!(cluster.story(past), Vec::<String>::new());
}

#[test]
fn after_completion_counts_from_the_end_of_runs() {
    let cluster = Cluster::start();
    let job = cluster.schedule("drain", "every 2 seconds after completion", "select pg_sleep(1)");
    let before = cluster.finished_runs(job, 3);
    cluster.restart();
    let runs = cluster.finished_runs(job, before.len() + 3);
    for pair in runs.windows(2) {
        let pause = pair[1].scheduled_for.unwrap().duration_since(pair[0].end_time.unwrap());
        // Both are rounded to microseconds.
        assert!(
            pause.unwrap() + Duration::from_micros(1) >= Duration::from_secs(2),
            "two seconds after the end: {pair:#?}"
        );
        assert!(pair[1].start_time >= pair[1].scheduled_for, "{pair:#?}");
    }
    assert!(runs.iter().all(|run| run.trigger == "schedule"), "{runs:#?}");
}
