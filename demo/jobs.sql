-- The eleven jobs, as their owner schedules them. :"…" is the sped-up schedule of real_schedule.

select sped_up as daily from real_schedule where jobname = 'reset-daily-challenges' \gset
select sped_up as evening from real_schedule where jobname = 'send-daily-reminders' \gset
select sped_up as hourly from real_schedule where jobname = 'cleanup-expired-stories' \gset
select sped_up as quarterly from real_schedule where jobname = 'cleanup-expired-sessions' \gset
select sped_up as weekly from real_schedule where jobname = 'send-weekly-reports' \gset
select sped_up as monthly from real_schedule where jobname = 'cleanup-inactive-accounts' \gset

select cron.schedule('reset-daily-challenges', :'daily', $job$
    with gone as (delete from challenges where day < current_date returning *)
    insert into challenge_archive select * from gone;
    update challenges set active = (day = current_date) where active is distinct from (day = current_date);
$job$);

select cron.schedule('update-user-streaks', :'daily', $job$
    update users u
    set streak = case when c.user_id is null then 0 else u.streak + 1 end
    from users all_users
    left join (select distinct user_id from completions where completed_at > now() - interval '1 day') c
        on c.user_id = all_users.id
    where u.id = all_users.id and u.status = 'active' and (c.user_id is not null or u.streak > 0)
$job$);

select cron.schedule('calculate-daily-metrics', :'daily', $job$
    insert into daily_metrics (day, active_users, stories, completions)
    select current_date - 1,
           (select count(*) from users where last_active_at > now() - interval '1 day'),
           (select count(*) from stories where created_at > now() - interval '1 day'),
           (select count(*) from completions where completed_at > now() - interval '1 day')
$job$);

select cron.schedule('send-daily-reminders', :'evening', $job$
    insert into reminders (user_id, body)
    select id, format('%s, keep your streak of %s', name, streak)
    from users where status = 'active' and streak > 0
$job$);

select cron.schedule('cleanup-expired-stories', :'hourly', $job$
    delete from stories where created_at < now() - interval '24 hours'
$job$);

select cron.schedule('update-leaderboards', :'hourly', $job$
    refresh materialized view concurrently leaderboard
$job$);

select cron.schedule('cleanup-expired-sessions', :'quarterly', $job$
    delete from typing_indicators where seen_at < now() - interval '5 minutes'
$job$);

select cron.schedule('process-moderation-queue', :'hourly', $job$
    update users set status = 'banned', banned_at = now()
    where status = 'active' and id in (
        select reported_user from reports where handled_at is null group by 1 having count(*) >= 3);
    update reports set handled_at = now() where handled_at is null
$job$);

-- Somebody renamed users.email last sprint, and nobody told this job.
select cron.schedule('send-weekly-reports', :'weekly', $job$
    insert into weekly_reports (user_id, week, stories, email)
    select u.id, current_date, count(*), u.email
    from users u join stories s on s.user_id = u.id
    where s.created_at > now() - interval '7 days'
    group by u.id
$job$);

select cron.schedule('cleanup-inactive-accounts', :'monthly', $job$
    update users set status = 'inactive'
    where status = 'active' and last_active_at < now() - interval '90 days'
$job$);

select cron.schedule('database-maintenance', :'monthly', 'vacuum (analyze) app.users, app.stories');
