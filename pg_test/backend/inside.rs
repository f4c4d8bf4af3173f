//! What a run says of itself in shared memory, what it reads of itself, and the lock of its job.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pg_tock_core::run::Trigger;
    use pg_tock_core::time::{JobId, RunId, Timestamp};
    use pgrx::prelude::*;

    use crate::pg::job_lock::{JobLock, Mode};
    use crate::pg_test::backend::{Taken, assignment};
    use crate::shmem::lasting::Lasting;
    use crate::shmem::slots::{CurrentRun, Slot};
    use crate::shmem::{databases, mine};

    /// A run, begun in a slot of this database's scheduler.
    fn begun(taken: &mut Taken, window: Option<(Timestamp, Timestamp)>) -> &'static Slot {
        let here = crate::pg::process::database().to_u32();
        let (_, slot) = taken.one(assignment(here, here, 10)).unwrap();
        let run = CurrentRun {
            job: JobId(-5),
            run: RunId(i64::MAX),
            scheduled_for: Timestamp(1_800_000_000_500_000),
            started_at: Timestamp(1_800_000_001_000_000),
            attempt: 3,
            trigger: Trigger::Retry,
            window,
            lasting: Lasting::default(),
        };
        assert!(slot.begin(&run));
        slot
    }

    fn settings() -> String {
        Spi::get_one(
            "SELECT concat_ws('|', current_setting('cron.job_id'), current_setting('cron.run_id'), \
             current_setting('cron.scheduled_for'), current_setting('cron.attempt'), \
             current_setting('cron.window_start'), current_setting('cron.window_end'))",
        )
        .unwrap()
        .unwrap()
    }

    #[pg_test]
    fn settings_show_the_run_of_this_process_alone() {
        let mut taken = Taken::none();
        let slot = begun(&mut taken, Some((Timestamp(1_799_999_000_000_000), Timestamp(0))));
        assert_eq!(settings(), "|||||", "this process is not that executor");
        mine::take(slot);
        Spi::run("SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'SQL, DMY'").unwrap();
        let all = "-5|9223372036854775807|2027-01-15 08:00:00.5+00|3|2027-01-15 07:43:20+00|1970-01-01 00:00:00+00";
        assert_eq!(settings(), all);
        slot.end();
        assert_eq!(settings(), "|||||");
    }

    #[pg_test]
    fn a_run_without_a_window_has_none() {
        let mut taken = Taken::none();
        mine::take(begun(&mut taken, None));
        assert!(settings().ends_with("|3||"), "{}", settings());
        let none = "SELECT window_start IS NULL AND window_end IS NULL FROM cron.current_run()";
        assert_eq!(Spi::get_one::<bool>(none), Ok(Some(true)));
    }

    #[pg_test]
    fn a_heartbeat_changes_what_it_gives_and_the_next_run_has_none() {
        let mut taken = Taken::none();
        let slot = begun(&mut taken, None);
        mine::take(slot);
        assert_eq!((slot.progress.last(), slot.progress.heard_at()), (None, None));
        Spi::run("SELECT cron.heartbeat()").unwrap();
        let first = slot.progress.last().unwrap();
        assert_eq!((first.percent, first.note.as_slice()), (None, b"".as_slice()));
        Spi::run("SELECT cron.heartbeat(50)").unwrap();
        Spi::run("SELECT cron.heartbeat(NULL, 'half')").unwrap();
        let last = slot.progress.last().unwrap();
        assert_eq!((last.percent, last.note.as_slice()), (Some(50.0), b"half".as_slice()));
        assert!(last.at >= first.at);
        Spi::run("SELECT cron.heartbeat(0, '')").unwrap();
        let last = slot.progress.last().unwrap();
        assert_eq!((last.percent, last.note.as_slice()), (Some(0.0), b"".as_slice()));
        slot.ask_again();
        assert!(slot.wants_again());
        slot.end();
        let run = CurrentRun { window: None, ..begun_again() };
        assert!(slot.begin(&run));
        assert_eq!(slot.progress.last(), None);
        assert!(!slot.wants_again());
    }

    fn begun_again() -> CurrentRun {
        CurrentRun {
            job: JobId(1),
            run: RunId(2),
            scheduled_for: Timestamp(3),
            started_at: Timestamp(4),
            attempt: 1,
            trigger: Trigger::Schedule,
            window: None,
            lasting: Lasting::default(),
        }
    }

    #[pg_test]
    fn a_note_is_cut_between_letters() {
        let mut taken = Taken::none();
        let slot = begun(&mut taken, None);
        mine::take(slot);
        Spi::run("SELECT cron.heartbeat(NULL, 'x' || repeat('\u{20ac}', 100))").unwrap();
        let note = String::from_utf8(slot.progress.last().unwrap().note).unwrap();
        assert_eq!(note, format!("x{}", "\u{20ac}".repeat(66)));
    }

    #[pg_test(error = "not inside a run of a job")]
    fn a_run_of_another_database_s_scheduler_is_no_run_here() {
        let mut taken = Taken::none();
        let here = crate::pg::process::database().to_u32();
        let (_, slot) = taken.one(assignment(u32::MAX - 1, here, 10)).unwrap();
        assert!(slot.begin(&begun_again()));
        mine::take(slot);
        Spi::run("SELECT cron.heartbeat()").unwrap();
    }

    #[pg_test]
    fn the_lock_of_a_job_is_what_pg_locks_shows_and_nobody_else_can_name() {
        let database = crate::pg::process::database().to_u32();
        let job = JobId((7 << 32) | 0xffff_fff0);
        let lock = JobLock::new(database, job, Mode::Alone);
        assert_eq!((lock.job(), lock.scheduler()), (job, database));
        assert!(lock.is_free() && !lock.is_mine());
        lock.wait();
        assert!(lock.is_mine());
        let shown = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
             AND classid = 7 AND objid::bigint = 4294967280 AND objsubid = 3 AND pid = pg_backend_pid() \
             AND mode = 'ExclusiveLock' \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        assert_eq!(Spi::get_one::<i64>(shown), Ok(Some(1)));
        // As the same numbers, in both forms SQL has.
        Spi::run("SELECT pg_advisory_unlock((7::bigint << 32) | 4294967280)").unwrap();
        Spi::run("SELECT pg_advisory_unlock(7, -16)").unwrap();
        assert!(lock.is_mine(), "another lock was released");
        assert!(lock.release());
        assert!(!lock.release() && !lock.is_mine());
    }

    #[pg_test]
    fn the_end_of_a_hold_is_counted() {
        let here = crate::pg::process::database().to_u32();
        let database = databases::find_or_create(here).unwrap();
        Spi::run("INSERT INTO cron.job (schedule, command, nodeport, jobname) VALUES ('@hourly', 'x', 1, 'tock_held')").unwrap();
        let ended = || database.holds_ended();
        let before = ended();
        Spi::run("SELECT cron.hold('tock_held')").unwrap();
        Spi::run("SELECT cron.hold('tock_held')").unwrap();
        assert_eq!(ended(), before);
        let release = "SELECT cron.release('tock_held')";
        assert_eq!(Spi::get_one::<bool>(release), Ok(Some(true)));
        assert!(ended() > before);
        let before = ended();
        assert_eq!(Spi::get_one::<bool>(release), Ok(Some(false)));
        assert_eq!(ended(), before);
        // Dropped behind our back, noticed by the next hold.
        Spi::run("SELECT cron.hold('tock_held')").unwrap();
        Spi::run("SELECT pg_advisory_unlock_all()").unwrap();
        Spi::run("SELECT cron.hold('tock_held')").unwrap();
        assert!(ended() > before);
        assert_eq!(Spi::get_one::<bool>(release), Ok(Some(true)));
    }
}

/// The reader of a heartbeat and the run that gives it are two processes; two threads see the same
/// memory. Needs no server.
#[cfg(test)]
#[test]
fn a_reader_never_sees_half_of_a_heartbeat() {
    use pg_tock_core::time::Timestamp;

    use crate::shmem::progress::Progress;

    // SAFETY: all parts are atomics, for which zeroes are valid.
    let progress = unsafe { std::mem::MaybeUninit::<Progress>::zeroed().assume_init() };
    progress.beat(Timestamp(1), Some(1.0), Some(b"1"));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut changes, mut last) = (0_u32, 0_u32, 0_i64);
            while reads < 300_000 || changes < 1_000 {
                let beat = progress.last().unwrap();
                let number = beat.at.0;
                #[allow(clippy::cast_precision_loss, reason = "small numbers")]
                let percent = number as f64;
                assert_eq!(beat.percent, Some(percent));
                assert_eq!(String::from_utf8(beat.note).unwrap(), number.to_string());
                reads += 1;
                changes += u32::from(number != last);
                last = number;
            }
        });
        let mut n = 1_i64;
        while !reader.is_finished() {
            n += 1;
            #[allow(clippy::cast_precision_loss, reason = "small numbers")]
            progress.beat(Timestamp(n), Some(n as f64), Some(n.to_string().as_bytes()));
            for _ in 0..10 {
                std::hint::spin_loop();
            }
        }
    });
}
