-- Jobs that call the demo's HTTP server at :service, as their owner creates them.

select sped_up as push from real_schedule where jobname = 'push-reminders' \gset
select sped_up as billing from real_schedule where jobname = 'sync-billing' \gset
select sped_up as health from real_schedule where jobname = 'check-health' \gset
select :'service' || '/push' as push_url, :'service' || '/billing' as billing_url, :'service' || '/health' as health_url \gset

-- The key is a secret: nobody can read it, and the answer that repeats it is masked.
select cron.create_http_job('push-reminders', :'push', :'push_url',
    headers => '{"Authorization": "Bearer {{secret:push/key}}"}',
    body => '{"to": "all", "sent_for": "{{scheduled_for}}"}');

-- The service is busy more often than not, and says so with 503.
select cron.create_http_job('sync-billing', :'billing', :'billing_url',
    body => '{"attempt": {{attempt}}}', max_attempts => 3, retry_delay => '300 ms');

select cron.create_http_job('check-health', :'health', :'health_url', 'GET');
