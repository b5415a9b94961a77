# Everything a person types. `make local-run` and `make test` set up what they need by themselves.
#
#   ARGS     options for `mlops run`:      make local-run ARGS='-p MseThreshold=0.02 --runtime process'
#   PYTEST   options for pytest:           make test PYTEST='tests/unit -x'
#   BASE_IMAGE  what images are built on:  make images BASE_IMAGE=python:3.11-slim
#   PYTHON   the interpreter for .venv:    make setup PYTHON=python3.12

.DEFAULT_GOAL := help
.PHONY: help setup sdk3 images local-run cloud-run test check check-check bench lock clean

SHELL := /bin/bash
ifneq ($(BASE_IMAGE),)
export BASE_IMAGE
endif
VENV  := .venv
BIN   := $(VENV)/bin
SDK3  := .venv-sdk3
READY := $(VENV)/.ready
ARGS  ?=
PYTEST ?=

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## Make .venv with everything in it

$(READY): pyproject.toml constraints.txt scripts/setup
	@PYTHON='$(PYTHON)' scripts/setup $(VENV)
	@touch $@

sdk3: $(SDK3)/.ready  ## Make .venv-sdk3: SageMaker SDK v3, for the test that compares it with v2

$(SDK3)/.ready: scripts/sdk3 scripts/sdk3-constraints.txt | $(READY)
	@scripts/sdk3 $(SDK3)
	@touch $@

images: $(READY)  ## Build the container images that changed (BASE_IMAGE=… chooses the base)
	@$(BIN)/mlops images build

local-run: $(READY)  ## Run the pipeline here: raw data to a registered model
	@$(BIN)/mlops run --build-images $(ARGS)

cloud-run: $(READY)  ## Run the very same pipeline in your AWS account
	@$(BIN)/mlops run --backend cloud $(ARGS)

test: $(READY)  ## Run the test suite
	@MLOPS_SDK3_PYTHON=$${MLOPS_SDK3_PYTHON-$(wildcard $(SDK3)/bin/python)} $(BIN)/pytest $(PYTEST)

check: $(READY)  ## mypy strict, ruff, the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check-check: $(READY)  ## Plant a fault for each checker and see that it is found
	@scripts/check-check $(BIN)

bench: $(READY)  ## Measure, side by side with the peers
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(READY)  ## Resolve constraints.txt anew from pyproject.toml
	@scripts/lock $(BIN)

clean:  ## Remove what was built here; the state folder stays (mlops clean removes it)
	rm -rf $(VENV) $(SDK3) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
