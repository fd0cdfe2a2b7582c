# sluice - GNU make. `make help` lists the targets.

BUILD   ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
CLANG   ?= clang
OPT     ?= -O2 -g
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)

WARNINGS  := -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
             -Wpointer-arith -Wvla
CPPFLAGS  += -D_GNU_SOURCE -DSLUICE_VERSION='"$(VERSION)"' -Isidecar -I.
CFLAGS    += -std=gnu17 $(OPT) $(WARNINGS) $(SANITIZE) -fno-strict-aliasing -fno-common -pthread \
             -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=. -MMD -MP
LDFLAGS   += $(SANITIZE) -pthread -Wl,-z,relro -Wl,--as-needed
# Optimised as a whole, where it is the program that people run: each request crosses many small
# files. Everything else (tests, sanitizers, clang) takes the ordinary half of the objects, and
# their warnings: across files, gcc takes -errno for a number that may be 0.
LTO       ?= $(if $(SANITIZE)$(filter-out gcc,$(CC)),,-flto=auto -fno-plt -Wno-maybe-uninitialized)
LDLIBS    += -lev -lcares -lyaml -ljansson -lnghttp2 -lpcre2-8 -lssl -lcrypto -lm

# Everything but the program's own main goes into one archive, which the tests link too.
SOURCES   := $(filter-out sidecar/main.c,$(wildcard sidecar/*.c sidecar/*/*.c policies/*.c canary/*.c healthcheck/*.c))
OBJECTS   := $(SOURCES:%.c=$(BUILD)/obj/%.o)
LIBRARY   := $(BUILD)/libsluice.a
PROGRAM   := $(BUILD)/sluice

UNIT_SRC  := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN  := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/unit/%)
TOOL_SRC  := $(wildcard tests/load/*.c tests/bench/*.c tests/scenario/*.c)
LOAD_LIB  := $(wildcard tests/load/lib/*.c)
TOOL_BIN  := $(TOOL_SRC:tests/%.c=$(BUILD)/tools/%)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN  := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/fuzz/%)

# What `make format` and the linters look at.
C_DIRS    := $(wildcard sidecar policies canary healthcheck tests)
C_FILES    = $(shell find $(C_DIRS) -name '*.[ch]' | sort)

# Debian bookworm's names. What the program alone needs to be built, as in the Dockerfile:
DEPS_BUILD := gcc libc6-dev make libev-dev libyaml-dev libjansson-dev libpcre2-dev libnghttp2-dev \
              libssl-dev libc-ares-dev libcurl4-openssl-dev uthash-dev ca-certificates
DEPS       := $(DEPS_BUILD) clang libclang-rt-14-dev llvm clang-format clang-tidy cppcheck \
              libcmocka-dev python3 python3-pytest python3-venv util-linux procps curl man-db openssl \
              nftables iproute2
DEPS_GO    := $(DEPS) golang-go
DEPS_K8S   := $(DEPS) containerd runc containernetworking-plugins
DEPS_BENCH := $(DEPS) haproxy nginx libnginx-mod-stream nghttp2-proxy nghttp2-client \
              nghttp2-server wrk linux-perf

# Each run of tests leaves its counts here; `make test` adds them up.
RESULTS   := $(BUILD)/results
PYTHON    ?= $(shell for p in python3 /usr/bin/python3; do \
                 $$p -c 'import pytest' 2>/dev/null && echo $$p && break; done)
PYTEST_ARGS ?=

.PHONY: all
all: $(PROGRAM) ## The program, build/sluice (the default)

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' $(firstword $(MAKEFILE_LIST)) | \
	    while read -r target what; do printf '  %-14s %s\n' "$$target" "$$what"; done
	@echo '  Variables: BUILD=build V=0 CC=gcc OPT="-O2 -g" SANITIZE= PREFIX=/usr/local DESTDIR= FUZZ_SECONDS=60 JOBS=2 SHARDS=8'

# --- building ---------------------------------------------------------------------------------

# A line for each file; V=1 shows the commands.
V      ?= 0
ifeq ($(V),0)
Q       = @echo "  $(1) $@";
else
Q       =
endif

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call Q,CC  )$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(LTO),$(LTO) -ffat-lto-objects) -c -o $@ $<

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	$(call Q,AR  )$(AR) rcs $@ $^

$(PROGRAM): $(BUILD)/obj/sidecar/main.o $(LIBRARY)
	$(call Q,LINK)$(CC) $(if $(LTO),$(CFLAGS) $(LTO)) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/unit/%: tests/unit/%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call Q,TEST)$(CC) $(CPPFLAGS) $(CFLAGS) -MF $@.d -o $@ $< $(LIBRARY) -fno-lto $(LDFLAGS) -lcmocka $(LDLIBS)

$(BUILD)/tools/load/%: tests/load/%.c $(LOAD_LIB) sidecar/base/str.c $(wildcard tests/load/lib/*.h)
	@mkdir -p $(@D)
	$(call Q,TOOL)$(CC) $(CPPFLAGS) $(CFLAGS) -MF $@.d -o $@ $(filter %.c,$^) $(LDFLAGS) -lm

$(BUILD)/tools/load/open: tests/load/open.c $(wildcard tests/load/open/*.[ch]) tests/load/lib/response.c sidecar/base/str.c
	@mkdir -p $(@D)
	$(call Q,TOOL)$(CC) $(CPPFLAGS) -Itests/load $(CFLAGS) -MF $@.d -o $@ $(filter %.c,$^) $(LDFLAGS) -lnghttp2 -lm

# What measures parts of the program itself.
$(BUILD)/tools/bench/config: tests/bench/config.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call Q,TOOL)$(CC) $(CPPFLAGS) $(CFLAGS) -MF $@.d -o $@ $< $(LIBRARY) -fno-lto $(LDFLAGS) $(LDLIBS)

$(BUILD)/tools/%: tests/%.c
	@mkdir -p $(@D)
	$(call Q,TOOL)$(CC) $(CPPFLAGS) $(CFLAGS) -MF $@.d -o $@ $< $(LDFLAGS) -lm

$(BUILD)/tools/soak/%.so: tests/soak/%.c
	@mkdir -p $(@D)
	$(call Q,TOOL)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -shared -MF $@.d -o $@ $< $(LDFLAGS) -ldl

.PHONY: tools unit-bins
tools: $(TOOL_BIN) ## The load client and the other C tools of the tests
unit-bins: $(UNIT_BIN)

.PHONY: clang
clang: ## Everything compiled by clang too, in build/clang
	$(MAKE) BUILD=$(BUILD)/clang CC=$(CLANG) \
	    WARNINGS="-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes" \
	    all tools unit-bins

# --- packages ---------------------------------------------------------------------------------

.PHONY: deps deps-build deps-bench deps-k8s
deps: ## Installs the Debian packages that building and testing need
	@.ci/deps $(DEPS)
deps-build: ## Those that building alone needs
	@.ci/deps $(DEPS_BUILD)
deps-k8s: ## The same, and what a Kubernetes node needs
	@.ci/deps $(DEPS_K8S)
deps-bench: ## The same, and the proxies that `make bench` compares with
	@.ci/deps $(DEPS_BENCH)

# --- tests ------------------------------------------------------------------------------------

# Recipes call make again where an order matters, so that `make -j2 test` is safe.
.PHONY: test check unit scenario
test: ## deps, build, unit and scenario tests; the last line says how many passed
	@$(MAKE) --no-print-directory deps
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory all tools unit-bins
	@$(MAKE) --no-print-directory check

check:
	@$(MAKE) --no-print-directory unit || true
	@$(MAKE) --no-print-directory scenario || true
	@$(PYTHON) tests/run.py sum $(RESULTS)/unit $(RESULTS)/scenario

unit: $(UNIT_BIN) ## The cmocka tests in tests/unit, two programs at a time
	@$(PYTHON) tests/run.py units $(RESULTS)/unit $(UNIT_BIN)

# All of them: eight files at a time, for most of them wait. With PYTEST_ARGS: one pytest, and its output as it comes.
scenario: $(PROGRAM) $(TOOL_BIN) venv ## The tests over raw sockets in tests/scenario (PYTEST_ARGS="-k drain")
	@BUILD=$(BUILD) SANITIZE="$(SANITIZE)" $(PYTHON) tests/run.py \
	    $(if $(PYTEST_ARGS),pytest,shards) $(RESULTS)/scenario tests/scenario $(PYTEST_ARGS)

# Python packages that Debian has not: in a directory of their own. Where they cannot be had, the
# tests that need them fail, and all others run.
VENV := build/venv
.PHONY: venv
venv: $(VENV)/ready
$(VENV)/ready: tests/requirements.txt .ci/venv
	@.ci/venv $(VENV) $(PYTHON) tests/requirements.txt || echo "the tests of the JSON Schema, HTTP/2 and gRPC will fail"

# Go programs that the tests speak with, as tests/go/go.mod pins them.
GOBIN := build/gobin
$(GOBIN)/%: tests/go/go.mod tests/go/go.sum .ci/go-tools
	@.ci/deps $(DEPS_GO)
	$(call Q,GO  ).ci/go-tools $(GOBIN) $*

.PHONY: h2spec
h2spec: $(PROGRAM) $(GOBIN)/h2spec ## HTTP/2 conformance by h2spec, plain and by TLS, each with --strict too
	@BUILD=$(BUILD) $(PYTHON) tests/h2spec/run.py $(H2SPEC_ARGS)

.PHONY: grpc-interop
grpc-interop: $(PROGRAM) $(GOBIN)/grpc-interop-client $(GOBIN)/grpc-interop-server ## grpc-go's interoperability tests, directly and through sluice
	@BUILD=$(BUILD) $(PYTHON) tests/e2e/grpc_interop.py $(INTEROP_ARGS)

.PHONY: websocket-conformance
websocket-conformance: $(PROGRAM) venv ## The families of Autobahn's WebSocket tests, directly and through sluice
	@BUILD=$(BUILD) $(VENV)/bin/python tests/e2e/websocket_conformance.py $(WEBSOCKET_ARGS)

# A real node (tests/k8s/up.sh). Its programs are built once, into K8S_BIN (~/.cache/sluice-k8s/bin).
.PHONY: test-k8s test-k8s-run
test-k8s: ## The pod of docs/guide/kubernetes.md on a real Kubernetes node (K8S_ROLLOUTS=20: the long run); root, Go 1.25
	@if ! why=$$(tests/k8s/can-run.sh --build --early); then echo "test-k8s: skipped: $$why"; \
	    elif $(MAKE) --no-print-directory deps-k8s && ! why=$$(tests/k8s/can-run.sh --build); then \
	        echo "test-k8s: skipped: $$why"; \
	    else $(MAKE) --no-print-directory test-k8s-run; fi
test-k8s-run: image tools venv $(GOBIN)/grpc-interop-server
	@tests/k8s/build.sh
	@rm -f $(RESULTS)/k8s
	@BUILD=$(BUILD) $(PYTHON) tests/run.py pytest $(RESULTS)/k8s -s tests/k8s $(PYTEST_ARGS) || true
	@$(PYTHON) tests/run.py sum $(RESULTS)/k8s

.PHONY: soak
soak: $(PROGRAM) $(TOOL_BIN) ## The long run: a million requests, 50 drains, 20 kills, 50 upgrades, 500 reloads (SOAK_ARGS=--short: a minute)
	@BUILD=$(BUILD) $(PYTHON) tests/soak/soak.py $(SOAK_ARGS)

.PHONY: soak-endpoints
soak-endpoints: $(PROGRAM) $(TOOL_BIN) ## What clients see of endpoints that are killed, unreachable, slow or answer 500, and of retries (ENDPOINTS_ARGS="--short killed"); root
	@BUILD=$(BUILD) $(PYTHON) tests/soak/endpoints.py $(ENDPOINTS_ARGS)

.PHONY: soak-overload
soak-overload: $(PROGRAM) $(TOOL_BIN) ## Three times what an upstream can do, with an adaptive limit, with fixed ones and with none: 60 s each (OVERLOAD_ARGS="--short adaptive-h1")
	@BUILD=$(BUILD) $(PYTHON) tests/soak/overload.py $(OVERLOAD_ARGS)
.PHONY: soak-scale
soak-scale: $(PROGRAM) $(TOOL_BIN) $(BUILD)/tools/soak/turns.so ## Memory and the longest turn of a loop with 1,000 routes, 5,000 endpoints and a million rate-limit keys (SCALE_ARGS=--short)
	@BUILD=$(BUILD) $(PYTHON) tests/soak/scale.py $(SCALE_ARGS)

.PHONY: test-kills
test-kills: $(PROGRAM) ## Sessions of an application that is killed, and of a sluice that is: 1,000 kills of each kind (SLUICE_KILLS=N, KILLS_ARGS=--short)
	@BUILD=$(BUILD) $(PYTHON) tests/e2e/session_kills.py $(KILLS_ARGS)

.PHONY: test-order
test-order: $(PROGRAM) $(TOOL_BIN) ## Ends under load, of a child and of a pod: who is told when, and that nobody fails: 100 of each (SLUICE_ORDERS=N, ORDER_ARGS=--short)
	@BUILD=$(BUILD) $(PYTHON) tests/e2e/order.py $(ORDER_ARGS)

.PHONY: sanitize asan tsan
sanitize: ## The whole suite under ASan+UBSan, then under TSan
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory tsan

# gcc's -Wconversion sees conversions in what the sanitizers add; the plain build has it.
SANITIZED := OPT="-O1 -g -fno-omit-frame-pointer" WARNINGS="-Wall -Wextra -Werror -Wshadow"
# There the work counts, not the waiting.
asan tsan: export SHARDS ?= 6
asan:
	@$(MAKE) --no-print-directory suite BUILD=$(BUILD)/asan $(SANITIZED) \
	    SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=all"
tsan:
	@$(MAKE) --no-print-directory suite BUILD=$(BUILD)/tsan $(SANITIZED) SANITIZE="-fsanitize=thread"

.PHONY: suite
suite:
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory all tools unit-bins
	@$(MAKE) --no-print-directory check

# New inputs go to build/fuzz/found/<name>; what is worth keeping is copied to the corpus by hand.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS   := -fsanitize=address,undefined -fno-sanitize-recover=undefined

.PHONY: fuzz fuzz-bins fuzz-runs
fuzz: ## Each libFuzzer target for FUZZ_SECONDS (60); with -j2 two at a time
	@$(MAKE) --no-print-directory fuzz-runs BUILD=$(BUILD)/fuzzing CC=$(CLANG) OPT="-O1 -g" \
	    SANITIZE="-fsanitize=fuzzer-no-link $(FUZZ_FLAGS)" \
	    WARNINGS="-Wall -Wextra -Werror -Wshadow"
fuzz-bins: $(FUZZ_BIN)
fuzz-runs: $(FUZZ_SRC:tests/fuzz/fuzz_%.c=fuzz-run-%)

$(BUILD)/fuzz/%: tests/fuzz/fuzz_%.c $(LIBRARY)
	@mkdir -p $(@D)
	$(call Q,FUZZ)$(CC) $(CPPFLAGS) $(CFLAGS) -MF $@.d -fsanitize=fuzzer $(FUZZ_FLAGS) -o $@ $< $(LIBRARY) -fno-lto $(LDFLAGS) $(LDLIBS)

# The words of a target's language: <name>.dict, or that of the name's first part (h1_request: h1).
fuzz_dict  = $(firstword $(wildcard tests/fuzz/$(1).dict tests/fuzz/$(firstword $(subst _, ,$(1))).dict))

fuzz-run-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/found/$* tests/fuzz/corpus/$* $(BUILD)/crashes
	@echo "fuzz $*: $(FUZZ_SECONDS) s"
	@$< $(addprefix -dict=,$(call fuzz_dict,$*)) -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=$(BUILD)/crashes/$*- $(BUILD)/found/$* tests/fuzz/corpus/$* \
	    >$(BUILD)/$*.log 2>&1 || { tail -n 60 $(BUILD)/$*.log; exit 1; }
	@grep -E '^(Done|stat::number_of_executed)' $(BUILD)/$*.log | sed 's/^/fuzz $*: /'

# Of several threads at once too.
GCOV := OPT="-O0 -g" SANITIZE="--coverage -fprofile-update=atomic"

.PHONY: coverage coverage-policies coverage-run
coverage-policies: ## Lines and branches of policies/ and canary/ that their own unit tests reach: fails under 95 and 85 %
	@$(MAKE) --no-print-directory coverage-run BUILD=$(BUILD)/coverage-policies $(GCOV) \
	    SOURCES="$(wildcard sidecar/base/*.c policies/*.c canary/*.c)" \
	    UNIT_SRC="$(wildcard tests/unit/policies/test_*.c tests/unit/canary/test_*.c)"
coverage-run:
	@rm -rf $(RESULTS)
	@$(MAKE) --no-print-directory unit-bins
	@find $(BUILD) -name '*.gcda' -delete
	@$(MAKE) --no-print-directory unit
	@$(PYTHON) tests/coverage.py $(BUILD) policies canary --lines 95 --branches 85

coverage: ## Line coverage of the suite by gcov, a summary per file
	@$(MAKE) --no-print-directory suite BUILD=$(BUILD)/coverage $(GCOV)
	@cd $(BUILD)/coverage && find obj -name '*.gcda' | sort | xargs gcov -n 2>/dev/null | \
	    sed -n "/^File '\(sidecar\|policies\|canary\|healthcheck\).*\.c'/{N;s/\n/ /p}"

# --- the demo and the measurements ------------------------------------------------------------

.PHONY: demo demo-run bench
demo: ## deps, build, and the whole story in under a minute on loopback
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all tools
	@BUILD=$(BUILD) demo/demo.sh

demo-run: ## The demo's processes, left running, with curl lines to try
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory all tools
	@BUILD=$(BUILD) demo/demo.sh run

bench: ## CPU, system calls and memory against HAProxy, nginx and nghttpx
	@$(MAKE) --no-print-directory deps-bench
	@$(MAKE) --no-print-directory all tools
	@BUILD=$(BUILD) $(PYTHON) tests/bench/bench.py

.PHONY: bench-config
bench-config: $(BUILD)/tools/bench/config ## How long 20,000 routes take to build, and a request to find its own
	@$<

.PHONY: bench-reload
bench-reload: $(PROGRAM) $(TOOL_BIN) ## How long a reload of 1,000 and of 10,000 routes takes, under light load
	@BUILD=$(BUILD) $(PYTHON) tests/bench/reload.py

.PHONY: bench-policies
bench-policies: ## CPU per request with all policies on, beside none of them
	@$(MAKE) --no-print-directory deps-bench
	@$(MAKE) --no-print-directory all
	@BUILD=$(BUILD) $(PYTHON) tests/bench/policies.py

# --- how the code looks -----------------------------------------------------------------------

.PHONY: lint format format-check
lint: $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard policies/*.c canary/*.c)) ## Include layers, banned functions, the map of files, clang-tidy, cppcheck
	@$(PYTHON) tests/lint/layers.py $(BUILD)/obj
	@$(PYTHON) tests/lint/banned.py
	@$(PYTHON) tests/lint/map.py
	@mkdir -p $(BUILD)/lint
	@printf '%s\n' -D_GNU_SOURCE '-DSLUICE_VERSION="$(VERSION)"' -I$(CURDIR)/sidecar -I$(CURDIR) \
	    -std=gnu17 >$(BUILD)/lint/compile_flags.txt
	@$(PYTHON) tests/lint/tidy.py $(BUILD)/lint $(SOURCES) sidecar/main.c
	@echo "cppcheck"
	@cppcheck --quiet --std=c11 --inline-suppr --error-exitcode=1 -j2 \
	    --enable=warning,performance,portability --suppress=missingIncludeSystem \
	    --suppress=missingInclude --suppress=nullPointerRedundantCheck $(filter -D% -I%,$(CPPFLAGS)) $(SOURCES) sidecar/main.c

format: ## Rewrites the C files by .clang-format
	clang-format -i $(C_FILES)

format-check: ## Fails where `make format` would change something
	@clang-format --dry-run --Werror $(C_FILES)

# --- what the program tells of itself ---------------------------------------------------------

.PHONY: docs man
docs: $(PROGRAM) ## Writes docs/guide/reference.md from the schema, docs/FILES.md from each file's first line
	@$(PYTHON) tests/lint/map.py write
	$(PROGRAM) schema --reference >$(BUILD)/reference.md
	mv $(BUILD)/reference.md docs/guide/reference.md

MAN := $(BUILD)/man/sluice.1 $(BUILD)/man/sluice.yaml.5 $(BUILD)/man/sluice.bash
man: $(MAN) ## build/man: sluice(1), sluice.yaml(5), and a completion for bash

$(BUILD)/man/sluice.1: $(PROGRAM)
	@mkdir -p $(@D)
	$(call Q,MAN )$(PROGRAM) help --man >$@
$(BUILD)/man/sluice.yaml.5: $(PROGRAM)
	@mkdir -p $(@D)
	$(call Q,MAN )$(PROGRAM) schema --man >$@
$(BUILD)/man/sluice.bash: $(PROGRAM)
	@mkdir -p $(@D)
	$(call Q,SH  )$(PROGRAM) help --bash-completion >$@

# --- installing -------------------------------------------------------------------------------

.PHONY: install
install: $(PROGRAM) $(MAN) ## Program, systemd units, manual pages, example and documents under DESTDIR and PREFIX
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/sluice
	install -D -m 644 $(BUILD)/man/sluice.1 $(DESTDIR)$(PREFIX)/share/man/man1/sluice.1
	install -D -m 644 $(BUILD)/man/sluice.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/sluice.yaml.5
	install -D -m 644 $(BUILD)/man/sluice.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sluice
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/doc/sluice/guide
	sed 's,/usr/,$(PREFIX)/,' packaging/systemd/sluice.service \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/sluice.service
	install -m 644 packaging/systemd/sluice.socket $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 644 README.md LICENSE CHANGELOG.md docs/ARCHITECTURE.md docs/FILES.md \
	    docs/guide/examples/sluice.yaml $(DESTDIR)$(PREFIX)/share/doc/sluice
	install -m 644 $(wildcard docs/guide/*.md) $(DESTDIR)$(PREFIX)/share/doc/sluice/guide

# The archive is the same bytes for the same sources, wherever and whenever it is made.
IMAGE             := $(BUILD)/image/sluice.tar
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: image test-image
image: $(PROGRAM) ## build/image/sluice.tar: the container image as an OCI archive, without a Docker engine
	@packaging/image/rootfs.sh $(PROGRAM) $(BUILD)/image/rootfs
	@SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) python3 packaging/image/oci.py $(BUILD)/image/rootfs $(IMAGE) \
	    --name localhost/sluice:$(VERSION) --label org.opencontainers.image.version=$(VERSION) \
	    --expose 15080 --expose 15901 --entrypoint /usr/bin/sluice --cmd "proxy -c /etc/sluice/sluice.yaml"

test-image: image ## The image: well-formed, runs read-only and without root, the same bytes when built again
	@BUILD=$(BUILD) $(PYTHON) tests/run.py pytest $(RESULTS)/image tests/image $(PYTEST_ARGS) || true
	@$(PYTHON) tests/run.py sum $(RESULTS)/image

.PHONY: clean
clean: ## Removes the build directory
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
