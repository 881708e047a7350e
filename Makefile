# Commands of a contributor; .ci/run, .ci/nightly and .github/workflows run the same ones.
# They use .venv; for another environment: make check BIN=/path/to/bin
PYTHON ?= python3
BIN ?= .venv/bin
PIP_OPTIONS ?= -c constraints.txt
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: setup check test nightly docs bench

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
	$(BIN)/python -m pytest -n 2 --dist loadfile

nightly: # the attacks of tests/faults with about ten times their usual counts
	STOCKRNN_KILLS=20 STOCKRNN_SLEEPERS=10 STOCKRNN_EXAMPLES=2000 STOCKRNN_TRIALS=2000 STOCKRNN_FLIPS=1500 \
	$(BIN)/python -m pytest tests/faults

docs: # dead links and anchors are errors; --quiet would hide them
	$(BIN)/mkdocs build --strict

bench:
	$(BIN)/python -m benchmarks
