# make demo: the environment, the package, and the main job on the demo that ships with it
# make test: the environment, the package as a wheel, all tests, and the engine's under the CPU's older kernels
# make test-fast: the tests that launch and train nothing, and the engine's verdicts under every instruction set
# make test-cuda: the tests that need a CUDA device; on a GPU, .venv needs a CUDA build of torch
# make test-mutants: one small change of the package at a time, for each of which a fast test must fail
# make check: formatting, lint, types
# make docs: the documentation site, in site/
# make test-oldest: the tests on the oldest versions that pyproject.toml allows (a torch of that age brings gigabytes)
# make audit: known vulnerabilities of the pinned versions (asks PyPI)
# make fuzz: parsers, prompts, spans and byte tables, by Hypothesis and atheris, for FUZZ_SECONDS each

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find hf_core_bpb tasks -type f -not -path '*/__pycache__/*') pyproject.toml README.md LICENSE

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: demo test test-fast test-cuda test-mutants check fix wheel clean test-oldest audit fuzz

demo: $(VENV)/.installed
	$(BIN)/hf-core-bpb --output results/demo --overwrite

# Two processes with one thread each: more threads than cores wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2

# By file, so that tests share the runs of the command that a file begins with.
test: $(VENV)/.installed
	$(PYTEST) --dist loadfile
	$(BIN)/python tests/support/instruction_sets.py tests/scoring/test_engine.py tests/scoring/test_half_precision.py

test-fast: $(VENV)/.installed
	$(PYTEST) --dist worksteal -m "not slow and not instruction_sets"
	$(BIN)/python tests/support/instruction_sets.py

test-cuda: $(VENV)/.installed
	HF_CORE_BPB_SHOW_CUDA=1 $(BIN)/pytest -m cuda

test-mutants: $(VENV)/.installed
	$(BIN)/python tests/support/mutants.py

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

wheel: $(VENV)/.installed

$(VENV)/.dependencies: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet torch
	$(BIN)/pip install --quiet --group dev
	touch $@

# The wheel is built from the source distribution, so that both are known to hold what they should.
$(VENV)/.installed: $(VENV)/.dependencies $(SOURCES)
	rm -rf dist
	$(BIN)/python -m build --outdir dist . > $(VENV)/build.log || (cat $(VENV)/build.log; false)
	$(BIN)/pip install --quiet dist/*.whl
	$(BIN)/pip install --quiet --no-deps --force-reinstall dist/*.whl
	touch $@

TEST_TOOLS := bitsandbytes build gguf gradio hypothesis jsonschema peft playwright pytest pytest-xdist tensorboard
FUZZ_SECONDS ?= 600

# Said in front of each line: a variable of the target would hold for what it is made of too.
OLDEST := PIP_CONSTRAINT=$(CURDIR)/constraints-oldest.txt

test-oldest: $(VENV)/.installed
	$(PYTHON) -m venv $(VENV)-oldest
	$(OLDEST) $(VENV)-oldest/bin/pip install --quiet dist/*.whl $(TEST_TOOLS)
	$(OLDEST) $(subst $(BIN),$(VENV)-oldest/bin,$(PYTEST)) --dist loadfile

audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet pip-audit
	$(VENV)-audit/bin/pip-audit --disable-pip --no-deps --requirement constraints.txt

fuzz: $(VENV)/.installed
	$(BIN)/pip install --quiet atheris
	$(BIN)/python tests/support/fuzz.py $(FUZZ_SECONDS)

clean:
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-audit dist results site

# Every warning is an error. The site loads nothing from a network.
.PHONY: docs
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/.docs: $(VENV)/.dependencies
	$(BIN)/pip install --quiet --group docs
	touch $@
