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
