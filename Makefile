# Emporium's commands. `make` alone prints them. Works with GNU make 3.81 and later, on Linux and
# macOS; nothing but Python 3.11 or newer is needed.

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
READY := $(VENV)/installed

N ?= 50
SEEDS ?= 200
WORKERS ?= 2
CLIENTS ?= 1,3,5,9
REQUESTS ?= 1000

# A set PYTHON is taken as it is; otherwise the first of these that is new enough.
PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python3.14)
GOOD_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help

##@ Start here

.PHONY: help
help: ## Print this list
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET [NAME=value ...]" } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## See the store lose its primary, go on selling, and prove it (3 minutes)
	@$(RUN) -m emporium demo $(ARGS)

.PHONY: up
up: $(READY) ## Start a store on this machine and stay with it (ARGS="--faults ...")
	@$(RUN) -m emporium up $(ARGS)

##@ Prove

.PHONY: scenarios
scenarios: $(READY) ## Run the scenarios against real processes (NAMES="05 09"; default all)
	@$(RUN) -m emporium scenarios $(NAMES) $(ARGS)

.PHONY: kill-loop
kill-loop: $(READY) ## Kill random replicas N times under load (N=50 SEED=1 SAFETY_ONLY=1)
	@$(RUN) -m emporium kill-loop --n $(N) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SAFETY_ONLY),--without-waiting) $(ARGS)

.PHONY: simulate
simulate: $(READY) ## Simulate the whole store under faults (SEEDS=200 SEED=1: the first seed)
	@cd services && ../$(RUN) -m tests.simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED)) \
	  $(ARGS)

##@ Measure

.PHONY: bench
bench: $(READY) ## Print ratios against a bare endpoint, and fail-over times
	@$(RUN) -m emporium bench $(ARGS)

.PHONY: evaluate
evaluate: $(READY) ## Latency per tier, with and without cache (CLIENTS=1,3,5,9 REQUESTS=1000)
	@$(RUN) -m emporium evaluate --clients $(CLIENTS) --requests $(REQUESTS) $(ARGS)

##@ Develop

.PHONY: venv
venv: $(READY) ## Make .venv with the locked requirements (the other targets do it themselves)

.PHONY: check
check: $(READY) ## Lint, format, types, and the repository's own rules; all four, then the verdict
	@failed=""; \
	echo "== ruff check"; $(BIN)/ruff check . || failed="$$failed lint"; \
	echo "== ruff format --check"; $(BIN)/ruff format --check . || failed="$$failed format"; \
	echo "== mypy"; $(BIN)/mypy || failed="$$failed types"; \
	echo "== tidy"; $(RUN) -m pytest -q services/tests/test_tidy.py || failed="$$failed tidy"; \
	if [ -n "$$failed" ]; then echo "make check: failed:$$failed"; exit 1; fi; \
	echo "make check: all good"

.PHONY: format
format: $(READY) ## Format the code, and fix what can be fixed safely
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --exit-zero --quiet .

.PHONY: test
test: $(READY) ## Run all tests (TESTS=services/tests/unit WORKERS=2)
	@$(RUN) -m pytest -n $(WORKERS) --dist loadgroup $(TESTS) $(ARGS)

.PHONY: coverage
coverage: $(READY) ## Run the tests that need no processes, and print what they don't reach
	@mkdir -p output
	@$(BIN)/coverage run -m pytest -q -m "not local" $(TESTS) $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

.PHONY: lock
lock: ## Lock requirements/*.in again, for every platform (needs uv)
	@command -v uv >/dev/null || { echo "make lock: needs uv (pip install uv)" >&2; exit 1; }
	@for name in runtime client dev aws-stand-in checkov; do \
	  echo "locking requirements/$$name.txt"; \
	  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

.PHONY: clean
clean: ## Remove what can be made again: .venv, output, caches (never a store's data)
	rm -rf $(VENV) output build dist services/*.egg-info .hypothesis .mypy_cache .pytest_cache \
	  .ruff_cache
	find services -name __pycache__ -type d -prune -exec rm -rf {} +

include images/images.mk charts/chart.mk k8s-tests/cluster/cluster.mk k8s-tests/e2e.mk terraform/aws.mk

# The environment: plain venv and pip, every package checked against its hash. The stamp is
# written last, so that an interrupted set-up starts again.
$(READY): requirements/dev.txt
	@python=""; \
	for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c "$(GOOD_ENOUGH)" >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: needs Python 3.11 or newer with its venv module; tried: $(CANDIDATES)." >&2; \
	  echo "make: install one (on Debian and Ubuntu also python3-venv), or say which:" >&2; \
	  echo "make:   make PYTHON=/path/to/python3 ..." >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$python" --version) (once; about a minute) ..."; \
	"$$python" -m venv --clear $(VENV)
	@echo "Installing the locked requirements ..."
	@$(RUN) -m pip --disable-pip-version-check install --quiet --require-hashes \
	  -r requirements/dev.txt
	@echo "Installing emporium from this folder ..."
	@$(RUN) -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation \
	  --no-index --editable .
	@touch $(READY)
	@echo "$(VENV) is ready."
