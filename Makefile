# Everything happens in a virtual environment of its own; nothing outside this folder changes.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
PYTHON := python
else
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

.PHONY: demo test test-fast lint bench clean

demo: .venv/facts.stamp          ## the main job on the shipped examples
	$(BIN)/python examples/demo.py

test: .venv/dev.stamp            ## all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

test-fast: .venv/dev.stamp       ## without the slow ones and those that need torch
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not local" $(PYTEST_ARGS)

lint: .venv/dev.stamp            ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/dev.stamp           ## the benchmarks: rewrites the table of docs/performance.md, under half an hour
	$(BIN)/python benchmarks/all.py

.venv/python.stamp:
	@echo Making a virtual environment in .venv.
	$(PYTHON) -m venv .venv
	touch $@

# pip is quiet (its bars fill logs), so each step says what it does and how long it takes.
.venv/facts.stamp: .venv/python.stamp pyproject.toml
	@echo Installing looksay with the model facts into .venv: half a gigabyte, a minute or two, once.
	$(PIP) -e ".[facts]"
	touch $@

.venv/dev.stamp: .venv/python.stamp pyproject.toml constraints.txt
	@echo Installing all of looksay, PyTorch and the tools of the tests into .venv: several minutes, once.
	$(PIP) -e ".[all,dev]"
	$(PIP) --no-deps --upgrade --target .venv/torchvision torchvision==0.28.0
	touch $@

clean:
	rm -rf .venv demo
