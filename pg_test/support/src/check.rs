//! `bin/pg_tock_check`, as whatever watches the server runs it.

use crate::cluster::Cluster;
use std::path::Path;
use std::process::Command;

impl Cluster {
    /// Exit code and output of `bin/pg_tock_check`.
    #[must_use]
    #[track_caller]
    pub fn check(&self, arguments: &[&str]) -> (i32, String) {
        self.check_by(self.bindir(), arguments)
    }

    /// As [`Cluster::check`], by the psql of this directory.
    #[must_use]
    #[track_caller]
    pub fn check_by(&self, psql: &Path, arguments: &[&str]) -> (i32, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bin/pg_tock_check");
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .arg(script)
            .args(arguments)
            .env("PATH", format!("{}:{path}", psql.display()))
            .env("PGHOST", self.dir())
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .output()
            .expect("sh");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().count(), 1, "{text}");
        (output.status.code().unwrap_or(-1), text)
    }
}
