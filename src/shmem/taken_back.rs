//! Requests for runs that were taken back, from the transaction that did so to whoever is about to begin
//! one of these runs.
//!
//! The scheduler reads `cron.run_cancel` when it gets to it, some milliseconds after COMMIT. What lets the
//! run begin may come sooner, the end of a hold for instance: so who has got the lock of a run that was
//! asked for looks here before anything else is done. The places are few, for the whole server. When more are wanted
//! than there are, some count no more, and the scheduler ends their runs when it reads of them.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

use pg_tock_core::time::RunId;

use super::bytes::Bytes;
use super::cancel::REASON;
use super::layout;
use crate::pg::time::monotonic;

/// How many there is room for.
pub(super) const PLACES: usize = 64;

/// How long one counts, in microseconds: the scheduler reads of it long before. So none is left that is about
/// a run of another extension.
const LIFE: i64 = 600_000_000;

/// The requests that were taken back last.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct TakenBack {
    /// How many there have been; says which place is taken next, if none is free.
    count: AtomicU32,
    /// The run each place is about, side by side as all are looked at; 0: the place is free.
    runs: [AtomicI64; PLACES],
    notes: [Note; PLACES],
}

/// What is known of one of them.
#[repr(C)]
#[derive(Debug)]
struct Note {
    /// Odd while somebody writes.
    version: AtomicU64,
    /// The database whose scheduler the run is known to.
    database: AtomicU32,
    /// When it was taken back, on the monotonic clock.
    at: AtomicI64,
    /// What the row of the run is to say.
    reason: Bytes<REASON>,
}

/// A place, and what it is about.
#[derive(Clone, Copy)]
struct Place {
    run: &'static AtomicI64,
    note: &'static Note,
}

/// The reason a request was taken back for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reason {
    bytes: [u8; REASON],
    len: usize,
}

impl Reason {
    /// The reason, in the encoding of the scheduler's database.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn places() -> impl Iterator<Item = Place> + Clone {
    layout::header().into_iter().flat_map(|header| {
        let TakenBack { runs, notes, .. } = &header.taken_back;
        runs.iter().zip(notes).map(|(run, note)| Place { run, note })
    })
}

/// A request was taken back, and everybody can see that. Whoever was first says why. Cannot fail.
pub(crate) fn add(database: u32, run: RunId, reason: &[u8]) {
    let Some(header) = layout::header() else { return };
    if find(database, run).is_some() {
        return;
    }
    let count = header.taken_back.count.fetch_add(1, Ordering::AcqRel) as usize;
    let from = || places().cycle().skip(count % PLACES).take(PLACES);
    let written = from().any(|place| {
        let version = place.note.version.load(Ordering::Acquire);
        !place.is_in_use() && place.write(version, database, run, reason)
    });
    if !written {
        let _ = from().any(|place| {
            place.write(place.note.version.load(Ordering::Acquire), database, run, reason)
        });
    }
}

/// Why a request was taken back, if it was. Allocates nothing.
pub(crate) fn find(database: u32, run: RunId) -> Option<Reason> {
    if layout::header()?.taken_back.count.load(Ordering::Acquire) == 0 {
        return None;
    }
    places().find_map(|place| place.read(database, run))
}

/// A scheduler has recorded a request as over.
pub(crate) fn forget(database: u32, over: RunId) {
    forget_where(database, |run, _| run == over);
}

/// A scheduler has read of all that were taken back before `at`, on the monotonic clock.
pub(crate) fn forget_older(database: u32, at: i64) {
    forget_where(database, |_, taken_back| taken_back < at);
}

fn forget_where(database: u32, over: impl Fn(RunId, i64) -> bool) {
    for place in places() {
        let version = place.note.version.load(Ordering::Acquire);
        let run = RunId(place.run.load(Ordering::Acquire));
        let (of, at) = (&place.note.database, &place.note.at);
        let mine = run.0 != 0 && of.load(Ordering::Relaxed) == database;
        if mine && over(run, at.load(Ordering::Relaxed)) {
            place.write(version, 0, RunId(0), &[]);
        }
    }
}

impl Note {
    fn counts(&self) -> bool {
        monotonic().saturating_sub(self.at.load(Ordering::Relaxed)) <= LIFE
    }
}

impl Place {
    fn is_in_use(self) -> bool {
        self.run.load(Ordering::Acquire) != 0 && self.note.counts()
    }

    /// False if somebody else writes, or has written since the place had this version.
    fn write(self, version: u64, database: u32, run: RunId, reason: &[u8]) -> bool {
        let (now, before) = (&self.note.version, (Ordering::AcqRel, Ordering::Relaxed));
        let begun = version.is_multiple_of(2)
            && now.compare_exchange(version, version.wrapping_add(1), before.0, before.1).is_ok();
        if begun {
            fence(Ordering::Release);
            self.note.database.store(database, Ordering::Relaxed);
            self.note.at.store(monotonic(), Ordering::Relaxed);
            self.note.reason.set(reason);
            self.run.store(run.0, Ordering::Release);
            now.store(version.wrapping_add(2), Ordering::Release);
        }
        begun
    }

    fn read(self, database: u32, run: RunId) -> Option<Reason> {
        if self.run.load(Ordering::Acquire) != run.0 {
            return None;
        }
        let version = self.note.version.load(Ordering::Acquire);
        let mine = self.note.database.load(Ordering::Relaxed) == database
            && self.note.counts()
            && self.run.load(Ordering::Relaxed) == run.0;
        let mut reason = Reason { bytes: [0; REASON], len: 0 };
        reason.len = self.note.reason.copy(&mut reason.bytes);
        fence(Ordering::Acquire);
        let whole =
            version.is_multiple_of(2) && self.note.version.load(Ordering::Relaxed) == version;
        (mine && whole).then_some(reason)
    }
}
