//! Every kind of job there is, and what each of them owes for a run that succeeded.

use crate::world::VICTIM;
use serde_json::{Value, json};

/// What a run's effects are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owes {
    /// That many rows if it succeeded, none otherwise.
    ExactlyOnce(i32),
    /// That many rows if it succeeded, each at most once otherwise.
    AtMostOnce(i32),
    /// As before, in database `elsewhere`.
    Elsewhere(i32),
    /// That many requests if it succeeded, each at most once otherwise.
    Request(i32),
    /// None, ever.
    Nothing,
    /// Its effects cannot be looked at, its rows can.
    Unknown,
}

/// Jobs that are alike.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) count: i64,
    pub(crate) schedules: &'static [&'static str],
    pub(crate) command: &'static str,
    pub(crate) owes: Owes,
    pub(crate) options: fn(i64) -> Value,
}

const PLAIN: fn(i64) -> Value = |_| json!({});

/// Together they want fewer executors at a time than there are worker slots.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "one row",
        count: 40,
        schedules: &["1 second", "2 seconds", "every 3 seconds", "seconds: */2 * * * * *"],
        command: "insert into effect (jobid, runid, at, part) \
                  select jobid, runid, scheduled_for, 1 from cron.current_run()",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "on_missed": (["skip", "once", "all"][index(n % 3)]), "missed_window": "2 minutes" }),
    },
    Kind {
        name: "several",
        count: 30,
        schedules: &["2 seconds", "5 seconds", "every 7 seconds"],
        command: "select note(1); select note(2); select note(3)",
        owes: Owes::ExactlyOnce(3),
        options: |n| json!({ "on_missed": (["all", "once"][index(n % 2)]), "missed_window": "1 minute" }),
    },
    Kind {
        name: "moment",
        count: 20,
        schedules: &["2 seconds", "3 seconds"],
        command: "select note(1); select pg_sleep(0.05); select note(2)",
        owes: Owes::ExactlyOnce(2),
        options: PLAIN,
    },
    Kind {
        name: "call",
        count: 20,
        schedules: &["3 seconds", "5 seconds"],
        command: "call batches()",
        owes: Owes::AtMostOnce(3),
        options: |n| json!({ "on_missed": (["skip", "all"][index(n % 2)]), "missed_window": "30 seconds" }),
    },
    Kind {
        name: "block",
        count: 20,
        schedules: &["3 seconds", "every 5 seconds"],
        command: "begin; select note(1); commit; begin; select note(2); commit",
        owes: Owes::AtMostOnce(2),
        options: PLAIN,
    },
    Kind {
        name: "do",
        count: 10,
        schedules: &["4 seconds"],
        command: "do $$ begin perform note(1); commit; perform note(2); end $$",
        owes: Owes::AtMostOnce(2),
        options: PLAIN,
    },
    Kind {
        name: "failing",
        count: 15,
        schedules: &["2 seconds", "3 seconds"],
        command: "select note(1); select 1 / 0",
        owes: Owes::Nothing,
        options: PLAIN,
    },
    Kind {
        name: "failing at commit",
        count: 5,
        schedules: &["3 seconds"],
        command: "select note(1); insert into child values (1)",
        owes: Owes::Nothing,
        options: PLAIN,
    },
    Kind {
        name: "left open",
        count: 3,
        schedules: &["3 seconds"],
        command: "begin; select note(1)",
        owes: Owes::Nothing,
        options: PLAIN,
    },
    Kind {
        name: "long",
        count: 8,
        schedules: &["1 second", "5 seconds"],
        command: "select note(1); select pg_sleep(1.4)",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "long vacuum",
        count: 2,
        schedules: &["3 seconds"],
        command: "vacuum child",
        owes: Owes::AtMostOnce(0),
        options: PLAIN,
    },
    Kind {
        name: "elsewhere",
        count: 15,
        schedules: &["2 seconds", "5 seconds"],
        command: "select note(1); select note(2)",
        owes: Owes::Elsewhere(2),
        options: |n| json!({ "database": "elsewhere", "on_missed": (["skip", "all"][index(n % 2)]), "missed_window": "30 seconds" }),
    },
    Kind {
        name: "request",
        count: 12,
        schedules: &["1 second", "2 seconds", "5 seconds"],
        command: "",
        owes: Owes::Request(1),
        options: |n| json!({ "max_attempts": 1 + n % 3, "retry_delay": "300 milliseconds", "timeout": "5 seconds", "on_missed": (["skip", "all"][index(n % 2)]), "missed_window": "30 seconds" }),
    },
    Kind {
        name: "request if",
        count: 4,
        schedules: &["2 seconds"],
        command: "",
        owes: Owes::Request(1),
        options: |n| json!({ "run_if": "random() < 0.5", "on_overlap": (["queue", "replace"][index(n % 2)]), "timeout": "5 seconds" }),
    },
    Kind {
        name: "minute",
        count: 10,
        schedules: &["* * * * *", "*/2 * * * *", "every 1 minute", "every 10 minutes"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "on_missed": (["skip", "once", "all"][index(n % 3)]) }),
    },
    Kind {
        name: "closed",
        count: 6,
        schedules: &["1 second", "* * * * *"],
        command: "select note(1)",
        owes: Owes::Nothing,
        options: |_| json!({ "only_on": ["never"] }),
    },
    Kind {
        name: "window",
        count: 6,
        schedules: &["1 second", "2 seconds"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "run_window": (["00:00-12:05", "12:05-24:00"][index(n % 2)]), "on_missed": "all", "missed_window": "1 minute" }),
    },
    Kind {
        name: "jitter",
        count: 6,
        schedules: &["3 seconds", "* * * * *"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "jitter": "2 seconds" }),
    },
    Kind {
        name: "after completion",
        count: 6,
        schedules: &["every 2 seconds after completion"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "reboot",
        count: 3,
        schedules: &["@reboot"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "checkpoint",
        count: 5,
        schedules: &["3 seconds"],
        command: "select resume_at_checkpoint(); select cron.log('info', 'done'); select cron.heartbeat(50, 'half')",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "again",
        count: 5,
        schedules: &["5 seconds"],
        command: "select in_pieces()",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "fresh session",
        count: 3,
        schedules: &["4 seconds"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "retried",
        count: 10,
        schedules: &["3 seconds", "5 seconds"],
        command: "select note(1); select 1 / (random() < 0.6)::int; select note(2)",
        owes: Owes::ExactlyOnce(2),
        options: |n| json!({ "max_attempts": 3 + n % 2, "retry_delay": "300 milliseconds", "retry_on": "any", "on_missed": (["skip", "all"][index(n % 2)]), "missed_window": "1 minute" }),
    },
    Kind {
        name: "retried call",
        count: 5,
        schedules: &["5 seconds"],
        command: "call batches()",
        owes: Owes::AtMostOnce(3),
        options: |_| json!({ "max_attempts": 3, "retry_delay": "300 milliseconds", "retry_on": "any", "retry_on_crash": true }),
    },
    Kind {
        name: "timed out",
        count: 4,
        schedules: &["2 seconds", "3 seconds"],
        command: "select note(1); select pg_sleep(30)",
        // Should the clock be set forward, the sleep ends first.
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "timeout": (["100 milliseconds", "600 milliseconds"][index(n % 2)]) }),
    },
    Kind {
        name: "replaced",
        count: 2,
        schedules: &["1 second"],
        command: "select note(1); select pg_sleep(0.5 + random())",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "on_overlap": "replace" }),
    },
    Kind {
        name: "overlapping",
        count: 1,
        schedules: &["1 second"],
        command: "insert into effect (jobid, runid, at, part, place) \
                  select jobid, runid, scheduled_for, 1, place_of(jobid::int, 2) from cron.current_run(); \
                  select pg_sleep(2.2 * random())",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "on_overlap": "allow", "max_concurrency": 2 }),
    },
    Kind {
        name: "skipping",
        count: 2,
        schedules: &["1 second"],
        command: "select note(1); select pg_sleep(2 * random())",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "on_overlap": "skip" }),
    },
    Kind {
        name: "queued",
        count: 6,
        schedules: &["3 seconds"],
        // As many as somebody lets it have in the course of time.
        command: "select place_of(-1, 3), note(1); select pg_sleep(0.15)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "queue": "narrow", "priority": n % 3 }),
    },
    Kind {
        name: "paired",
        count: 6,
        schedules: &["2 seconds"],
        command: "insert into effect (jobid, runid, at, part, place) \
                  select jobid, runid, scheduled_for, 1, place_of(-2, 2) from cron.current_run(); \
                  select pg_sleep(0.1)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "queue": "pair", "priority": n % 3 }),
    },
    Kind {
        name: "conditional",
        count: 8,
        schedules: &["1 second", "2 seconds"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "run_if": "random() < 0.5" }),
    },
    Kind {
        name: "upstream",
        count: 6,
        schedules: &["2 seconds"],
        command: "select note(1); select 1 / (random() < 0.8)::int",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "max_attempts": 1 + n % 2, "retry_delay": "200 milliseconds", "retry_on": "any" }),
    },
    Kind {
        name: "downstream",
        count: 6,
        schedules: &["2 seconds"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "run_after": [format!("upstream {n}")] }),
    },
    Kind {
        name: "silent",
        count: 2,
        schedules: &["3 seconds"],
        command: "select note(1); select pg_sleep(30)",
        // As with a timeout.
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "stuck_after": "400 milliseconds", "on_stuck": "cancel" }),
    },
    Kind {
        name: "settings",
        count: 2,
        schedules: &["2 seconds"],
        command: "select note(current_setting('chaos.parts')::int)",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "settings": { "chaos.parts": "1" } }),
    },
    Kind {
        name: "at an instant",
        count: 4,
        schedules: &[AT],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |n| json!({ "on_missed": (["skip", "once"][index(n % 2)]) }),
    },
    Kind {
        name: "handler",
        count: 1,
        schedules: &["0 0 29 2 *"],
        command: "select note(1) where current_setting('cron.alert') <> ''",
        owes: Owes::ExactlyOnce(1),
        options: PLAIN,
    },
    Kind {
        name: "alerting",
        count: 1,
        schedules: &["2 seconds"],
        command: "select note(1); select 1 / (random() < 0.5)::int",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "alert_after_failures": 1, "alert_job": "handler 0" }),
    },
];

/// Stands for an instant that is soon.
pub(crate) const AT: &str = "at";

/// Jobs that need what gets dropped.
pub(crate) const VICTIMS: &[Kind] = &[
    Kind {
        name: "of a victim",
        count: 10,
        schedules: &["2 seconds"],
        command: "select note(1)",
        owes: Owes::ExactlyOnce(1),
        options: |_| json!({ "username": VICTIM }),
    },
    Kind {
        name: "in a victim",
        count: 10,
        schedules: &["2 seconds"],
        command: "select note(1)",
        owes: Owes::Unknown,
        options: |_| json!({ "database": VICTIM }),
    },
];

pub(crate) fn index(n: i64) -> usize {
    usize::try_from(n).expect("a small number")
}
