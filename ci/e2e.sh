#!/usr/bin/env bash
# Test layer "e2e": scenarios on private clusters of the installed extension. Arguments go to the test
# programs, so `ci/e2e.sh cancel` runs the scenarios whose name contains "cancel".
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
PG_TOCK_BINDIR=$(pg_bindir)
export PG_TOCK_BINDIR
# Two at a time: every scenario has a server of its own, and a runner has two cores.
exec cargo test --locked -p pg_tock_test -p pg_tock_e2e --no-fail-fast -- --test-threads=2 "$@"
