//! `guc`: the settings as the code sees them.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use std::time::Duration;

    use pgrx::prelude::*;

    use crate::guc::{self, DatabaseNames, parse_database_names};

    #[pg_test]
    fn settings_are_read_in_their_units() {
        assert_eq!(guc::max_running_jobs(), 7);
        assert_eq!(guc::executor_idle_timeout(), Duration::from_secs(120));
        assert_eq!(guc::executor_max_age(), Duration::from_secs(3600));
        assert_eq!(guc::max_queued_runs(), 1000);
        assert_eq!(guc::timezone(), "Europe/Berlin");
        // "debug" is another name of debug2, which is what log_min_messages is given.
        assert_eq!(guc::log_min_messages(), c"debug2");
        assert!(guc::log_run() && guc::launch_active_jobs() && !guc::match_dom_and_dow());
    }

    #[pg_test]
    fn one_database_name_is_the_default_of_new_jobs() {
        assert_eq!(guc::database_names(), DatabaseNames::Listed(vec!["pgrx_tests".to_owned()]));
        assert_eq!(guc::default_job_database().as_deref(), Some("pgrx_tests"));
    }

    #[pg_test]
    fn database_names_are_a_list_with_blanks_or_an_asterisk() {
        let listed = |names: &[&str]| {
            DatabaseNames::Listed(names.iter().map(|&name| name.to_owned()).collect())
        };
        for (setting, names) in [
            ("*", DatabaseNames::All),
            ("", listed(&[])),
            (" , ,\t", listed(&[])),
            ("postgres", listed(&["postgres"])),
            (" a b ,\tC,\r\n\"d\" ,", listed(&["a b", "C", "\"d\""])),
            ("a,*", listed(&["a", "*"])),
            ("b,a,b", listed(&["b", "a", "b"])),
        ] {
            assert_eq!(parse_database_names(setting), names, "{setting:?}");
        }
    }

    #[pg_test]
    fn a_job_is_this_server_s_by_loopback_socket_or_name() {
        for local in ["", "localhost", "LocalHost", "127.0.0.1", "::1", "/run", "@x", "db.example"]
        {
            assert!(guc::is_local_node(local), "{local:?}");
        }
        for other in ["db", "db.example.com", "127.0.0.2", " localhost"] {
            assert!(!guc::is_local_node(other), "{other:?}");
        }
    }
}
