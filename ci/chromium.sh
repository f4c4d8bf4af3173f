#!/usr/bin/env bash
# Prints where a Chromium is: the machine's own, or Debian's package, which is installed if it is missing.
# Fails where there is neither.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

for name in chromium chromium-browser google-chrome; do
  if command -v "$name"; then exit 0; fi
done
command -v apt-get >/dev/null || die "no browser, and no apt-get to get one with"
say "installing Debian's chromium: the report is looked at in it" >&2
{
  wait=(-o DPkg::Lock::Timeout=300)
  as_root apt-get -q update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get "${wait[@]}" -q install -y --no-install-recommends chromium
} >&2
command -v chromium
