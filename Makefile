# SPDX-License-Identifier: GPL-3.0-or-later
# The only build file.  `make help` lists what it can do.

# B is where a build goes; check-asan and check-clang use others, so that builds do not mix.
B       ?= build
ifeq ($(origin CC),default)
CC      := gcc
endif
DEBUG   ?= -g
OPT     ?= -O2
SAN     ?=
FUZZ_S  ?= 60
SOAK_ROUNDS ?= 2000
SANDBOX ?= build/sandbox
VERSION := 0.1.0

PREFIX     ?= /usr
LIBEXECDIR ?= $(PREFIX)/libexec/slurm-agent
SYSCONFDIR ?= /etc

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
DEFS := -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DLIBEXECDIR='"$(LIBEXECDIR)"' -DSYSCONFDIR='"$(SYSCONFDIR)"'
HARD := -fstack-protector-strong -fPIC
ALL_CFLAGS  = -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(HARD) $(DEFS) $(SAN) -iquote . $(CFLAGS)
ALL_LDFLAGS = -Wl,--as-needed -Wl,-z,relro,-z,now $(SAN) $(LDFLAGS)

# Debian 12 calls msgpack-c's library msgpackc, later ones msgpack-c.
MSGPACK = $(shell pkg-config --libs msgpack 2>/dev/null || pkg-config --libs msgpack-c 2>/dev/null || echo -lmsgpackc)

COMMON_SRC  := $(wildcard common/*.c)
CLI_SRC     := $(wildcard client/cli_*.c)
CLIENT_SRC  := $(filter-out $(CLI_SRC),$(wildcard client/*.c))
MONITOR_SRC := agentd/monitor.c agentd/processes.c agentd/spawn.c agentd/lease.c agentd/conf.c
AUTH_SRC    := agentd/auth.c agentd/conf.c
WORKER_SRC  := $(wildcard agentd/worker_main.c agentd/worker_ops*.c agentd/watcher.c agentd/watch_diff.c agentd/cluster_slurm*.c \
               agentd/sbatch*.c) agentd/chan_io.c agentd/jobid.c agentd/jobrec.c agentd/outcome.c agentd/logname.c agentd/conf.c
BROKER_SRC  := $(filter-out agentd/monitor.c agentd/processes.c agentd/spawn.c agentd/lease.c agentd/auth.c agentd/hint_main.c agentd/worker_main.c agentd/worker_ops%.c agentd/watcher.c agentd/watch_diff.c \
               agentd/cluster_slurm%.c agentd/sbatch%.c agentd/chan_io.c agentd/outcome.c agentd/logname.c,$(wildcard agentd/*.c))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

PROGRAMS := $(B)/bin/slurm-agentd $(B)/bin/slurm-agent $(B)/libexec/agent-broker \
            $(B)/libexec/agent-auth $(B)/libexec/agent-worker $(B)/libexec/slurm-agent-hint
LIBRARIES := $(B)/lib/libslurmagent.a $(B)/lib/libslurmagent.so.1

.PHONY: all
all: $(PROGRAMS) $(LIBRARIES)  ## build everything (asks for missing packages first: make deps)

.PHONY: help
help:
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

.PHONY: deps
deps:  ## install what building and testing needs, from Debian's packages
	@bash tests/sandbox/deps.sh

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

COMMON := $(B)/lib/libcommon.a
$(COMMON): $(call obj,$(COMMON_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

define program
$(1): $(call obj,$(2)) $(COMMON)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $(call obj,$(2)) $(COMMON) $(3)
endef
$(eval $(call program,$(B)/bin/slurm-agentd,$(MONITOR_SRC),-linih))
$(eval $(call program,$(B)/libexec/agent-auth,$(AUTH_SRC),-linih -lmunge -lsodium))
$(eval $(call program,$(B)/libexec/agent-broker,$(BROKER_SRC),-lnng -lsystemd -lsodium -linih -lsqlite3 $$(MSGPACK) -lpthread))
$(eval $(call program,$(B)/libexec/agent-worker,$(WORKER_SRC),-lslurm -linih $$(MSGPACK)))
$(eval $(call program,$(B)/libexec/slurm-agent-hint,agentd/hint_main.c,))
$(eval $(call program,$(B)/bin/slurm-agent,$(CLI_SRC) $(CLIENT_SRC),-lnng -lmunge -lsodium -linih -ljansson $$(MSGPACK) -lpthread))

$(B)/lib/libslurmagent.a: $(call obj,$(CLIENT_SRC) $(COMMON_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(B)/lib/libslurmagent.so.1: $(call obj,$(CLIENT_SRC)) $(COMMON) client/slurmagent.map
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libslurmagent.so.1 -Wl,--version-script=client/slurmagent.map \
	  -o $@ $(call obj,$(CLIENT_SRC)) $(COMMON) -lnng -lmunge -lsodium -linih $(MSGPACK) -lpthread

# ---- tests ----------------------------------------------------------------------------------------
TEST_LIBS := -lcriterion -lnng -lsystemd -lsodium -lsqlite3 -lmunge -linih -lslurm -ljansson $(MSGPACK) -lpthread
UNIT_SRC := $(wildcard tests/unit/*.c tests/kit/*.c tests/fake/*.c)
UNIT_OBJ := $(filter-out agentd/main.c agentd/worker_main.c,$(BROKER_SRC) $(WORKER_SRC)) agentd/lease.c
E2E_SRC  := $(wildcard tests/e2e/*.c tests/kit/*.c)
FUZZERS  := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

$(B)/tests/unit: $(call obj,$(sort $(UNIT_SRC) $(UNIT_OBJ) $(CLIENT_SRC) $(filter-out client/cli_main.c,$(CLI_SRC)))) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

# What tests start: stand-ins for the monitor's children; a clock that is wrong, for munged, and a
# munge_encode() that swaps credentials, for Slurm's commands.  No sanitizer in what is preloaded.
HELPERS := $(addprefix $(B)/tests/libexec/,fake_child shifted_clock.so munge_swap.so)
$(B)/tests/libexec/fake_child: $(call obj,tests/helpers/fake_child.c)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^
$(B)/tests/libexec/%.so: tests/helpers/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(HARD) -D_GNU_SOURCE -shared $(LDFLAGS) -o $@ $<

$(B)/tests/e2e: $(call obj,$(E2E_SRC)) $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

# The same fuzz targets twice: with a main() that replays files, and with clang's libFuzzer.
FUZZ_OBJ := $(call obj,$(sort $(UNIT_OBJ) $(CLIENT_SRC)))
$(B)/tests/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(FUZZ_OBJ) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

.PHONY: tests-built
tests-built: all $(HELPERS) $(B)/tests/unit $(B)/tests/e2e $(FUZZERS:%=$(B)/tests/%)

.PHONY: test
test: deps  ## everything: build, unit, fuzz corpus, end to end on a real Slurm
	@$(MAKE) --no-print-directory tests-built
	@B=$(B) bash tests/run.sh unit fuzz e2e

.PHONY: check
check: deps  ## the quick part of test: unit tests and the fuzz corpus
	@$(MAKE) --no-print-directory tests-built
	@B=$(B) bash tests/run.sh unit fuzz

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
.PHONY: check-asan
check-asan: deps  ## unit and most end to end tests under ASan and UBSan
	@$(MAKE) --no-print-directory B=build/asan OPT=-O1 SAN="$(SANITIZE)" tests-built
	@B=build/asan E2E_ONLY="users truth history private hint single" bash tests/run.sh unit fuzz e2e

.PHONY: check-clang
check-clang: deps  ## everything compiles with clang too
	@$(MAKE) --no-print-directory B=build/clang CC=clang tests-built

.PHONY: check-layers
check-layers:  ## who may include what
	@bash tests/check-layers.sh

C_FILES := $(wildcard agentd/*.[ch] client/*.[ch] common/*.[ch] tests/*/*.[ch])
.PHONY: format format-check
format:  ## lay the source out with clang-format
	clang-format -i $(C_FILES)
format-check:  ## is it laid out?
	clang-format --dry-run --Werror $(C_FILES)

.PHONY: fuzz
fuzz: deps  ## libFuzzer on every decoder, FUZZ_S seconds each
	@FUZZ_S=$(FUZZ_S) bash tests/fuzz/run.sh $(FUZZERS)

# ---- a Slurm to play with -------------------------------------------------------------------------
.PHONY: demo
demo: deps  ## a private Slurm and agentd, a job through them, all down again
	@$(MAKE) --no-print-directory all
	@BIN=$(B) bash tests/demo/demo.sh

.PHONY: sandbox sandbox-down
sandbox: deps  ## leaves such a cluster running: see build/sandbox/env (SANDBOX=dir, SANDBOX_OPTS="dbd=1 restd=1 nodes=2")
	@$(MAKE) --no-print-directory all
	@bash tests/sandbox/sandbox.sh up $(SANDBOX) bin=$(B) $(SANDBOX_OPTS)
sandbox-down:  ## ends it
	@bash tests/sandbox/sandbox.sh down $(SANDBOX)

.PHONY: bench bench-log bench-follow soak
bench: deps  ## submit and get beside the same libslurm calls in process
	@$(MAKE) --no-print-directory all $(B)/tests/bench_spine
	@B=$(B) bash tests/bench/run.sh bench
bench-log: deps  ## a log of 1 GiB through the agent beside read() of the same file
	@$(MAKE) --no-print-directory all $(B)/tests/bench_log
	@B=$(B) bash tests/bench/run.sh log
bench-follow: deps  ## from a job's end to the return of a wait, by polling and by hints; held requests
	@$(MAKE) --no-print-directory all $(B)/tests/bench_follow $(B)/tests/bench_table
	@B=$(B) bash tests/bench/run.sh follow
soak: deps  ## 2,000 rounds of submit, get and cancel: memory and descriptors stay flat
	@$(MAKE) --no-print-directory all $(B)/tests/bench_spine
	@B=$(B) SOAK_ROUNDS=$(SOAK_ROUNDS) bash tests/bench/run.sh soak

$(B)/tests/bench_spine: $(call obj,tests/bench/bench_spine.c $(sort $(filter-out agentd/worker_main.c,$(WORKER_SRC)))) \
                        $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(B)/tests/bench_log: $(call obj,tests/bench/bench_log.c) $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(B)/tests/bench_follow: $(call obj,tests/bench/bench_follow.c tests/kit/peer.c) $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(B)/tests/bench_table: $(call obj,tests/bench/bench_table.c tests/kit/peer.c agentd/table.c agentd/jobrec.c agentd/jobid.c) \
                        $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

.PHONY: install
install: all  ## into DESTDIR
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXECDIR) \
	  $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib
	install $(B)/bin/slurm-agentd $(DESTDIR)$(PREFIX)/sbin/
	install $(B)/bin/slurm-agent $(DESTDIR)$(PREFIX)/bin/
	install $(B)/libexec/agent-broker $(B)/libexec/agent-auth $(B)/libexec/agent-worker $(B)/libexec/slurm-agent-hint $(DESTDIR)$(LIBEXECDIR)/
	install -m 644 client/slurmagent.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(B)/lib/libslurmagent.a $(B)/lib/libslurmagent.so.1 $(DESTDIR)$(PREFIX)/lib/
	ln -sf libslurmagent.so.1 $(DESTDIR)$(PREFIX)/lib/libslurmagent.so

.PHONY: clean
clean:  ## remove what was built (a running sandbox stays: make sandbox-down)
	rm -rf --one-file-system build/obj build/bin build/libexec build/lib build/tests build/asan build/clang build/fuzz

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
