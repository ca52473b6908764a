# Everything a contributor runs. `make demo` and `make test` need only Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types docs unit slow bench notebooks clean

demo: $(STAMP)
	$(BIN)/interp demo --out demo

test: lint types docs unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

unit: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadgroup

slow: $(STAMP)
	$(BIN)/pytest -m slow

# Short forms of all benchmarks beside their stored ratios: fails if one got 20 % worse.
# `python benchmarks --update` stores anew.
bench: $(STAMP)
	$(BIN)/python benchmarks

# Jupyter's files beside the scripts; outputs that are there already stay.
notebooks: $(STAMP)
	$(BIN)/jupytext --quiet --update --to ipynb notebooks/[0-9]*.py

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,explorer,gguf,nnsight,ray]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo build dist *.egg-info
