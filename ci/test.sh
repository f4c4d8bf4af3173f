#!/usr/bin/env bash
# Runs every test layer, or those named, and ends with one line: `N passed, N failed`.
#
#   core     pure logic: units, properties, golden tables     (no server)
#   backend  #[pg_test]s inside a server process
#   regress  psql golden output: SQL surface, privileges, error texts
#   migrate  from the real pg_cron, and dumps of it, to pg_tock
#   demo     the demo, and the page it ends with
#   e2e      scenarios on clusters of their own: runs, crashes, kills, restarts
#   chaos    a minute of everything at once, in random order: DURATION and SEED as for make chaos
#
# A layer is ci/NAME.sh. Its verdict is its exit status; its counts are read from its output, in the
# formats of cargo test, pg_regress, TAP and `ok: what`. A layer that fails without counting a failure counts as one.
set -uo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

LAYERS=(core)
# pgrx insists on the module's name; without it there is no such layer to build.
if [ -e "$ROOT/pg_test/mod.rs" ]; then LAYERS+=(backend); fi
LAYERS+=(regress migrate demo e2e chaos)
# One order of harms, so that a failure is about the change. By hand every order has its turn.
export SEED=${SEED:-43}
if [ "$#" -gt 0 ]; then LAYERS=("$@"); fi
logs=$ROOT/target/test-logs
mkdir -p "$logs"

# count_results LOG: prints "passed failed".
count_results() {
  awk '
    { gsub(/\033\[[0-9;]*m/, "") }
    /^ *test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) }; next }
    /^(test|parallel group)?.*\.\.\. ok +[0-9]+ ms/ { p++; next }
    /\.\.\. FAILED( .*)?[0-9]+ ms/ { f++; next }
    /^ok [0-9]+/ || /^ok: / { p++; next }
    /^not ok [0-9]+/ { f++; next }
    END { print p + 0, f + 0 }' "$1"
}

total_passed=0
total_failed=0
summary=()
for layer in "${LAYERS[@]}"; do
  say "test layer: $layer"
  started=$SECONDS
  args=()
  case "$layer" in
    regress) args=("$PG_CONFIG") ;;
    migrate) args=("$("$ROOT/ci/pg-tree.sh" pg_cron)/pg_config") ;;
  esac
  "$ROOT/ci/$layer.sh" "${args[@]}" 2>&1 | tee "$logs/$layer.log"
  status=${PIPESTATUS[0]}
  read -r passed failed < <(count_results "$logs/$layer.log")
  if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
  if [ "$status" -eq 0 ] && [ "$passed" -eq 0 ]; then
    note "layer $layer ran no test at all: that is a failure"
    failed=1
  fi
  total_passed=$((total_passed + passed))
  total_failed=$((total_failed + failed))
  summary+=("$(printf '%-8s %5d passed, %d failed, %d s' "$layer" "$passed" "$failed" $((SECONDS - started)))")
done

say "summary"
for line in "${summary[@]}"; do note "$line"; done
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" -eq 0 ]
