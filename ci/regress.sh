#!/usr/bin/env bash
# The SQL surface against golden psql output, and sessions in each other's way: pg_regress and
# pg_isolation_regress on a private throw-away cluster, run by an unprivileged user.
#
#   ci/regress.sh [pg_config] [test …]
#
# The extension must be installed for that pg_config. Expected output is in pg_test/regress/expected;
# on a difference the diff is printed. UPDATE=1 takes the results over as expected output: look at
# `git diff` afterwards.
set -euo pipefail

cd "$(dirname "$0")/.."
pg_config=${1:-pg_config}
[ $# -gt 0 ] && shift
bindir=$("$pg_config" --bindir)
pg_regress=$(dirname "$("$pg_config" --pgxs)")/../test/regress/pg_regress
suite=$PWD/pg_test/regress

# pgrx adds frames to errors where these are set; the library keeps them out.
export RUST_BACKTRACE=1 RUST_LIB_BACKTRACE=1

work=$(mktemp -d "${TMPDIR:-/tmp}/pg_tock_regress.XXXXXX")
as_user=()
if [ "$(id -u)" = 0 ]; then
    # Postgres refuses to run as root.
    user=$(id -un postgres 2>/dev/null || echo nobody)
    as_user=(setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups --)
    chown "$user" "$work"
fi
run() { (cd "$work" && "${as_user[@]}" "$@"); }

finish() {
    status=$?
    [ -f "$work/data/postmaster.pid" ] && run "$bindir/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    if [ "$status" != 0 ]; then
        [ -n "${started-}" ] || tail -n 50 "$work"/*.log "$work/log" 2>/dev/null || true
        echo "kept for inspection: $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap finish EXIT

# The suite is copied: the unprivileged user may have no way to the working tree.
cp -r "$suite/sql" "$suite/specs" "$suite/expected" "$suite/schedule" "$work/"
mkdir "$work/isolation"
[ "$(id -u)" = 0 ] && chown -R "$user" "$work"

run "$bindir/initdb" -D "$work/data" -U postgres -A trust --no-sync --no-locale -E UTF8 >"$work/initdb.log" 2>&1
# Only a socket in the work directory: no port to collide over. cron.database_name stays at its
# default, another database than the suite's, so that no job ever runs and the output is stable.
cat >>"$work/data/postgresql.conf" <<CONF
shared_preload_libraries = 'pg_tock'
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
timezone = 'UTC'
CONF
run "$bindir/pg_ctl" -D "$work/data" -l "$work/log" -w start >/dev/null

regress() {
    run "$pg_regress" --bindir="$bindir" --inputdir="$work" --outputdir="$work" --host="$work" --user=postgres \
        --dbname=contrib_regression "$@" || status=$?
    cat "$work/regression.diffs" 2>/dev/null || true
    [ "${UPDATE:-0}" != 1 ] || cp "$work"/results/*.out "$suite/expected/"
}
status=0
started=yes
if [ $# -gt 0 ]; then regress "$@"; else regress --schedule="$work/schedule"; fi

# Sessions in each other's way, if the server's package has the tester.
isolation=$(dirname "$pg_regress")/../isolation/pg_isolation_regress
if [ $# = 0 ] && [ -x "$isolation" ]; then
    run "$isolation" --bindir="$bindir" --inputdir="$work" --outputdir="$work/isolation" --host="$work" --user=postgres \
        --dbname=contrib_regression --use-existing same-job same-role || status=$?
    cat "$work/isolation/regression.diffs" 2>/dev/null || true
    [ "${UPDATE:-0}" != 1 ] || cp "$work"/isolation/results/*.out "$suite/expected/"
fi

# Once more with other settings, those that need a restart.
if [ $# = 0 ]; then
    cat "$suite/strict.conf" >>"$work/data/postgresql.conf"
    run "$bindir/pg_ctl" -D "$work/data" -l "$work/log" -m fast -w restart >/dev/null
    regress --use-existing strict
fi
[ "${UPDATE:-0}" != 1 ] || status=0
exit "$status"
