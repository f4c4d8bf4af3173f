//! The jobs, and the tables, roles and databases they need. Owns table `owes`, with what each of them owes
//! for a run that succeeded, which the checks at the end read.

use crate::kinds::{AT, KINDS, Kind, Owes, VICTIMS, index};
use crate::world::{VICTIM, World};
use serde_json::json;

const SCHEMA: &str = "
create role ann login; create role bob login;
grant usage on schema cron to ann, bob;
create table effect (n bigserial primary key, jobid bigint, runid bigint, at timestamptz, part int, place int);
grant insert on effect to public; grant usage on effect_n_seq to public;
create table parent (id int primary key);
create table child (parent int references parent deferrable initially deferred);
grant insert on child to public;
create table owes (jobid bigint primary key, kind text, class text, parts int);
create function place_of(what int, places int) returns int language plpgsql as $$
begin
  for place in 1 .. places loop
    if pg_try_advisory_xact_lock(what, place) then return place; end if;
  end loop;
  raise exception 'more than % at once', places using errcode = 'CHAOS';
end $$;
create function note(part int) returns void language sql as $$
  insert into public.effect (jobid, runid, at, part, place)
  values (current_setting('cron.job_id')::bigint, current_setting('cron.run_id')::bigint,
          current_setting('cron.scheduled_for')::timestamptz, part,
          public.place_of(current_setting('cron.job_id')::int, 1)) $$;
create procedure batches() language plpgsql as $$
begin perform note(1); commit; perform note(2); commit; perform note(3); end $$;
create function resume_at_checkpoint() returns void language plpgsql as $$
declare done int := coalesce((cron.last_checkpoint() ->> 'done')::int, 0);
begin perform note(1); perform cron.checkpoint(jsonb_build_object('done', done + 1)); end $$;
create function in_pieces() returns void language plpgsql as $$
begin
  perform note(1);
  if random() < 0.5 then perform cron.run_again(); end if;
end $$;
select cron.create_calendar('never');
select cron.create_queue('narrow', 2, shared => true);
select cron.create_queue('pair', 2, shared => true);
";

/// SQLSTATE of a run that began while as many were in progress as may be at once. `place_of` looks: it
/// takes an advisory lock, of a job or (below zero) of a queue, until the transaction ends. A run's
/// transaction is over before anybody is told that the run is, and locks know no clock.
pub(crate) const TOO_MANY: &str = "CHAOS";

/// What databases other than the scheduler's need.
pub(crate) const ELSEWHERE: &str = "
create table effect (n bigserial primary key, jobid bigint, runid bigint, at timestamptz, part int);
grant insert on effect to public; grant usage on effect_n_seq to public;
create function note(part int) returns void language sql as $$
  insert into public.effect (jobid, runid, at, part)
  values (current_setting('cron.job_id')::bigint, current_setting('cron.run_id')::bigint,
          current_setting('cron.scheduled_for')::timestamptz, part) $$";

/// Creates roles, databases, tables and all jobs. Returns how many jobs.
pub(crate) fn settle(world: &mut World) -> i64 {
    let cluster = &world.cluster;
    if let Some(small) = &world.small {
        cluster.sql(&format!("create tablespace small location '{}'", small.display()));
        cluster.sql("alter table cron.job_run_details set tablespace small");
    }
    cluster.sql(SCHEMA);
    cluster.sql("create database elsewhere");
    cluster.connect("elsewhere", "postgres").batch_execute(ELSEWHERE).expect("tables elsewhere");
    raise_victims(world);
    for kind in KINDS.iter().chain(VICTIMS) {
        for n in 0..kind.count {
            let name = format!("{} {n}", kind.name);
            let schedule = kind.schedules[index(n) % kind.schedules.len()];
            create(world, &name, schedule, kind, n);
        }
    }
    world.cluster.sql("update cron.job set session = 'fresh' where jobname ~ '^fresh session'");
    world.cluster.one("select count(*) from cron.job")
}

/// One more job, such as come and go.
pub(crate) fn another(world: &mut World) {
    world.fresh += 1;
    let name = format!("quick {}", world.fresh);
    create(world, &name, "1 second", &KINDS[0], i64::from(world.fresh));
}

fn create(world: &World, name: &str, schedule: &str, kind: &Kind, n: i64) {
    let schedule = match schedule {
        AT => world.cluster.one_with(
            "select to_char(now() at time zone 'UTC' + $1 * interval '12 seconds', '\"at\" YYYY-MM-DD HH24:MI:SS')",
            &[&f64::from(i32::try_from(n + 1).expect("a small number"))],
        ),
        schedule => schedule.to_owned(),
    };
    let mut options = json!({ "job_name": name, "schedule": schedule, "command": kind.command });
    let object = options.as_object_mut().expect("an object");
    if n % 4 == 1 && matches!(kind.owes, Owes::ExactlyOnce(_)) {
        object.insert("username".to_owned(), json!(["ann", "bob"][index(n / 4 % 2)]));
    }
    if matches!(kind.owes, Owes::Request(_)) {
        object.remove("command");
        object.insert("url".to_owned(), json!(world.web.url()));
    }
    object.extend((kind.options)(n).as_object().expect("an object").clone());
    let (class, parts) = match kind.owes {
        Owes::ExactlyOnce(parts) => ("exactly once", parts),
        Owes::AtMostOnce(parts) => ("at most once", parts),
        Owes::Elsewhere(parts) => ("elsewhere", parts),
        Owes::Request(parts) => ("request", parts),
        Owes::Nothing => ("nothing", 0),
        Owes::Unknown => ("unknown", 0),
    };
    let _: i64 = world.cluster.one_with(
        "insert into owes select cron.create_job($1::jsonb), $2, $3, $4 returning jobid",
        &[&options, &kind.name, &class, &parts],
    );
}

/// Creates the role and the database that get dropped.
pub(crate) fn raise_victims(world: &World) {
    let cluster = &world.cluster;
    if !cluster.one::<bool>("select exists (select from pg_roles where rolname = 'victim')") {
        cluster.sql(&format!("create role {VICTIM} login; grant usage on schema cron to {VICTIM}"));
    }
    if !cluster.one::<bool>("select exists (select from pg_database where datname = 'victim')") {
        cluster.sql(&format!("create database {VICTIM}"));
        cluster.connect(VICTIM, "postgres").batch_execute(ELSEWHERE).expect("tables");
    }
}
