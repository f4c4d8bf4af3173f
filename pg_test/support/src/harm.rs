//! Rougher ways to end a server and its processes than a scenario needs to spell out. Owns the
//! invariant that a server whose postmaster was killed is started again only once none of its
//! processes is left, as a service manager that watches over the whole group would do.

use crate::cluster::Cluster;
use crate::poll::{PATIENCE, poll_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::time::{Duration, Instant};

/// How soon the postmaster says in its log what a process died of.
const LOOK: Duration = Duration::from_secs(10);

/// Kills the process if it is there. Says whether it was.
#[must_use]
pub fn kill9_if_alive(process: i32) -> bool {
    Pid::from_raw(process).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Anonymous memory of a process in bytes: what it has allocated, without shared memory and code.
/// `None` when there is no such process.
#[must_use]
pub fn anonymous_memory(process: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

impl Cluster {
    /// As [`Cluster::crash_by_killing`], unless the process has ended by itself already. Says whether
    /// it was there.
    #[track_caller]
    pub fn crash_by_killing_if_alive(&self, process: i32) -> bool {
        let before = self.checkpointer();
        if !kill9_if_alive(process) {
            return false;
        }
        // One that had ended already, but for the postmaster's look at it, makes no crash.
        let (line, since) = (format!("(PID {process}) was terminated by signal 9"), Instant::now());
        poll_until("the server has recovered", PATIENCE, || match self.checkpointer() {
            Some(now) if Some(now) != before => Some(true),
            _ if since.elapsed() > LOOK && !self.log().contains(&line) => Some(false),
            _ => None,
        })
    }

    /// SIGKILL to the postmaster; waits until all processes of the server have noticed and ended.
    #[track_caller]
    pub fn kill_postmaster(&self) {
        let segment = self.shared_memory();
        let _ = kill9_if_alive(self.postmaster_pid());
        self.wait_stopped();
        poll_until("the processes of a killed postmaster end", PATIENCE, || {
            (attached(&segment) == 0).then_some(())
        });
    }

    /// Id of the System V segment that every process of the server is attached to.
    fn shared_memory(&self) -> String {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).expect("postmaster.pid");
        let line = file.lines().nth(6).expect("the line with the shared memory's key and id");
        line.split_whitespace().nth(1).expect("an id").to_owned()
    }
}

/// How many processes are attached to a segment.
fn attached(segment: &str) -> u64 {
    let segments = fs::read_to_string("/proc/sysvipc/shm").expect("the kernel's list of segments");
    segments
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&segment))
        .map_or(0, |fields| fields[6].parse().expect("a number of processes"))
}
