# Two commands do everything on a machine with Python 3.11 or later: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test test-all test-kills lint bench lock clean

demo: $(READY)  ## The main job on the sandbox; ONCE=1 ends after the tour
	$(BIN)/tkgbot demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: lint  ## Lint, types, import rules, unit, scenario, security, durability (a sample of the kills)
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not browser" tests/unit tests/scenario tests/security
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/durability/test_seams.py tests/durability
	$(BIN)/python -m pytest -n 2 --dist loadfile --timeout 300 -k sandbox tests/contract

test-all: $(READY)  ## What `test` leaves out: every seam, Chromium, a real kube-apiserver
	TKGBOT_ALL_KILLS=1 $(BIN)/python -m pytest -n 2 --timeout 1500 tests/durability/test_seams.py
	$(BIN)/python -m pytest -m browser tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --timeout 300 -k "not sandbox" tests/contract

test-kills: $(READY)  ## Every kill on both databases, of everything, and the storm of 200 requests: an hour by itself
	TKGBOT_BOTH_DATABASES=1 $(BIN)/python -m pytest -n 3 --dist loadfile tests/scenario
	TKGBOT_ALL_KILLS=1 $(BIN)/python -m pytest -s --timeout 1500 tests/durability/test_kill_matrix.py \
		tests/durability/test_cluster_kills.py tests/durability/test_account_kills.py \
		tests/durability/test_undo_kills.py tests/durability/test_gpu_kills.py tests/durability/test_storm.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## Figures, not judgements
	$(BIN)/python -m tests.bench

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("tkgbot needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

lock: $(READY)  ## Renews the pinned versions (all of them, and those of the image)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --upgrade --python-version 3.11 --extra sandbox --extra dev \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o constraints.txt
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraint constraints.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o constraints-run.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
