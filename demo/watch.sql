-- One look: the runs that ended since the last one. Line per run, newest last.
with new as (
    insert into shown
    select runid from cron.job_run_details where end_time is not null
    on conflict do nothing returning runid
)
select format('%s  %s  %s%s%s %s ms  %s',
    to_char(d.start_time, 'HH24:MI:SS.MS'),
    rpad(d.jobname, 25),
    case d.status when 'succeeded' then :'green' else :'red' end,
    rpad(d.status, 9),
    :'plain',
    lpad(round(extract(epoch from d.end_time - d.start_time) * 1000, 1)::text, 7),
    left(split_part(d.return_message, E'\n', 1), 70)
        || case when d.attempt > 1 then format(' (attempt %s)', d.attempt) else '' end)
from cron.job_run_details d join new using (runid)
order by d.end_time, d.runid;
