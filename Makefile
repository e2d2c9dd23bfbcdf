# Set-up, demo, tests and checks. No environment has to be activated.
PYTHON ?= python3
BIN := .venv/bin
# What runs need is installed; what tests and checks need is, too.
INSTALLED := .venv/installed
READY := .venv/ready
export TORCH_EXTENSIONS_DIR := $(CURDIR)/.venv/torch_extensions
# Material's advertisement of its successor.
export NO_MKDOCS_2_WARNING := 1

# Two ranks: on two GPUs, on the only GPU there is (then one rank), or on the CPU.
RANKS ?= $(shell $(BIN)/python -c 'import torch; print(min(torch.accelerator.device_count(), 2) or 2)')
PORT ?= $(shell $(BIN)/python -c 'import socket; print(socket.create_server(("", 0)).getsockname()[1])')

.PHONY: setup demo test check site reliability

setup: $(READY)

# An old pip (Debian 12 has 23.0) cannot build what has no wheel, as seqeval, hence --upgrade-deps.
# PyTorch comes first and is left alone where it can be imported: which build fits is the user's
# choice (TORCH_INDEX_URL, or a torch already in .venv), so that one is pinned for all the rest.
$(INSTALLED): pyproject.toml constraints-ci.txt
	test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps .venv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install \
		$(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) -c constraints-ci.txt torch
	$(BIN)/python -c 'from importlib.metadata import version as v; print("torch==" + v("torch"))' \
		> .venv/constraints.txt
	grep -v '^torch==' constraints-ci.txt >> .venv/constraints.txt
	$(BIN)/python -m pip install -c .venv/constraints.txt -e .
	$(BIN)/python -c 'from ptv2_scale.engine.jit import prepare_extensions as p; p()'
	touch $@

$(READY): $(INSTALLED)
	$(BIN)/python -m pip install -c .venv/constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)
	@n=1; while [ -e runs/demo.$$n ]; do n=$$((n + 1)); done; \
		[ ! -e runs/demo ] || { mv runs/demo runs/demo.$$n && echo "runs/demo is now runs/demo.$$n"; }
	$(BIN)/deepspeed --quiet --num_gpus $(RANKS) --master_port $(PORT) --module ptv2_scale train demo

# By two processes: the tests of launchers wait more than they compute. tests/conftest.py deals.
test: setup
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/codespell
	$(BIN)/hadolint launch/Containerfile
	$(BIN)/mkdocs build --strict

# The documentation as a site, in build/site.
site: setup
	$(BIN)/mkdocs build --strict

# All of what make test has a sample of: faults, hosts, launchers, Slurm, hostile input. About an hour and
# a half on two cores.
SEEN := .venv/reliability
reliability: setup
	rm -rf $(SEEN) && mkdir $(SEEN)
	PTV2_SCALE_EVERYTHING=1 $(BIN)/python -m pytest tests/reliability tests/engine tests/launchers \
		tests/methods tests/sweep tests/test_token_tasks.py tests/test_gpu_benchmark.py \
		--seen $(SEEN)/seen.json
	PTV2_SCALE_EXAMPLES=200 $(BIN)/python -m pytest tests/hostile --tally $(SEEN)/tally.json
	$(BIN)/python benchmarks/checkpoints.py $(SEEN)/work > $(SEEN)/benchmark.md
	$(BIN)/python tests/reliability/page.py $(SEEN)/seen.json $(SEEN)/tally.json \
		$(SEEN)/benchmark.md > docs/reliability.md
