-- Secrets of HTTP jobs: values that can be written and used, and never read.
--
-- Neither table is given to pg_dump, nobody is granted anything on them, and row security without a
-- policy keeps it so whatever the default privileges of the database say. No statistics on the
-- values: ANALYZE would copy them to pg_statistic.

CREATE TABLE cron.secret (
    name text NOT NULL,
    owner oid NOT NULL,
    value bytea NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CONSTRAINT secret_pkey PRIMARY KEY (name)
);
ALTER TABLE cron.secret
    ALTER COLUMN value SET STATISTICS 0,
    ALTER COLUMN value SET STORAGE EXTERNAL; -- encrypted bytes do not compress
ALTER TABLE cron.secret ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON TABLE cron.secret FROM PUBLIC;
COMMENT ON TABLE cron.secret IS 'values that HTTP jobs name as {{secret:name}}; written with COPY cron.secret_input or cron.set_secret, not dumped';
COMMENT ON COLUMN cron.secret.name IS 'name of the secret, one in the database whoever owns it';
COMMENT ON COLUMN cron.secret.owner IS 'the role whose jobs may use it, by oid: a role made anew under an old name inherits nothing';
COMMENT ON COLUMN cron.secret.value IS 'the value, encrypted if there is a cron.secret_key_file';
COMMENT ON COLUMN cron.secret.set_at IS 'when the value was last set';
COMMENT ON CONSTRAINT secret_pkey ON cron.secret IS 'a name stands for one secret';

CREATE TABLE cron.secret_grant (
    name text NOT NULL,
    role oid NOT NULL,
    CONSTRAINT secret_grant_pkey PRIMARY KEY (name, role),
    CONSTRAINT secret_grant_name_fkey FOREIGN KEY (name) REFERENCES cron.secret (name) ON DELETE CASCADE
);
ALTER TABLE cron.secret_grant ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON TABLE cron.secret_grant FROM PUBLIC;
COMMENT ON TABLE cron.secret_grant IS 'roles, beside the owner, whose jobs may use a secret; not dumped';
COMMENT ON COLUMN cron.secret_grant.name IS 'the secret';
COMMENT ON COLUMN cron.secret_grant.role IS 'the role, by oid; its members'' jobs may use the secret, too';
COMMENT ON CONSTRAINT secret_grant_pkey ON cron.secret_grant IS 'a role is granted a secret once';
COMMENT ON CONSTRAINT secret_grant_name_fkey ON cron.secret_grant IS 'grants go with the secret';

CREATE VIEW cron.secret_input AS
SELECT NULL::pg_catalog.text AS name, NULL::pg_catalog.text AS value WHERE false;
REVOKE ALL ON TABLE cron.secret_input FROM PUBLIC;
COMMENT ON VIEW cron.secret_input IS 'COPY cron.secret_input FROM STDIN sets secrets without a value in the text of a statement; always empty';
COMMENT ON COLUMN cron.secret_input.name IS 'name of a secret, new or the caller''s own';
COMMENT ON COLUMN cron.secret_input.value IS 'its value';

CREATE FUNCTION cron.secret_given()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_secret_given_wrapper';
COMMENT ON FUNCTION cron.secret_given() IS 'trigger function: sets a secret from a row of cron.secret_input';

CREATE TRIGGER cron_secret_given
    INSTEAD OF INSERT ON cron.secret_input
    FOR EACH ROW EXECUTE FUNCTION cron.secret_given();
COMMENT ON TRIGGER cron_secret_given ON cron.secret_input IS 'sets the secret of each row';

CREATE FUNCTION cron.set_secret(name text, value text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_set_secret_wrapper';
COMMENT ON FUNCTION cron.set_secret(text, text)
    IS 'set a secret, a new one or one of the caller''s; give the value as a bind parameter, never in the text of the statement';
REVOKE ALL ON FUNCTION cron.set_secret(text, text) FROM PUBLIC;

CREATE FUNCTION cron.drop_secret(name text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_drop_secret_wrapper';
COMMENT ON FUNCTION cron.drop_secret(text)
    IS 'drop a secret of the caller''s; refused while a job uses it';

CREATE FUNCTION cron.grant_secret(name text, role text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_grant_secret_wrapper';
COMMENT ON FUNCTION cron.grant_secret(text, text)
    IS 'let the jobs of a role and its members use a secret of the caller''s';

CREATE FUNCTION cron.revoke_secret(name text, role text)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'cron_revoke_secret_wrapper';
COMMENT ON FUNCTION cron.revoke_secret(text, text)
    IS 'take back what cron.grant_secret gave; runs that begin later fail';

CREATE FUNCTION cron.rotate_secrets()
RETURNS bigint
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'cron_rotate_secrets_wrapper';
COMMENT ON FUNCTION cron.rotate_secrets()
    IS 'encrypt every secret with the first key of cron.secret_key_file that is not yet; returns how many those were; for superusers';
REVOKE ALL ON FUNCTION cron.rotate_secrets() FROM PUBLIC;

-- With the rights of its owner: nobody else may read the tables. Whoever owns a secret, or is a
-- member of its owner, sees which jobs use it; whoever was granted one sees his own jobs.
CREATE VIEW cron.secrets WITH (security_barrier = true) AS
WITH used AS (
    SELECT secret.name, job.jobid, job.username
    FROM cron.job AS job
    CROSS JOIN LATERAL pg_catalog.unnest(cron.secrets_named(job.http)) AS secret (name)
    WHERE job.http IS NOT NULL
)
SELECT
    secret.name,
    coalesce(owner.rolname::pg_catalog.text, '[gone]') AS owner,
    secret.set_at,
    CASE WHEN pg_catalog.octet_length(secret.value) > 1 AND pg_catalog.get_byte(secret.value, 0) = 1 THEN
        pg_catalog.encode(pg_catalog.substr(secret.value, 3, pg_catalog.get_byte(secret.value, 1)), 'escape')
    END AS encrypted_with,
    ARRAY(
        SELECT used.jobid FROM used
        WHERE used.name = secret.name
            AND (own.may OR used.username = CURRENT_USER)
        ORDER BY used.jobid) AS used_by
FROM cron.secret AS secret
LEFT JOIN pg_catalog.pg_roles AS owner ON owner.oid = secret.owner
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.pg_has_role(secret.owner, 'USAGE'), false)) AS own (may)
WHERE own.may
    OR EXISTS (
        SELECT FROM cron.secret_grant AS granted
        WHERE granted.name = secret.name AND pg_catalog.pg_has_role(granted.role, 'USAGE'));
COMMENT ON VIEW cron.secrets IS 'the secrets the caller owns or may use; never their values';
COMMENT ON COLUMN cron.secrets.name IS 'name of the secret';
COMMENT ON COLUMN cron.secrets.owner IS 'the role whose jobs may use it';
COMMENT ON COLUMN cron.secrets.set_at IS 'when its value was last set';
COMMENT ON COLUMN cron.secrets.encrypted_with IS 'name of the key in cron.secret_key_file its value is encrypted with; NULL if it is stored as it is';
COMMENT ON COLUMN cron.secrets.used_by IS 'ids of the jobs whose request names it; for those who do not own it, of their own jobs';
GRANT SELECT ON TABLE cron.secrets TO PUBLIC;
