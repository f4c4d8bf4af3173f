-- Moves a database from pg_cron to pg_tock: jobs (with their ids, names, owners and whether they
-- are switched off), their history, both sequences, and what administrators set up around them
-- (privileges, indexes, constraints, triggers, policies, publications, storage options, views). One
-- transaction: either all of it, or nothing.
--
--   1. In postgresql.conf, put pg_tock in the place of pg_cron in shared_preload_libraries. The
--      settings cron.* stay as they are. Restart the server.
--   2. In the database that has extension pg_cron, as a superuser:
--      psql -d ... -v ON_ERROR_STOP=1 -f migrate_from_pg_cron.sql
--
-- Until step 2 no job runs; with its COMMIT they do. pg_cron's files may be gone by then. Every
-- version of pg_cron from 1.0 on is fine.

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What the old objects have beside what pg_cron gave them, as statements to run on the new ones, in
-- this order.
CREATE TEMPORARY TABLE pg_tock_move_statement (
    step int GENERATED ALWAYS AS IDENTITY,
    statement text NOT NULL
) ON COMMIT DROP;

-- Views over the old tables, nearest first.
CREATE TEMPORARY TABLE pg_tock_move_view (
    depth int NOT NULL,
    oid oid NOT NULL,
    name text NOT NULL
) ON COMMIT DROP;

DO $check$
DECLARE
    found text;
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_tock') THEN
        RAISE EXCEPTION 'extension "pg_tock" is installed in this database already'
            USING ERRCODE = 'duplicate_object', HINT = 'There is nothing to move.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
        RAISE EXCEPTION 'extension "pg_cron" is not installed in database "%"', current_database()
            USING ERRCODE = 'undefined_object',
                  HINT = 'Connect to the database that has it; for a new installation say CREATE EXTENSION pg_tock.';
    END IF;
    IF EXISTS (
        SELECT FROM string_to_table(current_setting('shared_preload_libraries'), ',') AS library
        WHERE btrim(library, ' "') ~ '(^|/)pg_cron(\.so)?$')
    THEN
        RAISE EXCEPTION 'pg_cron is still loaded'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Put pg_tock in its place in shared_preload_libraries and restart the server.';
    END IF;

    -- Nobody changes or reads anything from here on.
    LOCK TABLE cron.job IN ACCESS EXCLUSIVE MODE;
    IF to_regclass('cron.job_run_details') IS NOT NULL THEN
        LOCK TABLE cron.job_run_details IN ACCESS EXCLUSIVE MODE;
    END IF;

    -- A column somebody added would be lost.
    SELECT string_agg(format('%s.%I', attrelid::regclass, attname), ', ' ORDER BY attrelid, attnum) INTO found
    FROM pg_attribute
    WHERE attnum > 0 AND NOT attisdropped AND (
        attrelid = 'cron.job'::regclass AND attname NOT IN
            ('jobid', 'schedule', 'command', 'nodename', 'nodeport', 'database', 'username', 'active', 'jobname')
        OR attrelid = to_regclass('cron.job_run_details') AND attname NOT IN
            ('jobid', 'runid', 'job_pid', 'database', 'username', 'command', 'status', 'return_message', 'start_time', 'end_time'));
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'cannot move columns that are not pg_cron''s'
            USING ERRCODE = 'feature_not_supported', DETAIL = format('They are: %s.', found),
                  HINT = 'Copy them elsewhere and drop them first.';
    END IF;
END
$check$;

-- Views: their text while the tables still have their old place, so that it names them right.
DO $views$
DECLARE
    view record;
BEGIN
    INSERT INTO pg_tock_move_view
    WITH RECURSIVE over (depth, oid) AS (
        SELECT 0, relation.oid
        FROM pg_class AS relation
        WHERE relation.oid IN ('cron.job'::regclass, to_regclass('cron.job_run_details'))
        UNION
        SELECT over.depth + 1, rule.ev_class
        FROM over
        JOIN pg_depend AS dependency ON dependency.refclassid = 'pg_class'::regclass AND dependency.refobjid = over.oid
            AND dependency.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite AS rule ON rule.oid = dependency.objid AND rule.ev_class <> over.oid
    )
    SELECT max(depth), over.oid, over.oid::regclass::text FROM over WHERE depth > 0 GROUP BY over.oid;

    FOR view IN
        SELECT moved.name, moved.oid, relation.relkind, relation.reloptions, pg_get_userbyid(relation.relowner) AS owner,
            coalesce(relation.relacl, acldefault('r', relation.relowner)) AS acl, relation.relowner,
            obj_description(moved.oid, 'pg_class') AS comment
        FROM pg_tock_move_view AS moved JOIN pg_class AS relation ON relation.oid = moved.oid
        ORDER BY moved.depth, moved.oid
    LOOP
        IF view.relkind <> 'v' THEN
            RAISE EXCEPTION 'cannot move "%", which reads pg_cron''s tables', view.name
                USING ERRCODE = 'feature_not_supported', HINT = 'Drop it first and create it again afterwards.';
        END IF;
        INSERT INTO pg_tock_move_statement (statement)
        SELECT format('CREATE VIEW %s%s AS %s', view.name,
            ' WITH (' || array_to_string(view.reloptions, ', ') || ')', -- nothing if there are none
            pg_get_viewdef(view.oid));
        INSERT INTO pg_tock_move_statement (statement) SELECT format('ALTER VIEW %s OWNER TO %I', view.name, view.owner);
        INSERT INTO pg_tock_move_statement (statement)
        SELECT format('COMMENT ON VIEW %s IS %L', view.name, view.comment) WHERE view.comment IS NOT NULL;
        INSERT INTO pg_tock_move_statement (statement)
        SELECT format('GRANT %s ON %s TO %s%s', privilege_type, view.name,
            CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
            CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
        FROM aclexplode(view.acl) WHERE grantee <> view.relowner;
    END LOOP;
    FOR view IN SELECT name FROM pg_tock_move_view ORDER BY depth DESC, oid DESC LOOP
        EXECUTE format('DROP VIEW %s', view.name);
    END LOOP;
END
$views$;

-- Indexes, constraints, triggers, policies, publications and storage options somebody added to the
-- tables.
INSERT INTO pg_tock_move_statement (statement)
SELECT pg_get_indexdef(index.indexrelid)
FROM pg_index AS index
WHERE index.indrelid IN ('cron.job'::regclass, to_regclass('cron.job_run_details'))
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = index.indexrelid)
ORDER BY index.indexrelid;

INSERT INTO pg_tock_move_statement (statement)
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE conrelid IN ('cron.job'::regclass, to_regclass('cron.job_run_details')) AND contype NOT IN ('n', 't') -- not null, constraint triggers
    AND conname NOT IN ('job_pkey', 'jobname_username_uniq', 'job_run_details_pkey')
ORDER BY oid;

INSERT INTO pg_tock_move_statement (statement)
SELECT pg_get_triggerdef(oid)
FROM pg_trigger
WHERE tgrelid IN ('cron.job'::regclass, to_regclass('cron.job_run_details')) AND NOT tgisinternal
    AND tgname <> 'cron_job_cache_invalidate'
ORDER BY oid;

INSERT INTO pg_tock_move_statement (statement)
SELECT concat_ws(' ',
    format('CREATE POLICY %I ON %I.%I AS %s FOR %s TO', policyname, schemaname, tablename, permissive, cmd),
    (SELECT string_agg(CASE WHEN role = 'public' THEN 'PUBLIC' ELSE quote_ident(role) END, ', ') FROM unnest(roles) AS role),
    'USING (' || qual || ')',
    'WITH CHECK (' || with_check || ')')
FROM pg_policies
WHERE schemaname = 'cron' AND tablename IN ('job', 'job_run_details')
    AND policyname NOT IN ('cron_job_policy', 'cron_job_run_details_policy');

INSERT INTO pg_tock_move_statement (statement)
SELECT format('ALTER PUBLICATION %I ADD TABLE %s', pubname, prrelid::regclass)
FROM pg_publication_rel JOIN pg_publication ON pg_publication.oid = prpubid
WHERE prrelid IN ('cron.job'::regclass, to_regclass('cron.job_run_details'));

INSERT INTO pg_tock_move_statement (statement)
SELECT format('ALTER TABLE %s SET (%s)', oid::regclass, array_to_string(reloptions, ', '))
FROM pg_class
WHERE oid IN ('cron.job'::regclass, to_regclass('cron.job_run_details')) AND reloptions IS NOT NULL;

-- Privileges, exactly: what was taken from PUBLIC stays taken. A function's arguments of type name
-- (pg_cron before 1.5) are of type text now.
INSERT INTO pg_tock_move_statement (statement)
WITH object (kind, name, owner, acl) AS (
    SELECT 'SCHEMA', 'cron', nspowner, coalesce(nspacl, acldefault('n', nspowner))
    FROM pg_namespace WHERE nspname = 'cron'
    UNION ALL
    SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, relowner,
        coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
    FROM pg_class
    WHERE oid IN ('cron.job'::regclass, to_regclass('cron.job_run_details'), 'cron.jobid_seq'::regclass, to_regclass('cron.runid_seq'))
    UNION ALL
    SELECT 'FUNCTION', format('cron.%I(%s)', proname, replace(pg_get_function_identity_arguments(oid), 'job_name name', 'job_name text')),
        proowner, coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc
    WHERE pronamespace = 'cron'::regnamespace AND proname IN ('schedule', 'schedule_in_database', 'alter_job', 'unschedule')
        AND EXISTS (
            SELECT FROM pg_depend JOIN pg_extension ON pg_extension.oid = refobjid
            WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND refclassid = 'pg_extension'::regclass
                AND deptype = 'e' AND extname = 'pg_cron')
)
SELECT statement FROM (
    -- Before 1.4-1 nobody could read the sequences, which was an oversight.
    SELECT 1 AS part, name, format('REVOKE ALL ON %s %s FROM PUBLIC', kind, name) AS statement FROM object WHERE kind <> 'SEQUENCE'
    UNION ALL
    SELECT 2, name, format('GRANT %s ON %s %s TO %s%s', privilege_type, kind, name,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
    FROM object, aclexplode(acl) WHERE grantee <> owner
    UNION ALL
    SELECT 3, attrelid::regclass::text, format('GRANT %s (%I) ON %s TO %s%s', privilege_type, attname, attrelid::regclass,
        CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
    FROM pg_attribute, aclexplode(attacl)
    WHERE attrelid IN ('cron.job'::regclass, to_regclass('cron.job_run_details')) AND NOT attisdropped
) AS privilege
ORDER BY part, name, statement;

-- The exchange. The old tables are taken out of extension pg_cron and moved aside, so that dropping
-- the extension leaves them alone; anything else that depends on it stops the move here.
DO $exchange$
DECLARE
    step record;
    jobs bigint;
    runs bigint := 0;
BEGIN
    CREATE SCHEMA moving_to_pg_tock;
    DROP TRIGGER IF EXISTS cron_job_cache_invalidate ON cron.job;
    FOR step IN
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, relname FROM pg_class
        WHERE relnamespace = 'cron'::regnamespace AND relname IN ('job', 'job_run_details', 'jobid_seq', 'runid_seq')
        ORDER BY relkind DESC -- tables first: their defaults need the sequences
    LOOP
        EXECUTE format('ALTER EXTENSION pg_cron DROP %s cron.%I', step.kind, step.relname);
        EXECUTE format('ALTER %s cron.%I SET SCHEMA moving_to_pg_tock', step.kind, step.relname);
    END LOOP;
    DROP EXTENSION pg_cron;
    CREATE EXTENSION pg_tock;

    -- Columns by name: older versions lack some.
    FOR step IN
        SELECT relname, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        WHERE relnamespace = 'moving_to_pg_tock'::regnamespace AND relkind = 'r'
        GROUP BY relname
    LOOP
        IF step.relname = 'job' THEN
            EXECUTE format('INSERT INTO cron.job (%1$s) SELECT %1$s FROM moving_to_pg_tock.job', step.columns);
            GET DIAGNOSTICS jobs = ROW_COUNT;
        ELSE
            EXECUTE format(
                'INSERT INTO cron.job_run_details (%1$s, outcome) '
                'SELECT %1$s, CASE WHEN status IN (''succeeded'', ''failed'') THEN status END '
                'FROM moving_to_pg_tock.job_run_details', step.columns);
            GET DIAGNOSTICS runs = ROW_COUNT;
        END IF;
        -- Whatever still depends on it, such as a foreign key, stops the move here.
        EXECUTE format('DROP TABLE moving_to_pg_tock.%I', step.relname);
    END LOOP;
    FOR step IN SELECT relname FROM pg_class WHERE relnamespace = 'moving_to_pg_tock'::regnamespace AND relkind = 'S' LOOP
        EXECUTE format('SELECT setval(%L, last_value, is_called) FROM moving_to_pg_tock.%I', 'cron.' || step.relname, step.relname);
        EXECUTE format('DROP SEQUENCE moving_to_pg_tock.%I', step.relname);
    END LOOP;
    DROP SCHEMA moving_to_pg_tock;

    FOR step IN SELECT statement FROM pg_tock_move_statement AS move ORDER BY move.step LOOP
        EXECUTE step.statement;
    END LOOP;
    RAISE NOTICE 'moved % jobs and % runs from pg_cron to pg_tock', jobs, runs;

    FOR step IN SELECT jobid, jobname, state FROM cron.jobs WHERE state NOT IN ('scheduled', 'running', 'inactive') ORDER BY jobid LOOP
        RAISE WARNING 'job % will not run: %', step.jobid || coalesce(' ("' || step.jobname || '")', ''), step.state;
    END LOOP;
END
$exchange$;
COMMIT;
