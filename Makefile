# `make` alone lists the commands. Each of them makes the virtual environment where it is missing.
VENV ?= .venv
PYTHON ?=
WORKERS ?= auto
ARGS ?=

IN_VENV := "$(VENV)/bin/python" -m
INSTALL := VENV="$(VENV)" PYTHON="$(PYTHON)" sh scripts/venv.sh
PYTEST := OMP_NUM_THREADS=1 $(IN_VENV) pytest --numprocesses $(WORKERS) --maxprocesses 8
BENCHMARKS := $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow test-deploy lint format types bench docs docs-serve clean venv project tools

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=python3.12  the interpreter for a new environment    VENV=folder  the environment ($(VENV))'
	@echo '  WORKERS=2          test processes ($(WORKERS))                     ARGS="-k x"  more words for pytest'

demo: project ## Compare NGPD with DSGD on 8 nodes in a ring, on the digits data set
	@"$(VENV)/bin/ngpd-fl" demo

test: lint types ## Check style and types, then run the tests, without the slow ones
	$(PYTEST) -m "not slow and not deploy" $(ARGS)

test-slow: lint types ## The same with the slow tests
	$(PYTEST) -m "not deploy" $(ARGS)

test-deploy: tools ## Test a deployment on this machine: TLS, four SuperNodes, one killed; takes minutes
	$(IN_VENV) pytest -m deploy $(ARGS) tests/ngpd_fl/deploy

lint: tools ## Check the style (ruff)
	@$(IN_VENV) ruff check .
	@$(IN_VENV) ruff format --check .

format: tools ## Put the code into the style, as far as ruff can
	@$(IN_VENV) ruff check --fix-only .
	@$(IN_VENV) ruff format .

types: tools ## Check the types (mypy, strict)
	@$(IN_VENV) mypy

bench: tools ## Run each script in benchmarks/
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(IN_VENV) $$(echo "$${script%.py}" | tr / .); done

docs: tools ## Check the documentation's links and build its pages, galleries included, into site/
	@$(IN_VENV) pytest --quiet tests/test_packaging.py -k links
	@"$(VENV)/bin/python" scripts/build_site.py
	@echo 'Built: open site/index.html, or, to search as well, `make docs-serve`'

docs-serve: docs ## The same, and serve it on http://127.0.0.1:8000
	@$(IN_VENV) http.server --bind 127.0.0.1 --directory site 8000

clean: ## Remove caches and what a build left (not the environment, not runs/)
	@rm -rf build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find ngpd_fl strategies topologies tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

venv: tools ## Make the virtual environment, with all that tests need

# What the commands above stand on: the environment with the project, and with its test tools.
project:
	@$(INSTALL)

tools:
	@$(INSTALL) test
