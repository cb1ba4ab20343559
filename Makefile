# make demo   set up, make the synthetic data set, train, infer, score (about ten minutes, CPU)
# make test   set up, run the tests
# make lint   ruff and mypy
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-all lint clean

install: $(INSTALLED)

# torch first, with its own requirements (CUDA libraries on a GPU machine), the rest exactly as locked.
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock torch setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/python tools/demo.py

# In parts, each in processes of its own: in one go a worker process died twice, and tests that fork loaders then share
# a process with the threads of ONNX Runtime, OpenVINO and the page's server.
PARTS := tests/inference tests/deploy tests/app tests/cli tests/leaderboard
PYTEST = OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist loadfile

test: install
	$(PYTEST) tests/inference tests/deploy
	$(PYTEST) tests/app
	$(PYTEST) tests/cli tests/leaderboard
	$(PYTEST) $(PARTS:%=--ignore=%)

test-all: install
	$(PYTEST) -m "" tests/inference tests/deploy
	$(PYTEST) -m "" tests/app
	$(PYTEST) -m "" tests/cli tests/leaderboard
	$(PYTEST) -m "" $(PARTS:%=--ignore=%)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
