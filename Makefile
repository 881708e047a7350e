# Commands of a contributor; .ci/run, .ci/nightly and .github/workflows run the same ones.
# They use .venv; for another environment: make check BIN=/path/to/bin
PYTHON ?= python3
BIN ?= .venv/bin
PIP_OPTIONS ?= -c constraints.txt
export PATH := $(abspath $(BIN)):$(PATH)

STUDY ?= results/all

.PHONY: setup check test coverage nightly docs bench screenshot

setup:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) -e '.[dev]'

check: docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test:
	$(BIN)/python -m pytest

coverage: # the same tests; branch coverage below the floors is an error
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/coverage report --include='stockrnn/*' --fail-under=95
	$(BIN)/coverage report --include='search/*' --fail-under=92

nightly:
	$(BIN)/python -m pytest -m nightly

docs: # dead links and anchors are errors; --quiet would hide them
	$(BIN)/mkdocs build --strict

bench:
	$(BIN)/python -m benchmarks

screenshot: # of the report of a study, for the READMEs; needs Chromium
	$(BIN)/python -m benchmarks.screenshot $(STUDY)
