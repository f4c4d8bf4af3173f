-- What HTTP jobs and their runs have beside the others.

ALTER TABLE cron.job ADD COLUMN http jsonb;
COMMENT ON COLUMN cron.job.http IS 'the request of an HTTP job: method, url, headers, body, expect_status, follow_redirects; NULL for a job that runs SQL';

ALTER TABLE cron.job_run_details ADD COLUMN http jsonb;
COMMENT ON COLUMN cron.job_run_details.http IS 'an HTTP run''s request, with placeholders, or request_sha256 if it is long; its response headers, times and circumstances; "sent": false if the server has surely not seen the request';

ALTER TABLE cron.run_request ADD COLUMN http jsonb;
COMMENT ON COLUMN cron.run_request.http IS 'the request to send; NULL for the job''s present one';
