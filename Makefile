# Two commands: `make demo` and `make test`. Everything else is a part of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test check format unit docs bench weights start mamlviapp clean

demo: $(VENV)/run
	$(BIN)/menura demo

test: check unit docs

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: $(VENV)/dev weights
	$(BIN)/python -m pytest

docs: $(VENV)/dev
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: $(VENV)/bench weights
	$(BIN)/python -m benchmarks

weights: $(VENV)/run
	$(BIN)/menura base pull smollm2-135m

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The pinned torch comes first: unpinned, another package could ask for a build with several GB of CUDA.
$(VENV)/run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e .
	touch $@

$(VENV)/dev: $(VENV)/run
	$(PIP) -e ".[dev]"
	touch $@

# learn2learn has no wheel and its compiled parts do not build: its source is unpacked, and its Python imported from there.
$(VENV)/bench: $(VENV)/dev benchmarks/peers.txt
	$(PIP) -e ".[bench]"
	$(BIN)/python -m pip --disable-pip-version-check download --quiet --no-deps -r benchmarks/peers.txt -d build/peers
	tar -xzf build/peers/learn2learn-0.2.0.tar.gz -C build/peers
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Rebuilds the start that ships (about an hour and a half on two cores); docs/results/start.md tells what came out.
start: $(VENV)/run weights
	$(BIN)/menura train start/warm
	$(BIN)/menura train start/pooled
	$(BIN)/menura train start/meta
	$(BIN)/python -m menura.experiments.ship_start

# Every row of MAMLviaPP's table and its curves (docs/results/mamlviapp.md); needs the corpus: menura data add convai2 FILE …
SIZE ?= cpu
ROWS := reinit reinit_maml transfer transfer_tuned in_place extra_place extra_place_unfixed
JUDGED := -k 1,3,5 --protocol leave-one-out --queries 1 --personas 16 --epochs 1,2 --metrics ppl,ppl-word

mamlviapp: $(VENV)/run weights
	$(PIP) -e ".[plot]"
	for row in $(ROWS); do $(BIN)/menura train mamlviapp/$$row --size $(SIZE) --out runs/$$row || exit; done
	$(BIN)/menura train mamlviapp/extra_place --size $(SIZE) --set method=finetune --out runs/extra_place_pooled
	for row in $(ROWS) extra_place_pooled; do $(BIN)/menura eval runs/$$row $(JUDGED) || exit; done
	$(BIN)/menura eval mamlviapp/prompt --size $(SIZE) --prompt $(JUDGED)
	$(BIN)/menura report $(foreach row,$(ROWS) extra_place_pooled,results/runs-$(row)) --out results/mamlviapp
