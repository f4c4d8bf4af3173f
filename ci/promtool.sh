#!/usr/bin/env bash
# Prints where promtool is: the machine's own, or one unpacked from Debian's package, which is not
# installed, as Debian 12's would start a server. Fails where there is neither.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=ci/cluster.sh
source "$ROOT/ci/cluster.sh"

if command -v promtool; then exit 0; fi
promtool=$STATE/promtool/promtool
if [ ! -x "$promtool" ]; then
  command -v apt-get >/dev/null || die "no promtool, and no apt-get to get it with"
  # Up to Debian 12 it is in the server's package.
  package=promtool
  [ -n "$(apt-cache madison promtool 2>/dev/null)" ] || package=prometheus
  state_dir
  rm -rf "$STATE/promtool"
  mkdir -p "$STATE/promtool/unpacked"
  (
    cd "$STATE/promtool"
    apt-get download -q "$package" >&2
    dpkg-deb -x "$package"_*.deb unpacked
    mv unpacked/usr/bin/promtool promtool
    rm -rf unpacked "$package"_*.deb
  )
fi
echo "$promtool"
