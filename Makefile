# Two commands do everything: `make up` runs Aegis here, `make test` tests it from nothing.
# Every target first brings .venv to what requirements.lock pins.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PACKAGES := aegis agents channels enrichment gateway logql monitors privacy query storage tables topics web
TIMESCALE := tests/timescale/node_modules/.installed
ARGS ?=
# Tests run in so many processes, a file in one of them (tests/conftest.py). JOBS=0 is one after the other.
JOBS ?= 2

.PHONY: up test check bench chaos demo format lock clean

up: $(INSTALLED)  ## start everything in the foreground; Ctrl-C stops it
	@$(BIN)/aegis up $(ARGS)

test: $(INSTALLED) $(TIMESCALE)  ## every test, on real parts
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)  ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(addprefix -p ,$(PACKAGES))

bench: $(INSTALLED) $(TIMESCALE)  ## CPU microseconds a log, per process; a message on the transport; stores; scrubbing
	@$(BIN)/python -m benchmarks.logs_end_to_end $(ARGS)
	@$(BIN)/python -m benchmarks.transport
	@$(BIN)/python -m benchmarks.enrichment
	@$(BIN)/python -m benchmarks.metric_store
	@$(BIN)/python -m benchmarks.scrubbing

chaos: $(INSTALLED)  ## attack transport, gateways and stores for three minutes each, then kill processes of whole instances; count
	@$(BIN)/python -m pytest -s tests/chaos --chaos-seconds 180 $(ARGS)
	@$(BIN)/python -m pytest tests/acceptance -k "kill or killed or crash"

demo: $(INSTALLED)  ## send realistic logs to the instance that `make up` runs
	@$(BIN)/aegis demo $(ARGS)

format: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock:  ## pin again what pyproject.toml asks for; needs uv
	uv pip compile pyproject.toml --all-extras --no-emit-index-url --python-version 3.11 --quiet -o requirements.lock

clean:  ## remove what the targets above made, except data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info

# The real TimescaleDB, for tests. Without Node they are skipped (and fail under CI).
$(TIMESCALE): tests/timescale/package-lock.json
	@if command -v npm >/dev/null; then cd tests/timescale && npm ci --silent && touch node_modules/.installed; \
	else echo "tests on the real TimescaleDB are skipped: there is no Node on this machine"; fi

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cannot install: Python 3.11 or newer is needed, set PYTHON=")'
	@echo "installing pinned dependencies into .venv (about a minute the first time)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
