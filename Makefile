# Each target sets up what it needs: a virtual environment for each Python, under .venv/, once.
# scripts/environments.py does that. The durations are those of two cores.
.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster serve test test-rest test-all quick check bench bench-instructions docs figures lock clean

# Any Python from 3.9 up can start; scripts/interpreters.py then looks for the ones to work with.
BOOT = $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 && echo $$python && break; \
	done),$(error No Python was found: install Python 3.11 or newer, with venv))
PY = $(BOOT) scripts/environments.py
SUITE = $(BOOT) scripts/suite.py

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a tour of the library in this terminal
	@$(PY) --timed -m examples.tour

demo-cluster: ## two workers behind nginx, and a Redis that crashes (installed if you are root): some seconds
	@$(BOOT) scripts/system_packages.py redis-server nginx
	@$(PY) --timed -m examples.cluster

serve: ## the applications of the tour, served for you to try
	@$(PY) -m examples.tour --serve

test: ## the tests on one Python, without real peers: five minutes after the set-up
	@$(SUITE) test $(ARGS)

test-rest: ## real peers (installed if you are root), coverage, the other Pythons: 16 minutes, and 4 for each other Python
	@$(SUITE) rest $(ARGS)

test-all: ## both, in no more time than test-rest, which otherwise repeats the tests for their coverage
	@$(SUITE) all $(ARGS)

quick: ## a part of the tests on one Python: make quick ARGS="-k basic"
	@$(SUITE) quick $(ARGS)

check: ## format, lint, types, layers, links, documentation and instruction counts
	@$(PY) --timed scripts/check.py

bench: ## what requests, logins and key servers cost, beside other libraries: twelve minutes; one part: ARGS="requests"
	@$(BOOT) scripts/system_packages.py wrk redis-server
	@$(PY) --bench --timed -m benchmarks $(ARGS)

bench-instructions: ## the instructions of one request on each path, beside the committed ones: ARGS="--only digest"
	@$(BOOT) scripts/system_packages.py valgrind
	@$(PY) --timed -m benchmarks.instructions $(ARGS)

docs: ## the documentation as a site, site/html/index.html: half a minute; docs/conformance.md is written again first
	@$(PY) scripts/conformance_page.py
	@$(PY) --timed scripts/docs_site.py

figures: ## draw the figures of the documentation again, and record the demo; the plots are drawn by make bench
	@$(PY) scripts/figures.py

lock: ## write the files of pinned versions again, with the newest ones (needs the network)
	@$(BOOT) scripts/lock.py

clean: ## remove the environments and every cache
	rm -rf .venv dist .coverage .coverage.* .coverage_data .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache site
	find authguard benchmarks examples scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
