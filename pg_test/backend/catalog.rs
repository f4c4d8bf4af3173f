//! `catalog::load` and `catalog::state`: what the scheduler reads about jobs.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use std::ffi::CString;

    use pg_tock_core::time::{JobId, Timestamp};
    use pgrx::prelude::*;

    use crate::catalog::load::{self, JobRow};
    use crate::catalog::state::{self, Effective};
    use crate::pg_test::backend::oid_of_role;

    fn schedule(name: &str, command: &str) -> i64 {
        let statement = "SELECT cron.schedule($1, '*/5 * * * *', $2)";
        Spi::get_one_with_args(statement, &[name.into(), command.into()]).unwrap().unwrap()
    }

    fn only(id: i64) -> JobRow {
        let mut rows = load::some(&[id]).unwrap();
        assert_eq!(rows.len(), 1);
        rows.pop().unwrap()
    }

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    #[pg_test]
    fn a_job_is_read_as_cron_schedule_stored_it() {
        let name = "it's \"a\" \\ job, \u{17e}lu\u{165}";
        let id = schedule(name, "select 'x'; -- \u{1f551}");
        let row = only(id);
        let me = Spi::get_one::<String>("SELECT current_user::text").unwrap().unwrap();
        assert_eq!((row.id, row.schedule.as_str(), row.active), (id, "*/5 * * * *", true));
        assert_eq!(row.command, c("select 'x'; -- \u{1f551}"));
        assert_eq!(row.jobname, Some(c(name)));
        assert_eq!((row.database, row.username), (c("pgrx_tests"), c(&me)));
        assert_eq!(row.nodename, crate::guc::host());
        assert_eq!(row.database_oid, Some(crate::pg::process::database().to_u32()));
        assert_eq!((row.role_oid, row.is_superuser), (Some(oid_of_role(&me)), true));
        assert_eq!((row.timezone, row.effective_from, row.definition), (None, None, None));
    }

    #[pg_test]
    fn a_command_of_a_megabyte_is_read_whole() {
        let command = format!("select '{}'", "0123456789abcdef\u{e9}\n".repeat(1 << 16));
        assert!(command.len() > 1 << 20);
        // More than cron.schedule takes: restored, say.
        let id = schedule("large", "select 1");
        let update = "UPDATE cron.job SET command = $1 WHERE jobid = $2";
        Spi::run_with_args(update, &[command.as_str().into(), id.into()]).unwrap();
        // Not along with others.
        let cut = only(id);
        assert!(cut.is_cut && cut.command.is_empty());
        assert_eq!(cut.bytes, i64::try_from(command.len()).unwrap());
        assert!(load::whole(id, cut.bytes - 1).unwrap().unwrap().is_cut);
        let whole = load::whole(id, cut.bytes).unwrap().unwrap();
        assert!(!whole.is_cut && whole.command == c(&command), "the command was changed");
    }

    #[pg_test]
    fn only_the_jobs_asked_for_are_read_if_they_exist() {
        let (a, b) = (schedule("a", "select 1"), schedule("b", "select 2"));
        let gone = schedule("gone", "select 3");
        let statement = "SELECT cron.unschedule($1)";
        assert_eq!(Spi::get_one_with_args(statement, &[gone.into()]).unwrap(), Some(true));
        let ids = |rows: Vec<JobRow>| {
            let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(load::some(&[b, gone, b, -1]).unwrap()), [b]);
        assert_eq!(ids(load::some(&[]).unwrap()), [] as [i64; 0]);
        assert_eq!(ids(load::page(i64::MIN, 10).unwrap()), [a, b]);
        assert_eq!(ids(load::page(i64::MIN, 1).unwrap()), [a]);
        assert_eq!(ids(load::page(a, 10).unwrap()), [b]);
    }

    #[pg_test]
    fn a_job_whose_role_or_database_is_gone_says_so() {
        let id = schedule("orphan", "select 1");
        Spi::run(
            "CREATE ROLE tock_gone; UPDATE cron.job SET username = 'tock_gone'; \
             UPDATE cron.job SET database = 'No such database', timezone = 'Asia/Tokyo'",
        )
        .unwrap();
        let row = only(id);
        assert_eq!((row.database_oid, row.is_superuser), (None, false));
        assert_eq!(row.role_oid, Some(oid_of_role("tock_gone")));
        assert_eq!(row.timezone.as_deref(), Some("Asia/Tokyo"));
        Spi::run("DROP ROLE tock_gone").unwrap();
        let row = only(id);
        assert_eq!((row.role_oid, row.is_superuser), (None, false));
        assert_eq!(row.username, c("tock_gone"));
    }

    #[pg_test]
    fn since_when_a_job_is_as_it_is_is_remembered_until_it_is_forgotten() {
        let (a, b) = (schedule("a", "select 1"), schedule("b", "select 2"));
        let at = |job, from, definition: &str| Effective {
            job: JobId(job),
            from: Timestamp(from),
            definition: definition.to_owned(),
        };
        let known = |id| {
            let row = only(id);
            (row.effective_from, row.definition)
        };
        state::set_effective(&[at(a, 1_800_000_000_000_001, "one"), at(b, -1, "two")]).unwrap();
        state::set_effective(&[at(a, 1_900_000_000_000_000, "it's")]).unwrap();
        assert_eq!(known(a), (Some(Timestamp(1_900_000_000_000_000)), Some("it's".to_owned())));
        assert_eq!(known(b), (Some(Timestamp(-1)), Some("two".to_owned())));
        state::forget(&[a]).unwrap();
        assert_eq!(known(a), (None, None));
        assert_eq!(known(b).0, Some(Timestamp(-1)));
    }
}
