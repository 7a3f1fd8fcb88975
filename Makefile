# Two commands do everything: `make demo` and `make test`.  Both make a virtual environment of
# their own and install what they need into it, in the versions that were tested.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Images of containers often set it: then each command would compile all of netcache anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test soak check bench lint clean install lock

demo: install
	$(BIN)/netcache demo

test: install
	$(BIN)/python -m pytest -n auto --dist worksteal

# The long versions of the random tests: half an hour, one table, all seeds printed.
soak: install
	$(BIN)/python -m tests.soak

# What the continuous integration runs: the tests, and lint, types, layers, the built wheel besides.
check:
	.ci/run

bench: install
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	$(BIN)/python -m benchmarks --json docs/benchmarks.json --chart docs/benchmarks.svg

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "netcache needs Python 3.11 or newer, and $(PYTHON) is older or missing (name another: make PYTHON=python3.12)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "netcache needs Python's venv module (Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev -e .
	@touch $(STAMP)

# Write down the versions that are installed now.
lock: install
	$(BIN)/python -m pip freeze --exclude-editable --all | sort -f > constraints.txt

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
