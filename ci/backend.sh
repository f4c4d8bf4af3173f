#!/usr/bin/env bash
# Test layer "backend": #[pg_test] functions, each in a transaction inside a server process.
#
# pgrx's harness starts its server through sudo when told to run it as another user. As root that is
# what we want (a server refuses to run as root), and ci/sudo-shim/sudo does it without sudo. The harness
# installs a test build of the extension; the real one is put back in its place afterwards, and the layer
# fails if that fails.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"
cd "$ROOT"

state_dir
pgdata=$(cluster_dir backend)
rm -rf "$pgdata"
mkdir -m 755 "$pgdata"

# put_back: the real build again, with the result of the tests, or that of the installation if it failed.
put_back() {
  local status=$? log
  rm -rf "$pgdata"
  log=$(mktemp)
  if ! "$ROOT/ci/install.sh" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "the extension could not be installed again: what is installed now is the test build"
  fi
  rm -f "$log"
  exit "$status"
}
trap put_back EXIT
"$ROOT/ci/fresh-inode.sh"
args=("pg$(pg_major)" --release --package pg_tock --no-default-features --pgdata "$pgdata")
if [ "$(id -u)" = 0 ]; then
  chown "$(server_user)" "$pgdata"
  PATH="$ROOT/ci/sudo-shim:$PATH"
  args+=(--runas "$(server_user)")
elif [ ! -w "$(pg_pkglibdir)" ]; then
  # The harness installs with sudo only if it is told a user.
  args+=(--runas "$(id -un)")
fi
cargo pgrx test "${args[@]}"
