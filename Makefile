# make demo   set up; then, within five minutes of CPU: make frames, train, infer, score, draw
# make test   set up, run the tests
# make fuzz   bad input of every kind for every command: 50,000 cases (FUZZ_CASES, FUZZ_SEED)
# make lint   ruff, mypy, and hadolint of the Dockerfile
# make docs   the documentation as a site, into site/ (python -m http.server -d site)
# make notebooks   run the notebooks of the documents anew
# make lock   choose versions anew where requirements.txt or pyproject.toml ask for it (UPGRADE=--upgrade: everywhere)
# make audit  known vulnerabilities of the locked versions; make licences: THIRD_PARTY.md
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tools that are no part of what is tested.
TOOLS := $(VENV)-tools
TORCH ?= torch==2.13.0
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Instead of pip, which compiles one file after the other: on all cores, without the tests of packages.
COMPILE = $(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-all lint docs notebooks lock audit licences clean

install: $(INSTALLED)

# What is locked, checked by its hashes; then torch, with its own requirements (CUDA libraries on a GPU machine). Without
# torchvision: nothing needs it, and a build for CUDA beside a torch for CPUs does not load.
$(INSTALLED): requirements.lock pyproject.toml Makefile
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed, this is ' + sys.version)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --no-compile --require-hashes --no-deps -r requirements.lock
	$(BIN)/python $(PIP_INSTALL) --no-compile $(TORCH)
	$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	$(COMPILE)
	touch $@

demo: install
	$(BIN)/python tools/demo.py

# In parts, each in processes of its own: in one go a worker process died twice, and tests that fork loaders then share
# a process with the threads of ONNX Runtime, OpenVINO and the page's server. Tests of the page cannot wait for the fuzzer.
PARTS := tests/inference tests/deploy tests/studies tests/app tests/cli tests/leaderboard tests/fuzz
PYTEST = OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist loadfile

test: install
	$(PYTEST) $(ALL) tests/inference tests/deploy tests/studies
	$(PYTEST) $(ALL) tests/app
	$(PYTEST) $(ALL) tests/fuzz
	$(PYTEST) $(ALL) tests/cli tests/leaderboard
	$(PYTEST) $(ALL) $(PARTS:%=--ignore=%)

test-all: ALL := -m ""
test-all: test

FUZZ_CASES ?= 50000
FUZZ_SEED ?= 1

fuzz: install
	OMP_WAIT_POLICY=passive $(BIN)/python -m tests.fuzz --cases $(FUZZ_CASES) --seed $(FUZZ_SEED)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; fi

notebooks: install
	$(BIN)/python tools/notebooks.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(TOOLS):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(PIP_INSTALL) uv pip-audit pip-licenses

UPGRADE ?=
lock: $(TOOLS)
	$(TOOLS)/bin/uv pip compile pyproject.toml --group lock --extra dev --extra app --universal --python-version 3.10 \
		--generate-hashes --no-annotate --custom-compile-command 'make lock' $(UPGRADE) -o requirements.lock

audit: $(TOOLS)
	$(TOOLS)/bin/pip-audit --require-hashes --disable-pip -r requirements.lock

licences: install $(TOOLS)
	(echo '# Third-party software'; echo; \
	echo 'What `make install` installs, with its licences (`make licences`). None of it is part of this repository.'; echo; \
	$(TOOLS)/bin/pip-licenses --python $(BIN)/python --format markdown --with-urls --order license \
		--ignore-packages drpca) >THIRD_PARTY.md

clean:
	rm -rf $(VENV) $(TOOLS) build dist site *.egg-info
