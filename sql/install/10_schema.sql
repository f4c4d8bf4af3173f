-- Where the extension may be created, and its schema.
--
-- Runs first. Everything is schema-qualified, operators included: the script runs with the rights
-- of a superuser in a database where others may have created objects.

DO $guard$
DECLARE
    databases text := pg_catalog.current_setting('cron.database_name', true);
BEGIN
    IF databases IS NULL THEN
        RAISE EXCEPTION 'pg_tock can only be loaded via shared_preload_libraries'
            USING ERRCODE = 'XX000',
                  HINT = 'Add pg_tock to the shared_preload_libraries configuration variable in postgresql.conf.';
    END IF;

    IF EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_cron') THEN
        RAISE EXCEPTION 'extension "pg_cron" is installed in this database'
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'Both extensions own a schema named cron.',
                  HINT = 'Run migrate_from_pg_cron.sql, which moves jobs and history to pg_tock in one transaction.';
    END IF;

    IF databases OPERATOR(pg_catalog.<>) '*'
       AND pg_catalog.current_database() OPERATOR(pg_catalog.<>) 'contrib_regression'
       AND NOT EXISTS (
           SELECT
           FROM pg_catalog.string_to_table(databases, ',') AS listed(name)
           WHERE pg_catalog.btrim(listed.name, E' \t\r\n') OPERATOR(pg_catalog.=) pg_catalog.current_database()::pg_catalog.text)
    THEN
        RAISE EXCEPTION 'can only create extension in database %', databases
            USING DETAIL = 'Jobs must be scheduled from the database configured in cron.database_name, '
                           'since the pg_tock scheduler reads job descriptions from this database.',
                  HINT = pg_catalog.format(
                      'Add cron.database_name = ''%s'' in postgresql.conf to use the current database.',
                      pg_catalog.current_database());
    END IF;
END;
$guard$;

CREATE SCHEMA cron;
COMMENT ON SCHEMA cron IS 'jobs, their schedules and their history (extension pg_tock)';
