# make demo: simulate, classify, score and name the report. make test: everything that CI runs.
# make test-gpu: PyTorch's engines too, on the device that CRYOISAC_TEST_DEVICE names (the processor by default).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-gpu lint types layers unit develop clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

demo: $(BIN)/python
	$(BIN)/pip install --quiet .
	$(BIN)/cryoisac simulate demo/particles --views 10 --per-view 60 --box 64 --snr 0.3
	$(BIN)/cryoisac isac demo/particles/particles.star demo/isac --radius 27 --img-per-grp 60 --minimum-grp-size 18
	$(BIN)/cryoisac score demo/isac demo/particles/truth.csv
	@echo "Open demo/isac/report.html to see the class averages."

test: $(BIN)/python
	$(BIN)/pip install --quiet ".[test]"
	$(MAKE) lint types layers unit

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy src/cryoisac

layers:
	$(BIN)/lint-imports

unit:
	$(BIN)/python -m pytest -m "not long"

test-gpu: $(BIN)/python
	$(BIN)/pip install --quiet ".[test,gpu]"
	$(BIN)/python -m pytest -m "torch and not long"

develop: $(BIN)/python
	$(BIN)/pip install --quiet scikit-build-core nanobind
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[test]"

clean:
	rm -rf $(VENV) build demo
