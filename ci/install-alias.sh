#!/usr/bin/env bash
# install | remove: the stand-in extension of sql/alias, named pg_cron, that is nothing but "pg_tock,
# please", so that old migrations and dumps that say CREATE EXTENSION pg_cron work. Refuses while the
# real pg_cron's files are there.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

alias=$ROOT/sql/alias
extdir=$(pg_sharedir)/extension
control=$extdir/pg_cron.control

ours() { [ -e "$control" ] && grep -qxF "requires = 'pg_tock'" "$control"; }

# real_pg_cron: a file of the real one, if there is any.
real_pg_cron() {
  local file
  for file in "$(pg_pkglibdir)"/pg_cron.{so,dylib}; do
    if [ -e "$file" ]; then
      echo "$file"
      return
    fi
  done
  if [ -e "$control" ] && ! ours; then echo "$control"; fi
}

with_rights() {
  if [ -w "$extdir" ]; then "$@"; else as_root "$@"; fi
}

install_alias() {
  local file
  file=$(real_pg_cron)
  [ -z "$file" ] || die "the real pg_cron is installed here ($file): remove it first (Debian: apt-get remove postgresql-$(pg_major)-cron), then run this again"
  [ -e "$extdir/pg_tock.control" ] || die "pg_tock itself is not installed: make install first"
  with_rights install -m 644 "$alias"/pg_cron.control "$alias"/pg_cron--*.sql "$extdir"
  say "CREATE EXTENSION pg_cron now means pg_tock on $("$PG_CONFIG" --version)"
}

remove_alias() {
  local file
  ours || {
    note "there is no alias of ours in $extdir"
    return
  }
  for file in "$alias"/pg_cron*; do with_rights rm -f "$extdir/${file##*/}"; done
  say "the alias is gone"
}

case "${1:-}" in
  install) install_alias ;;
  remove) remove_alias ;;
  *) die "usage: ci/install-alias.sh install|remove" ;;
esac
