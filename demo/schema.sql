-- The database of a small social app, as the eleven jobs expect it. Owner of everything: role app.

create role app login;
grant usage on schema cron to app;
grant execute on function cron.create_http_job to app;
grant insert on cron.secret_input to app;
create schema app authorization app;
alter role app set search_path = app;
set role app;
set search_path = app;

create table users (
    id bigint generated always as identity primary key,
    name text not null unique,
    status text not null default 'active' check (status in ('active', 'inactive', 'banned')),
    points int not null default 0,
    streak int not null default 0,
    last_active_at timestamptz not null default now(),
    banned_at timestamptz
);
create table challenges (
    id bigint generated always as identity primary key,
    title text not null,
    day date not null,
    active boolean not null default false
);
create table challenge_archive (like challenges, archived_at timestamptz not null default now());
create table completions (
    user_id bigint not null references users,
    challenge_id bigint not null,
    completed_at timestamptz not null default now()
);
create table stories (
    id bigint generated always as identity primary key,
    user_id bigint not null references users,
    body text not null,
    created_at timestamptz not null default now()
);
create index on stories (created_at);
create table typing_indicators (
    user_id bigint not null references users,
    conversation int not null,
    seen_at timestamptz not null default now()
);
create table reports (
    id bigint generated always as identity primary key,
    reported_user bigint not null references users,
    reason text not null,
    created_at timestamptz not null default now(),
    handled_at timestamptz
);
create table reminders (
    id bigint generated always as identity primary key,
    user_id bigint not null references users,
    body text not null,
    created_at timestamptz not null default now()
);
create table daily_metrics (
    measured_at timestamptz primary key default now(),
    day date not null,
    active_users int not null,
    stories int not null,
    completions int not null
);
create table weekly_reports (
    user_id bigint not null references users,
    week date not null,
    stories int not null,
    email text not null
);
create materialized view leaderboard as
    select id as user_id, name, points, streak, rank() over (order by points desc) as place
    from users where status = 'active'
    with no data;
create unique index on leaderboard (user_id);
refresh materialized view leaderboard;

insert into users (name, points, streak, last_active_at)
select 'user ' || n, (random() * 1000)::int, (random() * 30)::int, now() - random() * interval '120 days'
from generate_series(1, 2000) n;
insert into challenges (title, day)
select 'challenge ' || n, current_date + n - 3 from generate_series(1, 200) n;
insert into stories (user_id, body, created_at)
select 1 + n % 2000, 'story ' || n, now() - random() * interval '3 days' from generate_series(1, 20000) n;

-- What the real schedules are; the demo shows them beside the sped-up ones.
create table real_schedule (jobname text primary key, schedule text not null, sped_up text not null, what text not null);
insert into real_schedule values
    ('reset-daily-challenges',    '0 0 * * *',    '4 seconds', 'archive yesterday''s, activate today''s'),
    ('update-user-streaks',       '0 0 * * *',    '4 seconds', 'increment or break streaks'),
    ('calculate-daily-metrics',   '0 1 * * *',    '4 seconds', 'aggregate yesterday'),
    ('send-daily-reminders',      '0 18 * * *',   '5 seconds', 'one row per user to notify'),
    ('cleanup-expired-stories',   '0 * * * *',    '2 seconds', 'delete rows older than 24 h'),
    ('update-leaderboards',       '0 * * * *',    '2 seconds', 'refresh materialized view concurrently'),
    ('cleanup-expired-sessions',  '*/15 * * * *', '1 second',  'delete typing indicators'),
    ('process-moderation-queue',  '0 * * * *',    '2 seconds', 'ban reported users'),
    ('send-weekly-reports',       '0 0 * * 0',    '6 seconds', 'activity summaries (its SQL is out of date: it fails)'),
    ('cleanup-inactive-accounts', '0 2 1 * *',    '7 seconds', 'mark inactive users'),
    ('database-maintenance',      '0 3 1 * *',    '7 seconds', 'vacuum analyze'),
    ('push-reminders',            '0 18 * * *',   '4 seconds', 'POST with a secret key'),
    ('sync-billing',              '*/15 * * * *', '5 seconds', 'POST to a server that is busy: two attempts fail, the third succeeds'),
    ('check-health',              '* * * * *',    '3 seconds', 'GET');
