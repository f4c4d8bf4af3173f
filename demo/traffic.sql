-- A second in the life of the app's users, so that the jobs have something to do.
insert into app.stories (user_id, body, created_at)
select 1 + (random() * 1999)::int, 'another story', now() - random() * interval '36 hours'
from generate_series(1, 200);
insert into app.typing_indicators (user_id, conversation, seen_at)
select 1 + (random() * 1999)::int, n, now() - random() * interval '10 minutes' from generate_series(1, 300) n;
insert into app.completions (user_id, challenge_id)
select 1 + (random() * 1999)::int, 1 from generate_series(1, 100);
insert into app.reports (reported_user, reason)
select 1 + (extract(epoch from now())::bigint + (random() * 2)::int) % 2000, 'spam' from generate_series(1, 10);
-- Users whose row a job is changing are left alone: waiting for one with others locked could be a deadlock.
update app.users set points = points + (random() * 10)::int, last_active_at = now() where id in (
    select id from app.users where id % 50 = extract(second from now())::int % 50 for update skip locked);
