# Every chore of the project.  `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GUESTS := $(wildcard methods datasets reports)
CODE := bench tests $(GUESTS)

# Nothing here needs the network after installation, and no library may report home.
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-full test-browser lint types boards gate format speed validity docs stack-mini clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## Create .venv and install what the miniature world and the checks need

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "layoutmark needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[mini,trackers,dev]"
	@# ultralytics asks for opencv-python, which needs the system's libGL; the headless files of the same version do not.
	$(BIN)/python -m pip install --quiet -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	@touch $@

demo: $(STAMP) ## Render, score and report the miniature world
	$(BIN)/layoutmark run

test test-all test-full test-browser lint types: export HF_HUB_OFFLINE := 1
test-all test-full test-browser lint types: export OMP_NUM_THREADS ?= 2
# Networks this small gain nothing from a second thread: two processes with one thread each are nearly twice as fast.
test: export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

test: $(STAMP) ## Run the tests (all but those marked slow or browser), a file to each of WORKERS=2 processes
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow and not browser"

test-all: $(STAMP) ## Run every test; those marked browser need a browser
	$(BIN)/python -m pytest -q

test-full: $(STAMP) ## Run every method at the size of Stable Diffusion 1.5 on random weights (6 GB on disk, up to an hour)
	$(BIN)/python tests/full/run.py

test-browser: $(STAMP) ## Look at the report in a real browser; installs Chromium where apt-get may
	@for name in chromium chromium-browser google-chrome chrome; do command -v $$name >/dev/null && exit 0; done; \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -qy chromium; \
		else echo "no browser found; on Debian: sudo apt-get install chromium"; exit 1; fi
	$(BIN)/python -m pytest -q -m browser

lint: types ## Check style, formatting, types and import contracts
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports

gate: $(STAMP) ## Hold the project's own methods against their committed baseline
	$(BIN)/layoutmark run mini --limit 24 --methods base,ilgd,instancediffusion --name gate
	@for method in base ilgd instancediffusion; do \
		echo $$method; $(BIN)/layoutmark gate gate:$$method --baseline tests/gate/baseline || [ $$? -eq 2 ] || exit 1; done

boards: $(STAMP) ## Check the committed leaderboards, and that building them anew changes nothing
	$(BIN)/layoutmark leaderboard check
	$(BIN)/layoutmark leaderboard build
	$(BIN)/layoutmark leaderboard check

types: $(STAMP) ## Check types strictly
	$(BIN)/mypy

format: $(STAMP) ## Rewrite the code in the house format
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

speed: $(STAMP) ## Time the stages and print one table
	$(BIN)/python tests/speed/coco.py
	$(BIN)/python tests/speed/openimages.py
	$(BIN)/python tests/speed/report.py
	$(BIN)/python tests/speed/board.py
	$(BIN)/python tests/speed/resampling.py
	$(BIN)/python tests/speed/run.py

VALIDITY := parity libraries pitfalls response adversaries gates coverage
KEPT := --work build/validity

.PHONY: $(addprefix validity-,$(VALIDITY))
validity: $(addprefix validity-,$(VALIDITY)) ## Measure the metrics themselves and write their tables in docs/ anew: every part below

validity-parity: $(STAMP) ## Every metric against its twin (seconds)
	$(BIN)/python tests/validity/parity.py

validity-libraries: $(STAMP) ## Metrics against other people's libraries (seconds)
	$(BIN)/python tests/validity/libraries.py

validity-pitfalls: $(STAMP) ## Put in every pitfall that can be put in, and see it caught
	$(BIN)/python -m pytest -q tests/pitfalls
	$(BIN)/python tests/pitfalls/page.py

# What these were interrupted in the midst of, they take up again out of build/validity.
validity-response: $(STAMP) ## Turn every dial of defects and see how every metric answers
	$(BIN)/python tests/validity/response.py $(KEPT)

validity-adversaries: $(STAMP) ## Set pictures that obey nothing beside the boards' methods
	$(BIN)/python tests/validity/adversaries.py $(KEPT)

validity-gates: $(STAMP) ## Simulate how often a gate is right
	$(BIN)/python tests/validity/gate_calibration.py $(KEPT)

validity-coverage: $(STAMP) ## Simulate how often an interval holds the true value
	$(BIN)/python tests/validity/coverage.py $(KEPT)

docs: $(STAMP) ## Write docs/cli.md anew from the command itself
	$(BIN)/python -m layoutmark.cli.docs

stack-mini: $(STAMP) ## Train the miniature stack anew (hours on two cores; resumes where it stopped)
	$(BIN)/layoutmark train stack --stack mini

clean: ## Remove caches and built wheels; runs, training checkpoints and .venv stay
	rm -rf dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
