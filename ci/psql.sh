#!/usr/bin/env bash
# A throw-away cluster with pg_tock, and psql on it. The cluster goes when psql ends.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
trap 'cluster_stop psql' EXIT
say "starting a throw-away cluster"
cluster_start psql
cluster_env psql
cluster_psql -c 'create extension pg_tock'
note "from another terminal: psql -h $PGHOST -p $PGPORT -U $PGUSER $PGDATABASE"
"$(pg_bindir)/psql"
