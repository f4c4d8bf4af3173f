#!/usr/bin/env bash
# Makes a private copy of the server of PG_CONFIG with Debian's pg_cron package unpacked into it, and
# prints the copy's bin directory. A Debian server finds its files relative to its own place, so the
# copy is complete, and neither needs nor changes what is installed: pg_cron can be measured and
# migrated from without being installed on the machine.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"

major=$(pg_major)
tree=$STATE/pg-tree-$major
[ "$(pg_bindir)" = "/usr/lib/postgresql/$major/bin" ] ||
  die "only Debian's own server packages can be copied, not $(pg_bindir)"

# unpack_pg_cron: from the package archive, without installing it.
unpack_pg_cron() {
  local package=postgresql-$major-cron
  (
    cd "$tree"
    apt-get download -q "$package" >&2
    dpkg-deb -x "$package"_*.deb .
    rm -f "$package"_*.deb
  )
}

state_dir
rm -rf "$tree"
mkdir -p "$tree/usr/lib/postgresql/$major" "$tree/usr/share/postgresql"
cp -a "/usr/lib/postgresql/$major/bin" "/usr/lib/postgresql/$major/lib" "$tree/usr/lib/postgresql/$major/"
cp -a "/usr/share/postgresql/$major" "$tree/usr/share/postgresql/"
if [ ! -e "$tree/usr/lib/postgresql/$major/lib/pg_cron.so" ]; then unpack_pg_cron; fi
echo "$tree/usr/lib/postgresql/$major/bin"
