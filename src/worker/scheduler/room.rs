//! Room for what jobs say at length: a command of megabytes takes little on disk, compressed, and all of it here.
//!
//! Invariant: the long texts of one role's jobs take up no more than [`ROOM`] together, whatever their
//! rows have; the scheduler, and with it the server, outlives whoever tries.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};

use pg_tock_core::time::{JobId, Timestamp};

use super::{LOCK_RETRY, Scheduler};
use crate::catalog::load::{self, JobRow, ROOM};
use crate::pg::time;
use crate::pg::txn::{self, Failure};

/// How long to wait before reading a job again that could not be read, though nobody had locked it.
const FAILED_RETRY: i64 = Timestamp::SECOND;

/// Who has taken how much.
#[derive(Debug, Default)]
pub(super) struct Room {
    by_job: HashMap<JobId, (CString, i64)>,
    by_role: HashMap<CString, i64>,
    /// Jobs there was no room for, by their roles.
    turned_away: HashMap<CString, HashSet<JobId>>,
    /// Roles that have more room than before, and jobs that were turned away.
    freed: HashSet<CString>,
    /// Jobs whose long texts could not be read this time, and when to read them again.
    put_off: HashSet<JobId>,
    again_at: Option<Timestamp>,
}

impl Room {
    /// Takes room for a job of a role. False if there is not so much.
    fn take(&mut self, job: JobId, role: &CStr, bytes: i64) -> bool {
        self.give_back(job);
        let taken = self.by_role.get(role).copied().unwrap_or(0);
        if bytes > ROOM - taken {
            self.turned_away.entry(role.to_owned()).or_default().insert(job);
            return false;
        }
        self.by_role.insert(role.to_owned(), taken + bytes);
        self.by_job.insert(job, (role.to_owned(), bytes));
        true
    }

    /// A job is gone, or has no long texts any more.
    pub(super) fn give_back(&mut self, job: JobId) {
        if !self.turned_away.is_empty() {
            self.turned_away.retain(|_, jobs| {
                jobs.remove(&job);
                !jobs.is_empty()
            });
        }
        let Some((role, bytes)) = self.by_job.remove(&job) else { return };
        if let Some(taken) = self.by_role.get_mut(&role) {
            *taken -= bytes;
            if *taken == 0 {
                self.by_role.remove(&role);
            }
        }
        if self.turned_away.contains_key(&role) {
            self.freed.insert(role);
        }
    }

    /// Jobs that were turned away and may find room now.
    fn take_freed(&mut self) -> Vec<JobId> {
        let freed = std::mem::take(&mut self.freed);
        freed.iter().filter_map(|role| self.turned_away.remove(role)).flatten().collect()
    }

    /// A job is to be read again then, at the latest.
    fn put_off(&mut self, job: JobId, at: Timestamp) {
        self.put_off.insert(job);
        self.again_at = Some(self.again_at.map_or(at, |before| before.min(at)));
    }

    /// When there are jobs to be read again.
    pub(super) const fn next_read(&self) -> Option<Timestamp> {
        self.again_at
    }

    /// Jobs that could not be read, and are to be read again now.
    pub(super) fn take_put_off(&mut self, now: Timestamp) -> Vec<i64> {
        match self.again_at.take_if(|at| *at <= now) {
            Some(_) => self.put_off.drain().map(|job| job.0).collect(),
            None => Vec::new(),
        }
    }
}

/// What is said of a job there is no room for.
pub(super) fn no_room(job: i64) -> String {
    let most = ROOM / 1024 / 1024;
    format!(
        "job {job} does not run: its role's jobs have long commands, settings or requests of more than {most} MB"
    )
}

impl Scheduler {
    /// A row with its long texts, if there is room for them. None: they cannot be read, and it has been seen to
    /// when the job is read again.
    pub(super) fn whole(&mut self, row: JobRow) -> Option<JobRow> {
        let job = JobId(row.id);
        if !row.is_cut {
            self.jobs.room.give_back(job);
            return Some(row);
        }
        if !self.jobs.room.take(job, &row.username, row.bytes) {
            return Some(row);
        }
        let wait = match txn::attempt("reading a long job", || load::whole(row.id, row.bytes)) {
            Ok(Ok(Some(whole))) if !whole.is_cut => return Some(whole),
            Ok(Ok(None)) => return None, // it is gone, and that will be heard of
            // A value in it is at fault, and will be until the job is changed.
            Err(Failure::Data) => {
                self.cannot_read(job);
                return None;
            }
            // It has become longer in between: there may be room for that or not.
            Ok(Ok(Some(_))) | Err(Failure::Locked) => LOCK_RETRY,
            Ok(Err(_)) | Err(_) => FAILED_RETRY,
        };
        self.jobs.room.put_off(job, time::now().plus(wait));
        None
    }

    /// Jobs that were turned away are read again once others of their role need less.
    pub(super) fn look_for_room(&mut self) {
        self.news.jobs.extend(self.jobs.room.take_freed().into_iter().map(|job| job.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_its_room_and_others_have_theirs() {
        let mut room = Room::default();
        let (ann, bob) = (c"ann", c"bob");
        assert!(room.take(JobId(1), ann, ROOM - 10));
        assert!(room.take(JobId(2), ann, 10));
        assert!(!room.take(JobId(3), ann, 1));
        assert!(room.take(JobId(4), bob, ROOM));
        assert_eq!(room.take_freed(), []);
        // What a job has already is not counted twice.
        assert!(room.take(JobId(1), ann, ROOM - 11));
        assert_eq!(room.take_freed(), [JobId(3)]);
        assert!(room.take(JobId(3), ann, 1));
        for job in 1..=4 {
            room.give_back(JobId(job));
        }
        assert!(room.by_role.is_empty() && room.by_job.is_empty() && room.turned_away.is_empty());
    }

    #[test]
    fn what_could_not_be_read_is_read_again_at_its_time_once() {
        let mut room = Room::default();
        assert_eq!(room.next_read(), None);
        room.put_off(JobId(1), Timestamp(20));
        room.put_off(JobId(2), Timestamp(10));
        room.put_off(JobId(1), Timestamp(30));
        assert_eq!(room.next_read(), Some(Timestamp(10)));
        assert_eq!(room.take_put_off(Timestamp(9)), [0_i64; 0]);
        let mut again = room.take_put_off(Timestamp(10));
        again.sort_unstable();
        assert_eq!(again, [1, 2]);
        assert_eq!((room.next_read(), room.take_put_off(Timestamp(99))), (None, Vec::new()));
    }
}
