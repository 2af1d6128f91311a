# Everything below happens in .venv; stamps in it keep the second run of a target fast.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BUILD := build/editable
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
C_FILES = $(shell find benchmarks configs hot shim tests -name '*.[ch]')

# meson-python and meson find their tools (ninja) by name.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test before-pytest lint bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/installed $(VENV)/kernels
	antumbra run configs/quickstart.yaml

# The kernels are compiled on one core while another does everything that does not need them.
test: $(VENV)/installed
	$(MAKE) --no-print-directory --jobs=2 $(VENV)/kernels before-pytest
	python -m pytest -n 2

# One after the other: mypy reads what the programs' installation writes.
before-pytest: $(VENV)/installed
	$(MAKE) --no-print-directory $(VENV)/programs
	$(MAKE) --no-print-directory lint
	meson test -C $(BUILD) --print-errorlogs

lint: $(VENV)/installed
	ruff check
	ruff format --check --quiet
	mypy
	clang-format --dry-run -Werror $(C_FILES)

bench: $(VENV)/installed $(VENV)/kernels
	for benchmark in benchmarks/[!_]*.py; do echo "== $$benchmark"; python "$$benchmark"; done

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/npm/node_modules
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/python: tools/prepare-system.sh tools/apt-install.sh
	python="$$(tools/prepare-system.sh)"; "$$python" -m venv $(VENV)
	touch $@

# Editable: Python files are used where they are, and importing a package rebuilds the C that changed.
# Without build isolation, because the rebuild needs meson and ninja after the installation too.
$(VENV)/installed: $(VENV)/python pyproject.toml
	@echo "installing into $(VENV) (the first time takes a minute or two)"
	$(PIP) install 'meson-python>=0.18' 'meson>=1.3' 'ninja>=1.11'
	$(PIP) install --no-build-isolation --config-settings=build-dir=$(BUILD) --editable '.[dev]'
	touch $@

$(VENV)/kernels: $(VENV)/installed
	@echo "compiling the kernels of the cold tail (once; two to four minutes)"
	python -m cold.compile
	touch $@

$(VENV)/programs: tests/install-programs.sh tests/npm/package-lock.json tests/python-packages.txt tools/apt-install.sh | $(VENV)/installed
	tests/install-programs.sh
	touch $@
