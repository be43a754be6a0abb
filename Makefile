# The one door: `make pretrain` trains, `make test` checks. Both make their own .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: pretrain test lint types tests format benchmark clean

pretrain: .venv/.installed
	$(BIN)/python main.py

test: lint types tests

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

tests: .venv/.installed-dev
	$(BIN)/pytest -n auto --dist worksteal

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: .venv/.installed
	$(BIN)/python scripts/benchmark.py step --model muskie_small --size 224 --views 8 --batch 1 --compile

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("error: muskie needs Python >= 3.10, $(PYTHON) is " + sys.version.split()[0] + "; give another one: make PYTHON=python3.12 ..." if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info
