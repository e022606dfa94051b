# Everything runs in .venv, which every target sets up first. PYTHON may name another interpreter (3.10 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := $(VENV)/.extras
DOCS := $(VENV)/.docs

.PHONY: demo study test test-processes test-all test-versions suites coverage docs bench format clean

demo: $(READY)
	$(BIN)/lightning-anneal fit --config configs/cyclical_beta.yaml

# Runs that are done stay as they are; STUDY=--fresh does all anew, STUDY=--publish writes into README and pages, too.
study: $(READY)
	$(BIN)/python -m examples.study $(STUDY)
	$(BIN)/python -m examples.control_study $(STUDY)

# Two workers, a file of tests each: most of them wait for processes that they started.
test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

# The tests that `test` leaves out because they start one process after the other; CI runs both.
test-processes: $(READY)
	$(BIN)/pytest -n 2 -m "processes and not slow"

# With every extra; the tests of one that is missing are skipped.
test-all: $(EXTRAS) test test-processes docs
	$(BIN)/pytest -m slow
	$(BIN)/pytest tests/schedules/test_properties.py --hypothesis-profile=long

# The suites that docs/tested.md tells of, in both forms, each alone; SUITES=--publish writes what came out into it.
suites: $(READY)
	$(BIN)/python -m tests.suites short $(SUITES)
	$(BIN)/python -m tests.suites long $(SUITES)

# The short tests with the branches of the package measured, and where the rest stands.
coverage: $(EXTRAS)
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report=term-missing:skip-covered

# The oldest and newest supported versions and every Python, in build/versions; VERSIONS=--publish writes into docs/, too.
test-versions: $(READY)
	$(BIN)/python -m tests.versions $(VERSIONS)

# The pages of docs/, as HTML in build/docs; a warning is an error.
docs: $(DOCS)
	$(BIN)/sphinx-build -W --keep-going -n -b html docs build/docs

bench: $(READY)
	$(BIN)/python benchmarks/step_cost.py
	$(BIN)/python benchmarks/search_overhead.py
	$(BIN)/python -m benchmarks.config_errors
	$(BIN)/python -m benchmarks.many_parameters

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# constraints.txt pins the set that is tested; without it pip would fetch a torch build of many GB.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plot,optuna,examples,dev]'
	touch $@

$(EXTRAS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	touch $@

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[plot,docs]'
	touch $@

clean:
	rm -rf $(VENV) runs build docs/drawn .pytest_cache .mypy_cache .ruff_cache .hypothesis
