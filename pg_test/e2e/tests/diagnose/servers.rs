//! What is the server's fault and not the job's.

use pg_tock_test::{Cluster, signal};
use rustix::process::Signal;

use super::{ask, daily, first, remedied, some, until, well};

#[test]
fn a_server_without_a_scheduler() {
    let cluster = Cluster::start();
    let _ = daily(&cluster, "job");
    cluster.schedule("pace", "1 second", "select 1");
    cluster.wait_known();
    let scheduler = cluster.wait_scheduler();
    signal(scheduler, Signal::STOP);
    // As severe as cron.health has it, and nobody is to be ended who may wake up by himself.
    let found = first(&cluster, "job", "scheduler late");
    assert_eq!((found.severity.as_str(), found.remedy), ("warning", None));
    assert_eq!(cluster.one::<String>("select status from cron.health"), "warning");
    let found = until(&cluster, "job", "too late", |_, found| {
        found.get("scheduler late").filter(|late| late.severity == "error").cloned()
    });
    assert_eq!(cluster.one::<String>("select status from cron.health"), "critical");
    assert_eq!(found.remedy, Some(format!("SELECT pg_catalog.pg_terminate_backend({scheduler})")));
    // Nobody starts another one for a while.
    let launcher = cluster.pid_of("pg_tock launcher");
    signal(launcher, Signal::STOP);
    cluster.sql(&found.remedy.unwrap());
    signal(scheduler, Signal::CONT);
    assert_eq!(first(&cluster, "job", "no scheduler").severity, "error");
    signal(launcher, Signal::CONT);
    let _ = well(&cluster, "job");
    cluster.conf("cron.database_name", "template1");
    cluster.restart();
    let found = remedied(&cluster, "job", "no scheduler", "error");
    assert!(found.detail.contains("cron.database_name does not name"), "{found:?}");
    cluster.restart();
    let _ = well(&cluster, "job");
}

#[test]
fn a_scheduler_that_cannot_read_its_tables() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let _ = daily(&cluster, "job");
    cluster.schedule_as("ann", "hers", "@daily", "select 1");
    let _ = well(&cluster, "job");
    // As if the tables were another release's.
    cluster.sql("alter table cron.queue rename column max_start_rate to rate; create role news");
    let found = some(&cluster, "job", "scheduler blind");
    assert_eq!((found.severity.as_str(), &found.remedy), ("warning", &None));
    assert!(found.detail.contains("max_start_rate"), "{found:?}");
    // Who sees only his own is told that it is so, and not what the server says.
    let (words, found) = ask(&mut cluster.client_as("ann"), "hers");
    assert_eq!(words[0], "scheduler blind");
    let detail = &found["scheduler blind"].detail;
    assert!(!detail.contains("max_start_rate"), "{detail}");
    cluster.sql("alter table cron.queue rename column rate to max_start_rate");
    let _ = well(&cluster, "job");
}

#[test]
fn a_server_without_the_library() {
    let cluster = Cluster::start();
    cluster.role("ann");
    let _ = daily(&cluster, "job");
    cluster.conf("shared_preload_libraries", "auto_explain");
    // A setting of a library that is not there is no sign of it.
    cluster.conf("cron.executor_idle_timeout", "5");
    cluster.restart();
    let (words, found) = ask(&mut cluster.client_as("ann"), "job");
    assert_eq!(words, ["not preloaded"]);
    assert_eq!(found["not preloaded"].remedy, None, "she cannot");
    let found = remedied(&cluster, "job", "not preloaded", "error");
    assert!(found.remedy.unwrap().ends_with("= 'auto_explain', 'pg_tock'"));
    cluster.restart();
    let _ = well(&cluster, "job");
}

#[test]
fn a_standby() {
    let primary = Cluster::start();
    let _ = daily(&primary, "job");
    let standby = primary.standby();
    standby.catch_up_with(&primary);
    let found = remedied(&standby, "job", "standby", "error");
    assert_eq!(found.remedy.as_deref(), Some("SELECT pg_catalog.pg_promote()"));
    let _ = well(&standby, "job");
}

#[test]
fn a_server_without_a_free_slot() {
    let cluster = Cluster::builder().max_worker_processes(4).start();
    cluster.role("ann");
    cluster.role("bob");
    let endless = "select pg_sleep(3600)";
    let long = cluster.schedule_as("ann", "long", "1 second", endless);
    let _ = cluster.run_in_status(long, "running");
    let _ = cluster.schedule_as("bob", "late", "1 second", "select 1");
    let found = remedied(&cluster, "late", "no worker slot", "warning");
    assert!(found.detail.contains("4 worker slots"), "{found:?}");
    cluster.restart();
    let _ = well(&cluster, "late");
}

/// From eight on a slot is kept for roles that have no run yet.
#[test]
fn a_role_whose_runs_may_not_have_the_last_slot() {
    for slots in [8, 12] {
        let cluster = Cluster::builder().max_worker_processes(slots).start();
        cluster.role("ann");
        for n in 0..slots {
            let _ = cluster.schedule_as(
                "ann",
                &format!("long {n}"),
                "1 second",
                "select pg_sleep(3600)",
            );
        }
        cluster.wait_for("(select short_of_slots from cron.health)");
        let _ = cluster.schedule_as("ann", "late", "1 second", "select 1");
        let found = remedied(&cluster, "late", "no worker slot", "warning");
        assert!(found.detail.contains(&format!("{slots} worker slots")), "{found:?}");
    }
}
