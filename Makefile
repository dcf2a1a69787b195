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
# one tested version, so that runs compare; PIP_EXTRA_INDEX_URL may name an index with a build without GPU libraries
TORCH ?= 2.13.0

# the tests are parallel: a thread per core in each of them would make them wait for each other
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: help setup demo test test-extras lint types bench fuzz conformance golden-update docs docs-check clean

help: ## list the targets (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv with edgec, the runtime and the developer tools in it

$(STAMP): REQUIREMENTS := -e '.[dev]'
# TensorFlow and PyTorch are large and agree on few versions of what both need: each has its own environment
.venv-keras/.set-up: REQUIREMENTS := -e '.[dev,keras,examples]'
.venv-torch/.set-up: REQUIREMENTS := torch==$(TORCH) -e '.[dev,torch,examples]'

$(STAMP) .venv-keras/.set-up .venv-torch/.set-up: pyproject.toml $(wildcard runtime/pyproject.toml)
	@python=$$(PYTHON="$(PYTHON)" sh tools/find_python.sh) || exit 1; \
	echo "setting up $(@D) with $$python (a minute or two the first time)"; \
	$(@D)/bin/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --upgrade pip
	@$(@D)/bin/python -m pip install --quiet $(REQUIREMENTS) $(RUNTIME)
	@touch $@

demo: setup ## compile the sample model for rpi4 in int8, check it, benchmark it with the runtime wheel
	@sh tools/demo.sh

test: setup ## run the tests; PYTEST_ARGS="-k name" for some of them
	@$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-extras: .venv-keras/.set-up .venv-torch/.set-up ## run docs/examples and the tests that need TensorFlow or PyTorch
	@$(ONE_THREAD) .venv-keras/bin/python -m pytest -n auto tests/frontends/keras tests/examples $(PYTEST_ARGS)
	@$(ONE_THREAD) .venv-torch/bin/python -m pytest -n auto tests/frontends/torch tests/examples $(PYTEST_ARGS)

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

clean: ## remove the environments, the demo's output and every cache
	@rm -rf $(VENV) .venv-* demo edgec-examples build dist runtime/build runtime/dist *.egg-info
	@rm -rf .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
