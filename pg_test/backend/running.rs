//! `cron.running_runs()`: who sees what of shared memory.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pg_tock_core::run::Trigger;
    use pg_tock_core::time::{JobId, RunId, Timestamp};
    use pgrx::prelude::*;

    use crate::pg_test::backend::{Taken, assignment, oid_of_role};
    use crate::shmem::lasting::Lasting;
    use crate::shmem::slots::CurrentRun;

    const SEEN: &str = "SELECT string_agg(format('%s %s %s %s %s %s %s %s %s', jobid, runid, \
         job_pid, database, username, extract(epoch FROM scheduled_for), \
         extract(epoch FROM started_at), trigger, attempt), '; ' ORDER BY jobid) \
         FROM cron.running_runs()";

    fn seen_as(role: &str) -> Option<String> {
        Spi::run(&format!("SET LOCAL ROLE {role}")).unwrap();
        let seen = Spi::get_one::<String>(SEEN).unwrap();
        Spi::run("RESET ROLE").unwrap();
        seen
    }

    #[pg_test]
    fn a_role_sees_its_own_runs_and_a_superuser_all() {
        Spi::run(
            "CREATE ROLE tock_ann; CREATE ROLE tock_bob; CREATE ROLE tock_eve; \
             GRANT USAGE ON SCHEMA cron TO tock_ann, tock_bob, tock_eve",
        )
        .unwrap();
        let mut taken = Taken::none();
        let here = crate::pg::process::database().to_u32();
        for (n, role) in [(1, "tock_ann"), (2, "tock_bob")] {
            let role = oid_of_role(role);
            let (_, slot) = taken.one(assignment(here, here, role)).unwrap();
            assert_eq!(seen_as("tock_ann"), (n == 2).then(|| ann().to_owned()));
            let wide = i64::from(n);
            assert!(slot.arrive(slot.life(), 4_000_000 + n, std::ptr::null_mut()));
            let _ = slot.begin(&CurrentRun {
                job: JobId(10 + wide),
                run: RunId(20 + wide),
                scheduled_for: Timestamp(1_800_000_000_500_000),
                started_at: Timestamp(1_800_000_000_000_000 + wide),
                attempt: n.unsigned_abs(),
                trigger: if n == 1 { Trigger::Retry } else { Trigger::Startup },
                window: None,
                lasting: Lasting::default(),
            });
            // While it only tries its job's lock nobody sees it.
            assert_eq!(seen_as(if n == 1 { "tock_ann" } else { "tock_bob" }), None);
            slot.sets_to_work();
        }
        let bob = "12 22 4000002 pgrx_tests tock_bob 1800000000.500000 1800000000.000002 startup 2";
        assert_eq!(seen_as("tock_ann").as_deref(), Some(ann()));
        assert_eq!(seen_as("tock_bob").as_deref(), Some(bob));
        assert_eq!(seen_as("tock_eve"), None);
        let all = format!("{}; {bob}", ann());
        assert_eq!(Spi::get_one::<String>(SEEN).unwrap(), Some(all));
        // Neither a run that is over nor another scheduler's is shown.
        taken.0[0].end();
        assert_eq!(Spi::get_one::<String>(SEEN).unwrap().as_deref(), Some(bob));
    }

    fn ann() -> &'static str {
        "11 21 4000001 pgrx_tests tock_ann 1800000000.500000 1800000000.000001 retry 1"
    }

    #[pg_test]
    fn another_database_s_runs_are_not_shown() {
        let mut taken = Taken::none();
        let here = crate::pg::process::database().to_u32();
        let (_, slot) = taken.one(assignment(u32::MAX - 1, here, 10)).unwrap();
        let _ = slot.begin(&CurrentRun {
            job: JobId(1),
            run: RunId(1),
            scheduled_for: Timestamp(0),
            started_at: Timestamp(0),
            attempt: 1,
            trigger: Trigger::Schedule,
            window: None,
            lasting: Lasting::default(),
        });
        slot.sets_to_work();
        assert_eq!(Spi::get_one::<String>(SEEN).unwrap(), None);
    }
}
