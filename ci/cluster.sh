# shellcheck shell=bash
# Private throw-away clusters for demo, bench, psql and regress. Sourced after env.sh.
#
# A cluster lives in a directory of its own under STATE, listens on a Unix socket in that directory
# only (no TCP port, so nothing to collide with), and runs as an unprivileged user: whoever calls, or
# the user postgres when root calls. The system's clusters are never touched.
#
#   cluster_start NAME [setting=value …]   makes a fresh cluster (dropping one of that name) and starts it
#   cluster_running NAME                   true while its postmaster lives
#   cluster_stop NAME                      immediate stop, then the directory goes
#   cluster_env NAME                       exports PGHOST, PGPORT, PGUSER, PGDATABASE for psql
#   cluster_psql [args…]                   psql as superuser, no psqlrc, stops at the first error

# Sockets have a path limit of 107 bytes and the server's user must reach them, so the state lives
# neither in the clone nor in a home directory. Each clone has its own; the test programs get it too.
STATE=${PG_TOCK_STATE:-/var/tmp/pg_tock-$(id -u)-$(printf '%s' "$ROOT" | cksum | cut -d' ' -f1)}
export PG_TOCK_STATE=$STATE
CLUSTER_PORT=5439

# state_dir: makes STATE, and refuses one that somebody else put there.
state_dir() {
  mkdir -m 755 "$STATE" 2>/dev/null || true
  if [ ! -d "$STATE" ] || [ -L "$STATE" ] || [ ! -O "$STATE" ]; then
    die "$STATE belongs to somebody else: set PG_TOCK_STATE to a directory of your own"
  fi
}

# server_user: whom the server runs as.
server_user() {
  if [ "$(id -u)" != 0 ]; then
    id -un
  elif id postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

# as_server CMD…: runs CMD as the server's user.
as_server() {
  local user
  user=$(server_user)
  if [ "$user" = "$(id -un)" ]; then
    "$@"
  else
    setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
  fi
}

cluster_dir() { printf '%s/%s\n' "$STATE" "$1"; }

cluster_running() {
  local dir
  dir=$(cluster_dir "$1")
  [ -d "$dir/data" ] && (cd / && as_server "$(pg_bindir)/pg_ctl" -D "$dir/data" status) >/dev/null 2>&1
}

cluster_stop() {
  local dir
  dir=$(cluster_dir "$1")
  if cluster_running "$1"; then
    (cd / && as_server "$(pg_bindir)/pg_ctl" -D "$dir/data" -m immediate -w stop) >/dev/null
  fi
  rm -rf "$dir"
}

cluster_start() {
  local name=$1 dir setting
  shift
  state_dir
  dir=$(cluster_dir "$name")
  cluster_stop "$name"
  # Anybody who reaches the socket is a superuser: only the server's user (and root) may.
  mkdir -m 700 "$dir"
  if [ "$(id -u)" = 0 ]; then chown "$(server_user)" "$dir"; fi
  (
    cd /
    as_server "$(pg_bindir)/initdb" -D "$dir/data" -U postgres --auth=trust --encoding=UTF8 \
      --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1
  ) || {
    cat "$dir/initdb.log" >&2
    die "initdb failed"
  }
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$dir'"
    echo "port = $CLUSTER_PORT"
    echo "shared_preload_libraries = 'pg_tock'"
    for setting in "$@"; do echo "$setting"; done
  } >>"$dir/data/postgresql.conf"
  (
    cd /
    as_server "$(pg_bindir)/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 start >/dev/null
  ) || {
    tail -n 40 "$dir/server.log" >&2
    die "the server did not start: its log is above"
  }
}

cluster_env() {
  PGHOST=$(cluster_dir "$1")
  export PGHOST PGPORT=$CLUSTER_PORT PGUSER=postgres PGDATABASE=postgres
}

cluster_psql() { "$(pg_bindir)/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }
