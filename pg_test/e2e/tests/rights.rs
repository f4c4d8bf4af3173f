//! Each role sees and touches its own jobs and runs, and nobody else's.

use pg_tock_test::{Cluster, sqlstate};

/// Whose row it is that has a job and no role.
const OWNER: &str = "(select job.username from cron.job where job.jobid = its.jobid)";

/// Everything a role may read, with what says whose row it is.
const READABLE: [(&str, &str); 12] = [
    ("cron.job", "username"),
    ("cron.job_run_details", "username"),
    ("cron.jobs", "username"),
    ("cron.running", "username"),
    ("cron.recent_runs", "username"),
    ("cron.failed_runs", "username"),
    ("cron.upcoming", "username"),
    ("cron.alerts", "username"),
    ("cron.dead_letters", OWNER),
    ("cron.job_skip", OWNER),
    ("cron.job_stats_hourly", OWNER),
    ("cron.job_stats_daily", OWNER),
];

fn two_owners() -> (Cluster, [i64; 2]) {
    let cluster = Cluster::start();
    let jobs = ["ann", "bob"].map(|owner| {
        cluster.role(owner);
        cluster.schedule_as(owner, "nap", "1 second", "select pg_sleep(3600)");
        cluster.schedule_as(owner, "failing", "1 second", "select 1/0");
        cluster.schedule_as(owner, "mine", "1 second", "select 1")
    });
    cluster.sql(
        "select cron.set_job(jobid, case jobname when 'nap' then '{\"on_overlap\": \"skip\"}'::jsonb \
          else '{\"alert_after_failures\": 1}' end) from cron.job where jobname in ('nap', 'failing')",
    );
    for job in jobs {
        let _ = cluster.finished_runs(job, 2);
    }
    for (relation, column) in READABLE {
        cluster.wait_for(&format!("(select count(distinct {column}) = 2 from {relation} as its)"));
    }
    (cluster, jobs)
}

#[test]
fn roles_see_only_their_own_rows() {
    let (cluster, _) = two_owners();
    for owner in ["ann", "bob"] {
        let mut client = cluster.client_as(owner);
        for (relation, column) in READABLE {
            let query = format!("select distinct {column}::text from {relation} as its");
            let seen: Vec<Option<String>> =
                client.query(&query, &[]).unwrap().iter().map(|row| row.get(0)).collect();
            assert_eq!(seen, [Some(owner.to_owned())], "{relation} as {owner}");
        }
        let names = "select array_agg(jobname order by jobname) from cron.job_stats";
        let seen: Vec<String> = client.query_one(names, &[]).unwrap().get(0);
        assert_eq!(seen, ["failing", "mine", "nap"], "cron.job_stats as {owner}");
    }
    assert_eq!(
        cluster.one::<i64>("select count(*) from cron.job_stats"),
        6,
        "a superuser sees all"
    );
}

#[test]
fn roles_touch_only_their_own_jobs_and_runs() {
    let (cluster, [anns, bobs]) = two_owners();
    let mut ann = cluster.client_as("ann");
    let refused = ann.query("select cron.unschedule($1::bigint)", &[&bobs]).unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
    for statement in [
        "update cron.job set command = 'select 2'",
        "delete from cron.job",
        "insert into cron.job (schedule, command, nodeport) values ('1 second', 'select 1', 1)",
        "truncate cron.job",
        "truncate cron.job_run_details",
        "update cron.job_run_details set status = 'succeeded'",
    ] {
        let refused = ann.batch_execute(statement).unwrap_err();
        assert_eq!(sqlstate(&refused), "42501", "{statement}");
    }
    ann.batch_execute("delete from cron.job_run_details").unwrap();
    assert!(cluster.finished_runs_of(bobs).len() >= 2, "bob's history is bob's");
    let _ = cluster.finished_runs(anns, 1);
}

#[test]
fn statistics_agree_with_the_ledger() {
    let (cluster, _) = two_owners();
    cluster.stop_all_jobs();
    cluster.wait_for(
        "not exists (select from cron.job_stats s, lateral (select count(*) as total, \
         count(*) filter (where d.status = 'succeeded') as good, \
         count(*) filter (where d.status = 'failed') as bad \
         from cron.job_run_details d where d.jobid = s.jobid) counted \
         where s.total_runs <> counted.total or s.successful_runs <> counted.good \
         or s.failed_runs <> counted.bad)",
    );
    assert_eq!(
        cluster
            .one::<String>(
                "select last_error from cron.job_stats where jobname = 'failing' limit 1"
            )
            .trim(),
        "ERROR:  division by zero"
    );
}
