#!/usr/bin/env bash
# Stops and removes the throw-away clusters, then the build.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
if [ -d "$STATE" ]; then
  state_dir
  for dir in "$STATE"/*/; do
    [ -d "$dir" ] || continue
    [ -x "$PG_CONFIG" ] && cluster_stop "$(basename "$dir")"
    rm -rf "$dir"
  done
  rm -rf "$STATE"
fi
cd "$ROOT" && cargo clean
