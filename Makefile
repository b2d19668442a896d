# The two commands for everybody: `make demo` and `make test`. Both install what they need (Debian, as root).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build demo test bench ebpf ebpf-check fuzz coverage deny docs clean-lab

help:
	@echo "make demo              the story of a VIP, on real packets and a real router (KEEP=1 leaves the lab up)"
	@echo "make test              every check: format, lints, unit, property, lab, VM, eBPF object, fuzz smoke"
	@echo "make bench [ONLY=name] benchmarks, printed with their method; also target/bench.jsonl (health takes 10 minutes"
	@echo "                       for each of two kinds of check, or TIME=seconds)"
	@echo "make build             the daemon and its client, release build, in target/release"
	@echo "make ebpf              rebuild xdp/bpf/vc5.o from source"
	@echo "make fuzz [TIME=60]    run each fuzz target for TIME seconds"
	@echo "make coverage          lines of the BGP codec and session machine that tests reach"
	@echo "make deny              licences, bans and sources of all dependencies"
	@echo "make clean-lab         remove what a killed demo left behind"

build:
	cargo build --locked --release -p vc5d

demo:
	@.ci/install demo
	cargo build --locked -p vc5d -p vc5-conformance
	@KEEP=$(KEEP) target/debug/demo

clean-lab:
	target/debug/demo --clean

test:
	@.ci/install test
	@.ci/test

bench:
	@.ci/install demo
	cargo build --locked --release -p vc5d -p vc5-conformance
	cargo build --locked --release --manifest-path conformance/peers-bench/Cargo.toml
	target/release/bench $(if $(ONLY),--only $(ONLY)) $(if $(TIME),--seconds $(TIME))

ebpf:
	@.ci/install ebpf
	ebpf/build.sh

ebpf-check:
	@.ci/install ebpf
	ebpf/build.sh --check

fuzz:
	@.ci/install fuzz
	fuzz/run.sh max_total_time=$(or $(TIME),60)

coverage:
	@.ci/install coverage
	@.ci/coverage

deny:
	@.ci/install deny
	cargo deny --locked check bans licenses sources
