# The commands that people and CI share. `make` without a target lists them.

# Options of `make demo`: a laptop without a GPU finishes it in minutes.
DEMO := --set seeds=4 --set epochs=10 --set data.train=2000 --set data.val=500 --set data.test=1000
# The Python that creates .venv: 3.11, 3.12 or 3.13.
PYTHON ?= python3
# Additional arguments, such as `make test ARGS="-k store -x"` or `make lock ARGS=--upgrade`.
ARGS ?=

# Three processes, one of them for the tests of Ray, which mostly wait. ARGS="-n 0" runs all tests in one process.
IN_PROCESSES := -n 3 --dist loadgroup --no-loadscope-reorder --durations=10
# The tests start hundreds of processes: each would compile the packages again.
test test-all: export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SUPPORTED := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

# Uses the images in ../shared/data if it exists; otherwise torchvision downloads them when a command needs them.
BESIDE := $(shell cd ../shared/data 2>/dev/null && pwd)
ifneq ($(BESIDE),)
SWEEPS_DATA ?= $(BESIDE)
export SWEEPS_DATA
endif

# Hides the notice about MkDocs 2 in every build.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help demo findings test test-all golden browser check docs bench lock clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

demo: $(INSTALLED)  ## run the first study at a small size and write its report to report/
	$(BIN)/sweeps run sweeps/inpainting/fill_refinement.yaml --store demo-store $(DEMO)
	$(BIN)/sweeps report fill-refinement --store demo-store --out report
	@for page in report/*.html; do printf '\nThe report: open %s/%s in a browser.\n' "$$PWD" "$$page"; done

# Studies that have a small form. Those of the context encoder share trials, the first of them measures the most; text is
# before the rest of inpainting, since text_matters takes a trained judge from there, and the inpainters that forge are
# before detection. A study that is named twice runs once.
IN_ORDER := sweeps/inpainting/context_encoder_*.yaml sweeps/inpainting/partial_conv*.yaml sweeps/text/*.yaml \
	sweeps/inpainting/*.yaml sweeps/detection/*.yaml
SMALL_STUDIES = $(shell grep -l '^small:' $(IN_ORDER))
RESULTS := docs/findings/results.zip

findings: $(INSTALLED)  ## run every study that has no page in docs/findings, at size small (hours; can be resumed)
	@test -d findings-store || ! test -f $(RESULTS) || $(BIN)/python -m zipfile -e $(RESULTS) findings-store
	@for study in $(SMALL_STUDIES); do \
		name=$$(sed -n 's/^name: *//p' $$study)-small; \
		test ! -f docs/findings/$$name.md || continue; \
		nice -n 19 $(BIN)/sweeps run $$study --size small --store findings-store --max-concurrent 2 --failed-trials-exit 0 || exit; \
		$(BIN)/sweeps archive --store findings-store --parts "" --out $(RESULTS) || exit; \
		$(BIN)/python -m analysis.findings findings-store docs/findings $$name || exit; \
	done

test: $(INSTALLED) browser  ## run the tests that are not slow (minutes); ARGS="-k name -x" goes to pytest
	$(BIN)/python -m pytest -m "not slow" $(IN_PROCESSES) $(ARGS)

test-all: $(INSTALLED) browser  ## run every test, including the slow ones
	$(BIN)/python -m pytest $(IN_PROCESSES) $(ARGS)

golden: $(INSTALLED)  ## rewrite tests/golden after an intended change of numbers; ARGS=--wording: reports only
	$(BIN)/python -m tests.golden $(ARGS)

check: $(INSTALLED)  ## check format, lint, types, spelling and the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/mkdocs build --quiet --strict

docs: $(INSTALLED)  ## build the documentation into build/site
	$(BIN)/mkdocs build --strict
	@printf 'The documentation: open %s/build/site/index.html in a browser.\n' "$$PWD"

bench: $(INSTALLED)  ## run every benchmark of tests/benchmarks
	@for file in $$(find tests/benchmarks -name 'bench_*.py' | sort); do \
		name=$$(echo "$${file%.py}" | tr / .); echo "== $$name"; $(BIN)/python -m "$$name" || exit 1; done

lock: $(BIN)/uv  ## resolve pyproject.toml into requirements.lock; ARGS=--upgrade for newer versions
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev \
		--no-emit-index-url --no-header --output-file requirements.lock $(ARGS)

clean:  ## remove caches, builds and the output of demo; keeps .venv
	rm -rf build dist demo-store report .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# --- set-up: runs once, and again after a change of the lock or pyproject.toml ----------------------------------------

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/uv
	@$(BIN)/python $(SUPPORTED) 2>/dev/null || { \
		echo "error: the Python of $(VENV) does not start, or is not 3.11, 3.12 or 3.13." >&2; \
		echo "  do: rm -rf $(VENV), then run the same command again" >&2; exit 1; }
	$(BIN)/uv pip sync --compile-bytecode --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	@touch $@

# The tests of the dashboard need Chromium. If it cannot be installed, they are skipped with a message.
browser:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && ! command -v chromedriver >/dev/null; then \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 || true; fi

$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: there is no command '$(PYTHON)'." >&2; \
		echo "  do: install Python 3.11, 3.12 or 3.13, or name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) $(SUPPORTED) || { \
		echo "error: '$(PYTHON)' is $$($(PYTHON) --version 2>&1); this project needs Python 3.11, 3.12 or 3.13." >&2; \
		echo "  do: install one of them and name it: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: '$(PYTHON)' cannot create virtual environments: its module venv or ensurepip is missing." >&2; \
		echo "  do: install it (Debian, Ubuntu: apt install python3-venv), or name another: PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "uv>=0.8"
