# One target for each thing that people do; what is missing is set up first.
# Everything is built in build/<preset>, see CMakePresets.json.

PRESET ?= release
JOBS   ?= $(shell nproc)
DIR    ?=
SETUP  := .ci/setup
OUT    := build/$(PRESET)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test soak bench check build format clean
MAKEFLAGS += --no-print-directory

help: ## Show this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) \
	  | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

demo: ## Build and run the demo; DIR=/some/folder chooses the files
	@$(SETUP) build
	@.ci/build $(PRESET) $(JOBS) coopcache-demo
	@$(OUT)/apps/coopcache-demo $(if $(DIR),"$(DIR)")

test: ## Build and run every test
	@$(SETUP) test
	@.ci/build $(PRESET) $(JOBS)
	@.ci/alone $(OUT) ctest --preset $(PRESET) --parallel $(JOBS)

soak: ## Build and run 10 000 simulated clusters (ten minutes)
	@$(SETUP) test
	@.ci/build $(PRESET) $(JOBS) test-sim
	@COOPCACHE_SEEDS=10000 $(OUT)/test/test-sim --test-case='whatever happens*'

bench: ## Build and run the benchmarks (quiet machine, two minutes)
	@$(SETUP) bench
	@.ci/build $(PRESET) $(JOBS) coopcache-bench -DCOOPCACHE_BENCH=ON
	@$(OUT)/apps/coopcache-bench --benchmark_out=build/bench.json
	@echo "all rounds: build/bench.json"

check: ## Sanitizers, second compiler, linters, fuzzing (after make test)
	@$(SETUP) test check
	@.ci/check $(JOBS)

build: ## Build all without running anything
	@$(SETUP) build
	@.ci/build $(PRESET) $(JOBS)

format: ## Format all sources
	@$(SETUP) check
	@.ci/sources | xargs clang-format -i

clean: ## Remove all that was built here (not CAF)
	@rm -rf build
