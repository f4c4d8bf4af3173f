#!/usr/bin/env bash
# Test layer "core": the pure crate and the HTTP client, without a Postgres server.
set -euo pipefail
# shellcheck source=ci/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
exec cargo test --locked -p pg_tock_core -p pg_tock_http
