#!/usr/bin/env bash
# make bench: pg_tock and Debian's pg_cron on one server build, in one run. About a quarter of an hour, half
# of it waiting for full minutes, the only schedule pg_cron 1.4 knows. Prints a table, which bench/readme.sh
# puts into the README; the figures are also in target/bench.json. Arguments: names of measurements (see --help).
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../ci/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
cd "$ROOT"

if PG_TOCK_BINDIR=$(ci/pg-tree.sh pg_cron); then
  export PG_TOCK_BINDIR
else
  note "Debian's pg_cron cannot be had here: measuring pg_tock alone"
  PG_TOCK_BINDIR=$(pg_bindir)
  export PG_TOCK_BINDIR PG_TOCK_BENCH_ALONE=1
fi
exec cargo run --locked --release --quiet -p pg_tock_bench -- "$@"
