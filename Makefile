# The front: installs what is missing, and calls the project's own build
# (meson.build). `make help` lists what there is.
#
# SPDX-License-Identifier: GPL-2.0-or-later

# The build that is wanted: the plain one has no name.
SANITIZE ?=
kind := $(if $(filter thread,$(SANITIZE)),tsan,\
        $(if $(filter-out 0 no,$(SANITIZE)),sanitize))
flag := $(kind:%=--%)
project := build/$(kind:%=%/)project

# One thing after the other; ninja does the rest on all cores.
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
ninja := ninja --quiet -C $(project)
prepare := @scripts/project $(flag)
check := scripts/check $(flag)

suites := unit qtest interop build fuzz

all: ## build QEMU with the series, into build/bin (the default)
	$(prepare) build run
	@$(ninja) qemu

demo: ## migrate a real Linux guest live over stream version 4
	$(prepare) build run
	@$(ninja) demo

check: ## everything that proves the project
	$(prepare) build run test fuzz
	@$(check) $(suites)

$(suites:%=check-%): check-%: ## a part of it
	$(prepare) build run test $(filter fuzz,$*)
	@$(check) $*

check-device: ## DEVICE=NAME alone, SEED=1 or another; all without DEVICE
	$(prepare) build run test
	@$(ninja) check-device

accept-wire-format: ## put what is sent now on record, in tests/wireformat
	$(prepare) build run test
	@$(ninja) accept-wire-format

compat: ## what moves between the distribution's QEMU and ours, as a table
	$(prepare) build run test
	@$(ninja) compat

fuzz: ## look for bytes that break it, FUZZ_SECONDS (3600) for each fuzzer
	$(prepare) build run test fuzz
	@$(ninja) fuzz

bench: ## measure against the distribution's QEMU (an hour, quiet machine)
	$(prepare) build run test
	@$(ninja) bench

tree: ## assemble or update build/tree, QEMU's source with the series
	@scripts/deps build
	@scripts/tree

refresh: ## rewrite patches/ from the commits in build/tree
	@scripts/refresh

tree-reset: ## drop what build/tree has beyond patches/
	@scripts/tree reset

check-series: ## build QEMU after each patch of the series (slow)
	$(prepare) build run
	@scripts/check-series

clean: ## remove build/, with all that was fetched and built
	@scripts/clean

help: ## this list
	@scripts/help

.PHONY: all demo check $(suites:%=check-%) check-device accept-wire-format compat fuzz \
        bench tree refresh tree-reset check-series clean help
