//! What she does to what jobs share: queues and calendars, which everybody may create.

use super::Attack;

pub(super) const QUEUES: Attack = Attack {
    name: "queues that change all the time",
    first: "select count(cron.create_queue('hers ' || n, 1, 0.5, true)) from generate_series(1, 1000) n; \
            select cron.create_job('in queue ' || n, '1 second', 'select 1', queue => 'hers ' || n) \
            from generate_series(1, 50) n",
    again: &[
        "select cron.create_queue('hers 7', 2)",
        "select cron.create_queue('hers 7', 1)",
        "select count(cron.create_queue('hers ' || n, 1 + n % 3, n)) from generate_series(1, 1000) n",
        "select cron.create_queue('one too many ' || random())",
        "select cron.drop_queue('hers 900')",
        "select cron.create_queue('hers 900')",
    ],
};

pub(super) const CALENDARS: Attack = Attack {
    name: "calendars that change all the time",
    first: "select count(cron.create_calendar('hers ' || n)) from generate_series(1, 1000) n; \
            select count(cron.add_calendar_dates('hers 1', date '2000-01-01' + 2 * n)) from generate_series(1, 1000) n; \
            select cron.create_job('on some days ' || n, '1 second', 'select 1', skip_on => array['hers ' || n]) \
            from generate_series(1, 50) n",
    again: &[
        "select count(cron.add_calendar_dates('hers 2', date '2000-01-01' + (random() * 1000000)::int)) from generate_series(1, 50) n",
        "select cron.remove_calendar_dates('hers 1', '2001-01-01', '2001-02-01')",
        "select cron.add_calendar_dates('hers 1', '2001-01-01', '2001-02-01')",
        "select cron.create_calendar('one too many ' || random())",
        "select cron.drop_calendar('hers 900')",
        "select cron.create_calendar('hers 900')",
    ],
};
