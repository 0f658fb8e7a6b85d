# One command each. Everything runs in .venv, which the first target that needs it makes.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FAULT ?= slow-query
ONCE ?=
BENCH ?= live

.DEFAULT_GOAL := help
.PHONY: help install demo run test bounds style format types imports bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make .venv with the versions that were tested

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@echo "compiling the kernels (once)"
	@$(BIN)/python -m actors.warm
	@touch $@

demo: install ## the layer and a shop with a fault: FAULT=<name>, ONCE=1 to leave at the end
	@$(BIN)/python -m demo --fault $(FAULT) $(if $(ONCE),--once)

run: install ## the layer alone
	@$(BIN)/kubechat-obs up

test: install ## every test
	@$(BIN)/python -m pytest tests --ignore=tests/integration -n 2
	@$(BIN)/python -m pytest tests/integration

bounds: install ## the tests without servers again, with kernels that check every index
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/.bounds_cache $(BIN)/python -m pytest tests --ignore=tests/integration -n 2 --timeout 300

style: install ## ruff: lint and format check
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: install ## ruff: mend what can be mended
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: install ## mypy, strict
	@$(BIN)/mypy

imports: install ## the layers of docs/architecture.md
	@$(BIN)/lint-imports

bench: install ## a benchmark of tests/benchmarks: BENCH=live ARGS="--seconds 25"
	@$(BIN)/python -m tests.benchmarks.$(BENCH) $(ARGS)

clean: ## remove the venv, caches and the demo's data
	@rm -rf $(VENV) .demo .bounds_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
