# `make` lists what can be made. Everything happens in .venv; python3 (3.11 or newer) is all that must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt

# Each is written as the last act of its step, so that a broken-off step is done again.
CREATED := $(VENV)/.created
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
PAGE := examples/browser
RUNTIME := $(PAGE)/runtime/.installed

# The variable silences Material's advertisement of its successor.
SITE := NO_MKDOCS_2_WARNING=true OMP_NUM_THREADS=1 $(BIN)/mkdocs build --quiet

.DEFAULT_GOAL := help
.PHONY: help demo browser test chromium docs audit release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## restore the example pictures into demo/ and print how much better they got
	@$(BIN)/python examples/demo.py

browser: $(DEV) $(RUNTIME) ## build the page that restores pictures in a browser (needs npm)
	@$(BIN)/moceir export tiny -o $(PAGE)/model.onnx --half
	@echo "now run: $(BIN)/python $(PAGE)/serve.py"

test: $(DEV) chromium ## run all checks: ruff, basedpyright, the build of the site, pytest
	@echo "ruff check"
	@$(BIN)/ruff check --quiet
	@echo "ruff format --check"
	@$(BIN)/ruff format --check --quiet
	@echo "basedpyright"
	@$(BIN)/basedpyright
	@echo "mkdocs build --strict"
	@$(SITE)
	@echo "pytest"
	@# Where npm or its network is missing, the tests of the page are skipped.
	@$(MAKE) --silent $(RUNTIME) >/dev/null 2>&1 || echo "npm cannot install onnxruntime-web: $(PAGE) is not tested"
	@# Ray starts many processes, and gives up where they get too little of the cores: its tests run alone.
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/cluster
	@# A process for each core, of one thread each: more threads than cores would wait for each other.
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal --ignore tests/cluster

# The browser that tests of the page need: from Debian, where this may install it. Without it they are skipped.
chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	    && echo "installing chromium for the tests of the page" && export DEBIAN_FRONTEND=noninteractive \
	    && timeout 300 apt-get -qq update </dev/null >/dev/null 2>&1 \
	    && timeout 900 apt-get -qq install --no-install-recommends chromium </dev/null >/dev/null 2>&1; } \
	    || echo "there is no chromium: the tests of the page are skipped"

docs: $(DEV) ## build the documentation into site/, with its examples executed; warnings are errors
	@$(SITE)
	@echo "open site/index.html"

audit: $(DEV) ## look for known vulnerabilities in the versions of constraints.txt; never fails
	@$(BIN)/pip-audit --disable-pip --no-deps --progress-spinner off -r constraints.txt \
	    || echo "warning: pip-audit found something, or could not reach its database"

release: $(DEV) ## build sdist and wheel into dist/, try the wheel in a fresh environment, write SBOM and checksums
	@$(BIN)/python tools/release.py

clean: ## remove the virtual environment, the demo's results, the site, built packages and all caches
	rm -rf $(VENV) demo .cache .pytest_cache .ruff_cache .hypothesis build dist site
	rm -rf $(PAGE)/node_modules $(PAGE)/runtime $(PAGE)/*.onnx
	find src tests examples integrations benchmarks studies tools -name __pycache__ -type d -prune -exec rm -rf {} +

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

$(RUNTIME): $(PAGE)/package-lock.json $(PAGE)/build.mjs
	@echo "installing onnxruntime-web into $(PAGE)"
	@cd $(PAGE) && npm ci --silent && npm run --silent build
	@touch $@
