# Works on a bare Debian 12 or later: needs make, python3 and, for what is not installed yet, root or sudo.
PYTHON ?= python3
BIN := .venv/bin

# Daemons start in the tests again and again: they should not compile themselves each time.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help up test types suite servers chaos sim-power bench
.DEFAULT_GOAL := help

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

up: .venv/up  ## install gpuwarden into .venv and run all of it here, in one process
	$(BIN)/gpuwarden up

test: .venv/dev servers  ## install the servers and tools that the suite needs, then lint, type check and test everything
	$(BIN)/ruff check
	$(BIN)/buf lint
	@$(MAKE) --no-print-directory -j2 types suite  # types first: what is wrong there is said while the suite runs

types: .venv/dev  ## type check everything
	$(BIN)/mypy

suite: .venv/dev servers  ## all tests and nothing else
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder  # on two cores: half of it waits for leases and servers; tests/conftest.py orders it

servers:  ## install what the tests talk to: Debian packages, Apache Kafka, and, where Go and cargo are, InfluxDB and the Kubernetes API server
	@$(PYTHON) tests/services/install.py

chaos: .venv/dev servers  ## do to a row what an operator may fear, some 12 minutes long, and print a table
	$(BIN)/python bench/chaos

sim-power: .venv/up  ## random power trees under faults in virtual time: 200 h at 10 Hz, 2,000 h at 1 Hz; days on two cores
	$(BIN)/python -m gpuwarden.sim.safety

BENCHES = sizing sensor ingest agent controller power latency soak

bench: .venv/dev servers  ## measure speed, cost and endurance, some two hours long
	@for name in $(BENCHES); do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || failed="$$failed $$name"; done; test -z "$$failed" || { echo "short of what is asked:$$failed"; exit 1; }

# uv takes a quarter of pip's time, but reads none of pip's settings: where it finds no index, pip may.
install = $(BIN)/uv pip install -q --python $(BIN)/python -e $(1) || $(BIN)/pip install -q -e $(1)

.venv/up: pyproject.toml | $(BIN)/uv
	$(call install,'.[up]')
	@touch $@

.venv/dev: pyproject.toml | $(BIN)/uv
	$(call install,'.[dev]')
	@touch .venv/up $@

$(BIN)/uv:
	@$(PYTHON) tests/services/install.py venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q uv
