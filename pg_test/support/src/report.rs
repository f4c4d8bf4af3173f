//! What is printed about a scenario that has failed, or that does not end.

use crate::cluster::explain;
use crate::server;
use postgres::{NoTls, SimpleQueryMessage};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Seconds that a cluster may live. `ci/e2e.sh` sets it; without it a scenario may take as long as it likes.
const LIMIT: &str = "PG_TOCK_SCENARIO_LIMIT";

const QUERIES: [(&str, &str); 6] = [
    ("jobs", "select * from cron.job order by jobid limit 20"),
    ("last runs", "select * from cron.job_run_details order by runid desc limit 20"),
    ("states", "select * from cron.job_state order by jobid limit 20"),
    ("skipped", "select * from cron.job_skip order by last_at desc limit 20"),
    ("the scheduler's memory", "select * from cron.engine_state"),
    (
        "processes",
        "select pid, backend_type, datname, usename, application_name, state, wait_event, \
         left(query, 80) as query from pg_stat_activity order by backend_start",
    ),
];

/// Ends the test program, with a report, when its cluster lives longer than CI gives it: one scenario that hangs
/// would keep everything behind it from running, and nobody would learn where.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Dropped with the cluster.
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches the cluster in `dir` if CI has set a limit.
    pub(crate) fn of_ci(dir: &Path) -> Option<Self> {
        let limit: u64 = std::env::var(LIMIT).ok()?.parse().expect("a number of seconds");
        let (alive, watched) = channel();
        let dir = dir.to_owned();
        let scenario = std::thread::current().name().unwrap_or("a scenario").to_owned();
        std::thread::spawn(move || {
            if watched.recv_timeout(Duration::from_secs(limit)) == Err(RecvTimeoutError::Timeout) {
                let said = format!("{scenario} has not ended in {limit} s\n{}\n", soon(dir));
                // Not with a macro: what those print of a test that does not end nobody sees.
                drop(std::io::stderr().write_all(said.as_bytes()));
                std::process::abort();
            }
        });
        Some(Self { _alive: alive })
    }
}

/// The report, if the server still gives one.
fn soon(dir: PathBuf) -> String {
    let (said, heard) = channel();
    let log = log_tail(&dir, 80);
    std::thread::spawn(move || said.send(of(&dir)));
    heard.recv_timeout(Duration::from_secs(60)).unwrap_or(log)
}

/// What one wants to know about the cluster in `dir`, whose scenario went wrong.
pub(crate) fn of(dir: &Path) -> String {
    let mut said = "--- the cluster of the failed scenario\n".to_owned();
    if let Ok(mut client) = server::config(dir, "postgres", "postgres").connect(NoTls) {
        // What the scenario has locked stays locked.
        drop(client.batch_execute("set lock_timeout = '2s'; set statement_timeout = '10s'"));
        for (title, query) in QUERIES {
            let _ = writeln!(said, "--- {title}");
            match client.simple_query(query) {
                Ok(messages) => rows(&messages, &mut said),
                Err(error) => said.push_str(&explain(&error)),
            }
        }
    }
    let _ = writeln!(said, "--- end of the server's log\n{}\n---", log_tail(dir, 80));
    said
}

/// Adds a result, one row a line, leaving out what is NULL.
fn rows(messages: &[SimpleQueryMessage], said: &mut String) {
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            for (at, column) in row.columns().iter().enumerate() {
                if let Some(value) = row.get(at) {
                    let value: String = value.chars().take(500).collect();
                    let _ = write!(said, " {}={value}", column.name());
                }
            }
            said.push('\n');
        }
    }
}

/// The server's log of the cluster in `dir`.
pub(crate) fn log_path(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// Its last `count` lines.
pub(crate) fn log_tail(dir: &Path, count: usize) -> String {
    let log = fs::read(log_path(dir)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
