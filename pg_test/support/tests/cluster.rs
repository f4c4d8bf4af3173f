//! The tools themselves, on a plain server without the extension.

use pg_tock_test::{
    Cluster, PATIENCE, cpu_time, is_alive, poll_until, sqlstate, stays_true, voluntary_switches,
};
use std::time::{Duration, Instant};

fn plain() -> Cluster {
    Cluster::builder().conf("shared_preload_libraries", "").without_extension().start()
}

#[test]
fn a_cluster_answers_and_leaves_nothing_behind() {
    let cluster = plain();
    assert_eq!(cluster.one::<i32>("select 6 * 7"), 42);
    let (dir, postmaster) = (cluster.dir().to_owned(), cluster.postmaster_pid());
    drop(cluster);
    assert!(!is_alive(postmaster));
    assert!(!dir.exists());
}

#[test]
fn data_survives_restart_crash_and_power_failure() {
    let cluster = plain();
    cluster.sql("create table t (n int)");
    for n in 1..=3 {
        cluster.sql(&format!("insert into t values ({n})"));
        match n {
            1 => cluster.restart(),
            2 => cluster.crash(),
            _ => {
                cluster.stop_immediately();
                cluster.boot();
            }
        }
    }
    assert_eq!(cluster.column::<i32>("select n from t order by n"), [1, 2, 3]);
}

#[test]
fn a_disk_is_slow_once_it_is_said_to_be() {
    let cluster = Cluster::builder()
        .conf("shared_preload_libraries", "")
        .conf("fsync", "on")
        .slow_disk()
        .without_extension()
        .start();
    cluster.sql("create table t (n int)");
    cluster.make_disk_slow(true);
    let began = Instant::now();
    for _ in 0..10 {
        cluster.sql("insert into t values (1)");
    }
    assert!(began.elapsed() >= Duration::from_millis(200), "an fsync for each, 20 ms each");
    cluster.sql("checkpoint");
    cluster.make_disk_slow(false);
    assert_eq!(cluster.one::<i64>("select count(*) from t"), 10);
}

#[test]
fn settings_roles_and_databases_are_as_asked() {
    let cluster = Cluster::builder()
        .conf("shared_preload_libraries", "")
        .max_worker_processes(3)
        .without_extension()
        .start();
    assert_eq!(cluster.one::<String>("show max_worker_processes"), "3");
    cluster.conf("work_mem", "5MB");
    cluster.reload();
    cluster.wait_for("current_setting('work_mem') = '5MB'");
    cluster.sql("create role ann login");
    cluster.sql("create database shop");
    let who = cluster.connect("shop", "ann").query_one("select current_user::text", &[]).unwrap();
    assert_eq!(who.get::<_, String>(0), "ann");
    assert_eq!(sqlstate(&cluster.try_sql("select 1/0").unwrap_err()), "22012");
}

#[test]
fn a_standby_follows_and_can_be_promoted() {
    let primary = plain();
    let standby = primary.standby();
    primary.sql("create table t as select 7 as n");
    standby.catch_up_with(&primary);
    assert_eq!(standby.one::<i32>("select n from t"), 7);
    assert_eq!(sqlstate(&standby.try_sql("delete from t").unwrap_err()), "25006");
    standby.promote();
    standby.sql("delete from t");
}

#[test]
fn processes_are_seen_and_ended() {
    let cluster = plain();
    let checkpointer = cluster.pid_of("checkpointer");
    assert!(is_alive(checkpointer));
    assert!(cpu_time(checkpointer) < PATIENCE);
    let mut victim = cluster.client();
    let pid: i32 = victim.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let before = voluntary_switches(pid);
    victim.batch_execute("select 1").unwrap();
    poll_until("a session that waits for its client sleeps", PATIENCE, || {
        (voluntary_switches(pid) > before).then_some(())
    });
    cluster.terminate(pid);
    assert!(victim.batch_execute("select 1").is_err());
}

#[test]
#[should_panic(expected = "in vain for: pigs fly")]
fn a_wait_in_vain_says_what_for() {
    poll_until("pigs fly", Duration::from_millis(50), || None::<()>);
}

#[test]
#[should_panic(expected = "the number is small")]
fn a_broken_invariant_says_which() {
    let mut n = 0;
    stays_true("the number is small", PATIENCE, || {
        n += 1;
        n < 3
    });
}
