# Everything a contributor runs. Needs make, Python 3.11 or 3.12, and a package registry.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
STAMP := $(VENV)/.installed
# Said to `uv` each time, so that an activated environment or a setting of the machine does not take its place.
UV = $(VENV)/bin/uv pip
INTO = --python $(VENV)/bin/python --quiet

# The first Python that really runs and is of a version we support: a shim may exist without its interpreter.
PYTHON ?= $(shell for python in python3.11 python3.12 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& echo $$python && break; done)

# Tools started by others (bentoml starts uv, mlflow starts bentoml) are those of the environment.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
unexport PYTHONPATH PYTHONHOME
# Each server and notebook of a test starts a Python: compiling what it imports anew would take most of its time.
unexport PYTHONDONTWRITEBYTECODE

# The laptop's default: a file beside the code. A tracking server takes its place when it is set.
MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlflow.db
WORKERS ?= 2
PYTEST_ARGS ?=
ARGS ?=

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(STAMP)  ## Make .venv hold exactly what requirements.lock says, and ekiben from this folder

# uv comes from the lock too, verified like the rest; `sync` would remove it if it were not in there.
$(STAMP): pyproject.toml requirements.lock sdk/hatch_build.py sdk/ekiben/_loops.c
	@test -n "$(PYTHON)" || { echo "Python must be 3.11 or 3.12. None was found. Run: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Filling $(VENV); the first time takes some minutes"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	test -x $(VENV)/bin/uv || $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	$(UV) sync $(INTO) --require-hashes requirements.lock
	$(UV) install $(INTO) --no-deps --no-build-isolation --reinstall-package ekiben --editable .
	touch $@

.PHONY: demo
demo: setup  ## The whole way, from a trained model to a bento that was proved
	MLFLOW_TRACKING_URI='$(MLFLOW_TRACKING_URI)' $(VENV)/bin/python examples/demo.py

.PHONY: lab
lab: setup  ## JupyterLab on notebooks/
	MLFLOW_TRACKING_URI='$(MLFLOW_TRACKING_URI)' $(VENV)/bin/jupyter lab --notebook-dir=notebooks

.PHONY: lint
lint: setup  ## Style, types and the direction of imports
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy --strict
	$(VENV)/bin/lint-imports --no-logo

# Images are built and run in tests. Where Debian's packages may be installed, what that takes is; elsewhere those tests are
# skipped with the engine's own words, and fail with REQUIRE_CONTAINERS=1. Docker is unpacked beside them, not installed: a
# test starts one of its own.
DOCKER := .containers/docker
.PHONY: engine
engine:
	@test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null \
	|| { command -v podman && command -v runc && command -v mmdebstrap; } > /dev/null \
	|| { echo "Installing podman, runc and mmdebstrap"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -qq --no-install-recommends podman buildah runc conmon mmdebstrap > /dev/null; } \
	|| echo "They could not be installed: images are not tested" >&2
	@test "$$(id -u)" != 0 || ! command -v apt-get dpkg-deb > /dev/null || command -v dockerd > /dev/null \
	|| test -x $(DOCKER)/usr/sbin/dockerd || { echo "Unpacking docker into $(DOCKER)"; mkdir -p $(DOCKER)/debs && cd $(DOCKER)/debs \
	&& for each in docker.io containerd docker-cli docker-buildx; do apt-get download -qq $$each 2> /dev/null || true; done \
	&& for each in *.deb; do dpkg-deb -x $$each ..; done && rm -r ../debs; } \
	|| echo "It could not be unpacked: docker is not tested" >&2

# A test marked xdist_group stays with its group on one worker, so that a slow fixture is made once.
.PHONY: test
test: setup lint engine  ## Lint, then every test but the long ones (WORKERS=2, PYTEST_ARGS=…)
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

.PHONY: bench
bench: setup  ## What one row costs, beside six peers: all of it takes an hour (ARGS=--short: minutes, ARGS=--stress, ARGS=--help)
	cd tests && ../$(VENV)/bin/python -m bench $(ARGS)

.PHONY: lock
lock: setup  ## Write requirements.lock again from pyproject.toml (UPGRADE=--upgrade for newer versions)
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) compile pyproject.toml --quiet --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate $(UPGRADE) -o requirements.lock

.PHONY: clean
clean:  ## Remove what the targets above made, the environment included
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .bench .strangers .containers build dist
	find sdk tests examples notebooks bentos -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
