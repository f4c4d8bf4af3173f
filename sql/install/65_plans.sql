-- Jobs as a document that can be kept in version control.

CREATE FUNCTION cron.export_jobs(tags text[] DEFAULT NULL)
RETURNS jsonb
LANGUAGE C STABLE
AS 'MODULE_PATHNAME', 'cron_export_jobs_wrapper';
COMMENT ON FUNCTION cron.export_jobs(text[])
    IS 'the caller''s jobs, or those with one of the tags, as a document for cron.apply_jobs; for a superuser the jobs of all roles; the same jobs always give the same document';

CREATE FUNCTION cron.apply_jobs(doc jsonb, prune boolean DEFAULT false, dry_run boolean DEFAULT false)
RETURNS TABLE (
    action text,
    job_name text,
    field text,
    old text,
    new text,
    next_run_before timestamptz,
    next_run_after timestamptz)
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_apply_jobs_wrapper';
COMMENT ON FUNCTION cron.apply_jobs(jsonb, boolean, boolean)
    IS 'make jobs what a document says, and with prune remove those it does not have; a row for each thing that changes, or with dry_run would change';

-- Why a job does not run. The library can only be asked if it was preloaded, so whether it was is
-- found out without it: by a setting of its own that everybody may read. A setting that only stands
-- in postgresql.conf is not in pg_settings.

CREATE FUNCTION cron.job_findings(job bigint)
RETURNS TABLE ("position" int, severity text, finding text, detail text, remedy text)
LANGUAGE C ROWS 3
AS 'MODULE_PATHNAME', 'cron_job_findings_wrapper';
COMMENT ON FUNCTION cron.job_findings(bigint) IS 'what cron.diagnose answers with once the library is there';

CREATE FUNCTION cron.job_findings(job text)
RETURNS TABLE ("position" int, severity text, finding text, detail text, remedy text)
LANGUAGE C ROWS 3
AS 'MODULE_PATHNAME', 'cron_job_findings_named_wrapper';
COMMENT ON FUNCTION cron.job_findings(text) IS 'what cron.diagnose answers with once the library is there';

CREATE FUNCTION cron.library_finding()
RETURNS TABLE ("position" int, severity text, finding text, detail text, remedy text)
LANGUAGE sql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT
        1,
        'error',
        'not preloaded',
        'The server was started without pg_tock in shared_preload_libraries, so nothing runs. '
            'The setting takes effect when the server is restarted.',
        CASE WHEN (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
        THEN pg_catalog.concat(
            'ALTER SYSTEM SET shared_preload_libraries = ',
            (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(pg_catalog.btrim(l.name, ' "')) || ', ', '' ORDER BY l.place)
             FROM pg_catalog.regexp_split_to_table(
                pg_catalog.current_setting('shared_preload_libraries'), ',') WITH ORDINALITY AS l (name, place)
             WHERE pg_catalog.btrim(l.name, ' "') OPERATOR(pg_catalog.<>) ''),
            '''pg_tock''')
        END
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_settings AS s
        WHERE s.name OPERATOR(pg_catalog.=) 'cron.executor_idle_timeout');
END;
COMMENT ON FUNCTION cron.library_finding() IS 'what cron.diagnose answers with if the library was not preloaded; else nothing';

CREATE FUNCTION cron.diagnose(job bigint)
RETURNS TABLE ("position" int, severity text, finding text, detail text, remedy text)
LANGUAGE plpgsql ROWS 3
AS $$
BEGIN
    RETURN QUERY SELECT f."position", f.severity, f.finding, f.detail, f.remedy FROM cron.library_finding() AS f;
    IF NOT FOUND THEN
        RETURN QUERY SELECT f."position", f.severity, f.finding, f.detail, f.remedy FROM cron.job_findings(job) AS f;
    END IF;
END;
$$;
COMMENT ON FUNCTION cron.diagnose(bigint)
    IS 'why a job does not run, or did not, what has to be put right first coming first, with statements that do so; one row if nothing is wrong';

CREATE FUNCTION cron.diagnose(job text)
RETURNS TABLE ("position" int, severity text, finding text, detail text, remedy text)
LANGUAGE plpgsql ROWS 3
AS $$
BEGIN
    RETURN QUERY SELECT f."position", f.severity, f.finding, f.detail, f.remedy FROM cron.library_finding() AS f;
    IF NOT FOUND THEN
        RETURN QUERY SELECT f."position", f.severity, f.finding, f.detail, f.remedy FROM cron.job_findings(job) AS f;
    END IF;
END;
$$;
COMMENT ON FUNCTION cron.diagnose(text)
    IS 'why a job does not run, or did not, what has to be put right first coming first, with statements that do so; one row if nothing is wrong';

CREATE FUNCTION cron.advise()
RETURNS TABLE (advice text, kind text, jobs bigint[], job_names text[], detail text, remedy text)
LANGUAGE C STABLE ROWS 10
AS 'MODULE_PATHNAME', 'cron_advise_wrapper';
COMMENT ON FUNCTION cron.advise()
    IS 'what could be better about the active jobs the caller sees, of kind redundancy, trouble, load or upkeep, the weightiest first, with statements that change it';
