# `make` lists the targets. Each one sets up what it needs: a fresh machine wants only Python >= 3.11 and make.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
RUNTIME := $(if $(wildcard runtime/pyproject.toml),-e ./runtime)
PYTEST_ARGS ?=
BENCH_ARGS ?=
EXAMPLES ?= 2000
SEED ?=
CONFORMANCE_ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup demo test lint types bench fuzz conformance golden-update docs docs-check clean

help: ## list the targets (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with edgec, the runtime and the developer tools in it

$(STAMP): pyproject.toml $(wildcard runtime/pyproject.toml)
	@python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh) || exit 1; \
	echo "setting up $(VENV) with $$python (a minute or two the first time)"; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet -e '.[dev]' $(RUNTIME)
	@touch $@

demo: setup ## compile the sample model for rpi4 in int8, check it, benchmark it with the runtime wheel
	@sh tools/demo.sh

test: setup ## run the tests; PYTEST_ARGS="-k name" for some of them
	@$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && echo "lint: clean"

types: setup ## pyright
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: setup ## compile time and memory; BENCH_ARGS="--model PATH --calibration PATH" for other models
	@$(BIN)/python tools/bench_compile.py $(BENCH_ARGS)

conformance: setup ## the ONNX backend tests, per operator; CONFORMANCE_ARGS="--only Resize -v" for some
	@$(BIN)/python tools/conformance.py $(CONFORMANCE_ARGS)

fuzz: setup ## random models against onnxruntime; EXAMPLES=5000 SEED=1 for more and other ones
	@$(BIN)/python -m tools.fuzz --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED))
	@$(BIN)/python -m tools.fuzz --kind int8 --examples $(EXAMPLES) $(if $(SEED),--seed $(SEED))

golden-update: setup ## rewrite the golden files from what the code does now; review the diff
	@$(BIN)/python -m pytest -n auto --golden-update $(PYTEST_ARGS)

docs: setup ## write the generated pages and tables
	@$(BIN)/python tools/generate_docs.py

docs-check: setup ## fail when a generated page is out of date
	@$(BIN)/python tools/generate_docs.py --check

clean: ## remove the environment, the demo's output and every cache
	@rm -rf $(VENV) demo build dist runtime/build runtime/dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
