# Targets set up their environment first: .venv, with the project installed in it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-bench
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow lint format bench docs tensorboard clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv and install the project with its dependencies

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23"
	$(BIN)/python -m pip install --quiet --editable ".[bleu,dev]"
	touch $(READY)

train: $(READY) ## Train; ARGS="data=addition model=attention" overrides any setting
	$(BIN)/python train.py $(ARGS)

test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(READY) ## Run the tests that take minutes: trainings that are killed again and again
	$(BIN)/python -m pytest -n auto -m slow $(ARGS)

lint: $(READY) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(PEERS)/.ready: benchmarks/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade "pip>=23"
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	touch $(PEERS)/.ready

bench: $(READY) $(PEERS)/.ready ## Compare with Keras, PyTorch and yoyodyne (45 minutes); ARGS="--train F --dev F"
	$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python $(ARGS)

docs: $(READY) ## Run docs/states.md and docs/questions.md, update outputs and figures (2 minutes)
	$(BIN)/python docs/make.py

tensorboard: $(READY) ## Show all runs below outputs/ in TensorBoard
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/tensorboard --logdir outputs

clean: ## Remove environments and caches; runs in outputs/ stay
	rm -rf $(VENV) $(PEERS) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
