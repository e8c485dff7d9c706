# Developer commands; `make help` lists them. Continuous integration runs the same.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Measured in the tests' own process; what a Lambda worker executes does not count.
CONTRACT_FLOOR := 85
EXPORTER_FLOOR := 85

# PIP_CONSTRAINT and friends of a developer's shell must not steer the lock files.
COMPILE := env CUSTOM_COMPILE_COMMAND="make lock" PIP_CONFIG_FILE=/dev/null \
	PIP_FIND_LINKS= PIP_CONSTRAINT= $(BIN)/pip-compile --no-config --quiet \
	--generate-hashes --allow-unsafe --strip-extras --no-annotate \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup prerequisites demo test nightly unit check format bundle golden bench mutants lock upgrade clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the pinned packages and the aurora-sync command

prerequisites:
	@command -v $(PYTHON) >/dev/null && command -v curl >/dev/null \
	  && $(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup needs Python 3.11 or newer with venv, and curl; on Debian or Ubuntu:" \
	       "apt-get install curl python3 python3-venv (another Python: make PYTHON=...)" >&2; exit 2; }

# --no-deps: the lock is complete and `pip check` holds it so. Left to resolve, an older
# pip asks for the newest release of a package that is named with an extra ("coverage[toml]")
# and then refuses it, so every release of one would break the set-up.
$(READY): pyproject.toml requirements/all.txt | prerequisites
	@test -x $(BIN)/python || { echo "==> creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "==> installing the pinned packages (1.4 GB, about two minutes the first time)"
	@total=$$(grep -c == requirements/all.txt); \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
	    --no-deps --require-hashes --requirement requirements/all.txt \
	  | awk -v total="$$total" '/^Collecting/ && ++n % 25 == 0 \
	      { print "    fetched " n " of " total; fflush() } \
	      /^Installing/ { print "    unpacking"; fflush() }'
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@
	@echo "==> ready: $(BIN)/aurora-sync"

demo: setup ## Show a sample shop on its way to Snowflake; KEEP=1 leaves it up
	$(BIN)/aurora-sync demo $(if $(KEEP),--keep)

test: setup ## Run every test, unit tests first, then hold the coverage floors
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	  --cov --cov-report=
	$(BIN)/coverage report --include 'runtime/contract/*' --fail-under $(CONTRACT_FLOOR)
	$(BIN)/coverage report --include 'runtime/exporter/*' --fail-under $(EXPORTER_FLOOR)

nightly: setup ## Run 20000 values of each type (TYPES="--seed 5000") and 2000 scenarios of faults (NIGHTLY=…)
	$(BIN)/python -m tests.types $(TYPES)
	$(BIN)/python -m tests.faults $(NIGHTLY)

unit: setup ## Run the fast tests only
	$(BIN)/python -m pytest -m "not integration and not slow"

check: setup ## Check format, style, types, imports, generated files, vulnerabilities, secrets
	$(BIN)/black --check --quiet . || { echo "black: run make format" >&2; exit 1; }
	$(BIN)/flake8
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.golden.render --check
	$(BIN)/python -m tests.supply.audit
	$(BIN)/gitleaks git --no-banner --redact --log-level warn .

format: setup ## Rewrite the code in black's format
	$(BIN)/black --quiet .

bundle: setup ## Build the Lambda function's zip
	$(BIN)/python -m infra.bundle

golden: setup ## Rewrite the generated files that make check compares
	$(BIN)/python -m tests.golden.render

bench: setup ## Measure everything beside dlt, Sling and ingestr (BENCH="--rows N")
	$(BIN)/python -m tests.benchmarks $(BENCH)

mutants: setup ## Break each rule of the protocol and see that a test notices
	$(BIN)/python -m tests.mutants --page docs/MUTANTS.md $(MUTANTS)

lock: setup ## Recompile requirements/*.txt after a change of pyproject.toml
	$(COMPILE) --all-extras --output-file requirements/all.txt pyproject.toml
	$(COMPILE) --extra runtime --constraint requirements/all.txt \
	  --output-file requirements/lambda.txt pyproject.toml

upgrade: setup ## Move every pin to its newest allowed release
	$(COMPILE) --upgrade --all-extras --output-file requirements/all.txt pyproject.toml
	$(MAKE) lock

clean: ## Remove the environment, builds and caches (not the local stack)
	rm -rf .venv build dist *.egg-info .coverage .coverage.* .hypothesis \
	  .import_linter_cache .mypy_cache .pytest_cache
	find infra runtime tests -name __pycache__ -type d -prune -exec rm -rf {} +
