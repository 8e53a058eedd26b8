# Everything is set up on the way: a virtual environment for each Python, under .venv/, once. See .ci/venvs.py.
.DEFAULT_GOAL := help
.PHONY: help demo serve test check bench docs lock clean

# Any Python that runs may start; .ci/venvs.py then looks for the one to work with.
BOOT = $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 && echo $$python && break; \
	done),$(error No Python was found: install Python 3.11 or newer, with venv))
PY = $(BOOT) .ci/venvs.py

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a tour of the library in this terminal
	@$(PY) -m examples.tour

serve: ## the applications of the tour, served for you to try
	@$(PY) -m examples.tour --serve

test: ## the test suite, on every Python 3.11 to 3.14 of this machine (ARGS="-k basic" for a part of it)
	@$(BOOT) .ci/matrix.py $(ARGS)

check: ## format, lint, types, layers and links
	@$(PY) .ci/check.py

bench: ## what requests, logins, digests and key servers cost, beside the peers
	@$(PY) -m benchmarks

docs: ## write docs/conformance.md anew, from the checklists and the markers on the tests
	@$(PY) .ci/conformance.py

lock: ## remake .ci/constraints.txt with the newest versions (needs the network)
	@$(BOOT) .ci/lock.py

clean: ## remove the environments and every cache
	rm -rf .venv dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find .ci authguard benchmarks examples tests -name __pycache__ -type d -prune -exec rm -rf {} +
