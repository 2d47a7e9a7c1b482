# Two commands, each with its own set-up: `make demo` and `make test`.
# Needs Python 3.11 or newer and make; everything else is installed into .venv on the first call.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
OLDEST := .venv-oldest
DEMO := isdm-demo

.PHONY: demo test lint unit docs test-oldest install clean

demo: $(READY)
	$(VENV)/bin/isdm demo --out $(DEMO)

test: lint unit

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

unit: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal -q

# The handbook as a site in build/docs; a warning, such as a link that leads nowhere, is an error.
docs: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx -E -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

# The same tests on the oldest versions that pyproject.toml allows, in an environment of its own (6 GB).
test-oldest: $(OLDEST)/.ready
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -q

$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[dev]'
	touch $@

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(DEMO)
