# Two commands on a bare machine with Python 3.11+, pip, make and gcc:
#   make demo   set-up, then draw, train, evaluate, predict and report on the embedded data set
#   make test   set-up, then lint, types and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: demo test lint types pytest setup clean

demo: $(STAMP)
	$(BIN)/ovgsr demo --out demo_output

test: lint types pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

pytest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

setup: $(STAMP)

# torch first and pinned: a range would bring gigabytes of GPU libraries to a machine without one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ovgsr needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,teacher,onnx,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo_output build dist
