# Every target sets up what it needs: a virtual environment in .venv with the project in it.
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

setup: $(READY) ## Create .venv and install the project with all it needs

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23"
	$(BIN)/python -m pip install --quiet --editable ".[bleu,dev]"
	touch $(READY)

train: $(READY) ## Train; ARGS="data=addition model=attention" overrides any setting
	$(BIN)/python train.py $(ARGS)

test: $(READY) ## Run all tests
	$(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(READY) ## Run what takes minutes: trainings that are killed again and again
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

bench: $(READY) $(PEERS)/.ready ## Measure beside Keras, PyTorch, yoyodyne (3/4 h); ARGS="--train F --dev F"
	$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python $(ARGS)

docs: $(READY) ## Run docs/states.md, write down what it prints, draw its figures (1 minute)
	$(BIN)/python docs/make.py

tensorboard: $(READY) ## Show all runs below outputs/ in TensorBoard
	$(BIN)/tensorboard --logdir outputs

clean: ## Remove the environment and caches; runs in outputs/ stay
	rm -rf $(VENV) $(PEERS) .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
