# Freehold needs Python 3.11 or newer, make and a Python package index. `make serve` and `make test` do the rest.
.PHONY: serve test test-long check setup lint types unit docs web lint-web pictures lock clean setup-dev setup-train setup-train-test setup-eval postgresql chromium helm

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TRAIN  := .venv-train
EVAL   := .venv-eval
HOST   ?= 127.0.0.1
PORT   ?= 8080

serve: setup                      ## install, fetch the starter models, serve on http://127.0.0.1:8080
	@$(BIN)/freehold serve --host $(HOST) --port $(PORT)

# What Python and pytest make of the sources is kept: each part of the tests would make it again otherwise.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait more than they compute, so two or three of their files run at a time; those that run llama.cpp run one by one.
# To look through all files for tests takes each process some ten seconds, so the quick ones run with the slow ones here.
# What fails then runs once more, alone: a busy machine is no defect. What fails twice fails.
WORKERS ?= 2
MIXED_WORKERS ?= 3
PYTEST  := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ALONE   := -m pytest -n 0 --last-failed --last-failed-no-failures none
MIXED   := not slow or (not llamacpp and not finetune and not long)
LLAMA   := slow and llamacpp and not finetune and not long
TORCH   := OMP_NUM_THREADS=1 $(TRAIN)/bin/python

# Two environments are made at a time, and two of the checks that use one core each are made.
PAIR    := @$(MAKE) --no-print-directory --jobs 2 --output-sync=target

test:                             ## everything: lint, types and every test
	$(PAIR) setup-dev setup-train-test
	$(PAIR) lint types lint-web
	$(PYTEST) -n $(MIXED_WORKERS) -m "$(MIXED)" || $(BIN)/python $(ALONE) -m "$(MIXED)"
	$(BIN)/python -m pytest -m "$(LLAMA)" || $(BIN)/python $(ALONE) -m "$(LLAMA)"
	$(PYTEST) tests/training -m "finetune and not long" || $(BIN)/python $(ALONE) tests/training -m "finetune and not long"
	$(TORCH) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/training -m "torch and not long" || \
	$(TORCH) $(ALONE) tests/training -m "torch and not long"

test-long: setup-dev setup-train-test  ## the long forms: a server is killed 200 times, twice over; fine-tuning with more data
	$(BIN)/python -m pytest tests/faults/test_sigkill.py --kills 200
	$(BIN)/python -m pytest -m "long and not finetune"
	$(BIN)/python -m pytest tests/faults/test_database_down.py tests/faults/test_erasure_killed.py tests/faults/test_batches.py tests/journal/test_journal_killed.py tests/web/*_pages.py --full-size
	$(BIN)/python -m pytest -m finetune --full-size
	$(TRAIN)/bin/python -m pytest tests/training -m "torch and long"

check: setup-dev                  ## the quick part, for every commit
	$(PAIR) lint types lint-web
	@$(MAKE) --no-print-directory unit

setup: $(VENV)/.installed web     ## make .venv and install the package with its pinned dependencies

web: $(VENV)/.installed           ## build the pages in web/, if they have changed
	@$(BIN)/python hatch_build.py

setup-dev: $(VENV)/.installed-dev web postgresql chromium helm

# The tests start a PostgreSQL of their own. Where it is missing and cannot be installed, those that need it are skipped.
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
	echo "PostgreSQL is not installed; the tests that need it will be skipped"

# The chart is rendered by Helm. Where it is missing and cannot be fetched, what it made before is looked at alone.
helm: $(VENV)/.installed-dev
	@command -v helm >/dev/null || $(BIN)/python tools/fetch_helm.py || true

# The pages are looked at in a real browser. Where it is missing and cannot be installed, those tests are skipped.
# One package is installed after the other, whose turn apt-get would not wait for.
chromium: | postgresql
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	echo "Chromium is not installed; the tests that need it will be skipped"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Freehold needs Python 3.11 or newer, not %d.%d; set PYTHON=python3.11 or newer" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python requirements/default.txt requirements/build.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/default.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Training has an environment of its own: what quantizes weights does not take the newest NumPy, and torch is large.
# TORCH_INDEX chooses torch's build, for instance https://download.pytorch.org/whl/cpu; without it pip's own index does.
TORCH_INDEX ?=

setup-train: $(TRAIN)/.installed  ## make .venv-train, in which models are fine-tuned

$(TRAIN)/.python: $(VENV)/.python
	$(PYTHON) -m venv $(TRAIN)
	@touch $@

$(TRAIN)/.installed: $(TRAIN)/.python requirements/train.txt requirements/build.txt pyproject.toml
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt -r requirements/train.txt
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup-eval: $(EVAL)/.installed    ## make .venv-eval, in which lm-eval runs for `freehold eval harness`

$(EVAL)/.installed: requirements/eval.txt
	$(PYTHON) -m venv $(EVAL)
	$(EVAL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/eval.txt
	@touch $@

setup-train-test: $(TRAIN)/.installed-test

$(TRAIN)/.installed-test: $(TRAIN)/.installed requirements/train-test.txt
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/train-test.txt
	@touch $@

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

lint-web: setup-dev               ## the checks of the pages: types, rules, format, unit tests
	$(BIN)/python hatch_build.py run check
	$(BIN)/python hatch_build.py run lint
	$(BIN)/python hatch_build.py run test

types: setup-dev
	$(BIN)/mypy

unit: setup-dev
	$(PYTEST) -m "not slow" || $(BIN)/python $(ALONE) -m "not slow"

docs: setup-dev                   ## write the generated pages of docs/reference/
	$(BIN)/python -m tools.cli_reference
	$(BIN)/python -m tools.training_reference

pictures: setup-dev               ## take the pictures of docs/tutorial/use-the-product.md again
	$(BIN)/python -m pytest -q tests/web/test_first_steps.py
	$(BIN)/python -m tools.tutorial_pictures

lock: setup-dev                   ## choose the newest allowed versions again and write requirements/
	$(BIN)/python tools/lock.py

clean:
	rm -rf $(VENV) $(TRAIN) $(EVAL)
