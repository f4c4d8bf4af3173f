#!/usr/bin/env bash
# Installs what building and running pg_tock needs and is missing: the server of PG_CONFIG with its
# headers, clang and libclang for bindgen, pkg-config, and the pinned cargo-pgrx. Run as often as you
# like: a second run only looks. Never creates, starts or stops a system cluster.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

CREATECLUSTER=/etc/postgresql-common/createcluster.d/pg_tock-setup.conf

missing_packages() {
  local major=$1
  command -v cc >/dev/null || echo gcc
  [ -e /usr/include/stdio.h ] || echo libc6-dev
  command -v clang >/dev/null || echo clang
  compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
    compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || echo libclang-dev
  command -v pkg-config >/dev/null || echo pkg-config
  # Scenarios that set the clock load its library into their servers.
  compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || echo faketime
  # Debian's server package is only ours to install where PG_CONFIG is Debian's.
  case "$PG_CONFIG" in
    "/usr/lib/postgresql/$major/bin/pg_config")
      [ -x "/usr/lib/postgresql/$major/bin/postgres" ] || echo "postgresql-$major"
      [ -e "/usr/include/postgresql/$major/server/postgres.h" ] || echo "postgresql-server-dev-$major"
      # a language that reaches outside the database, for scenarios
      [ -e "/usr/share/postgresql/$major/extension/plperlu.control" ] || echo "postgresql-plperl-$major"
      ;;
  esac
}

# quietly CMD…: shows what CMD printed only if it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "failed: $*"
  fi
  rm -f "$log"
}

# postgresql-NN's installation script would make and start a cluster named main. A drop-in file says
# no for as long as the installation takes, and is removed afterwards.
install_packages() {
  command -v apt-get >/dev/null ||
    die "missing: $*. Install them, or use a Debian machine, where this script does it."
  say "installing Debian packages: $*"
  as_root mkdir -p "${CREATECLUSTER%/*}"
  printf 'create_main_cluster = false\n' | as_root tee "$CREATECLUSTER" >/dev/null
  trap 'as_root rm -f "$CREATECLUSTER"' EXIT
  quietly as_root apt-get update
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
  as_root rm -f "$CREATECLUSTER"
  trap - EXIT
}

install_cargo_pgrx() {
  if [ "$(cargo-pgrx pgrx --version 2>/dev/null)" = "cargo-pgrx $PGRX_VERSION" ]; then
    return
  fi
  say "installing cargo-pgrx $PGRX_VERSION from source: this takes about four minutes, once"
  # cargo-pgrx would put its own build into our target directory if CARGO_TARGET_DIR said so.
  env -u CARGO_TARGET_DIR cargo install cargo-pgrx --version "$PGRX_VERSION" --locked
}

check_server() {
  local bindir major
  [ -x "$PG_CONFIG" ] || die "no pg_config at $PG_CONFIG: set PG_CONFIG to that of your server"
  major=$(pg_major)
  grep -q "^pg$major = " "$ROOT/Cargo.toml" ||
    die "$PG_CONFIG is PostgreSQL $major, which pg_tock does not support"
  bindir=$(pg_bindir)
  if [ ! -x "$bindir/postgres" ] || [ ! -x "$bindir/initdb" ]; then
    die "no server programs in $bindir"
  fi
  [ -e "$("$PG_CONFIG" --includedir-server)/postgres.h" ] ||
    die "the server headers of $PG_CONFIG are missing: install them (postgresql-server-dev-$major)"
  note "server: $("$PG_CONFIG" --version) in $bindir"
}

main() {
  local major packages
  command -v cargo >/dev/null || die "no cargo on the path: install Rust 1.95 or newer (https://rustup.rs)"
  say "checking the tools (Rust $(rustc --version | cut -d' ' -f2))"
  major=$(pg_major)
  mapfile -t packages < <(missing_packages "${major:-0}")
  if [ "${#packages[@]}" -gt 0 ]; then
    install_packages "${packages[@]}"
  fi
  check_server
  install_cargo_pgrx
  note "$(cargo-pgrx pgrx --version)"
}
main "$@"
