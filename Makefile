# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# make bench ARCHITECTURES="net.prototxt googlenet …" measures these networks instead of the five that docs/performance.md
# shows; BENCH="--quick" passes options on. Other libraries take part once `.venv/bin/pip install -e '.[bench]'` has run.
ARCHITECTURES ?=
BENCH ?=
PICTURE := models/lenet/samples/photo_of_a_digit.jpg

.PHONY: run test lint bench clean
.DELETE_ON_ERROR:

run: $(VENV)/installed
	@mkdir -p out
	$(BIN)/lrptool explain $(PICTURE) --model lenet --panel -o out --force

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	$(BIN)/python -m tests.bench $(if $(ARCHITECTURES),--networks $(ARCHITECTURES)) $(BENCH)

clean:
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lrptool needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/installed
