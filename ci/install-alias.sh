#!/usr/bin/env bash
# install | remove: an extension named pg_cron that is nothing but "pg_tock, please", so that old
# migrations and dumps that say CREATE EXTENSION pg_cron work. It owns no objects: everything in
# schema cron belongs to pg_tock. Refuses while the real pg_cron's files are there.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

MARK='# written by pg_tock'
# Every version pg_cron has had, oldest first: old migrations name them, and ALTER EXTENSION … UPDATE
# walks them.
VERSIONS=(1.0 1.1 1.2 1.3 1.4 1.4-1 1.5 1.6)

extdir=$(pg_sharedir)/extension
control=$extdir/pg_cron.control

real_pg_cron() {
  local file
  for file in "$(pg_pkglibdir)/pg_cron.so" "$(pg_pkglibdir)/pg_cron.dylib"; do
    if [ -e "$file" ]; then
      echo "$file"
      return
    fi
  done
  if [ -e "$control" ] && ! grep -qxF "$MARK" "$control"; then
    echo "$control"
  fi
}

refuse_beside_real() {
  local file
  file=$(real_pg_cron)
  [ -z "$file" ] || die "the real pg_cron is installed here ($file): remove it first (Debian: apt-get remove postgresql-$(pg_major)-cron), then run this again"
}

put() { as_root_if_needed install -m 644 /dev/stdin "$1"; }

as_root_if_needed() {
  if [ -w "$extdir" ]; then "$@"; else as_root "$@"; fi
}

install_alias() {
  local version previous=''
  refuse_beside_real
  [ -e "$extdir/pg_tock.control" ] || die "pg_tock itself is not installed: make install first"
  put "$control" <<CONTROL
$MARK
comment = 'alias: pg_cron''s surface, provided by pg_tock'
default_version = '${VERSIONS[-1]}'
relocatable = false
schema = pg_catalog
requires = 'pg_tock'
superuser = true
CONTROL
  for version in "${VERSIONS[@]}"; do
    put "$extdir/pg_cron--$version.sql" <<'SQL'
-- Nothing to create: schema cron and all in it belong to extension pg_tock, which this one requires.
SQL
    if [ -n "$previous" ]; then
      put "$extdir/pg_cron--$previous--$version.sql" <<'SQL'
-- Nothing to change: see the installation script.
SQL
    fi
    previous=$version
  done
  say "CREATE EXTENSION pg_cron now means pg_tock on $("$PG_CONFIG" --version)"
}

remove_alias() {
  if [ -e "$control" ] && grep -qxF "$MARK" "$control"; then
    as_root_if_needed rm -f "$control" "$extdir"/pg_cron--*.sql
    say "the alias is gone"
  else
    note "there is no alias of ours in $extdir"
  fi
}

case "${1:-}" in
  install) install_alias ;;
  remove) remove_alias ;;
  *) die "usage: ci/install-alias.sh install|remove" ;;
esac
