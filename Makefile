# One command each; `make help` lists them. PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
BIN := .venv/bin
# Each has a Redis, a MongoDB server and a suite of its own.
TEST_PROCESSES ?= 3

.PHONY: help run dev test lint proto bench costs profile lock
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Run the whole suite on this machine; Ctrl-C stops it
	@$(PYTHON) cli/environment.py run
	@exec $(BIN)/fastcms run

dev: ## Install what the targets below need, into the same .venv
	@$(PYTHON) cli/environment.py dev

test: dev ## Run every test; ARGS goes to pytest, as in ARGS='tests/unit -k rules'
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: dev ## Check style, types, the imports between services, and the protos
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/lint.py

proto: dev ## Generate the stubs beside the .proto files
	$(BIN)/python protos/generate.py

bench: dev ## Measure the suite beside its peers, and print the ratios; ARGS as in ARGS=--quick
	@$(BIN)/python bench/run.py $(ARGS)

costs: dev ## Print what requests cost on 1,000 records and on 1,000,000, on both engines; ARGS=--write keeps it
	@$(BIN)/python bench/costs.py $(ARGS)

profile: dev ## Show where the time of a request goes; ARGS as in ARGS='--kind list'
	@$(BIN)/python bench/profile.py $(ARGS)

lock: dev ## Pin the requirements of pyproject.toml anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
