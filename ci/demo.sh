#!/usr/bin/env bash
# Test layer "demo": what a new user runs first does what it says, and ends with the path of the report.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"

said=$(mktemp)
trap 'rm -f "$said"' EXIT
demo/run.sh 2>&1 | tee "$said"
echo "ok: the demo"

last=$(tail -n 1 "$said")
report=$(grep -o '/[^ ]*\.html' <<<"$last" || true)
if [ -z "$report" ] || ! grep -q '</html>' "$report"; then
  echo "not ok 2 the demo does not end with the path of its report: $last"
  exit 1
fi
echo "ok: the demo ends with the path of its report"
