# Two commands do everything: `make run` (the main job) and `make test`.
VENV := .venv
PYTHON := $(VENV)/bin/python
ARGS ?=

.PHONY: install install-dev run test test-all clean

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

run: install
	$(PYTHON) pipeline.py $(ARGS)

test: install-dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright
	$(VENV)/bin/lint-imports
	$(PYTHON) -m pytest -m "not slow"
	@echo "left out: the slow tests, and those of clusters (Ray): make test-all"

test-all: install-dev
	$(PYTHON) -m pytest

clean:
	rm -rf $(VENV) build dist *.egg-info
