use super::*;
use crate::run::SkipReason;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A daily job with which nothing is wrong.
fn healthy() -> Facts {
    Facts {
        now: NOW,
        superuser: true,
        owns: true,
        server: Server {
            in_recovery: false,
            launch_active_jobs: true,
            superuser_jobs: true,
            scheduler: Scheduler::Running(9, 0),
            blind: None,
            database: "postgres".to_owned(),
            named: vec!["postgres".to_owned()],
        },
        job: Job {
            id: 7,
            is_http: false,
            database: "postgres".to_owned(),
            username: "ann".to_owned(),
            active: true,
            other_node: None,
            pause: None,
            queue: None,
            condition: None,
            overlaps: false,
            no_room: None,
        },
        owner: Owner::Role { can_log_in: true, superuser: false, may_connect: true },
        database: Some(Database { open: true }),
        times: at(Some(3_600), None),
        limits: Limits { most: 32, most_workers: 8, most_requests: 100, ..Limits::default() },
        holders: Vec::new(),
        runs: Vec::new(),
        upstreams: Vec::new(),
        secrets: Vec::new(),
        attempts: Vec::new(),
        skips: Vec::new(),
        requests: Vec::new(),
    }
}

fn seconds(count: i64) -> Timestamp {
    NOW.plus(count * Timestamp::SECOND)
}

fn at(next: Option<i64>, due: Option<i64>) -> Times {
    Times::At {
        schedule: "@daily".to_owned(),
        timezone: None,
        next: next.map(seconds),
        closed: None,
        due: due.map(|ago| seconds(-ago)),
    }
}

fn find(facts: &Facts) -> Vec<Finding> {
    diagnose(facts, &|at| format!("T{:+}", at.since(NOW) / Timestamp::SECOND))
}

fn words(facts: &Facts) -> Vec<&'static str> {
    find(facts).iter().map(|found| found.finding).collect()
}

fn holder(pid: i32, may_end: bool) -> Holder {
    Holder { pid, role: Some("bob".to_owned()), own: false, may_end }
}

fn run() -> Run {
    Run {
        id: 70,
        pid: 700,
        since: seconds(-60),
        waits_for: Some("IO: DataFileRead".to_owned()),
        blockers: Vec::new(),
        silence: None,
    }
}

fn attempt(succeeded: bool) -> Attempt {
    Attempt {
        id: 60,
        succeeded,
        outcome: if succeeded { "succeeded" } else { "failed" }.to_owned(),
        sqlstate: Some("22012".to_owned()),
        message: Some("ERROR:  division by zero\nCONTEXT:  x".to_owned()),
        at: seconds(-10),
        resolved: false,
        may_retry: true,
    }
}

#[test]
fn a_healthy_job_has_one_finding() {
    let mut facts = healthy();
    let ok = |detail: &str| {
        vec![Finding {
            severity: Severity::Info,
            finding: "nothing wrong",
            detail: detail.to_owned(),
            remedy: None,
        }]
    };
    assert_eq!(find(&facts), ok("It runs next at T+3600."));
    // Its last run succeeded, and another one is under way.
    facts.attempts = vec![attempt(true), attempt(false)];
    facts.runs = vec![run()];
    assert_eq!(find(&facts), ok("It has been running since T-60. It runs next at T+3600."));
    facts.times = at(None, None);
    let after = "It has been running since T-60. It runs again once the run under way has ended.";
    assert_eq!(find(&facts), ok(after));
    facts.runs.clear();
    facts.times = Times::Startup;
    assert_eq!(find(&facts), ok("It runs when the server starts."));
    // A moment after its instant nobody wonders yet.
    facts.times = at(Some(3_600), Some(1));
    assert_eq!(words(&facts), ["nothing wrong"]);
}

#[test]
fn what_keeps_all_jobs_from_running_comes_first() {
    let mut facts = healthy();
    facts.server.scheduler = Scheduler::Running(9, 40 * Timestamp::SECOND);
    facts.server.launch_active_jobs = false;
    facts.job.other_node = Some("far".to_owned());
    facts.job.active = false;
    facts.job.pause = Some(Pause { until: None, by: None, reason: None });
    facts.owner = Owner::Missing;
    facts.times = Times::BadSchedule { schedule: "x'y".to_owned(), why: "Bad.".to_owned() };
    facts.attempts = vec![attempt(false)];
    let all = [
        "scheduler late",
        "jobs switched off",
        "remote node",
        "inactive",
        "paused",
        "owner missing",
        "bad schedule",
        "failing",
    ];
    assert_eq!(words(&facts), all);
    let found = find(&facts);
    assert_eq!(found[6].remedy.as_deref(), Some("SELECT * FROM cron.validate_schedule('x''y')"));
    assert_eq!(found[3].remedy.as_deref(), Some("SELECT cron.set_job(7, '{\"active\":true}')"));
    // Nothing is offered that only a superuser can do.
    facts.superuser = false;
    let remedies: Vec<bool> = find(&facts).iter().map(|found| found.remedy.is_some()).collect();
    assert_eq!(remedies, [false, false, false, true, true, false, true, true]);
    facts.server.in_recovery = true;
    assert_eq!(words(&facts)[0], "standby");
    assert!(!words(&facts).contains(&"scheduler late"), "there is to be none");
}

#[test]
fn a_job_there_is_no_room_for_does_not_run_and_its_owner_hears_why() {
    let mut facts = healthy();
    facts.job.no_room = Some(64 * 1024 * 1024);
    // What is due waits for that, whatever else is in its way.
    facts.times = at(Some(3_600), Some(30));
    facts.limits.running = 32;
    assert_eq!(words(&facts), ["no room"]);
    let found = find(&facts).remove(0);
    assert_eq!((found.severity, found.remedy), (Severity::Error, None));
    assert!(
        found.detail.contains("all jobs of role \"ann\" may take up 64 MB"),
        "{}",
        found.detail
    );
}

/// At the limits of `cron.health`.
#[test]
fn a_scheduler_is_late_from_the_same_moment_on_as_in_health() {
    let mut facts = healthy();
    for (overslept, severity, remedy) in [
        (4_999_999, None, None),
        (5_000_000, Some(Severity::Warning), None),
        (29_999_999, Some(Severity::Warning), None),
        (30_000_000, Some(Severity::Error), Some("SELECT pg_catalog.pg_terminate_backend(9)")),
    ] {
        facts.server.scheduler = Scheduler::Running(9, overslept);
        let late = find(&facts).into_iter().find(|found| found.finding == "scheduler late");
        assert_eq!(late.as_ref().map(|late| late.severity), severity, "{overslept}");
        assert_eq!(late.and_then(|late| late.remedy).as_deref(), remedy, "{overslept}");
    }
    assert!(find(&facts)[0].detail.contains("process 9, has had something to look at since T-30 "));
    facts.superuser = false;
    assert_eq!(find(&facts)[0].remedy, None);
}

#[test]
fn a_scheduler_that_cannot_read_its_tables_runs_what_it_knows() {
    let mut facts = healthy();
    let why = Some("column q.max does not exist\nLINE 1".to_owned());
    facts.server.blind = Some(Blind { since: seconds(-4), why: why.clone() });
    assert_eq!(words(&facts), ["nothing wrong"]);
    facts.server.blind = Some(Blind { since: seconds(-5), why });
    assert_eq!(words(&facts), ["scheduler blind", "next run"]);
    let found = find(&facts).remove(0);
    assert_eq!((found.severity, found.remedy), (Severity::Warning, None));
    assert!(found.detail.contains("tables since T-5; "), "{}", found.detail);
    assert!(found.detail.ends_with("yet: column q.max does not exist."), "{}", found.detail);
    // What waits has its own reason.
    facts.times = at(Some(3_600), Some(30));
    facts.limits.running = 32;
    assert_eq!(words(&facts), ["scheduler blind", "cap reached", "next run"]);
    // Who may not know why is told that it is so.
    facts.server.blind = Some(Blind { since: seconds(-60), why: None });
    assert!(find(&facts)[0].detail.ends_with("does not count yet."));
    facts.server.scheduler = Scheduler::Absent;
    facts.server.blind = None;
    assert_eq!(words(&facts)[0], "no scheduler");
}

#[test]
fn a_run_is_in_the_way_only_if_something_waits() {
    let mut facts = healthy();
    facts.runs = vec![run()];
    facts.times = at(Some(3_600), Some(30));
    let found = find(&facts);
    assert_eq!(words(&facts), ["still running", "next run"]);
    assert!(found[0].detail.contains("since T-60; the next waits"), "{found:?}");
    assert!(found[0].detail.contains("It waits for IO: DataFileRead."), "{found:?}");
    assert_eq!(found[0].remedy.as_deref(), Some("SELECT cron.cancel_run(70)"));
    facts.job.overlaps = true;
    assert_eq!(words(&facts), ["waiting", "next run"]);
    // Who blocks it is named in any case; and ended, if who asks may.
    facts.times = at(Some(3_600), None);
    for (may_end, remedy) in
        [(true, "SELECT pg_catalog.pg_terminate_backend(8)"), (false, "SELECT cron.cancel_run(70)")]
    {
        facts.runs[0].blockers = vec![holder(8, may_end)];
        let found = find(&facts);
        assert_eq!(found[0].finding, "run blocked");
        assert!(found[0].detail.ends_with("It waits for process 8 of role \"bob\"."), "{found:?}");
        assert_eq!(found[0].remedy.as_deref(), Some(remedy));
    }
    facts.runs[0].blockers.clear();
    facts.runs[0].waits_for = Some("IPC: MessageQueueReceive".to_owned());
    let mut silence = Silence { lasts: 95_400_000, limit: 90_000_000, spoke: true };
    for (spoke, is_http, calls, advice) in [
        (
            true,
            false,
            "has not called cron.heartbeat again",
            "have it call that more often, or raise",
        ),
        (
            false,
            false,
            "has never called cron.heartbeat",
            "have it call that, or raise stuck_after.",
        ),
        (false, true, "waits for its answer", "if it is to take that long, raise stuck_after."),
    ] {
        silence.spoke = spoke;
        facts.job.is_http = is_http;
        facts.runs[0].silence = Some(silence);
        let found = find(&facts);
        assert_eq!(found[0].finding, "run stuck");
        let detail = &found[0].detail;
        assert!(
            detail.contains("no sign of life for 00:01:35, and stuck_after is 00:01:30: "),
            "{detail}"
        );
        for part in [
            calls,
            advice,
            "It waits for IPC: MessageQueueReceive. End it with the remedy if it hangs",
        ] {
            assert!(detail.contains(part), "{detail}");
        }
        assert_eq!(found[0].remedy.as_deref(), Some("SELECT cron.cancel_run(70)"));
    }
    facts.job.is_http = false;
    assert_eq!(words(&facts), ["run stuck", "next run"]);
}

#[test]
fn a_limit_matters_only_if_something_waits() {
    let mut facts = healthy();
    facts.limits = Limits { running: 32, of_role: 2, most_of_role: 2, workers: 8, ..facts.limits };
    facts.job.queue = Some(Queue { name: "q".to_owned(), exists: true, running: 1, most: Some(1) });
    assert_eq!(words(&facts), ["nothing wrong"]);
    facts.times = at(Some(3_600), Some(30));
    assert_eq!(words(&facts), ["cap reached", "role cap reached", "queue full", "next run"]);
    facts.limits.running = 4;
    facts.limits.of_role = 1;
    facts.job.queue = None;
    assert_eq!(words(&facts), ["no worker slot", "next run"]);
    // Requests need no worker.
    facts.job.is_http = true;
    assert_eq!(words(&facts), ["waiting", "next run"]);
    facts.limits.requests = 100;
    assert_eq!(words(&facts), ["cap reached", "next run"]);
    facts.superuser = true;
    let remedy = "ALTER SYSTEM SET cron.http_max_requests = 200";
    assert_eq!(find(&facts)[0].remedy.as_deref(), Some(remedy));
    // What cannot run does not wait for its turn.
    facts.job.active = false;
    assert_eq!(words(&facts), ["inactive"]);
    // The last one is not for everybody.
    let mut facts = healthy();
    facts.times = at(Some(3_600), Some(30));
    facts.limits = Limits { workers: 7, short_of_slots: true, ..facts.limits };
    assert_eq!(words(&facts), ["no worker slot", "next run"]);
    facts.limits.short_of_slots = false;
    assert_eq!(words(&facts), ["waiting", "next run"]);
}

#[test]
fn a_queue_that_is_missing_limits_nothing() {
    let mut facts = healthy();
    facts.job.queue =
        Some(Queue { name: "it's".to_owned(), exists: false, running: 9, most: Some(1) });
    facts.times = at(Some(3_600), Some(30));
    let found = find(&facts).remove(0);
    assert_eq!((found.severity, found.finding), (Severity::Warning, "queue missing"));
    assert_eq!(found.detail, "Its queue \"it's\" does not exist, so nothing limits it.");
    assert_eq!(found.remedy.as_deref(), Some("SELECT cron.create_queue('it''s')"));
    assert!(!words(&facts).contains(&"queue full"), "{:?}", words(&facts));
}

#[test]
fn upstreams_that_do_not_succeed() {
    let mut facts = healthy();
    let upstream = |name: &str, id, active, status: Option<&str>| Upstream {
        name: name.to_owned(),
        id,
        active,
        last_status: status.map(str::to_owned),
    };
    facts.upstreams = vec![
        upstream("gone", None, false, None),
        upstream("off", Some(1), false, Some("succeeded")),
        upstream("bad", Some(2), true, Some("failed")),
        upstream("good", Some(3), true, Some("succeeded")),
    ];
    let found = find(&facts);
    assert_eq!(words(&facts), ["upstream missing", "upstream failed", "upstream failed"]);
    let without = "SELECT cron.set_job(7, '{\"run_after\":[\"off\",\"bad\",\"good\"]}')";
    assert_eq!(found[0].remedy.as_deref(), Some(without));
    assert_eq!(found[2].remedy.as_deref(), Some("SELECT * FROM cron.diagnose(2)"));
    facts.upstreams = vec![upstream("good", Some(3), true, Some("succeeded"))];
    facts.times = at(Some(3_600), Some(30));
    assert_eq!(words(&facts), ["waits for upstream", "next run"]);
}

#[test]
fn skips_are_told_by_reason() {
    let mut facts = healthy();
    let skip = |reason: SkipReason, first: i64, last: i64, count| Skip {
        reason: reason.as_str().to_owned(),
        first: seconds(first),
        last: seconds(last),
        count,
    };
    facts.job.condition = Some("x > 1".to_owned());
    for (reason, finding, why, again) in [
        (SkipReason::Condition, "condition false", "its run_if was not true then.", false),
        (SkipReason::Upstream, "upstream failed", "a job it starts after had not succeeded.", true),
        (SkipReason::Missed, "missed", "or its scheduler, was down then.", true),
        (SkipReason::ServerCrashed, "missed", "or its scheduler, was down then.", true),
        (SkipReason::Overlap, "overlap", "an earlier run was still going on.", false),
        (SkipReason::Held, "was held", "it was held then.", true),
        (SkipReason::Paused, "was paused", "it was paused then.", true),
        (SkipReason::Inactive, "was inactive", "it was switched off when they waited.", false),
        (SkipReason::Window, "skipped", "its run_window was closed.", false),
        (SkipReason::Calendar, "skipped", "a calendar excluded that day.", false),
    ] {
        facts.skips = vec![skip(reason, -9, -8, 1)];
        assert_eq!(words(&facts), [finding, "next run"], "{reason:?}");
        let found = find(&facts).remove(0);
        assert!(found.detail.starts_with("1 occurrence was skipped, the last at T-8: "));
        assert!(found.detail.contains(why), "{found:?}");
        let backfill = found.remedy.as_deref() == Some("SELECT cron.backfill(7, 'T-9', 'T-8')");
        assert_eq!(backfill, again, "{found:?}");
    }
    facts.skips = SkipReason::ALL.iter().map(|&reason| skip(reason, -9, -9, 1)).collect();
    let found = find(&facts);
    assert_eq!(found.iter().filter(|one| one.finding == "next run").count(), 1);
    assert_eq!(found.len(), SkipReason::ALL.len() + 1, "a finding for each: {found:#?}");
    facts.skips = vec![
        skip(SkipReason::Condition, -20, -10, 11),
        skip(SkipReason::Missed, -300, -200, 2),
        skip(SkipReason::Condition, -40, -30, 2),
    ];
    let found = find(&facts);
    assert_eq!(words(&facts), ["condition false", "missed", "next run"]);
    assert!(found[0].detail.starts_with("13 occurrences were skipped, the last at T-10:"));
    assert_eq!(found[0].remedy.as_deref(), Some("SELECT (\nx > 1\n)"));
    assert_eq!(found[1].remedy.as_deref(), Some("SELECT cron.backfill(7, 'T-300', 'T-200')"));
    facts.skips = vec![Skip { reason: "whim".to_owned(), ..skip(SkipReason::Window, -1, -1, 1) }];
    assert!(find(&facts)[0].detail.ends_with("at T-1: whim."));
}

/// Whoever runs it does so with his own rights.
#[test]
fn a_condition_is_given_to_its_owner_alone() {
    let mut facts = healthy();
    let reason = SkipReason::Condition.as_str().to_owned();
    facts.skips = vec![Skip { reason, first: seconds(-9), last: seconds(-8), count: 1 }];
    let remedy = |facts: &Facts| find(facts).remove(0).remedy;
    assert_eq!(remedy(&facts), None, "it has none any more");
    facts.job.condition = Some("ann.f() -- on weekdays".to_owned());
    assert_eq!(remedy(&facts).as_deref(), Some("SELECT (\nann.f() -- on weekdays\n)"));
    facts.job.condition = Some("f('x', '\\') -- on weekdays".to_owned());
    let shown = "SELECT E'f(''x'', ''\\\\'') -- on weekdays' AS run_if";
    for (owns, superuser, database) in
        [(false, true, "postgres"), (false, false, "postgres"), (true, true, "elsewhere")]
    {
        (facts.owns, facts.superuser) = (owns, superuser);
        facts.job.database = database.to_owned();
        assert_eq!(remedy(&facts).as_deref(), Some(shown), "{owns} {superuser} {database}");
    }
}

#[test]
fn failures_in_a_row_are_counted() {
    let mut facts = healthy();
    facts.attempts = vec![attempt(false)];
    let found = find(&facts);
    assert_eq!(
        found[0].detail,
        "The last attempt ended as failed at T-10 with SQLSTATE 22012: ERROR:  division by zero."
    );
    assert_eq!(found[0].remedy.as_deref(), Some("SELECT cron.retry_run(60)"));
    facts.attempts = vec![attempt(false), attempt(false), attempt(true)];
    assert!(find(&facts)[0].detail.starts_with("The last 2 attempts failed, the newest failed"));
    facts.attempts.pop();
    assert!(find(&facts)[0].detail.starts_with("All of the last 2 attempts failed"));
    facts.attempts[0].may_retry = false;
    assert_eq!(find(&facts)[0].remedy, None);
}

#[test]
fn what_was_cancelled_or_resolved_is_no_failure() {
    let mut facts = healthy();
    let cancelled = Attempt { outcome: "cancelled".to_owned(), ..attempt(false) };
    let resolved = Attempt { resolved: true, ..attempt(false) };
    facts.attempts = vec![cancelled.clone(), attempt(true)];
    assert_eq!(words(&facts), ["cancelled", "next run"]);
    assert_eq!(find(&facts)[0].remedy.as_deref(), Some("SELECT cron.retry_run(60)"));
    facts.attempts = vec![cancelled, attempt(false), resolved.clone(), attempt(false)];
    assert_eq!(words(&facts), ["cancelled", "failing", "next run"]);
    assert!(find(&facts)[1].detail.starts_with("The last attempt ended as failed"));
    facts.attempts = vec![resolved, attempt(false)];
    assert_eq!(words(&facts), ["nothing wrong"]);
}

#[test]
fn a_job_that_has_no_time() {
    let mut facts = healthy();
    facts.times = at(None, None);
    assert_eq!(words(&facts), ["never fires"]);
    // Paused for ever, or between two runs: not its schedule's fault.
    facts.job.pause = Some(Pause { until: None, by: None, reason: None });
    assert_eq!(words(&facts), ["paused"]);
    let Times::At { closed, next, .. } = &mut facts.times else { panic!("instants") };
    (*closed, *next) = (Some((SkipReason::Window, Some(seconds(60)))), Some(seconds(60)));
    facts.job.pause = None;
    let found = find(&facts);
    assert_eq!(words(&facts), ["outside its window", "next run"]);
    assert_eq!(found[0].remedy.as_deref(), Some("SELECT cron.run_now(7, force => true)"));
}
