#!/usr/bin/env bash
# Builds pg_tock in release mode and installs it into the server of PG_CONFIG.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

cd "$ROOT"
mapfile -t features < <(cargo_features)
args=(--package pg_tock --release --pg-config "$PG_CONFIG" "${features[@]}")
if [ ! -w "$(pg_pkglibdir)" ] || [ ! -w "$(pg_sharedir)/extension" ]; then
  args+=(--sudo)
fi
say "building pg_tock for $("$PG_CONFIG" --version) (five minutes the first time, seconds afterwards)"
ci/fresh-inode.sh
cargo pgrx install "${args[@]}"

# The check for monitoring goes beside the server's programs.
copy=(install -m 755 bin/pg_tock_check "$(pg_bindir)/pg_tock_check")
if [ ! -w "$(pg_bindir)" ]; then
  copy=(sudo "${copy[@]}")
fi
"${copy[@]}"
