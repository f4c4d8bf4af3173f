//! A second server that follows the first.

use crate::cluster::Cluster;
use crate::server;

impl Cluster {
    /// A hot standby that streams from this server, ready to be asked questions.
    ///
    /// # Panics
    /// When the base backup fails or the standby does not come up; its log is part of the message.
    #[must_use]
    #[track_caller]
    pub fn standby(&self) -> Self {
        let standby = Self::empty(self.bindir().to_owned());
        server::output(
            server::as_server(&self.bindir().join("pg_basebackup"))
                .arg("-D")
                .arg(standby.data())
                .arg("-h")
                .arg(self.dir())
                .args(["-p", &self.port().to_string(), "-U", "postgres"])
                .args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync"]),
        );
        standby.conf("unix_socket_directories", &standby.dir().display().to_string());
        standby.boot();
        standby
    }

    /// Makes this standby a primary, and waits until it is one.
    #[track_caller]
    pub fn promote(&self) {
        self.sql("select pg_promote()");
        self.wait_for("not pg_is_in_recovery()");
    }

    /// Starts this stopped server as a standby of another one, which was promoted after this one had sent
    /// it all there was.
    ///
    /// # Panics
    /// When it does not come up; its log is part of the message.
    #[track_caller]
    pub fn follow(&self, primary: &Self) {
        let signal = self.data().join("standby.signal");
        std::fs::File::create(&signal).expect("standby.signal");
        server::give_to_server(&signal);
        let dir = primary.dir().display();
        self.conf("primary_conninfo", &format!("host={dir} port={} user=postgres", primary.port()));
        self.boot();
    }

    /// Waits until this standby has replayed all that `primary` has written so far.
    #[track_caller]
    pub fn catch_up_with(&self, primary: &Self) {
        let written: String = primary.one("select pg_current_wal_lsn()::text");
        self.wait_for(&format!("pg_last_wal_replay_lsn() >= '{written}'"));
    }
}
