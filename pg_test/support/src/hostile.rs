//! What somebody without any special right can do to a server with jobs, all at once and without
//! pause. Owns the list; whoever runs it says what must not suffer.

mod company;

use crate::cluster::{Cluster, explain};
use crate::poll::stays_true;
use postgres::NoTls;
use postgres::error::SqlState;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many sessions she has at a time, in which her attacks take turns: more than two cores have time for.
const SESSIONS: usize = 13;
/// How long it is one attack's turn, at the least.
const TURN: Duration = Duration::from_secs(2);

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
            "begin; lock table cron.run_log in access exclusive mode; select pg_sleep(0.2)",
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
        name: "huge errors, answers, names and schedules",
        first: "select cron.schedule('shouts', '1 second', $$do $x$ begin raise exception '%', repeat('x', 20000000); end $x$ $$), \
                       cron.schedule('talks', '1 second', $$do $x$ begin for i in 1..1000 loop raise warning '%', repeat('x', 1000); end loop; end $x$ $$), \
                       cron.schedule('answers', '1 second', $$select repeat('y', 50000000)$$)",
        again: &[
            "select cron.schedule(repeat('n', 1000000), '1 second', 'select 1')",
            "select cron.schedule('bad', repeat('*', 10000000), 'select 1')",
            "select cron.set_job('answers', jsonb_build_object(repeat('k', 10000000), 1))",
        ],
    },
    Attack {
        name: "huge commands",
        // As long as they may be: such that can be compressed, and such that cannot.
        first: "select count(cron.schedule('long ' || n, '1 second', rpad('select 1 / 0 --', 131072, 'x'))) from generate_series(1, 20) n; \
                select count(cron.schedule('wide ' || n, '1 second', left('select 1 --' || (select string_agg(md5(i::text), '') from generate_series(1, 4096) i), 131072))) \
                from generate_series(1, 20) n",
        again: &[
            "select count(cron.schedule('long ' || n, '1 second', rpad('select 2 --', 131072, 'y'))) from generate_series(1, 20) n",
            "select cron.schedule('longer', '1 second', rpad('select 2 --', 12800000, 'y'))",
            "select count(cron.run_now('wide ' || n)) from generate_series(1, 20) n",
            "select count(cron.retry_run(runid)) from (select runid from cron.failed_runs where jobname ~ '^long' limit 20) r",
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
        first: "select cron.schedule('beats', '1 second', $$do $x$ begin for i in 1..100000 loop perform cron.heartbeat(i % 100, repeat('b', 500)); end loop; end $x$ $$), \
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
        name: "runs by hand",
        first: "select count(cron.create_job('asked ' || n, '0 3 * * *', 'select 1', tags => '{flood}')) from generate_series(1, 50) n",
        again: &[
            "select count(cron.run_now('asked ' || n % 50 + 1)) from generate_series(1, 200) n",
            "select count(cron.run_now('asked 1', force => true)) from generate_series(1, 200)",
            "select count(*) from cron.run_now_tagged('flood', force => true)",
            "select cron.set_job('asked ' || n, '{\"active\": false}') from generate_series(1, 50) n",
            "select cron.set_job('asked ' || n, '{\"active\": true}') from generate_series(1, 50) n",
        ],
    },
    Attack {
        name: "runs that are waited for",
        first: "select cron.create_job('awaited', '1 second', 'select 1', on_overlap => 'allow', max_concurrency => 1000)",
        again: &[
            "select cron.run_now('awaited', wait => true)",
            "select status from cron.dry_run('awaited')",
        ],
    },
    Attack {
        name: "runs taken back",
        first: "select count(cron.create_job('taken back ' || n, '0 3 * * *', 'select pg_sleep(3600)')) from generate_series(1, 20) n",
        again: &[
            "select count(cron.run_now('taken back ' || n % 20 + 1)) from generate_series(1, 500) n",
            "select count(cron.cancel_run(runid, repeat('r', 1000))) from (select runid from cron.run_request limit 500) r",
            "select count(cron.cancel_run(runid, repeat('r', 1000))) from cron.running",
        ],
    },
    Attack {
        name: "retries and resolutions",
        first: "select count(cron.create_job('dead ' || n, '1 second', 'select 1 / 0')) from generate_series(1, 20) n",
        again: &[
            "select count(cron.retry_run(runid)) from (select distinct on (jobid) runid from cron.dead_letters where jobname ~ '^dead') d",
            "select count(cron.resolve_run(runid, 'failed', repeat('n', 1000))) from (select runid from cron.dead_letters where jobname ~ '^dead' limit 100) d",
            "select count(cron.resolve_run(runid, 'succeeded')) from (select runid from cron.dead_letters where jobname ~ '^dead' limit 100) d",
        ],
    },
    Attack {
        name: "documents",
        first: "select count(cron.create_job('listed ' || n, '0 3 * * *', 'select 1', tags => '{list}')) from generate_series(1, 500) n",
        again: &[
            "select count(*) from cron.apply_jobs(cron.export_jobs('{list}'))",
            "select count(*) from cron.apply_jobs(replace(cron.export_jobs('{list}')::text, '0 3 ', '0 4 ')::jsonb)",
            "select count(*) from cron.apply_jobs(cron.export_jobs(), prune => true, dry_run => true)",
        ],
    },
    Attack {
        name: "reports",
        first: "select cron.schedule('reported', '1 second', 'select 1')",
        again: &[
            "select cron.reset_stats()",
            "select length(cron.report_html('30 days'))",
            "select count(*) from cron.diagnose('reported')",
            "select count(*) from cron.advise()",
            "select count(*) from cron.health",
        ],
    },
    Attack {
        name: "alerts",
        first: "select cron.create_job('handler', '0 3 * * *', 'select pg_sleep(1)', on_overlap => 'allow', max_concurrency => 1000); \
                select count(cron.create_job('flaps ' || n, '1 second', 'select 1 / (random() < 0.5)::int', alert_after_failures => 1, \
                       alert_if_slower => '1 millisecond', alert_below_success => 50, alert_job => 'handler')) from generate_series(1, 50) n",
        again: &[
            "select count(*) from cron.alerts",
            "select cron.set_job('flaps 1', '{\"alert_if_absent\": \"1 second\"}')",
            "select cron.set_job('flaps 1', '{\"alert_if_absent\": null}')",
        ],
    },
    Attack {
        name: "timeouts that are ignored",
        first: "select count(cron.create_job('deaf ' || n, '1 second', $$do $x$ begin loop begin perform pg_sleep(3600); \
                       exception when query_canceled then null; end; end loop; end $x$ $$, timeout => '100 milliseconds')) from generate_series(1, 20) n",
        again: &[
            "select count(cron.cancel_run(runid)) from cron.running where jobname ~ '^deaf'",
            "select count(*) from cron.running where jobname ~ '^deaf'",
        ],
    },
    Attack {
        name: "jobs that wait for one",
        first: "select cron.create_job('upstream', '1 second', 'select 1'); \
                select count(cron.create_job('downstream ' || n, '1 second', 'select 1', run_after => '{upstream}')) from generate_series(1, 400) n",
        again: &[
            "select cron.set_job('upstream', '{\"active\": false}')",
            "select cron.set_job('upstream', '{\"active\": true}')",
        ],
    },
    Attack {
        name: "sessions that come and go",
        first: "select 1",
        again: &["select 1", "select pg_terminate_backend(pg_backend_pid())"],
    },
    company::QUEUES,
    company::CALENDARS,
];

/// Lets her loose for that long, and checks that the server stays up. Afterwards her sessions are gone
/// and her jobs are as she left them.
///
/// # Panics
/// When the server does not answer, or nothing of an attack has got through to it.
#[track_caller]
pub fn under_attack(cluster: &Cluster, span: Duration) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|session| scope.spawn(move || take_turns(cluster, session, over)))
            .collect();
        stays_true("the server answers", span, || cluster.one::<i32>("select 1") == 1);
        over.store(true, Ordering::SeqCst);
        let ended = sessions.into_iter().map(|session| session.join().expect("it ends when told"));
        for (name, Done { answered, succeeded, refused, mistake }) in ended.flatten() {
            eprintln!(
                "    {name}: {answered} statements, {succeeded} succeeded, refusals {refused:?}"
            );
            assert!(succeeded > 0, "an attack that does nothing: {name}");
            assert_eq!(mistake, None, "a statement that attacks nothing: {name}");
        }
    });
}

/// What became of the statements of one attack.
#[derive(Default)]
struct Done {
    answered: u64,
    /// Other than those that only end a transaction.
    succeeded: u64,
    /// SQLSTATEs of the others.
    refused: BTreeSet<String>,
    /// The first that no server takes, whoever asks.
    mistake: Option<String>,
}

impl Done {
    fn note(&mut self, statement: &str, answer: Result<(), postgres::Error>) {
        self.answered += 1;
        match answer {
            Ok(()) if statement != "rollback" => self.succeeded += 1,
            Ok(()) => {}
            Err(error) => {
                let code = error.code().unwrap_or(&SqlState::CONNECTION_FAILURE);
                let _ = self.refused.insert(code.code().to_owned());
                if MISTAKES.contains(code) {
                    let said = || format!("{statement:.200}: {}", explain(&error));
                    let _ = self.mistake.get_or_insert_with(said);
                }
            }
        }
    }
}

/// Errors of statements that are wrong in themselves.
const MISTAKES: &[SqlState] = &[
    SqlState::SYNTAX_ERROR,
    SqlState::UNDEFINED_FUNCTION,
    SqlState::AMBIGUOUS_FUNCTION,
    SqlState::UNDEFINED_COLUMN,
    SqlState::UNDEFINED_TABLE,
    SqlState::DATATYPE_MISMATCH,
    SqlState::INVALID_TEXT_REPRESENTATION,
];

/// Does the attacks of one session in turns until it is over, each at least once.
fn take_turns(cluster: &Cluster, session: usize, over: &AtomicBool) -> Vec<(&'static str, Done)> {
    let attacks: Vec<&Attack> = ATTACKS.iter().skip(session).step_by(SESSIONS).collect();
    let mut done: Vec<Done> = attacks.iter().map(|_| Done::default()).collect();
    loop {
        for (attack, done) in attacks.iter().zip(&mut done) {
            carry_out(cluster, attack, over, done);
        }
        if over.load(Ordering::SeqCst) {
            return attacks.iter().map(|attack| attack.name).zip(done).collect();
        }
    }
}

/// Does one attack while it is its turn.
fn carry_out(cluster: &Cluster, attack: &Attack, over: &AtomicBool, done: &mut Done) {
    let since = Instant::now();
    let goes_on = || since.elapsed() < TURN && !over.load(Ordering::SeqCst);
    let mut begun = false;
    while goes_on() || !begun {
        let Ok(mut client) = cluster.config("postgres", MALLORY).connect(NoTls) else { continue };
        begun = true;
        drop(client.batch_execute("set statement_timeout = '10s'"));
        done.note(attack.first, client.batch_execute(attack.first));
        for statement in attack.again.iter().cycle() {
            if !goes_on() || client.is_closed() {
                break;
            }
            done.note(statement, client.batch_execute(statement));
        }
    }
}
