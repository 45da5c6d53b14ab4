# make draw PROMPT="a red fox"   a picture from words; makes the environment when there is none
# make test                      all tests, with coverage
# make check                     style, types, imports
# make fmt                       format the code
# make docs                      write docs/cli.md and docs/checkpoints.md from the program itself

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
WORKERS ?= 2
ARGS ?=

# The words as they were typed, whatever signs are in them; they reach the shell as a variable, never as code.
PROMPT ?= a red fox
override PROMPT := $(value PROMPT)
export PROMPT

.DEFAULT_GOAL := help
.PHONY: help draw test check fmt docs clean

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

draw: $(VENV)/core
	@$(BIN)/limner draw --out pictures/ $(ARGS) -- "$$PROMPT"

test: $(VENV)/dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --cov --cov-report=term:skip-covered --cov-fail-under=90 $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/core
	$(BIN)/python -m limner.cli.reference > docs/cli.md
	$(BIN)/python -m limner.cli.checkpoints > docs/checkpoints.md

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

# A stamp is written last, so that an installation that was interrupted is begun again.
$(VENV)/core: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing limner into $(VENV) (once; torch is large)" >&2
	$(PIP) -e .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing limner and its tools into $(VENV) (once)" >&2
	$(PIP) -e ".[dev]"
	@touch $(VENV)/core $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "limner needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
