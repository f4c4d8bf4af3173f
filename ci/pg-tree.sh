#!/usr/bin/env bash
# pg_cron | alias: makes a private copy of the server of PG_CONFIG, with pg_tock as it is installed
# now, and prints the copy's bin directory.
#
#   pg_cron   with Debian's pg_cron package unpacked into it
#   alias     without pg_cron, but with `make install-alias` done
#
# A Debian server finds its files relative to its own place, so the copy is complete, and neither needs
# nor changes what is installed: pg_cron can be measured and migrated from without being installed on
# the machine, and the alias can be tried on a machine that has pg_cron.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"

kind=${1:-}
major=$(pg_major)
tree=$STATE/pg-tree-$major-$kind
bindir=$tree/usr/lib/postgresql/$major/bin
libdir=$tree/usr/lib/postgresql/$major/lib
extdir=$tree/usr/share/postgresql/$major/extension

copy_server() {
  [ "$(pg_bindir)" = "/usr/lib/postgresql/$major/bin" ] ||
    die "only Debian's own server packages can be copied, not $(pg_bindir)"
  state_dir
  rm -rf "$tree"
  mkdir -p "${bindir%/*}" "${extdir%/*/*}"
  cp -a "/usr/lib/postgresql/$major/bin" "/usr/lib/postgresql/$major/lib" "${bindir%/*}/"
  cp -a "/usr/share/postgresql/$major" "${extdir%/*/*}/"
}

# add_pg_cron: from the package archive, without installing it.
add_pg_cron() {
  local package=postgresql-$major-cron
  if [ -e "$libdir/pg_cron.so" ]; then return; fi
  (
    cd "$tree"
    apt-get download -q "$package" >&2
    dpkg-deb -x "$package"_*.deb .
    rm -f "$package"_*.deb
  )
}

add_alias() {
  rm -f "$libdir"/pg_cron.so "$extdir"/pg_cron*
  PG_CONFIG=$bindir/pg_config "$ROOT/ci/install-alias.sh" install >&2
}

case "$kind" in
  pg_cron) copy_server && add_pg_cron ;;
  alias) copy_server && add_alias ;;
  *) die "usage: ci/pg-tree.sh pg_cron|alias" ;;
esac
echo "$bindir"
