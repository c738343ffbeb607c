# Two commands do everything on a machine with Python 3.11 or later: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo gate test test-all lint bench lock clean

demo: $(READY)  ## The main job on the sandbox; ONCE=1 ends after the tour
	$(BIN)/tkgbot demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

test: $(READY)  ## Lint, types, import rules, every folder of tests but the page; or SUITES="unit …" (docs/tests.md)
	$(BIN)/python -m tests.suites $(SUITES)

gate: $(READY)  ## What CI runs: the tests, and the page in Chromium
	$(BIN)/python -m tests.suites gate

test-all: $(READY)  ## What the gate leaves out: every kill, both databases, replicas, a real kube-apiserver. Hours
	$(BIN)/python -m tests.suites all

lint: $(READY)
	$(BIN)/python -m tests.suites lint

bench: $(READY)  ## Figures, not judgements
	$(BIN)/python -m tests.bench

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("tkgbot needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(VENV)/uv.txt  # a tenth of pip's time; where uv is not to be had, pip
	( $(PIP) --require-hashes -r $(VENV)/uv.txt && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
		--require-hashes -r constraints.txt ) || $(PIP) --require-hashes -r constraints.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

lock: $(READY)  ## Renews the pinned versions (all of them, and those of the image)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --upgrade --python-version 3.11 --extra sandbox --extra dev \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o constraints.txt
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraint constraints.txt \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o constraints-run.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
