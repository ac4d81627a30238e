# Everything a contributor or a CI job runs. `make` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUST   := $(shell find rust -name '*.rs' -o -name 'Cargo.toml') Cargo.toml Cargo.lock
SYSTEM := examples/system/components.json

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: $(VENV)/.built ## set everything up, then start the example system (Ctrl-C stops it)
	$(BIN)/tekton up --file $(SYSTEM)

.PHONY: test
test: $(VENV)/.built ## set everything up, then run the whole test suite
	cargo test --workspace --exclude tekton-native --quiet
	$(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: build
build: $(VENV)/.built ## virtual environment and release build of the extension

.PHONY: lint
lint: lint-python lint-rust ## all linters, type checks and import contracts

.PHONY: lint-python
lint-python: $(VENV)/.lint ## ruff, mypy, stubtest, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest tekton._native
	$(BIN)/lint-imports

.PHONY: lint-rust
lint-rust: ## rustfmt and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: format
format: $(VENV)/.lint ## format the sources
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	cargo fmt --all

.PHONY: bench
bench: $(VENV)/.bench ## run the benches: every gate with its peers beside it
	$(BIN)/python benches/run.py

.PHONY: mutants
mutants: $(VENV)/.mutants ## mutation tests of the core: does the suite notice wrong code? (an hour)
	$(BIN)/python tests/mutants.py

.PHONY: clean
clean: ## remove what was built
	rm -rf $(VENV) target python/tekton/_native*.so

$(VENV)/.created: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tekton needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --group build --group test
	@touch $@

$(VENV)/.built: $(VENV)/.created $(RUST)
	$(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.lint: $(VENV)/.built
	$(BIN)/pip install --quiet --group lint
	@touch $@

$(VENV)/.mutants: $(VENV)/.built
	$(BIN)/pip install --quiet --group mutants
	@touch $@

$(VENV)/.bench: $(VENV)/.built
	$(BIN)/pip install --quiet --group bench
	@touch $@
