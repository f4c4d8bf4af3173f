# The commands of pg_tock. Each is one script, so that everything CI does can be run by hand.
# PG_CONFIG chooses the server: make test PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config

SHELL := /bin/bash
ifdef PG_CONFIG
export PG_CONFIG
endif
export KEEP
ifdef DURATION
export DURATION
endif
ifdef SEED
export SEED
endif

.PHONY: help setup install install-alias uninstall-alias demo test chaos psql bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: server, headers, clang, cargo-pgrx
	@ci/setup.sh

install: setup ## build the extension and install it into the server of PG_CONFIG
	@ci/install.sh

install-alias: setup ## let CREATE EXTENSION pg_cron mean pg_tock (refuses beside the real pg_cron)
	@ci/install-alias.sh install

uninstall-alias: setup ## take that alias away
	@ci/install-alias.sh remove

demo: install ## jobs of a real app, sped up, on a throw-away cluster (KEEP=1 leaves it running)
	@demo/run.sh

test: install ## every test layer; ends with "N passed, N failed"
	@ci/test.sh

chaos: install ## jobs of every kind while all around them breaks (DURATION=30m, SEED=n)
	@ci/chaos.sh

psql: install ## psql on a throw-away cluster with pg_tock, gone when you leave
	@ci/psql.sh

bench: install ## measure, side by side with Debian's pg_cron
	@bench/run.sh

lint: setup ## formatting, clippy, dependency policy, no sleeping in tests
	@ci/lint.sh

clean: ## stop and remove the throw-away clusters and the build
	@ci/clean.sh
