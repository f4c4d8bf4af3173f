-- Why a job does not run, and what could be better: who may ask, about what, and what is answered.
-- This database has no scheduler, which is the first thing to be found.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
CREATE ROLE regress_tock_ann LOGIN;
CREATE ROLE regress_tock_bob LOGIN;
CREATE ROLE regress_tock_eve LOGIN;
GRANT regress_tock_ann TO regress_tock_bob;
GRANT USAGE ON SCHEMA cron TO regress_tock_ann, regress_tock_bob, regress_tock_eve;
SET timezone = 'UTC';

SET ROLE regress_tock_ann;
SELECT cron.schedule('job', '@daily', 'SELECT 1') AS job \gset
SELECT cron.pause('job', '2100-01-01', 'a strike');
\x on
SELECT * FROM cron.diagnose('job');
SELECT cron.resume('job');
SELECT cron.set_job('job', '{"active": false}');
SELECT * FROM cron.diagnose(:job) OFFSET 1;
RESET ROLE;
-- What is a remedy for a superuser.
SELECT * FROM cron.diagnose('job');
\x off
-- Whoever may become the owner; nobody else, by name or id.
SET ROLE regress_tock_bob;
SELECT position, finding FROM cron.diagnose(:job);
SELECT position, finding FROM cron.diagnose('job');
SET ROLE regress_tock_eve;
SELECT format('DO $x$ BEGIN PERFORM cron.diagnose(%s::bigint); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE ''%%'', replace(sqlerrm, %L, ''(ann)''); END $x$', :job, :job) \gexec
SELECT position, finding FROM cron.diagnose('job');
SELECT position, finding FROM cron.diagnose(-1);
SELECT position, finding FROM cron.diagnose(NULL::text);
SELECT position, finding FROM cron.diagnose(NULL::bigint);
SELECT * FROM cron.advise();
RESET ROLE;

-- What a job is told about, in the order in which it matters.
SELECT cron.schedule('broken', '@daily', 'SELECT 1') AS broken \gset
UPDATE cron.job SET schedule = '61 * * * *', username = 'regress_tock_nobody', database = 'regress_tock_nowhere', nodename = 'elsewhere.example', active = false, run_after = '{gone}' WHERE jobid = :broken;
SELECT position, severity, finding, replace(detail, :'broken', '(job)') AS detail, replace(remedy, :'broken', '(job)') AS remedy FROM cron.diagnose(:broken) WHERE finding <> 'no scheduler';

-- Advice is on active jobs one sees.
SET ROLE regress_tock_ann;
SELECT cron.set_job('job', '{"active": true}');
SELECT cron.create_job('same', '0 0 * * *', 'select 1 ; -- again', description => 'the same', timeout => '1 minute') > 0 AS stored;
SELECT advice, kind, cardinality(jobs) AS jobs, job_names, detail FROM cron.advise();
SELECT remedy FROM cron.advise() WHERE advice = 'duplicate' \gexec
SELECT advice, job_names FROM cron.advise();
RESET ROLE;
SELECT advice, job_names FROM cron.advise();

DROP EXTENSION pg_tock;
DROP ROLE regress_tock_ann, regress_tock_bob, regress_tock_eve;
