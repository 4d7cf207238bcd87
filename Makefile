# `make` lists what can be made. Everything happens in .venv; python3 (3.11 or newer) is all that must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt

# Each is written as the last act of its step, so that a broken-off step is done again.
CREATED := $(VENV)/.created
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help demo test chromium clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## restore the example pictures into demo/ and print how much better they got
	@$(BIN)/python examples/demo.py

test: $(DEV) chromium ## run all checks: ruff, basedpyright, pytest
	@echo "ruff check"
	@$(BIN)/ruff check --quiet
	@echo "ruff format --check"
	@$(BIN)/ruff format --check --quiet
	@echo "basedpyright"
	@$(BIN)/basedpyright
	@echo "pytest"
	@# A process for each core, of one thread each: more threads than cores would wait for each other.
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

# The browser that tests of the page need: from Debian, where this may install it. Without it they are skipped.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	    && echo "installing chromium for the tests of the page" && export DEBIAN_FRONTEND=noninteractive \
	    && timeout 300 apt-get -qq update </dev/null >/dev/null 2>&1 \
	    && timeout 900 apt-get -qq install --no-install-recommends chromium </dev/null >/dev/null 2>&1; } \
	    || echo "there is no chromium: the tests of the page are skipped"

clean: ## remove the virtual environment, the demo's results and all caches
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis build dist
	find src tests examples benchmarks studies tools -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
	    f"moceir needs Python 3.11 or newer, but $(PYTHON) is {sys.version.split()[0]}; call make PYTHON=python3.11")'
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(CORE): pyproject.toml constraints.txt | $(CREATED)
	@echo "installing moceir into $(VENV) (some minutes the first time)"
	@$(PIP_INSTALL) -e ".[demo]"
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(CREATED)
	@echo "installing moceir and its tools into $(VENV) (some minutes the first time)"
	@$(PIP_INSTALL) -e ".[dev]"
	@# Without their dependencies: spandrel asks for torchvision, which nothing here needs.
	@$(PIP_INSTALL) --no-deps spandrel einops
	@touch $(CORE) $@
