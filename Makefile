# The front door. `make demo` and `make test` work on a fresh machine: Linux x86-64, Python 3.11+.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
ENGINE ?= embedded
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: setup demo test faults mutants fuzz check lint types imports sizes docs tables bench bench-cometbft clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml uv.lock
	@echo "setting up $(VENV) (locked dependencies)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --active --inexact --compile-bytecode
	@$(BIN)/python -m compileall -q src
	@touch $@

# ENGINE=cometbft: four validators on CometBFT, which Go builds once.
demo: setup
	@keephold demo --engine $(ENGINE)

test: setup
	@pytest -n auto --dist loadscope -m "not faults"

# What goes wrong on real CometBFT, which Go builds once: a quarter of an hour, told test by test.
faults: setup
	@pytest -v --durations=0 -n 2 --dist loadscope -m "comet or faults" tests

# Deletes the checks that docs/threat-model.md lists, one at a time, in a copy: ten minutes.
mutants: setup
	@python tools/mutants.py

# Coverage-guided inputs for every parser of bytes from outside, SECONDS_EACH for each.
fuzz: setup
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) uv sync --quiet --frozen --active --inexact --group fuzz
	@python tools/fuzz/campaign.py --seconds $(or $(SECONDS_EACH),20)

check: setup lint types imports sizes docs

lint: setup
	@ruff check . && ruff format --check .

types: setup
	@mypy

imports: setup
	@lint-imports

sizes: setup
	@python tools/check_sizes.py

# The site, into site/: strict, so that a link or anchor that leads nowhere fails, as does anything fetched from elsewhere.
docs: setup
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv sync --quiet --frozen --active --inexact --group docs
	@zensical build --strict --clean
	@python tools/check_site.py site

# Writes anew what docs/ takes from the code: tables, reference pages, vectors. A test fails while they are stale.
tables: setup
	@PYTHONPATH=tools python -m reference
	@PYTHONPATH=tools python -m vectors

bench: setup
	@python benchmarks/run.py

# One validator and four on real CometBFT, each beside CometBFT's own kvstore; networks of up to sixteen validators; what
# grows with what; then docs/scaling.md from it: ten minutes. PARTS="inbox validators" measures these alone.
bench-cometbft: setup
	@python benchmarks/scaling.py $(PARTS)
	@PYTHONPATH=tools python -m reference

clean:
	rm -rf $(VENV) build dist site bench-results
