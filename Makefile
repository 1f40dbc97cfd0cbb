# Targets set up their environment first: .venv, with the project installed in it. Targets that check
# the code also install the development tools.
PYTHON ?= python3.13 python3.12 python3.11 python3 python# the first that fits; or the one to use
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
PEERS := .venv-bench
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow test-gpu lint format bench docs tensorboard clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv and install the project with its dependencies

# Creates the environment $(1). Debian's python3 may lack ensurepip, without which venv fails.
define create
	@found=; seen=; for python in $(PYTHON); do \
	  version=$$($$python -V 2>&1) || continue; \
	  seen="$$seen; $$python is $$version"; \
	  if $$python -c 'import sys, venv, ensurepip; \
	      sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: needs Python 3.11 to 3.13 with its venv module; none of $(PYTHON) fits$$seen;" \
	    "name one with PYTHON=/path/to/python" >&2; exit 2; \
	fi; \
	echo "Creating $(1) with $$found ($$version)"; $$found -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --upgrade "pip>=23"
endef

$(READY): pyproject.toml
	$(call create,$(VENV))
	@echo "Installing seq2seq and its dependencies into $(VENV): 700 MB to download, 2.3 GB on disk"
	$(BIN)/python -m pip install --editable ".[bleu]"
	@touch $(READY)

$(DEV): $(READY)
	@echo "Installing the development tools into $(VENV)"
	$(BIN)/python -m pip install --editable ".[bleu,dev]"
	@touch $(DEV)

train: $(READY) ## Train; ARGS="data=addition model=attention" overrides any setting
	$(BIN)/python train.py $(ARGS)

test: $(DEV) ## Run all tests
	$(BIN)/python -m pytest -n auto $(ARGS)

test-slow: $(DEV) ## Run the tests that take minutes: trainings that are killed again and again
	$(BIN)/python -m pytest -n auto -m slow $(ARGS)

test-gpu: $(DEV) ## Run the tests that need a GPU, with `seq2seq[cuda]` installed
	SEQ2SEQ_TEST_GPU=1 $(BIN)/python -m pytest -m gpu $(ARGS)

lint: $(DEV) ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(PEERS)/.ready: benchmarks/requirements.txt
	$(call create,$(PEERS))
	$(PEERS)/bin/python -m pip install --requirement benchmarks/requirements.txt
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
