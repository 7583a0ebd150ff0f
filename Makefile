# make demo: the whole way on the shipped corpus, then the page it ends in.   make test: lint, types, tests.
# Needs Python 3.11 and a package index, nothing else: poetry is kept in a folder of its own.

PYTHON ?= python3.11
POETRY := .poetry/bin/poetry
RUN := $(POETRY) run
# Poetry takes its packages from wherever pip would: asked of pip, so that no index is named here.
export POETRY_PYPI_MIRROR_URL ?= $(shell [ -x .poetry/bin/python ] && .poetry/bin/python -c 'from pip._internal.commands import create_command as c; print(c("install").parse_args([])[0].index_url)' 2>/dev/null)
export POETRY_VIRTUALENVS_IN_PROJECT := 1
export POETRY_NO_INTERACTION := 1
export TL_DISABLE_ANALYTICS ?= true

.PHONY: demo test lint bench docs lock relock install clean setup

demo: .venv/installed
	$(RUN) pipeline run conf/demo.yaml

test: lint
	$(RUN) pytest -n 3
	$(RUN) test

lint: .venv/installed
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports

bench: demo
	$(RUN) python benchmarks/report.py

docs: .venv/installed
	$(RUN) pytest tests/test_docs.py

setup: .venv/installed

lock: .poetry/installed
	$(MAKE) --no-print-directory relock

relock:
	$(POETRY) lock
	$(PYTHON) scripts/platform_requirements.py

clean:
	rm -rf .venv .poetry data/demo data/demo_* dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The second make sees the index that the fresh pip knows of.
.venv/installed: pyproject.toml poetry.lock .poetry/installed
	$(MAKE) --no-print-directory install

install:
	$(POETRY) env use $(PYTHON)
	$(POETRY) install --no-ansi
	touch .venv/installed

.poetry/installed:
	$(PYTHON) -m venv .poetry
	.poetry/bin/python -m pip install --quiet --disable-pip-version-check "poetry>=2.2,<3" poetry-plugin-pypi-mirror
	touch .poetry/installed
