//! `bin/pg_tock_check` answers as a plugin of Nagios does.

#![allow(clippy::expect_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::Cluster;
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

/// The directory of a psql whose server speaks German: its catalogs are rarely installed.
fn psql_in_german(cluster: &Cluster) -> PathBuf {
    let dir = cluster.dir().join("german");
    std::fs::create_dir(&dir).expect("a directory");
    let script = format!(
        "#!/bin/sh\nsaid=$('{}' \"$@\" 2>&1)\ncode=$?\nprintf '%s\\n' \"$said\" | sed \
         -e 's/ERROR:/FEHLER:/; s/LOCATION:/ORT:/; s/^LINE /ZEILE /' \
         -e 's/canceling statement due to statement timeout/storniere Anfrage wegen Zeit\u{fc}berschreitung/' \
         -e 's/permission denied for schema/keine Berechtigung f\u{fc}r Schema/'\nexit $code\n",
        cluster.bindir().join("psql").display()
    );
    let program = dir.join("psql");
    std::fs::write(&program, script).expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    dir
}
