# The two commands that matter are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/synapse
# Shared by every checkout: a clean clone builds what changed, not the world.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export SYNAPSE_CACHE := $(CACHE)

.PHONY: help deps check test fuzz deny advisories crds images bench bench-cache demo demo-down

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install what building and testing need (Debian packages, cargo-deny)
	@e2e/deps

check: deps ## The fast part: formatting, lints, unit and property tests
	@e2e/verify format lint unit

test: deps ## Everything: check, dependencies' licences and arrows, real Redis, chart, a real cluster
	@e2e/verify

deny: deps ## Licences, bans (the arrows between crates) and sources
	@e2e/verify deny

fuzz: ## Fuzz the decoders, the arena and the warm file, FUZZ_SECONDS each (60); what fails is kept in the cache
	@fuzz/run

advisories: deps ## Known vulnerabilities of the dependencies (needs the advisory database)
	@"$(CACHE)/tools/bin/cargo-deny" check advisories

crds: ## Regenerate crds/ and what is derived from the kinds
	@cargo run -q -p synapse-operator --bin crdgen
	@charts/sync-crds

images: ## Build both container images without a Docker engine (into the cache)
	@e2e/build-images

bench: deps ## Measure everything in one run and write docs/benchmarks.md (CLUSTER=name: the injector on it too)
	@cargo build --release --quiet -p synapse-sidecar -p synapse-operator
	@CLUSTER="$(CLUSTER)" bench/run

bench-cache: deps ## Measure beside redis-server, Valkey and memcached (BENCH=--short: see that it works, in a few minutes)
	@bench/deps
	@bench/cache_test
	@cargo build --release --quiet -p synapse-sidecar -p synapse-load
	@cargo build --release --quiet -p synapse-arena --examples
	@bench/cache --sidecar "$(CARGO_TARGET_DIR)/release/synapse-sidecar" --load "$(CARGO_TARGET_DIR)/release/synapse-load" $(BENCH)

# Only a KUBECONFIG given to make itself means a cluster of yours, not one that happens to be exported.
theirs = $(if $(filter command,$(firstword $(origin KUBECONFIG))),--kubeconfig "$(KUBECONFIG)")

demo: ## Bring up a cluster and tell the whole story in it
	@e2e/demo $(theirs)

demo-down: ## Remove the demo and its cluster
	@e2e/demo down $(theirs)
