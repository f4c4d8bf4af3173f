//! `bin/pg_tock_check` answers as a plugin of Nagios does.

#![allow(clippy::expect_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::Cluster;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

#[test]
fn the_check_speaks_as_a_plugin_does() {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("monitor");
    cluster.sql("create role stranger login");
    cluster.wait_for("(select status = 'healthy' from cron.health)");
    let (code, text) = cluster.check(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("PG_TOCK OK - 0 jobs, 0 running | jobs=0;;;0 failing=0;0;;0 "),
        "{text}"
    );
    let failing = cluster.schedule_as("ann", "bad | name", "1 second", "select 1/0");
    cluster.wait_for("(select failing_jobs = 1 from cron.health)");
    let (code, text) = cluster.check(&["dbname=postgres connect_timeout=5"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("PG_TOCK WARNING - jobs whose last run failed: 1 (bad / name) | "),
        "{text}"
    );
    // It is about the jobs of the role, or about all.
    assert_eq!(cluster.check(&["user=ann"]).0, 1);
    assert_eq!(cluster.check(&["user=monitor"]).0, 0);
    cluster.sql("grant select on cron.monitor_health to monitor");
    assert_eq!(cluster.check(&["user=monitor"]).0, 1);
    cluster.unschedule(failing);
    for (arguments, words) in [
        (&["user=stranger"][..], "permission denied for schema cron"),
        (&["template1"], "does not have the extension"),
        (&["-t", "x"], "no number of seconds"),
        (&["-t", "0"], "no number of seconds"),
        (&["--nonsense"], "unknown option"),
        (&["one", "two"], "usage"),
    ] {
        let (code, text) = cluster.check(arguments);
        assert!(
            code == 3 && text.starts_with("PG_TOCK UNKNOWN - ") && text.contains(words),
            "{code} {text}"
        );
    }
    // Somebody who has the table makes it wait, not for ever.
    let mut other = cluster.client();
    let mut transaction = other.transaction().expect("begin");
    transaction.batch_execute("lock table cron.job in access exclusive mode").expect("lock");
    let (code, text) = cluster.check(&["-t", "1"]);
    assert!(code == 2 && text.contains("no answer within 1 s"), "{code} {text}");
    // In whatever language the server says so.
    let german = psql_in_german(&cluster);
    let (code, text) = cluster.check_by(&german, &["-t", "1"]);
    assert!(code == 2 && text.contains("no answer within 1 s"), "{code} {text}");
    drop(transaction);
    let (code, text) = cluster.check_by(&german, &["user=stranger"]);
    assert_eq!(code, 3);
    assert_eq!(text, "PG_TOCK UNKNOWN - FEHLER:  keine Berechtigung f\u{fc}r Schema cron\n");
    for (connection, words) in [("dbname=nowhere", "does not exist"), ("port=1", "no connection")] {
        let (code, text) = cluster.check(&[connection]);
        assert!(
            code == 2
                && text.starts_with("PG_TOCK CRITICAL - no connection")
                && text.contains(words),
            "{text}"
        );
    }
}

#[test]
fn what_connecting_warns_of_is_no_answer() {
    let cluster = Cluster::start();
    cluster.wait_for("(select status = 'healthy' from cron.health)");
    // Before an option of the connection can keep it quiet.
    let warned = psql(
        &cluster,
        "warned",
        "printf '%s\\n' 'WARNING:  database \"x' '2\tCRITICAL\tit\" has a collation version mismatch' \
          'DETAIL:  The database was created using collation version 2.31, but the operating system provides 2.36.' \
          'HINT:  Rebuild all objects in this database.' \
          'WARNING: password file \"/root/.pgpass\" has group or world access; permissions should be u=rw (0600) or less' >&2\n\
         exec PSQL \"$@\"",
    );
    let (code, text) = cluster.check_by(&warned, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("PG_TOCK OK - 0 jobs, 0 running | "), "{text}");
    let (code, text) = cluster.check_by(&warned, &["template1"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.starts_with("PG_TOCK UNKNOWN - database template1 does not have"), "{text}");
    // Why there is no connection may be among the warnings.
    let (code, text) = cluster.check_by(&warned, &["port=1"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("PG_TOCK CRITICAL - no connection: WARNING: "), "{text}");
    assert!(text.contains("password file") && text.contains(" connection to server "), "{text}");
    assert!(!text.contains("psql: error"), "{text}");
    // An error is what it is, without the warnings.
    cluster.sql("create role stranger login");
    let (code, text) = cluster.check_by(&warned, &["user=stranger"]);
    assert_eq!(
        (code, text.as_str()),
        (3, "PG_TOCK UNKNOWN - ERROR:  permission denied for schema cron\n")
    );
    cluster.conf("cron.database_name", "template1");
    cluster.restart();
    let (code, text) = cluster.check_by(&warned, &[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("no scheduler is running"), "{text}");
}

#[test]
fn a_psql_that_never_ends_is_ended() {
    let cluster = Cluster::start();
    let endless = psql(&cluster, "endless", "exec tail -f /dev/null");
    for seconds in ["1", "01"] {
        let (code, text) = cluster.check_by(&endless, &["-t", seconds]);
        assert_eq!((code, text.as_str()), (2, "PG_TOCK CRITICAL - no answer within 1 s\n"));
    }
}

#[test]
fn hosts_that_do_not_answer_leave_time_for_one_that_does() {
    let cluster = Cluster::start();
    cluster.wait_for("(select status = 'healthy' from cron.health)");
    // They take connections and say nothing.
    let deaf: Vec<TcpListener> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<String> = deaf
        .iter()
        .map(|listener| listener.local_addr().expect("an address").port().to_string())
        .collect();
    let ports = format!("{},{}", ports.join(","), cluster.port());
    let dir = cluster.dir().display().to_string();
    let named = format!("host=127.0.0.1,127.0.0.1,{dir} port={ports} password='a,b'");
    let (code, text) = cluster.check(&["-t", "12", &named]);
    assert_eq!(code, 0, "{text}");
    // Each is named when none answers.
    let two = &ports[..ports.rfind(',').expect("three")];
    let none = format!("host=127.0.0.1,127.0.0.1 port={two} connect_timeout=2");
    let (code, text) = cluster.check(&["-t", "20", &none]);
    assert!(code == 2 && text.contains("no connection: "), "{code} {text}");
    assert_eq!(text.matches("timeout expired").count(), 2, "{text}");
}

#[test]
fn hosts_are_counted_wherever_they_are_named() {
    let cluster = Cluster::start();
    let says = psql(&cluster, "says", "echo \"3\tX\t$PGCONNECT_TIMEOUT\"");
    for (connection, share) in [
        ("", 12),
        ("postgres", 12),
        ("host=db1 password=a,b,c", 12),
        ("user=x host=db1,db2 port=1,2", 6),
        ("user=x host = 'db1,db2,db3'", 4),
        ("hostaddr=10.0.0.1,10.0.0.2", 6),
        ("postgresql://db1,db2:5432,db3/postgres?target_session_attrs=any", 4),
        ("postgres://x:a,b@db1,db2", 6),
        ("postgresql:///postgres?user=x&host=db1,db2&port=1,2", 6),
    ] {
        let (code, text) = cluster.check_by(&says, &["-t", "12", connection]);
        assert_eq!((code, text), (3, format!("PG_TOCK X - {share}\n")), "{connection}");
    }
    let (_, text) = cluster.check_by(&says, &["-t", "1", "host=db1,db2"]);
    assert_eq!(text, "PG_TOCK X - 1\n", "0 would be no limit");
}

/// The directory of a psql whose server speaks German: its catalogs are rarely installed.
fn psql_in_german(cluster: &Cluster) -> PathBuf {
    let script = "said=$(PSQL \"$@\" 2>&1)\ncode=$?\nprintf '%s\\n' \"$said\" | sed \
         -e 's/ERROR:/FEHLER:/; s/LOCATION:/ORT:/; s/^LINE /ZEILE /' \
         -e 's/canceling statement due to statement timeout/storniere Anfrage wegen Zeit\u{fc}berschreitung/' \
         -e 's/permission denied for schema/keine Berechtigung f\u{fc}r Schema/'\nexit $code";
    psql(cluster, "german", script)
}

/// A directory with a psql of our own, a script for sh in which PSQL is the real one.
fn psql(cluster: &Cluster, name: &str, script: &str) -> PathBuf {
    let dir = cluster.dir().join(name);
    std::fs::create_dir(&dir).expect("a directory");
    let real = format!("'{}'", cluster.bindir().join("psql").display());
    let script = format!("#!/bin/sh\n{}\n", script.replace("PSQL", &real));
    let program = dir.join("psql");
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    dir
}
