-- run_if as far as it is checked when it is written. That it decides is tested on a server with a
-- scheduler.
DROP EXTENSION IF EXISTS pg_tock;
CREATE EXTENSION pg_tock;
SELECT cron.create_job('gated', '0 3 * * *', 'SELECT 1', run_if => 'EXISTS (SELECT FROM no_such_table)') AS id \gset
SELECT run_if FROM cron.job;
-- One expression
CREATE TEMP TABLE given (n int, condition text);
INSERT INTO given VALUES
    (1, 'true'), (2, '(SELECT max(at) FROM t) < now()'), (3, 'a AND b OR NOT c'), (4, $$x = 'it''s; fine'$$),
    (5, '1'), (6, 'NULL'), (7, '  true -- so'), (8, 'f(x => 1)'),
    (11, ''), (12, ' '), (13, 'true; DROP TABLE t'), (14, 'true;'), (15, 'SELECT true'), (16, 'true FROM t'),
    (17, 'true, false'), (18, 'true AS x'), (19, 'true x'), (20, 'true WHERE false'), (21, 'true ORDER BY 1'),
    (22, 'true LIMIT 1'), (23, 'DISTINCT true'), (24, 'true GROUP BY 1'), (25, 'true FOR UPDATE'),
    (26, 'true UNION SELECT false'), (27, '(true'), (28, 'true)'), (29, $$'open$$), (30, 'a = = b'), (31, 'true INTO t'),
    (32, 'WITH x AS (SELECT 1) SELECT true'), (33, '$1'), (34, '*');
SELECT format($f$DO $x$ DECLARE detail text; BEGIN
    PERFORM cron.set_job('gated', jsonb_build_object('run_if', %L));
    RAISE NOTICE '%s taken';
EXCEPTION WHEN syntax_error THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RAISE NOTICE '%s %% / %%', SQLERRM, detail;
END $x$$f$, condition, n, n) FROM given ORDER BY n
\set ECHO none
\gexec
\set ECHO all
SELECT run_if FROM cron.job;
SELECT cron.create_job('other', '0 3 * * *', 'SELECT 1', run_if => 'a b c');
SELECT cron.create_job('other', '0 3 * * *', 'SELECT 1', run_if => 'true; true');
\set VERBOSITY sqlstate
SELECT cron.set_job('gated', '{"run_if": "1 +"}');
SELECT cron.set_job('gated', '{"run_if": ""}');
\set VERBOSITY default
-- What is stored is not looked at again, and NULL takes it away.
UPDATE cron.job SET run_if = 'a b c';
SELECT cron.set_job('gated', '{"tags": ["x"]}');
SELECT cron.set_job('gated', '{"run_if": null}');
SELECT run_if FROM cron.job;
DROP EXTENSION pg_tock;
