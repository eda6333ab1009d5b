# Tidemill: `make help` lists what there is. Everything generated lies under build/ and .venv/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
DATA ?=
# Airflow and MLflow import twice as slowly without compiled bytecode.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONWARNINGS ?= ignore

BIN := .venv/bin
READY := .venv/.ready
SPARK := .venv/.spark
TORCH := .venv/.torch
WORKERS = $(shell $(PYTHON) -c "import os; print(min(4, 2 * os.cpu_count()))")
BENCH_READY := build/bench-env/.ready

.PHONY: help setup demo test sweep check up down clean gateway spark torch lock bench-features bench-ingest bench-store bench-quality bench-promotion

help:  ## What each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY)  ## Create .venv with the locked dependencies and the compiled kernel

$(READY): infra/requirements.lock infra/bootstrap.lock pyproject.toml features/kernel/pane.c features/kernel/pane.h features/kernel/binding.c $(wildcard pipelines/jsonscan/*.[ch])
	@$(PYTHON) infra/setup.py

demo: $(READY)  ## The whole main job on this machine; DATA=<folder> runs it on real telemetry
	@$(BIN)/tidemill demo $(if $(DATA),--data "$(DATA)")

# Tests of servers wait for them, so there are two workers a core; four at most, since each collects everything;
# what takes longest comes first and is dealt out first.
test: $(READY)  ## All tests, side by side
	@$(BIN)/python -m pytest -q -n $(WORKERS) --no-loadscope-reorder

sweep: $(READY)  ## The kernel under sanitizers, mutants that must die, all laws over many examples; public sets whole; use cases by Airflow
	@$(BIN)/python -m tests.sweep

check: $(READY)  ## Format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

up: $(READY)  ## Start MLflow, Airflow, the cloud server and three gateways; Ctrl-C stops them
	@$(BIN)/tidemill up

down: $(READY)  ## Stop what `make up` started
	@$(BIN)/tidemill down

gateway: $(READY)  ## A gateway environment of its own in build/gateway-env, from the base dependencies alone
	@$(BIN)/python infra/gateway_environment.py build/gateway-env

spark: $(SPARK)  ## Add the Spark engine to .venv (478 MB; needs a Java 17 to run)

$(SPARK): $(READY) infra/spark.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --require-hashes -r infra/spark.lock
	@touch $@

torch: $(TORCH)  ## Add torch for CPUs to .venv (700 MB), for networks on windows

# What torch needs is locked with hashes. Torch itself is not: its wheels for CPUs lie beside the registry, or in a folder
# (PIP_FIND_LINKS), and a hash would tie it to one platform. Without dependencies, so that nothing for GPUs comes along.
$(TORCH): $(READY) infra/torch.lock infra/torch-cpu.in
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r infra/torch.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: -r infra/torch-cpu.in
	@touch $@

bench-features: $(READY) $(BENCH_READY)  ## The feature kernel beside other libraries, 15 minutes; BENCH=quick takes a third
	@$(BIN)/python -m tests.bench.features

bench-ingest: $(READY) $(BENCH_READY)  ## Ingest beside parsers and scans, and over long histories; BENCH=quick takes a part
	@$(BIN)/python -m tests.bench.ingest

bench-store: $(READY)  ## Reading and listing S3: ours beside boto3 and obstore alone, one minute
	@$(BIN)/python -m tests.bench.store

bench-quality: $(READY)  ## Models of the use cases on the public sets in $TIDEMILL_DATA; BENCH_ONLY=cmapss takes some
	@$(BIN)/python -m tests.bench.quality

bench-promotion: $(READY)  ## What a release run costs that finds nothing to do; alias watcher, a click until it arrives, Fleet page
	@$(BIN)/python -m tests.bench.promotion

$(BENCH_READY): infra/bench.lock
	@$(PYTHON) -m venv --without-pip build/bench-env
	@$(BIN)/uv pip install --quiet --python build/bench-env/bin/python --compile-bytecode --require-hashes -r infra/bench.lock
	@touch $@

lock: $(READY)  ## Resolve the dependencies anew into infra/*.lock
	@$(BIN)/python infra/lock.py

clean:  ## Remove everything generated
	@rm -rf build .venv *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis features/kernel/*.so pipelines/jsonscan/*.so
