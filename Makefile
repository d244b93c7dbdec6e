# Everything a person or CI runs. `make help` lists it.
# Needs: make and one of Python 3.11, 3.12, 3.13 with its venv module. The rest goes into .venv.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
  && { echo "$$p"; break; }; done)
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export UV_PYTHON_DOWNLOADS := never

# The node that tests run against: as told, on PATH, or fetched before by `make test-bitcoind`.
export BITCOIND := $(or $(BITCOIND),$(shell command -v bitcoind || true),$(wildcard $(CURDIR)/.cache/bitcoind/bin/bitcoind))

.PHONY: help env demo test test-full test-bitcoind test-cluster test-netns soak lint bench guest clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: .venv/.stamp ## the environment in .venv, from uv.lock

.venv/.stamp: pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 with its venv module found;" \
	  "on Debian or Ubuntu: apt-get install python3 python3-venv, or set PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --frozen --inexact --quiet --python $(BIN)/python
	@touch $@

demo: env ## one option, from exchange price to Bitcoin, end to end
	@$(BIN)/oracle-vm demo

test: lint ## lint, types and the default tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "not slow"

test-full: lint ## everything, the slow tests too; ends with the slowest
	@$(BIN)/python -m pytest --durations=25 --durations-min=5

test-bitcoind: env ## what needs a real node; without one it is fetched from a Debian mirror
	@node="$(BITCOIND)"; test -n "$$node" || node=$$(regtest/get_bitcoind.sh .cache/bitcoind) || exit 1; \
	  BITCOIND="$$node" $(BIN)/python -m pytest tests/regtest/test_bitcoind*.py tests/regtest/test_conformance.py \
	  tests/regtest/test_served_crash.py tests/regtest/test_contract_*.py tests/regtest/test_party_bump.py tests/e2e/test_contract.py

test-cluster: env ## several Ray nodes on this machine that are killed, frozen, removed and added again
	@$(BIN)/python -m pytest tests/cluster -m "slow or not slow"

test-netns: env ## three operators in network namespaces with real partitions; needs root and iproute2
	@$(BIN)/python -m pytest tests/netns

soak: env ## a simulated day of rounds, contracts and disputes: nothing missed, nothing leaks; writes docs/soak.md
	@$(BIN)/python -m tests.soak

lint: env ## ruff, mypy --strict, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

bench: env ## the benchmarks: ratios measured side by side, JSON in tests/bench/out
	@$(BIN)/python -m tests.bench

guest: env ## rebuild the guest ELFs with gcc-riscv64-unknown-elf and compare them with the manifest
	@$(BIN)/python -m riscv_vm.guest.build

clean: ## remove the environment and every cache
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
