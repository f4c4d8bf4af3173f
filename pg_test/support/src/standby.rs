//! A second server that follows the first.

use crate::cluster::Cluster;
use crate::poll::{PATIENCE, poll_until};
use crate::process::signal;
use crate::server;
use rustix::process::Signal;

/// The process of a standby that receives what the primary sends, stopped: the standby falls behind. It
/// has to be let go by the end.
#[derive(Debug)]
#[must_use]
pub struct Deaf(i32);

impl Deaf {
    /// What the standby has not received by now it never gets: for when the primary is gone. What has come
    /// as far as the standby's machine is lost as well.
    pub fn for_ever(self) {
        // Told to end while it is stopped, and waits, it does so before it reads anything.
        signal(self.0, Signal::TERM);
        signal(self.0, Signal::CONT);
    }
}

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

    /// Makes this standby receive nothing any more.
    #[track_caller]
    pub fn deafen(&self) -> Deaf {
        let receiver = self.one("select pid from pg_stat_wal_receiver");
        // One that is stopped between two messages reads all that has come before it sees that it is to end
        // (`WalReceiverMain()` in walreceiver.c), so it is stopped where it waits for the next.
        poll_until("a receiver that waits", PATIENCE, || {
            signal(receiver, Signal::STOP);
            let waits = "select wait_event is not distinct from 'WalReceiverMain' \
                         from pg_stat_activity where pid = $1";
            let waits: bool = self.one_with(waits, &[&receiver]);
            if !waits {
                signal(receiver, Signal::CONT);
            }
            waits.then_some(())
        });
        Deaf(receiver)
    }

    /// Starts this server, which died and is ahead of the standby that was promoted then, as a standby of
    /// that one: `pg_rewind` takes back what it had alone.
    ///
    /// # Panics
    /// When `pg_rewind` fails or the server does not come up; what they say is part of the message.
    #[track_caller]
    pub fn rewind_and_follow(&self, primary: &Self) {
        // pg_rewind goes by the timeline of the last checkpoint.
        primary.sql("checkpoint");
        let dir = primary.dir().display();
        server::output(
            server::as_server(&self.bindir().join("pg_rewind"))
                .arg("-D")
                .arg(self.data())
                .arg("--source-server")
                .arg(format!("host={dir} port={} user=postgres dbname=postgres", primary.port()))
                .args(["--write-recovery-conf", "--no-sync"]),
        );
        // The configuration is the other one's now.
        self.conf("unix_socket_directories", &self.dir().display().to_string());
        self.boot();
    }

    /// Waits until this standby has replayed all that `primary` has written so far.
    #[track_caller]
    pub fn catch_up_with(&self, primary: &Self) {
        let written: String = primary.one("select pg_current_wal_lsn()::text");
        self.wait_for(&format!("pg_last_wal_replay_lsn() >= '{written}'"));
    }
}
