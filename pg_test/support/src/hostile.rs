//! What somebody without any special right can do to a server with jobs, all at once and without
//! pause. Owns the list; whoever runs it says what must not suffer.

mod company;

use crate::cluster::Cluster;
use crate::poll::stays_true;
use postgres::NoTls;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The role that does it.
pub const MALLORY: &str = "mallory";

/// A session of hers: what it is about, what it does first, and what it does again and again. Whatever
/// the server refuses, it goes on.
struct Attack {
    name: &'static str,
    first: &'static str,
    again: &'static [&'static str],
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "thousands of jobs",
        first: "select count(cron.schedule('crowd ' || n, '1 second', 'select 1')) from generate_series(1, 2000) n",
        again: &[
            "select count(cron.schedule('more ' || n, 'every 2 seconds', 'select 2')) from generate_series(1, 200) n",
            "select count(cron.unschedule('more ' || n)) from generate_series(1, 200) n",
        ],
    },
    Attack {
        name: "failing and hanging jobs",
        first: "select cron.schedule('fails ' || n, '1 second', 'select 1 / 0'), \
                       cron.schedule('hangs ' || n, '1 second', 'select pg_sleep(3600)'), \
                       cron.schedule('spins ' || n, '2 seconds', 'select count(*) from generate_series(1, 3000000)'), \
                       cron.schedule('dies ' || n, '1 second', 'select pg_terminate_backend(pg_backend_pid())') \
                from generate_series(1, 40) n",
        again: &[
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = current_user and backend_type ~ 'pg_tock'",
            "select pg_cancel_backend(pid) from pg_stat_activity where backend_type ~ 'pg_tock'",
        ],
    },
    Attack {
        name: "locks on tables",
        first: "set lock_timeout = '100ms'",
        again: &[
            "begin; lock table cron.job in access exclusive mode",
            "rollback",
            "begin; lock table cron.job in access share mode; lock table cron.job_run_details in row exclusive mode; \
                  lock table cron.job_state in access share mode; lock table pg_class in access share mode; \
                  lock table pg_authid in share mode; select pg_sleep(0.5)",
            "rollback",
            "begin; lock table pg_proc in share mode",
            "rollback",
            "begin; delete from cron.job_run_details; select pg_sleep(0.2)",
            "rollback",
            "truncate cron.job_run_details",
        ],
    },
    Attack {
        name: "advisory locks",
        first: "select count(pg_try_advisory_lock(n)) from generate_series(1, 3000) n",
        again: &[
            "select count(pg_try_advisory_lock(n, 3)) from generate_series(1, 1000) n",
            "select count(pg_advisory_unlock(n, 3)) from generate_series(1, 1000) n",
        ],
    },
    Attack {
        name: "an open transaction with news of jobs",
        first: "select cron.schedule('mine', '1 second', 'select 1')",
        again: &[
            "begin; select cron.set_job('mine', '{\"schedule\": \"2 seconds\"}'); select pg_sleep(1)",
            "rollback",
        ],
    },
    Attack {
        name: "huge commands and errors",
        first: "select cron.schedule('huge', '1 second', '-- ' || repeat(md5('x'), 400000) || e'\\nselect 1'), \
                       cron.schedule('shouts', '1 second', $$do $x$ begin raise exception '%', repeat('x', 20000000); end $x$$$), \
                       cron.schedule('talks', '1 second', $$do $x$ begin for i in 1..1000 loop raise warning '%', repeat('x', 1000); end loop; end $x$$$), \
                       cron.schedule('answers', '1 second', $$select repeat('y', 50000000)$$)",
        again: &[
            "select cron.schedule('huge once more', '1 minute', '-- ' || repeat(md5(random()::text), 400000))",
            "select cron.schedule(repeat('n', 1000000), '1 second', 'select 1')",
            "select cron.schedule('bad', repeat('*', 10000000), 'select 1')",
            "select cron.set_job('huge', jsonb_build_object(repeat('k', 10000000), 1))",
        ],
    },
    Attack {
        name: "altering her role",
        first: "select 1",
        again: &[
            "alter role mallory set work_mem = '101kB'",
            "alter role mallory reset all",
            "alter role mallory set search_path = 'nowhere'",
            "alter role mallory password 'x'",
            "alter role ann set work_mem = '64kB'",
            "drop database postgres",
            "drop schema cron cascade",
        ],
    },
    Attack {
        name: "notifications",
        first: "select cron.schedule('rings', '1 second', $$select pg_notify('bell', repeat('x', 7000)) from generate_series(1, 50)$$)",
        again: &[
            "select pg_notify('bell' || n % 10, repeat('x', 7000)) from generate_series(1, 200) n",
        ],
    },
    Attack {
        name: "runs without end",
        first: "select cron.schedule('again ' || n, '1 second', 'select cron.run_again()') from generate_series(1, 20) n",
        again: &["select cron.backfill('again 1', now() - interval '20 minutes', now())"],
    },
    Attack {
        name: "heartbeats and logs",
        first: "select cron.schedule('beats', '1 second', $$do $x$ begin for i in 1..100000 loop perform cron.heartbeat(i % 100, repeat('b', 500)); end loop; end $x$$$), \
                       cron.schedule('logs', '1 second', $$select cron.log('info', repeat('l', 1000), '{}') from generate_series(1, 2000)$$), \
                       cron.schedule('notes', '1 second', $$select cron.checkpoint(jsonb_build_object('a', repeat('c', 1000000)))$$)",
        again: &[
            "select count(*) from cron.running",
            "select count(*) from cron.jobs",
            "select count(*) from cron.upcoming",
        ],
    },
    Attack {
        name: "holds",
        first: "select cron.hold('again 2')",
        again: &[
            "select cron.hold('again 3')",
            "select cron.release('again 3')",
            "select cron.hold('crowd 1')",
            "discard all",
        ],
    },
    Attack {
        name: "pauses and changes",
        first: "select cron.schedule('fickle', '1 second', 'select 1')",
        again: &[
            "select cron.pause('fickle')",
            "select cron.resume('fickle')",
            "select cron.set_job('fickle', '{\"schedule\": \"3 seconds\", \"on_missed\": \"all\"}')",
            "select cron.set_job('fickle', '{\"schedule\": \"1 second\", \"jitter\": \"500 ms\"}')",
            "select cron.simulate(now(), now() + interval '1 hour')",
            "select count(*) from cron.forecast('1 hour')",
        ],
    },
    Attack {
        name: "sessions that come and go",
        first: "select 1",
        again: &["select pg_terminate_backend(pg_backend_pid())"],
    },
    company::QUEUES,
    company::CALENDARS,
];

/// Lets her loose for that long, and checks that the server stays up. Afterwards her sessions are gone
/// and her jobs are as she left them.
///
/// # Panics
/// When the server does not answer, or an attack has never got through to it.
#[track_caller]
pub fn under_attack(cluster: &Cluster, span: Duration) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sessions: Vec<_> = ATTACKS
            .iter()
            .map(|attack| (attack.name, scope.spawn(|| carry_out(cluster, attack, &over))))
            .collect();
        stays_true("the server answers", span, || cluster.one::<i32>("select 1") == 1);
        over.store(true, Ordering::SeqCst);
        for (name, session) in sessions {
            let done = session.join().expect("an attack ends when told");
            eprintln!("    {name}: {done} statements");
            assert!(done > 0, "an attack that does nothing: {name}");
        }
    });
}

/// Statements of one attack that were answered, by success or refusal.
fn carry_out(cluster: &Cluster, attack: &Attack, over: &AtomicBool) -> u64 {
    let mut answered = 0;
    while !over.load(Ordering::SeqCst) {
        let Ok(mut client) = cluster.config("postgres", MALLORY).connect(NoTls) else { continue };
        drop(client.batch_execute("set statement_timeout = '10s'"));
        if client.batch_execute(attack.first).is_ok() {
            answered += 1;
        }
        for statement in attack.again.iter().cycle() {
            if over.load(Ordering::SeqCst) || client.is_closed() {
                break;
            }
            drop(client.batch_execute(statement));
            answered += 1;
        }
    }
    answered
}
