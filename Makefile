# All tasks of the project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PLUGINS := $(wildcard methods datasets reports)
CODE := bench tests $(PLUGINS)

# Nothing below needs the network after installation, and libraries must not send telemetry.
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-full test-browser chromium report-image lint types boards gate format speed validity docs stack-mini clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Create .venv and install everything for the miniature world and the checks

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "layoutmark needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[mini,trackers,dev]"
	@# ultralytics requires opencv-python, which needs libGL from the system; the headless build does not.
	$(BIN)/python -m pip install --quiet -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $@

demo: $(STAMP) ## Generate, score and report the miniature world
	$(BIN)/layoutmark run

test test-all test-full test-browser lint types: export HF_HUB_OFFLINE := 1
test-all test-full test-browser lint types: export OMP_NUM_THREADS ?= 2
# Small networks do not benefit from a second thread: two processes with one thread each are nearly twice as fast.
test: export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

test: $(STAMP) ## Run all tests except those marked slow or browser, file by file in WORKERS=2 processes
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow and not browser"

test-all: $(STAMP) ## Run every test; tests marked browser need a browser
	$(BIN)/python -m pytest -q

test-full: $(STAMP) ## Run every method at the size of Stable Diffusion 1.5 with random weights (6 GB on disk, up to an hour)
	$(BIN)/python tests/full/run.py

test-browser: $(STAMP) chromium ## Test the HTML report in a real browser; installs Chromium if apt-get is available
	$(BIN)/python -m pytest -q -m browser

chromium:
	@for name in chromium chromium-browser google-chrome chrome; do command -v $$name >/dev/null && exit 0; done; \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy chromium; \
		else echo "no browser found; on Debian: sudo apt-get install chromium"; exit 1; fi

report-image: $(STAMP) chromium ## Regenerate docs/images/report.png from a demo run (minutes)
	PYTHONPATH=tests/shared $(BIN)/python tests/browser/report_image.py

lint: types ## Check style, formatting, types, import contracts and the word list
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/python tests/house/word_list.py

gate: $(STAMP) ## Compare the project's own methods with their committed baseline
	$(BIN)/layoutmark run mini --limit 24 --methods base,ilgd,instancediffusion --name gate
	@for method in base ilgd instancediffusion; do \
		echo $$method; $(BIN)/layoutmark gate gate:$$method --baseline tests/gate/baseline || [ $$? -eq 2 ] || exit 1; done

boards: $(STAMP) ## Check the committed leaderboards, and that rebuilding them changes nothing
	$(BIN)/layoutmark leaderboard check
	$(BIN)/layoutmark leaderboard build
	$(BIN)/layoutmark leaderboard check

types: $(STAMP) ## Check types strictly
	$(BIN)/mypy

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

speed: $(STAMP) ## Time every stage
	$(BIN)/python tests/speed/coco.py
	$(BIN)/python tests/speed/openimages.py
	$(BIN)/python tests/speed/report.py
	$(BIN)/python tests/speed/board.py
	$(BIN)/python tests/speed/resampling.py
	$(BIN)/python tests/speed/run.py
	$(BIN)/python tests/speed/start.py

VALIDITY := parity libraries pitfalls response adversaries gates coverage
WORK := --work build/validity

.PHONY: $(addprefix validity-,$(VALIDITY))
validity: $(addprefix validity-,$(VALIDITY)) ## Validate the metrics and rewrite their tables in docs/ (all parts below)

validity-parity: $(STAMP) ## Compare every metric with its twin (seconds)
	$(BIN)/python tests/validity/parity.py

validity-libraries: $(STAMP) ## Compare metrics with other libraries (seconds)
	$(BIN)/python tests/validity/libraries.py

validity-pitfalls: $(STAMP) ## Inject every pitfall and check that it is caught
	$(BIN)/python -m pytest -q tests/pitfalls
	$(BIN)/python tests/pitfalls/page.py

# If interrupted, the following targets resume from build/validity.
validity-response: $(STAMP) ## Measure how every metric responds to every defect
	$(BIN)/python tests/validity/response.py $(WORK)

validity-adversaries: $(STAMP) ## Score adversarial images beside the methods of the leaderboards
	$(BIN)/python tests/validity/adversaries.py $(WORK)

validity-gates: $(STAMP) ## Simulate the error rates of gates
	$(BIN)/python tests/validity/gate_calibration.py $(WORK)

validity-coverage: $(STAMP) ## Simulate the coverage of intervals
	$(BIN)/python tests/validity/coverage.py $(WORK)

docs: $(STAMP) ## Regenerate docs/cli.md from the command help and docs/schemas from the dataclasses
	$(BIN)/python -m layoutmark.cli.docs
	$(BIN)/python -m layoutmark.cli.schemas

stack-mini: $(STAMP) ## Retrain the miniature stack (hours on two cores; resumes if interrupted)
	$(BIN)/layoutmark train stack --stack mini

clean: ## Remove caches and built wheels, but not runs, training checkpoints or .venv
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
