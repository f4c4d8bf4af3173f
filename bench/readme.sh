#!/usr/bin/env bash
# Puts the table of the last `make bench` (target/bench.md, or the file named) in the place of the one between
# the marks in README.md, with the line above it that says what was measured on. The words around it are left:
# read them again.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/../ci/env.sh"
cd "$ROOT"

table=${1:-target/bench.md}
made=$(mktemp)
trap 'rm -f "$made"' EXIT
awk -v table="$table" '
  /^<!-- bench -->$/ { inside = 1 }
  /^<!-- \/bench -->$/ { inside = 0 }
  # An earlier one of these lines; the empty line behind it goes as well.
  inside && !done && /^Measured on [0-9]/ { passing = 1; next }
  passing && /^$/ { passing = 0; next }
  { passing = 0 }
  inside && !done && /^\| figure \|/ {
    while ((getline line < table) > 0) print line
    done = replacing = 1
  }
  replacing && /^\|/ { next }
  { replacing = 0; print }
  END { if (!done) exit 1 }
' README.md >"$made" || die "README.md has no table of figures"
cat "$made" >README.md
