#!/usr/bin/env bash
# The demo: eleven jobs of a real app on a throw-away cluster, their schedules sped up to seconds, and
# three that call a small HTTP server of the demo's own. Prints every run for about fifteen seconds, then the statistics. Fails if a job did not do what it
# should. KEEP=1 leaves the server running.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../ci/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"

SECONDS_SHOWN=15

finish() {
  local status=$?
  if [ "$status" -ne 0 ]; then
    note "that did not go well; the end of the server's log:"
    tail -n 30 "$(cluster_dir demo)/server.log" >&2 || true
  fi
  # The HTTP server ends by itself when the cluster does.
  if [ -z "${KEEP:-}" ]; then cluster_stop demo; fi
}

# Starts the service that the HTTP jobs call; sets SERVICE_PORT and SERVICE_KEY.
start_service() {
  local port
  SERVICE_KEY=sk_demo_$RANDOM$RANDOM$RANDOM
  port=$(cluster_dir demo)/service.port
  "${CARGO_TARGET_DIR:-target}"/release/pg_tock_demo_server "$SERVICE_KEY" "$(cluster_dir demo)/data/postmaster.pid" >"$port" &
  while [ ! -s "$port" ]; do
    kill -0 $! || die "the HTTP server of the demo did not start"
    sleep 0.1
  done
  SERVICE_PORT=$(cat "$port")
}

# Colour only where somebody can see it.
green='' red='' plain=''
if [ -t 1 ]; then green=$'\033[32m' red=$'\033[31m' plain=$'\033[0m'; fi

# One session looks once a second and remembers what it has shown.
watch_runs() {
  {
    echo 'create temp table shown (runid bigint primary key);'
    for _ in $(seq "$SECONDS_SHOWN"); do
      cat "$ROOT/demo/traffic.sql" "$ROOT/demo/watch.sql"
      sleep 1
    done
    cat "$ROOT/demo/watch.sql"
  } | cluster_psql -At -v green="$green" -v red="$red" -v plain="$plain"
}

# Statistics are written within seconds of the runs they count.
wait_for_statistics() {
  local deadline=$((SECONDS + 20)) missing
  while missing=$(cluster_psql -At -c 'select count(*) from cron.job_stats where total_runs = 0') && [ "$missing" != 0 ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "$missing jobs have no statistics"
    sleep 0.2
  done
}

check_outcomes() {
  local wrong
  wrong=$(cluster_psql -At -c "
    select string_agg(r.jobname, ', ') from app.real_schedule r
    where (r.jobname = 'send-weekly-reports') is distinct from not exists (
      select from cron.job_run_details d where d.jobname = r.jobname and d.status = 'succeeded')")
  [ -z "$wrong" ] || die "these jobs did not do what they should: $wrong"
  wrong=$(cluster_psql -At -c "
    select count(*) from cron.job_run_details where jobname = 'sync-billing' and end_time is not null
      and (status = 'succeeded') <> (attempt = 3)")
  [ "$wrong" = 0 ] || die "sync-billing did not fail twice and then succeed"
  wrong=$(cluster_psql -At -v key="$SERVICE_KEY" <<<"
    select count(*) from cron.job_run_details d where strpos(d::text, :'key') > 0")
  [ "$wrong" = 0 ] || die "the key is in the history"
}

# The page stays when the cluster goes.
write_report() {
  REPORT=${CARGO_TARGET_DIR:-$ROOT/target}/demo-report.html
  cluster_psql -At -c '
    select cron.report_html(now() - min(start_time)) from cron.job_run_details' >"$REPORT"
  grep -q '</html>' "$REPORT" || die "the report is not a page"
}

trap finish EXIT

cd "$ROOT"
cargo build --quiet --locked --release -p pg_tock_demo_server

say "starting a throw-away cluster: $("$PG_CONFIG" --version), as $(server_user), in $(cluster_dir demo)"
cluster_start demo "cron.http_allow = '127.0.0.1'"
cluster_env demo
cluster_psql -c 'create extension pg_tock'

say "creating the app: users, stories, challenges, a leaderboard"
cluster_psql -f "$ROOT/demo/schema.sql"

start_service
say "scheduling its eleven jobs, sped up from hours and days to seconds, and three that call a URL"
PGUSER=app cluster_psql -o /dev/null -f "$ROOT/demo/jobs.sql"
printf 'push/key\t%s\n' "$SERVICE_KEY" | PGUSER=app cluster_psql -c 'copy cron.secret_input from stdin'
PGUSER=app cluster_psql -o /dev/null -v service="http://127.0.0.1:$SERVICE_PORT" -f "$ROOT/demo/http-jobs.sql"
cluster_psql -P footer=off -c '
  select jobname as job, schedule as "real schedule", sped_up as "here", what as "what it does"
  from app.real_schedule'

say "runs as they end, for $SECONDS_SHOWN seconds"
watch_runs
wait_for_statistics

say "statistics (cron.job_stats)"
cluster_psql -P footer=off -c "
  select jobname as job, total_runs as runs, successful_runs as ok, failed_runs as failed,
         success_rate as \"ok %\", round(avg_duration_ms, 1) as \"avg ms\", round(max_duration_ms, 1) as \"max ms\",
         last_status as \"last\"
  from cron.job_stats order by jobid"
say "why one fails (cron.failed_runs)"
cluster_psql -At -c "select return_message from cron.failed_runs where jobname = 'send-weekly-reports' limit 1"
say "what the push service answered; it was sent the key, and the history has *** in its place"
cluster_psql -At -c "select http_status, response from cron.job_run_details where jobname = 'push-reminders' and end_time is not null order by runid limit 1"
say "the same as a drawing (cron.timeline)"
cluster_psql -At -c "select cron.timeline(since => (select now() - min(start_time) from cron.job_run_details))"
check_outcomes
write_report

connect="$(pg_bindir)/psql -h $PGHOST -p $PGPORT -U postgres postgres"
if [ -n "${KEEP:-}" ]; then
  say "the server stays up. Look around:"
  note "$connect"
  note "make clean stops it"
else
  say "the server is stopped now; KEEP=1 make demo leaves it running, to be reached by"
  note "$connect"
fi
say "a page to look at (cron.report_html)"
note "$REPORT"
