//! How crowded the machine is for this process.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel's account of this process's time, which Linux keeps if it was built with
/// `CONFIG_SCHED_INFO` (see Documentation/scheduler/sched-stats.rst there).
pub(crate) struct Crowd(Option<File>);

impl Crowd {
    /// Opens it. A descriptor outside Postgres's accounting, kept for the life of the process.
    pub(crate) fn of_this_process() -> Self {
        Self(File::open("/proc/self/schedstat").ok())
    }

    /// For how long this process was ready to run and had no core to run on, ever, in microseconds;
    /// None if the system does not say.
    pub(crate) fn waited(&self) -> Option<i64> {
        let mut room = [0; 80];
        let length = self.0.as_ref()?.read_at(&mut room, 0).ok()?;
        let text = std::str::from_utf8(room.get(..length)?).ok()?;
        // Nanoseconds on a core, nanoseconds waiting for one, turns on one.
        let nanos: i64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(nanos / 1_000)
    }
}
