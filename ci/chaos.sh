#!/usr/bin/env bash
# Test layer "chaos": hundreds of jobs on one cluster while everything around them breaks. DURATION is
# how long (one minute), SEED repeats the order of an earlier time; its output says which it was.
#
# The ledger lies on a small tmpfs of its own, which fills up now and then. Mounting it takes root, and
# happens in a mount namespace of this script, so that it is gone with it. Where that cannot be had, the
# rest is done without, and says so.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
cd "$ROOT"
PG_TOCK_BINDIR=$(pg_bindir)
export PG_TOCK_BINDIR

cargo build --locked --release --quiet -p pg_tock_chaos
chaos=${CARGO_TARGET_DIR:-target}/release/pg_tock_chaos
small=$STATE/small
size=${SMALL_SIZE:-512m}

root=()
if [ "$(id -u)" != 0 ]; then root=(sudo -n --); fi
state_dir
mkdir -p "$small"
if "${root[@]}" unshare --mount true 2>/dev/null; then
  # sudo keeps no environment: what the program reads goes along by name.
  exec "${root[@]}" unshare --mount bash -c '
    small=$1 size=$2 server=$3 user=$4
    shift 4
    mount -t tmpfs -o "size=$size,mode=700,uid=$(id -u "$server"),gid=$(id -g "$server")" tmpfs "$small"
    exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
  ' chaos "$small" "$size" "$(server_user)" "$(id -un)" \
    env PATH="$PATH" HOME="$HOME" DURATION="${DURATION:-1m}" SEED="${SEED:-}" PG_TOCK_STATE="$STATE" \
    PG_TOCK_BINDIR="$PG_TOCK_BINDIR" PG_TOCK_SMALL_DIR="$small" "$chaos"
fi
exec "$chaos"
