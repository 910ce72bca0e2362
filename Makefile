# Every target sets up what it needs; run `make` for the list.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Two stamps, so that the demo need not wait for linters and test tools.
$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Point PYTHON at one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.venv
	@echo "setting up $(VENV) (first time only) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.venv
	@echo "setting up $(VENV) with the test tools (first time only) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo

.PHONY: demo
demo: $(VENV)/.demo ## Walk a volume through its whole life on a simulated PowerFlex
	@$(BIN)/csi-powerflex demo

.PHONY: test
test: $(VENV)/.dev ## Run the tests; what needs root and loop devices runs where they exist
	@$(BIN)/pytest $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## Style, types, architecture, fresh generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean: ## Remove virtual environments and caches
	rm -rf .venv .venv-proto .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
