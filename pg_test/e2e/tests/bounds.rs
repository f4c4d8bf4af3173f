//! How many queues, calendars and dates a role may have, and how much a job may say: the scheduler reads it all.
#![allow(clippy::unwrap_used, reason = "helpers of scenarios, which fail by panicking")]

use pg_tock_test::Cluster;
use postgres::Client;

/// What the server says to a statement it refuses as too much: its message and hint.
fn refused(client: &mut Client, statement: &str) -> (String, String) {
    let error = client.batch_execute(statement).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "54000", "{error:?}");
    (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

/// Those of role ann, and one of role bob.
fn counts(cluster: &Cluster, table: &str) -> (i64, i64) {
    let of = |role: &str| {
        cluster.one(&format!("select count(*) from cron.{table} where owner = '{role}'"))
    };
    (of("ann"), of("bob"))
}

fn ann_and_bob() -> (Cluster, Client, Client) {
    let cluster = Cluster::start();
    cluster.role("ann");
    cluster.role("bob");
    let (ann, bob) = (cluster.client_as("ann"), cluster.client_as("bob"));
    (cluster, ann, bob)
}

#[test]
fn a_role_has_a_thousand_queues_at_most() {
    let (cluster, mut ann, mut bob) = ann_and_bob();
    ann.batch_execute("select cron.create_queue('q' || n) from generate_series(1, 1000) n")
        .unwrap();
    let (message, hint) = refused(&mut ann, "select cron.create_queue('q1001')");
    assert_eq!(message, "role \"ann\" has 1000 queues already");
    assert_eq!(hint, "Drop those that no job needs with cron.drop_queue.");
    assert_eq!(counts(&cluster, "queue"), (1_000, 0));
    // Those there are may change, and others have their own.
    ann.batch_execute("select cron.create_queue('q7', 7)").unwrap();
    assert_eq!(cluster.one::<i32>("select max_running from cron.queue where name = 'q7'"), 7);
    bob.batch_execute("select cron.create_queue('his')").unwrap();
    ann.batch_execute("select cron.drop_queue('q1'); select cron.create_queue('q1001')").unwrap();
    assert_eq!(counts(&cluster, "queue"), (1_000, 1));
}

#[test]
fn two_sessions_of_a_role_count_each_others_queues() {
    let (cluster, mut ann, _) = ann_and_bob();
    ann.batch_execute("select cron.create_queue('q' || n) from generate_series(1, 998) n").unwrap();
    ann.batch_execute("begin; select cron.create_queue('q999'), cron.create_queue('q1000')")
        .unwrap();
    std::thread::scope(|scope| {
        let mut other = cluster.client_as("ann");
        let other = scope.spawn(move || refused(&mut other, "select cron.create_queue('more')"));
        cluster.wait_for("exists (select from pg_locks where not granted and objsubid = 5)");
        ann.batch_execute("commit").unwrap();
        assert_eq!(other.join().unwrap().0, "role \"ann\" has 1000 queues already");
    });
    assert_eq!(counts(&cluster, "queue"), (1_000, 0));
}

#[test]
fn a_role_has_a_thousand_calendars_at_most() {
    let (cluster, mut ann, mut bob) = ann_and_bob();
    ann.batch_execute("select cron.create_calendar('c' || n) from generate_series(1, 1000) n")
        .unwrap();
    let (message, hint) = refused(&mut ann, "select cron.create_calendar('c1001')");
    assert_eq!(message, "role \"ann\" has 1000 calendars already");
    assert_eq!(hint, "Drop those that no job needs with cron.drop_calendar.");
    assert_eq!(counts(&cluster, "calendar"), (1_000, 0));
    bob.batch_execute("select cron.create_calendar('his')").unwrap();
    ann.batch_execute("select cron.drop_calendar('c1'); select cron.create_calendar('c1001')")
        .unwrap();
    assert_eq!(counts(&cluster, "calendar"), (1_000, 1));
}

#[test]
fn the_calendars_of_a_role_have_ten_thousand_dates_at_most() {
    let (cluster, mut ann, mut bob) = ann_and_bob();
    ann.batch_execute("select cron.create_calendar('one'), cron.create_calendar('other')").unwrap();
    cluster.sql(
        "insert into cron.calendar_date \
         select case when n % 2 = 0 then 'one' else 'other' end, d, d \
         from generate_series(1, 9999) n, lateral (select date '2000-01-01' + 2 * n) days (d)",
    );
    let add = "select cron.add_calendar_dates('one', '1999-01-01', '1999-01-31')";
    ann.batch_execute(add).unwrap();
    // The same range once more changes its note only.
    ann.batch_execute(add).unwrap();
    let dates = || cluster.one::<i64>("select count(*) from cron.calendar_date");
    let hint = "Remove those that have passed with cron.remove_calendar_dates; \
                days that follow each other are one range.";
    for more in [
        "select cron.add_calendar_dates('one', '1998-01-01')",
        "select cron.add_calendar_dates('other', '1998-01-01')",
        // Two ranges are left of one.
        "select cron.remove_calendar_dates('one', '1999-01-07')",
    ] {
        let message = "role \"ann\" has 10000 calendar dates already";
        assert_eq!(refused(&mut ann, more), (message.to_owned(), hint.to_owned()), "{more}");
        assert_eq!(dates(), 10_000);
    }
    bob.batch_execute(
        "select cron.create_calendar('his'), cron.add_calendar_dates('his', '1998-01-01')",
    )
    .unwrap();
    ann.batch_execute("select cron.remove_calendar_dates('one', '1999-01-07', '1999-01-31')")
        .unwrap();
    ann.batch_execute("select cron.remove_calendar_dates('one', '1999-01-01', '1999-01-31')")
        .unwrap();
    ann.batch_execute("select cron.add_calendar_dates('other', '1998-01-01')").unwrap();
    assert_eq!(dates(), 10_001);
}

#[test]
fn a_job_says_so_much_at_most() {
    let (cluster, mut ann, _) = ann_and_bob();
    let long = |bytes: usize| format!("'select 1 --' || repeat('x', {bytes} - 11)");
    let (most, more) = (long(131_072), long(131_073));
    ann.batch_execute(&format!("select cron.schedule('job', '0 0 29 2 *', {most})")).unwrap();
    let (message, hint) =
        refused(&mut ann, &format!("select cron.schedule('job', '0 0 29 2 *', {more})"));
    assert_eq!(message, "a job of 131073 bytes is larger than cron.max_job_size, 131072 bytes");
    assert_eq!(hint, "Put what it does into a function or procedure and call that.");
    for statement in [
        format!("select cron.schedule('0 0 29 2 *', {more})"),
        format!("select cron.create_job('other', '0 0 29 2 *', {more})"),
        "select cron.create_job('other', '0 0 29 2 *', 'select 1', run_if => repeat(' ', 131072) || 'true')".to_owned(),
        "select cron.set_job('job', jsonb_build_object('description', 'more'))".to_owned(),
        "select * from cron.apply_jobs(replace(cron.export_jobs()::text, '--', '--more')::jsonb)".to_owned(),
    ] {
        let _ = refused(&mut ann, &statement);
    }
    for statement in [
        format!("select cron.schedule_in_database('job', '0 0 29 2 *', {more}, 'postgres', 'ann')"),
        "select cron.alter_job(jobid, command => repeat('y', 131073)) from cron.job".to_owned(),
    ] {
        let _ = refused(&mut cluster.client(), &statement);
    }
    let kept = format!("select array_agg(jobname || (command = {most})::text) from cron.job");
    assert_eq!(cluster.one::<Vec<String>>(&kept), ["jobtrue"]);
    // What is there already may change, as long as it does not grow, and runs.
    cluster.sql("update cron.job set command = repeat(' ', 200000) || 'select 2'");
    ann.batch_execute("select cron.set_job('job', '{\"active\": false}'); select cron.set_job('job', '{\"active\": true}')")
        .unwrap();
    let job = cluster.one::<i64>("select jobid from cron.job");
    cluster.wait_known();
    cluster.sql("select cron.run_now('job', wait => true)");
    let _ = cluster.finished_runs(job, 1).remove(0).must_have_succeeded();
    // Whoever runs the server decides.
    cluster.conf("cron.max_job_size", "1MB");
    cluster.reload();
    cluster.wait_for("current_setting('cron.max_job_size') = '1MB'");
    let mut ann = cluster.client_as("ann");
    ann.batch_execute(&format!("select cron.schedule('job', '0 0 29 2 *', {more})")).unwrap();
}
