#!/usr/bin/env bash
# Moving over from the real pg_cron, on private throw-away clusters.
#
#   ci/migrate.sh [pg_config]
#
# Wants both extensions installed for that pg_config: pg_tock, and pg_cron from the distribution's
# package (postgresql-NN-cron). The installation is copied to a work directory first, so that the
# stand-in extension can take the place of pg_cron's files there.
set -euo pipefail

cd "$(dirname "$0")/.."
source=$PWD
pg_config=${1:-pg_config}
for file in "$("$pg_config" --pkglibdir)/pg_cron.so" "$("$pg_config" --sharedir)/extension/pg_tock.control"; do
    [ -e "$file" ] || { echo "ci/migrate.sh: $file is missing" >&2; exit 2; }
done
unset RUST_BACKTRACE RUST_LIB_BACKTRACE

work=$(mktemp -d "${TMPDIR:-/tmp}/pg_tock_migrate.XXXXXX")
chmod 755 "$work"
as_user=()
user=$(id -un)
if [ "$(id -u)" = 0 ]; then
    user=$(id -un postgres 2>/dev/null || echo nobody)
    as_user=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --)
fi
run() { (cd "$work" && "${as_user[@]}" "$@"); }

# Postgres finds its files relative to where its program is.
bindir=$work/root$("$pg_config" --bindir)
extensions=$work/root$("$pg_config" --sharedir)/extension
mkdir "$work/root"
for dir in "$("$pg_config" --bindir)" "$("$pg_config" --pkglibdir)" "$("$pg_config" --sharedir)"; do
    mkdir -p "$work/root$(dirname "$dir")"
    [ -d "$work/root$dir" ] || cp -rL "$dir" "$work/root$dir"
done
cp "$source/sql/migrate_from_pg_cron.sql" "$work/"
[ "$(id -u)" = 0 ] && chown "$user" "$work"

finish() {
    status=$?
    [ -f "$work/data/postmaster.pid" ] && run "$bindir/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    if [ "$status" = 0 ]; then
        rm -rf "$work"
    else
        tail -n 30 "$work/log" 2>/dev/null || true
        echo "kept for inspection: $work" >&2
    fi
    exit "$status"
}
trap finish EXIT

start() { run "$bindir/pg_ctl" -D "$work/data" -l "$work/log" -o "-c shared_preload_libraries=$1" -w start >/dev/null; }
stop() { run "$bindir/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null; }
sql() { run "$bindir/psql" -h "$work" -U postgres -X -q -v ON_ERROR_STOP=1 "$@"; }
migrate() { sql -f "$work/migrate_from_pg_cron.sql" "$@"; }
fail() { echo "ci/migrate.sh: $*" >&2; exit 1; }
expect_same() { diff -u "$work/$1" "$work/$2" || fail "$3"; echo "ok: $3"; }
# expect_refusal WHAT TEXT [psql argument …]: the script fails with TEXT, and pg_cron is as it was.
expect_refusal() {
    local what=$1 text=$2
    shift 2
    if migrate "$@" >"$work/refusal" 2>&1; then fail "not refused: $what"; fi
    grep -qF "$text" "$work/refusal" || { cat "$work/refusal"; fail "refused for another reason: $what"; }
    echo "ok: refused: $what"
}

run "$bindir/initdb" -D "$work/data" -U postgres -A trust --no-sync --no-locale -E UTF8 >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
timezone = 'UTC'
wal_level = logical
cron.database_name = 'postgres'
CONF

# What must arrive, read through pg_cron's columns.
contents() {
    sql -d "$1" -At <<'SQL'
SELECT jobid, schedule, command, nodename, nodeport, database, username, active, jobname FROM cron.job ORDER BY jobid;
SELECT jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time FROM cron.job_run_details ORDER BY runid;
SELECT 'jobid_seq', last_value, is_called FROM cron.jobid_seq;
SELECT 'runid_seq', last_value, is_called FROM cron.runid_seq;
SQL
}
# What administrators had set up around it.
surroundings() {
    sql -d "$1" -At <<'SQL'
SELECT c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type, a.is_grantable
FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
WHERE c.oid IN ('cron.job'::regclass, 'cron.job_run_details'::regclass, to_regclass('public.runs_by_job'), to_regclass('public.named_runs'))
    AND a.grantee <> c.relowner ORDER BY 1, 2, 3;
SELECT a.attrelid::regclass, a.attname, x.grantee::regrole, x.privilege_type
FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid IN ('cron.job'::regclass, 'cron.job_run_details'::regclass);
SELECT p.proname, p.pronargs, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.is_grantable
FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'cron'::regnamespace AND p.proname IN ('schedule', 'schedule_in_database', 'alter_job', 'unschedule')
    AND a.grantee <> p.proowner ORDER BY 1, 2, 3;
SELECT a.grantee::regrole, a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a
WHERE n.nspname = 'cron' AND a.grantee <> n.nspowner ORDER BY 1, 2;
SELECT policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'cron' AND policyname LIKE 'see%' ORDER BY 1;
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname = 'audit';
SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'runs_by%' ORDER BY 1;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'short_commands';
SELECT relname, reloptions FROM pg_class WHERE oid = 'cron.job_run_details'::regclass;
SELECT pubname, schemaname, tablename FROM pg_publication_tables;
SELECT relname, reloptions, pg_get_userbyid(relowner), obj_description(oid, 'pg_class') FROM pg_class WHERE relname IN ('runs_by_job', 'named_runs') ORDER BY 1;
SELECT * FROM public.runs_by_job ORDER BY 1;
SQL
}

# Every job is due on 29 February only, or switched off: nothing runs while rows are compared.
echo "== pg_cron at work"
start pg_cron
sql <<'SQL'
CREATE EXTENSION pg_cron;
CREATE ROLE ann LOGIN;
CREATE ROLE "Bob B" LOGIN;
CREATE ROLE monitor;
GRANT USAGE ON SCHEMA cron TO ann, "Bob B", monitor;
DO $$
BEGIN
    PERFORM cron.schedule('0 3 29 2 *', 'SELECT 1');
    SET LOCAL ROLE ann;
    PERFORM cron.schedule('nightly', '0 3 29 2 *', 'VACUUM');
    PERFORM cron.schedule('nightly', '30 3 29 2 *', 'VACUUM (ANALYZE)');
    RESET ROLE;
    PERFORM cron.schedule_in_database('paused', '0 3 29 2 *', 'SELECT 1', 'template1', 'Bob B', false);
    PERFORM cron.schedule('it''s "quoted" \ text', '0 3 29 2 *', E'SELECT ''a\\b'';\n-- second line');
END $$;
INSERT INTO cron.job (schedule, command, nodename, nodeport) VALUES ('sometimes', 'SELECT 1', 'localhost', 5432), ('0 3 29 2 *', 'SELECT 1', 'far.example.org', 5432);
INSERT INTO cron.job_run_details
SELECT 1 + n % 3, nextval('cron.runid_seq'), 1000 + n, 'postgres', 'postgres', 'SELECT 1', CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'succeeded' END,
    CASE WHEN n % 10 = 0 THEN E'ERROR:  deadlock detected\nDETAIL:  …\n' ELSE '1 row' END, timestamptz '2026-01-01' + n * interval '1 min', timestamptz '2026-01-01' + n * interval '61 s'
FROM generate_series(1, 5000) n;
DELETE FROM cron.job_run_details WHERE runid = 17;

GRANT SELECT ON cron.job TO monitor;
GRANT UPDATE (active) ON cron.job TO monitor;
REVOKE DELETE ON cron.job_run_details FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) TO ann WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION cron.schedule(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cron.schedule(text, text) TO ann;
CREATE INDEX ON cron.job_run_details (start_time);
CREATE INDEX runs_by_start ON cron.job_run_details (jobid, start_time DESC) WHERE status = 'failed';
ALTER TABLE cron.job ADD CONSTRAINT short_commands CHECK (length(command) < 10000);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER audit AFTER UPDATE ON cron.job FOR EACH ROW EXECUTE FUNCTION audit();
CREATE POLICY see_all ON cron.job FOR SELECT TO monitor USING (true);
CREATE POLICY see_both ON cron.job_run_details TO monitor, ann USING (jobid > 0) WITH CHECK (jobid > 1);
CREATE POLICY see_none ON cron.job_run_details AS RESTRICTIVE FOR INSERT WITH CHECK (false);
ALTER TABLE cron.job_run_details SET (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 90);
CREATE PUBLICATION jobs FOR TABLE cron.job;
CREATE VIEW runs_by_job AS SELECT jobid, count(*) FROM cron.job_run_details GROUP BY jobid;
CREATE VIEW named_runs WITH (security_barrier) AS SELECT j.jobname, r.count FROM cron.job j JOIN runs_by_job r USING (jobid);
ALTER VIEW named_runs OWNER TO ann;
GRANT SELECT ON named_runs TO monitor;
COMMENT ON VIEW named_runs IS 'it''s ours';
SQL
contents postgres >"$work/contents.before"
surroundings postgres >"$work/surroundings.before"
run "$bindir/pg_dump" -h "$work" -U postgres postgres >"$work/pg_cron.dump"

echo "== what is refused"
expect_refusal 'pg_cron is still loaded' 'pg_cron is still loaded'
stop
start pg_tock
expect_refusal 'no pg_cron in this database' 'extension "pg_cron" is not installed in database "template1"' -d template1
sql -c 'CREATE TABLE note (jobid bigint REFERENCES cron.job)'
expect_refusal 'a foreign key to cron.job' 'other objects depend on it'
sql -c 'DROP TABLE note' -c 'CREATE MATERIALIZED VIEW runs AS SELECT * FROM cron.job_run_details'
expect_refusal 'a materialized view' 'cannot move "public.runs"'
sql -c 'DROP MATERIALIZED VIEW runs' -c 'ALTER TABLE cron.job ADD COLUMN team text'
expect_refusal 'a column of somebody else' 'cron.job.team'
sql -c 'ALTER TABLE cron.job DROP COLUMN team' -c 'CREATE TABLE cron.mine ()'
expect_refusal 'a table in schema cron' 'other objects depend on it'
sql -c 'DROP TABLE cron.mine'
contents postgres >"$work/contents.refused"
surroundings postgres >"$work/surroundings.refused"
expect_same contents.before contents.refused 'a refused move changes nothing'
expect_same surroundings.before surroundings.refused 'nor what is around it'

echo "== the move"
migrate >"$work/moved" 2>&1
cat "$work/moved"
grep -q 'moved 6 jobs and 4999 runs' "$work/moved" || fail 'not everything was moved'
grep -q 'job 6 will not run: ' "$work/moved" || fail 'no warning about the unreadable schedule'
contents postgres >"$work/contents.after"
surroundings postgres >"$work/surroundings.after"
expect_same contents.before contents.after 'jobs, history and sequences arrived'
expect_same surroundings.before surroundings.after 'privileges, indexes, constraints, triggers, policies, options, publications and views arrived'
[ "$(sql -At -c "SELECT string_agg(extname, ',') FROM pg_extension WHERE extname <> 'plpgsql'")" = pg_tock ] || fail 'pg_cron is still there'
[ "$(sql -At -c "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%moving%'")" = 0 ] || fail 'something is left over'
next=$(sql -At -c "SELECT last_value + 1 FROM cron.jobid_seq")
[ "$(sql -At -c "SELECT cron.schedule('0 0 29 2 *', 'SELECT 1')")" = "$next" ] || fail 'the next job id is wrong'
[ "$(sql -At -c "SET ROLE ann; SELECT cron.schedule('nightly', '0 5 29 2 *', 'VACUUM')")" = 2 ] || fail 'the named job is not recognized'
expect_refusal 'a second time' 'extension "pg_tock" is installed in this database already'

echo "== the stand-in for CREATE EXTENSION pg_cron"
rm "$extensions"/pg_cron*
cp "$source"/sql/alias/pg_cron* "$extensions/"
sql -c 'CREATE DATABASE fresh' -c 'CREATE DATABASE restored' -c 'CREATE DATABASE restored16'
stop
sed -i "s/^cron.database_name.*/cron.database_name = 'postgres, fresh, restored, restored16'/" "$work/data/postgresql.conf"
start pg_tock
sql -d fresh -c "CREATE EXTENSION IF NOT EXISTS pg_cron" -c "SELECT cron.schedule('0 0 29 2 *', 'SELECT 1')" >/dev/null 2>&1 || fail 'CREATE EXTENSION pg_cron fails'
[ "$(sql -d fresh -At -c "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'")" = pg_cron,pg_tock ] || fail 'not both extensions'
sql -d fresh -c 'ALTER EXTENSION pg_cron UPDATE' -c 'DROP EXTENSION pg_cron' -c "CREATE EXTENSION pg_cron VERSION '1.4'" -c 'ALTER EXTENSION pg_cron UPDATE' >/dev/null 2>&1 || fail 'versions of the stand-in'
[ "$(sql -d fresh -At -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'")" = 1.6 ] || fail 'the stand-in is not at 1.6'
echo 'ok: CREATE EXTENSION pg_cron'

# A dump of a database with the real pg_cron 1.4, as pg_dump made it above.
sql -d restored -f "$work/pg_cron.dump" >/dev/null 2>"$work/restore.err" || { cat "$work/restore.err"; fail 'the dump does not restore'; }
contents restored >"$work/contents.restored"
expect_same contents.before contents.restored 'a dump of pg_cron 1.4 restores'

# A dump of pg_cron 1.6 data, in the form pg_dump gives it.
cat >"$work/pg_cron16.dump" <<'DUMP'
SELECT pg_catalog.set_config('search_path', '', false);
CREATE EXTENSION IF NOT EXISTS pg_cron WITH SCHEMA pg_catalog;
COMMENT ON EXTENSION pg_cron IS 'Job scheduler for PostgreSQL';
COPY cron.job (jobid, schedule, command, nodename, nodeport, database, username, active, jobname) FROM stdin;
3	10 seconds	SELECT 1	localhost	5432	postgres	postgres	f	a name that is longer than the sixty-three bytes that type name had room for
9	0 0 $ 2 *	SELECT 2	localhost	5432	postgres	postgres	t	\N
\.
COPY cron.job_run_details (jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time) FROM stdin;
3	77	4711	postgres	postgres	SELECT 1	succeeded	1 row	2026-01-01 00:00:00+00	2026-01-01 00:00:00.1+00
\.
SELECT pg_catalog.setval('cron.jobid_seq', 12, true);
SELECT pg_catalog.setval('cron.runid_seq', 77, true);
DUMP
cat >"$work/contents.16" <<'ROWS'
3|10 seconds|SELECT 1|localhost|5432|postgres|postgres|f|a name that is longer than the sixty-three bytes that type name had room for
9|0 0 $ 2 *|SELECT 2|localhost|5432|postgres|postgres|t|
3|77|4711|postgres|postgres|SELECT 1|succeeded|1 row|2026-01-01 00:00:00+00|2026-01-01 00:00:00.1+00
jobid_seq|12|t
runid_seq|77|t
ROWS
sql -d restored16 -f "$work/pg_cron16.dump" >/dev/null 2>&1 || fail 'the 1.6 dump does not restore'
contents restored16 >"$work/contents.restored16"
expect_same contents.16 contents.restored16 'a dump of pg_cron 1.6 restores'

# And our own dump: jobs with our columns, both extensions in order.
run "$bindir/pg_dump" -h "$work" -U postgres restored16 >"$work/ours.dump"
sql -c 'DROP DATABASE restored16' -c 'CREATE DATABASE restored16'
sql -d restored16 -f "$work/ours.dump" >/dev/null 2>&1 || fail 'our dump does not restore'
contents restored16 >"$work/contents.ours"
expect_same contents.16 contents.ours 'a dump of pg_tock restores'
