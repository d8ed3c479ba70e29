.PHONY: help install demo test test-system check format golden bench build
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell command -v python3.11 python3 2>/dev/null) python3)
BIN := .venv/bin
BENCHMARKS := startup data_prepare trainer_overhead engines published published_memory seeds search \
	sweeps any_recipe status why faults

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

install: .venv/installed  ## Make .venv with everything that is needed
	@:

# A second run does nothing until the lock or the project's metadata changes.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo >&2 'llmtrain needs Python 3.11 or newer: make PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo >&2 'This Python cannot make virtual environments: apt install python3-venv'; exit 1; }
	@echo 'Making the virtual environment .venv'
	@$(PYTHON) -m venv .venv
	@echo 'Installing the locked packages, PyTorch among them (1.3 GB on disk, about a minute)'
	@DS_BUILD_OPS=0 $(BIN)/pip install -qq --use-pep517 -r requirements.lock
	@$(BIN)/pip install -qq --no-build-isolation --no-deps -e .
	@touch $@

demo: install  ## Train gpt-tiny on this machine, two processes
	@echo 'Training gpt-tiny: llmtrain run recipe=gpt-tiny'
	@$(BIN)/llmtrain run recipe=gpt-tiny

test: install  ## Run the tests that pip alone can serve
	$(BIN)/pytest -n auto --dist loadscope --no-loadscope-reorder \
		--ignore tests/system --ignore tests/packaging

test-system: install  ## Run the tests that need a Slurm: installs Debian's, as root
	tests/slurm/install.sh
	$(BIN)/pytest tests/system --durations 15

check: install  ## Check style, types, import direction and the wheel
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest tests/packaging

format: install  ## Rewrite the code in the house style
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

golden: install  ## Write tests/golden and the generated pages of docs/ anew
	REGENERATE=1 $(BIN)/pytest -q tests/launchers/test_golden.py tests/launchers/schedulers/test_slurm.py
	$(BIN)/python docs/keys.py
	$(BIN)/python docs/backends.py

bench: install  ## Measure start-up, trainer, data, search and accuracy; plan 10 300 random recipes; faults
	$(foreach name,$(BENCHMARKS),$(BIN)/python -m benchmarks.$(name) &&) true

build: install  ## Build the sdist and the wheel into dist/
	$(BIN)/python -m build --no-isolation
