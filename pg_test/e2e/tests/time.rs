//! Clock changes of New York, lived through: what ran is what `cron.next_runs` had said.

use pg_tock_test::{Cluster, utc};

/// One job of every kind, by name: schedules of which each goes its own way through a clock change.
const JOBS: [(&str, &str); 14] = [
    ("each minute", "* * * * *"),
    ("each quarter", "*/15 * * * *"),
    ("each hour", "5 * * * *"),
    ("half past one", "30 1 * * *"),
    ("half past two", "30 2 * * *"),
    ("quarter past three", "15 3 * * *"),
    ("listed in a range", "10,40 1-3 * * *"),
    ("anchored", "every 10 minutes"),
    ("anchored oddly", "every 17 minutes 30 seconds"),
    ("half minute", "30 seconds"),
    ("with seconds", "seconds: 5-45/20 */10 1-3 * * *"),
    ("fixed with seconds", "seconds: 30 30 2 * * *"),
    ("of UTC", "CRON_TZ=UTC */20 5-8 * * *"),
    ("of Berlin", "CRON_TZ=Europe/Berlin 30 7,8 * * *"),
];

/// Instants of a job, in order, as a wall clock in New York shows them, and its offset then.
type Story = Vec<String>;

/// A server whose clock shows `start`, with all [`JOBS`] known to its scheduler.
fn server_at(start: i64) -> Cluster {
    let cluster = Cluster::builder()
        .clock(start)
        .conf("cron.timezone", "America/New_York")
        .conf("timezone", "America/New_York")
        .start();
    for (name, schedule) in JOBS {
        let _ = cluster.schedule(name, schedule, "select now()");
    }
    cluster.wait_for(&format!("(select count(*) = {} from cron.job_state)", JOBS.len()));
    cluster
}

/// What `cron.next_runs` says a job will do until `end`.
fn foretold(cluster: &Cluster, name: &str, end: i64) -> Story {
    cluster.column(&format!(
        "select to_char(run_at, 'HH24:MI:SSOF') from cron.job join cron.job_state using (jobid), \
              cron.next_runs(schedule, 1000, null, effective_from) \
         where jobname = '{name}' and run_at <= to_timestamp({end}) order by run_at"
    ))
}

/// What the ledger says it did until then.
fn told(cluster: &Cluster, name: &str, end: i64) -> Story {
    cluster.column(&format!(
        "select to_char(scheduled_for, 'HH24:MI:SSOF') from cron.job_run_details \
         where jobname = '{name}' and status = 'succeeded' and scheduled_for <= to_timestamp({end}) \
         order by scheduled_for"
    ))
}

/// Lets the clock go from now to `end`, and compares. Returns what each job did, by name.
fn live_through(cluster: &Cluster, end: i64) -> impl Fn(&str) -> Story {
    let jobs: Vec<(&str, Story)> =
        JOBS.iter().map(|(name, _)| (*name, foretold(cluster, name, end))).collect();
    cluster.advance_clock(
        end,
        "exists (select from cron.job_run_details where jobname = 'each minute' \
         and status = 'succeeded' and scheduled_for >= date_trunc('minute', now()))",
    );
    for (name, story) in &jobs {
        assert!(!story.is_empty(), "{name} has something to do");
        cluster.wait_for(&format!(
            "(select count(*) >= {} from cron.job_run_details where jobname = '{name}' \
             and status = 'succeeded')",
            story.len()
        ));
        assert_eq!(&told(cluster, name, end), story, "{name}");
    }
    move |name| {
        jobs.iter()
            .find(|(known, _)| *known == name)
            .map_or_else(Vec::new, |(_, story)| story.clone())
    }
}

#[test]
fn in_spring_an_hour_is_left_out_and_no_fixed_job_is() {
    let start = utc(2026, 3, 8, 6, 21, 0);
    let cluster = server_at(start);
    let story = live_through(&cluster, utc(2026, 3, 8, 8, 20, 0));
    // 01:59 is followed by 03:00.
    assert_eq!(story("half past one"), ["01:30:00-05"]);
    assert_eq!(story("half past two"), ["03:00:00-04"], "right after the gap");
    assert_eq!(story("fixed with seconds"), ["03:00:00-04"]);
    assert_eq!(story("quarter past three"), ["03:15:00-04"]);
    assert_eq!(story("each hour"), ["03:05:00-04", "04:05:00-04"]);
}

#[test]
fn in_autumn_an_hour_comes_twice_and_fixed_jobs_run_once() {
    let start = utc(2026, 11, 1, 4, 51, 0);
    let cluster = server_at(start);
    let story = live_through(&cluster, utc(2026, 11, 1, 8, 20, 0));
    assert_eq!(story("half past one"), ["01:30:00-04"], "in the first pass");
    assert_eq!(story("half past two"), ["02:30:00-05"]);
    assert_eq!(
        story("each hour"),
        ["01:05:00-04", "01:05:00-05", "02:05:00-05", "03:05:00-05"],
        "real time goes on"
    );
}
