# Everything a fresh clone needs. State lives in .fineface/ (or $FINEFACE_HOME), the environment in .venv/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
comma := ,
PROFILE ?= miniature
# Extras of pyproject.toml, such as dev,ray.
EXTRAS ?= dev
# What `make test` runs beside the rest: about half of the time.
HALF ?= tests/unit/inference tests/unit/miniature tests/unit/store tests/unit/training tests/faults
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: help environment run test ui lint audit clean pins

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

environment: $(STAMP)  ## create or update .venv

$(STAMP): pyproject.toml constraints.txt
	@echo "installing the environment into $(VENV) (about a minute)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq torch==2.13.0
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $(STAMP)

run: $(STAMP)  ## materialise the whole graph and print the results (PROFILE=miniature)
	$(BIN)/fineface run --profile $(PROFILE)

test: $(STAMP)  ## style and every test, the floor plan's among them, in two halves at once
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	told=$$(mktemp); failed=0; \
	$(BIN)/python -m pytest $(HALF) > $$told 2>&1 & half=$$!; \
	$(BIN)/python -m pytest $(HALF:%=--ignore=%) || failed=$$?; \
	wait $$half || failed=$$?; \
	cat $$told; rm $$told; exit $$failed

ui: $(STAMP)  ## Dagster UI on http://127.0.0.1:3000
	$(BIN)/fineface ui --profile $(PROFILE)

lint: $(STAMP)  ## style, the floor plan, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports
	$(BIN)/mypy

# In an environment of its own: what audits is no part of what is audited. --strict: a package that could not be
# looked up is a failure, so no database that is out of reach passes for "nothing known".
audit: $(VENV)-audit/bin/pip-audit  ## known vulnerabilities of the pinned packages, into audit.json (asks pypi.org)
	$< --strict --no-deps --disable-pip --requirement constraints.txt --format json --output audit.json
	@for pins in inference/environments/*.txt; do \
	  $< --no-deps --disable-pip --requirement $$pins --progress-spinner off || echo "^ in $$pins: known, see docs/security.md"; \
	done

$(VENV)-audit/bin/pip-audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install -qq pip-audit==2.10.1

clean:  ## remove the environment and caches; data and results stay
	rm -rf $(VENV) $(VENV)-audit audit.json .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache *.egg-info build

pins: $(STAMP)  ## rewrite constraints.txt from .venv 
	$(BIN)/pip freeze --exclude-editable | sed -E 's/\+cpu$$//' | grep -vE ' @ |^-e|^##|^fineface' > constraints.txt
	touch $(STAMP)
