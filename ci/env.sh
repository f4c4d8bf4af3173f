# shellcheck shell=bash disable=SC2034
# The one place that says which Postgres is meant and how it is built for. Every script in ci/, demo/
# and bench/ sources this file; nothing here installs, writes or starts anything.
#
#   PG_CONFIG   pg_config of the server to build for (default: Debian's PostgreSQL 15)
#
# It exports what cargo and cargo-pgrx need, so that `cargo build`, `cargo clippy` and `cargo pgrx`
# share one build: PGRX_PG_CONFIG_PATH (no ~/.pgrx is needed then) and
# CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND (build.rs sets that linker flag itself). Never RUSTFLAGS.
# PG_CONFIG itself is not exported: cargo would rebuild on every change of a variable it watches.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_DEFAULT_MAJOR=15
PGRX_VERSION=0.18.1

say() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# cargo installs programs here, and a login shell may not have it on its path yet.
case ":$PATH:" in
  *":${CARGO_HOME:-$HOME/.cargo}/bin:"*) ;;
  *) PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH" ;;
esac
export PATH

# Debian's /usr/bin/pg_config answers for the newest server-dev package, so name the major.
if [ -z "${PG_CONFIG:-}" ]; then
  PG_CONFIG=/usr/lib/postgresql/$PG_DEFAULT_MAJOR/bin/pg_config
fi
export PGRX_PG_CONFIG_PATH=$PG_CONFIG
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
# pgrx would put backtraces into the DETAIL of errors.
unset RUST_BACKTRACE RUST_LIB_BACKTRACE

# pg_major: the major version PG_CONFIG stands for. Before the server is installed there is nothing
# to ask, and Debian's directory name says it.
pg_major() {
  if [ -x "$PG_CONFIG" ]; then
    "$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
  else
    printf '%s\n' "$PG_CONFIG" | sed -nE 's#^/usr/lib/postgresql/([0-9]+)/bin/pg_config$#\1#p'
  fi
}

pg_bindir() { "$PG_CONFIG" --bindir; }
pg_sharedir() { "$PG_CONFIG" --sharedir; }
pg_pkglibdir() { "$PG_CONFIG" --pkglibdir; }

# cargo_features: the cargo arguments that select pgrx's bindings for this server.
cargo_features() { printf '%s\n' --no-default-features --features "pg$(pg_major)"; }

# as_root CMD…: runs CMD as root, through sudo where needed.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "this step needs root and there is no sudo: $*"
  fi
}
