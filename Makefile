# Everything runs in .venv, made from the locked requirements. `make` alone lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps
# As in CI: no variable of this shell makes a test pass or fail.
PYTEST := .ci/bare $(BIN)/python -m pytest

# Folders that hold Python today; mypy refuses a folder without any.
SOURCES := $(patsubst %/,%,$(sort $(dir $(wildcard bridge/*.py share/*.py tests/*.py bench/*.py examples/*.py))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test fast check format bench strangers lock upgrade parts clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-9s %s\n' "$$name" "$$what"; done

run: $(STAMPS)/run ## fresh machine to running demo: embedded MQTT broker, simulated fleet, a share link
	$(BIN)/telemetry-bridge demo $(ARGS)

# Coverage has a floor, which a choice of tests would not reach. Counting takes half as much processor time again: not
# under the tests with real parts, which measure times, and whose programs are not counted anyway.
test: $(STAMPS)/dev check parts ## fresh machine to tested: what the tests need, the checks, the tests (ARGS="-k name" to choose)
	$(PYTEST) --numprocesses 3 --dist loadfile $(if $(ARGS),$(ARGS),--cov=bridge --cov=share tests/unit tests/functional)
	$(if $(ARGS),,$(PYTEST) --numprocesses 3 --dist loadfile tests/real)

# Property tests are most of the time that unit tests take.
fast: $(STAMPS)/dev ## the unit tests but for the property tests: half a minute on two free cores
	$(PYTEST) --numprocesses 2 --dist loadfile -m "not hypothesis" tests/unit $(ARGS)

check: $(STAMPS)/dev ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

format: $(STAMPS)/dev ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMPS)/dev ## measure beside the peers (ARGS to choose, see bench/README.md)
	$(BIN)/python bench/run.py $(ARGS)

strangers: $(STAMPS)/dev ## five strangers at full speed beside one viewer (ARGS to choose, see bench/README.md)
	$(BIN)/python bench/strangers.py $(ARGS)

parts: ## install what the tests run beside Python: Mosquitto, nginx, Chromium, PostgreSQL, Node.js
	@.ci/install-parts

lock: $(BIN)/uv ## bring requirements/*.txt in line with pyproject.toml, keeping the releases that fit
	$(COMPILE) --group build -o requirements/build.txt
	$(COMPILE) pyproject.toml --extra postgresql -o requirements/serve.txt
	$(COMPILE) pyproject.toml --extra embedded --group build -o requirements/run.txt
	$(COMPILE) pyproject.toml --extra embedded --group dev -o requirements/dev.txt

upgrade: COMPILE_FLAGS = --upgrade
upgrade: lock ## like lock, but take the newest releases

clean: ## remove what make and the tools have made
	rm -rf $(VENV) dist .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# --- the virtual environment ---------------------------------------------------------------------------

# Debian's python3 comes without ensurepip; its venv module then fails with a page of text.
$(BIN)/python:
	@.ci/make-venv "$(PYTHON)" "$(VENV)"

# $(1): the lock. Hashes make an install the same everywhere; the build is not isolated: its hatchling is the locked one.
define install
	$(PIP) install --quiet --require-hashes -r requirements/$(1).txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@mkdir -p $(STAMPS) && touch $@
endef

$(STAMPS)/run: requirements/run.txt pyproject.toml | $(BIN)/python
	$(call install,run)

$(STAMPS)/dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	$(call install,dev)
	@touch $(STAMPS)/run

# --- the locks -----------------------------------------------------------------------------------------

# One file for every platform and Python from 3.11 on. No registry is named: each client uses its own.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(COMPILE_FLAGS)


# Not the whole of requirements/dev.txt: it may be the very file that no longer fits pyproject.toml.
$(BIN)/uv: | $(BIN)/python
	$(PIP) install --quiet uv
