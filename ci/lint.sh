#!/usr/bin/env bash
# Everything about the source that can be checked without running it.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"

# Tests wait for a condition with a deadline (Cluster::poll_until), never for time to pass. The
# allow-list is the polling helper itself, and the scheduler's rest before something is due.
sleeping_in_tests() {
  git ls-files -z -- 'pg_test/*.rs' 'crates/*/tests/*.rs' 'crates/*/src/*.rs' 'src/*.rs' |
    xargs -0 -r grep -nE '\b(thread|time)::sleep\b|\bpark_timeout\b' |
    grep -vE '^(pg_test/support/src/poll|src/worker/scheduler/rest)\.rs:' || true
}

say "formatting"
cargo fmt --all -- --check
# A workspace of its own, which only a nightly compiler builds; its bodies are linted as a test of crates/core.
cargo fmt --manifest-path fuzz/Cargo.toml -- --check

say "sleeping in tests and sources"
found=$(sleeping_in_tests)
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  die "wait for a condition with poll_until instead"
fi

# A database in another encoding than UTF-8 has to read the install script too.
say "install scripts in ASCII"
if git ls-files -z -- 'sql/*.sql' pg_tock.control | xargs -0 grep -nP '[^\x00-\x7F]'; then
  die "write these characters in ASCII"
fi

if command -v shellcheck >/dev/null; then
  say "shellcheck"
  git ls-files -z -- 'ci/*.sh' 'demo/*.sh' 'bench/*.sh' .ci/run | xargs -0 shellcheck -x -S warning
else
  note "shellcheck is not installed: skipped"
fi

say "clippy"
mapfile -t features < <(cargo_features)
cargo clippy --locked --package pg_tock "${features[@]}" --all-targets -- -D warnings
cargo clippy --locked --workspace --exclude pg_tock --all-targets -- -D warnings

if command -v cargo-deny >/dev/null; then
  say "dependency policy"
  cargo deny --locked check bans licenses sources
  # The advisories live on GitHub, which not every machine reaches.
  if cargo deny --locked fetch db >/dev/null 2>&1; then
    cargo deny --locked check advisories
  else
    note "the advisory database cannot be fetched: advisories not checked"
  fi
else
  note "cargo-deny is not installed (cargo install cargo-deny, about six minutes): skipped"
fi
