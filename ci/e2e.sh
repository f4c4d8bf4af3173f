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

# Scenarios about moving from pg_cron need servers of their own kind, and are ignored without them.
filter=(--include-ignored)
if PG_TOCK_PG_CRON_BINDIR=$(ci/pg-tree.sh pg_cron) && PG_TOCK_ALIAS_BINDIR=$(ci/pg-tree.sh alias); then
  export PG_TOCK_PG_CRON_BINDIR PG_TOCK_ALIAS_BINDIR
else
  note "Debian's pg_cron cannot be had here: the scenarios about moving from it are IGNORED"
  filter=()
fi

if PG_TOCK_PROMTOOL=$(ci/promtool.sh); then
  export PG_TOCK_PROMTOOL
else
  note "promtool cannot be had here: the metrics are NOT CHECKED by it, only by our own reader"
fi
command -v chromium >/dev/null || command -v google-chrome >/dev/null ||
  note "no browser here: the report is NOT SHOWN in one, only read by a parser"

# Two at a time: every scenario has a server of its own, and a runner has two cores.
exec cargo test --locked -p pg_tock_test -p pg_tock_e2e --no-fail-fast -- --test-threads=2 "${filter[@]}" "$@"
