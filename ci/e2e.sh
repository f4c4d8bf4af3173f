#!/usr/bin/env bash
# Test layer "e2e": scenarios on private clusters of the installed extension. Arguments go to the test
# programs, so `ci/e2e.sh cancel` runs the scenarios whose name contains "cancel".
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
cd "$ROOT"
PG_TOCK_BINDIR=$(pg_bindir)
export PG_TOCK_BINDIR

# Some scenarios need a program or a server that is not ours, and say so: #[ignore = "needs WHAT"]. Those of
# which it can be had are run, the others left out by name.
left_out=()
leave_out() {
  local name
  note "no $1 can be had here, so these are NOT RUN:"
  while read -r name; do
    note "  $name"
    left_out+=(--skip "$name")
  done < <(grep -rhA1 "#\[ignore = \"needs $1\"\]" pg_test/e2e/tests | sed -n 's/^ *fn \([a-z0-9_]*\)(.*/\1/p')
}

if PG_TOCK_PG_CRON_BINDIR=$(ci/pg-tree.sh pg_cron) && PG_TOCK_ALIAS_BINDIR=$(ci/pg-tree.sh alias); then
  export PG_TOCK_PG_CRON_BINDIR PG_TOCK_ALIAS_BINDIR
else
  leave_out "a server with pg_cron"
  leave_out "a server with the alias"
fi
if PG_TOCK_PROMTOOL=$(ci/promtool.sh); then export PG_TOCK_PROMTOOL; else leave_out promtool; fi
if PG_TOCK_CHROMIUM=$(ci/chromium.sh); then export PG_TOCK_CHROMIUM; else leave_out chromium; fi

# A scenario that hangs ends its program, says where it was, and lets the next program run.
export PG_TOCK_SCENARIO_LIMIT=600

# Two at a time: every scenario has a server of its own, and a runner has two cores.
exec cargo test --locked -p pg_tock_test -p pg_tock_e2e --no-fail-fast -- \
  --test-threads=2 --include-ignored "${left_out[@]}" "$@"
