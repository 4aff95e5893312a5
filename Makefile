# Two commands: `make demo` shows the main job on the local cloud, `make test` runs the tests. Both set up what they
# need: an environment in .venv, from PyPI, with the versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CDK := $(VENV)/.cdk
XDIST ?= 2

.PHONY: demo test slow check format rows docs bench bench-client bench-gateway synth clean

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py

test: $(CDK)
	$(BIN)/pytest -m "not slow" -n $(XDIST) --dist loadgroup

slow: $(CDK)
	$(BIN)/pytest -m slow

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/rows.py --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

rows: $(STAMP)
	$(BIN)/python scripts/rows.py

docs: $(STAMP) rows
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/exit_codes.py
	$(BIN)/python scripts/calls.py
	$(BIN)/python scripts/authorization.py
	$(BIN)/python scripts/policies.py
	$(BIN)/python scripts/schema.py

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llm_deploy needs Python 3.11 or newer")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (about a minute the first time)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The CDK and its Node are 650 MB that only synth and its tests need.
$(CDK): $(STAMP)
	@echo "adding the CDK to $(VENV) (half a minute the first time)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,cdk-dev]' >&2
	@touch $@

# The stack's template on standard output: `make -s synth CONFIG=configs/twin.yaml`, or with ARGS="--with-roles".
CONFIG ?= configs/twin.yaml
synth: $(CDK)
	@$(BIN)/python -m infra.synth $(CONFIG) $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.run

# The data path beside its peers, which pip installs into environments of their own; ARGS=--quick takes three minutes.
bench-client: $(STAMP)
	@$(BIN)/python -m benchmarks.client_calls $(ARGS)

bench-gateway: $(STAMP)
	@$(BIN)/python -m benchmarks.gateway $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo
