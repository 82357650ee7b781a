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
SOAK_S ?= 600
SANDBOX ?= build/sandbox
VERSION := 0.1.0
SOVERSION := 1.0.0

PREFIX     ?= /usr
LIBEXECDIR ?= $(PREFIX)/libexec/slurm-agent
SYSCONFDIR ?= /etc
LIBDIR     ?= $(PREFIX)/lib

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
DEFS := -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DLIBEXECDIR='"$(LIBEXECDIR)"' -DSYSCONFDIR='"$(SYSCONFDIR)"'
HARD := -fstack-protector-strong -fPIC
ALL_CFLAGS  = -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(HARD) $(DEFS) $(SAN) -iquote . $(CFLAGS)
ALL_LDFLAGS = -Wl,--as-needed -Wl,-z,relro,-z,now $(SAN) $(LDFLAGS)

# Debian 12 calls msgpack-c's library msgpackc, later ones msgpack-c.
MSGPACK = $(shell pkg-config --libs msgpack 2>/dev/null || pkg-config --libs msgpack-c 2>/dev/null || echo -lmsgpackc)

# Object stores: what links common/stage.c takes these too.  libs3 is an archive, so that its calls of
# curl can be wrapped: see common/stage_s3.c.
STAGE_LDFLAGS := -Wl,--wrap=curl_easy_setopt,--wrap=curl_easy_perform
STAGE_LIBS    := -l:libs3.a -lcurl -lxml2 -lgnutls -lpthread
XML_CFLAGS     = $(shell pkg-config --cflags libxml-2.0 2>/dev/null)

COMMON_SRC  := $(wildcard common/*.c)
CLI_SRC     := $(wildcard client/cli_*.c)
EXPORTER_SRC := $(wildcard exporter/*.c)
CLIENT_SRC  := $(filter-out $(CLI_SRC),$(wildcard client/*.c))
# Debian's libs3.a is no part of a shared library (it is not PIC): stores are in libslurmagent.a alone.
CLIENT_STORE_SRC := client/api_store.c client/api_upload.c client/store_work.c client/store_plan.c
MONITOR_SRC := agentd/monitor.c agentd/settings.c agentd/programs.c agentd/command.c agentd/processes.c agentd/spawn.c agentd/lease.c agentd/grant.c agentd/rights.c agentd/check.c agentd/monitor_check.c agentd/arguments.c agentd/conf.c
AUTH_SRC    := agentd/auth.c agentd/auth_check.c agentd/check_say.c agentd/conf.c
WORKER_SRC  := $(wildcard agentd/worker_main.c agentd/worker_ops*.c agentd/watcher.c agentd/watch_diff.c agentd/cluster_slurm*.c \
               agentd/sbatch*.c) agentd/worker_check.c agentd/child_start.c agentd/check_say.c agentd/chan_io.c agentd/jobid.c agentd/jobrec.c agentd/outcome.c agentd/logname.c agentd/conf.c
STAGE_SRC   := $(wildcard agentd/stage_*.c agentd/cluster_slurm*.c agentd/sbatch*.c) agentd/request_tag.c agentd/child_start.c agentd/chan_io.c agentd/jobid.c agentd/jobrec.c agentd/outcome.c agentd/logname.c agentd/conf.c
BROKER_SRC  := $(filter-out agentd/monitor.c agentd/settings.c agentd/programs.c agentd/command.c agentd/processes.c agentd/spawn.c agentd/lease.c agentd/grant.c agentd/rights.c agentd/check.c agentd/monitor_check.c agentd/arguments.c agentd/auth.c agentd/auth_check.c agentd/hint_main.c agentd/worker_main.c agentd/worker_check.c agentd/child_start.c agentd/worker_ops%.c agentd/watcher.c agentd/watch_diff.c \
               agentd/cluster_slurm%.c agentd/stage_%.c agentd/sbatch%.c agentd/chan_io.c agentd/logname.c,$(wildcard agentd/*.c))

quoted = '$(subst ','\'',$(1))'
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

PROGRAMS := $(B)/bin/slurm-agentd $(B)/bin/slurm-agent $(B)/libexec/agent-broker \
            $(B)/bin/slurm-agent-exporter $(B)/libexec/agent-auth $(B)/libexec/agent-worker $(B)/libexec/agent-stage $(B)/libexec/slurm-agent-hint
LIBRARIES := $(B)/lib/libslurmagent.a $(B)/lib/libslurmagent.so.1

.PHONY: all
all: $(PROGRAMS) $(LIBRARIES)  ## build everything (asks for missing packages first: make deps)

.PHONY: help
help:
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 18

.PHONY: deps
deps:  ## install what building and testing needs, from Debian's packages
	@bash tests/sandbox/deps.sh

# Other flags, another PREFIX say, make other objects.
FLAGS := $(B)/flags
ifneq ($(shell cat $(FLAGS) 2>/dev/null),$(shell printf '%s' $(call quoted,$(ALL_CFLAGS))))
$(shell mkdir -p $(B) && printf '%s\n' $(call quoted,$(ALL_CFLAGS)) >$(FLAGS))
endif

$(B)/obj/%.o: %.c $(FLAGS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/common/s3_answer.o: ALL_CFLAGS += $(XML_CFLAGS)

COMMON := $(B)/lib/libcommon.a
$(COMMON): $(call obj,$(COMMON_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

define program
$(1): $(call obj,$(2)) $(COMMON)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $(call obj,$(2)) $(COMMON) $(3)
	@chmod $(if $(4),$(4),755) $$@
endef
# What its user must not trace cannot be read by them: then it is undumpable from the exec on, and not
# only when it has said so itself.  Sanitizers read and trace the program they are in.
UNREADABLE := $(if $(SAN),755,711)
$(eval $(call program,$(B)/bin/slurm-agentd,$(MONITOR_SRC),-linih))
$(eval $(call program,$(B)/libexec/agent-auth,$(AUTH_SRC),-linih -lmunge -lsodium))
$(eval $(call program,$(B)/libexec/agent-broker,$(BROKER_SRC),-lnng -lsystemd -lsodium -linih -lsqlite3 $$(MSGPACK) -lpthread,$(UNREADABLE)))
$(eval $(call program,$(B)/libexec/agent-worker,$(WORKER_SRC),-lslurm -linih $$(MSGPACK),$(UNREADABLE)))
$(eval $(call program,$(B)/libexec/agent-stage,$(STAGE_SRC),-lslurm -linih -lsodium $$(STAGE_LDFLAGS) $$(STAGE_LIBS) $$(MSGPACK) -lpthread,$(UNREADABLE)))
$(eval $(call program,$(B)/libexec/slurm-agent-hint,agentd/hint_main.c,))
$(eval $(call program,$(B)/bin/slurm-agent-exporter,$(EXPORTER_SRC) $(filter-out $(CLIENT_STORE_SRC),$(CLIENT_SRC)),-lnng -lmunge -lsodium -linih -lmicrohttpd $$(MSGPACK) -lpthread))
$(eval $(call program,$(B)/bin/slurm-agent,$(CLI_SRC) $(CLIENT_SRC),-lnng -lmunge -lsodium -linih -ljansson $$(MSGPACK) $$(STAGE_LDFLAGS) $$(STAGE_LIBS)))

$(B)/lib/libclient.a: $(call obj,$(CLIENT_SRC) $(COMMON_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

# As programs get it: what is ours alone has a name that no program has.  Not one object with local
# symbols: whoever does without the store shall not need its libraries.
$(B)/lib/libslurmagent.a: $(B)/lib/libclient.a
	nm --defined-only --extern-only $< 2>/dev/null | \
	    awk 'NF == 3 && $$3 !~ /^(sagent_|_)/ && !seen[$$3]++ { print $$3, "sagent_own_" $$3 }' >$@.names
	objcopy -D --redefine-syms=$@.names $< $@
	@! nm --defined-only --extern-only $@ 2>/dev/null | awk 'NF == 3 && $$3 !~ /^(sagent_|__)/' | grep .

SHARED_SRC := $(filter-out $(CLIENT_STORE_SRC),$(CLIENT_SRC))
$(B)/lib/libslurmagent.so.1: $(call obj,$(SHARED_SRC)) $(COMMON) client/slurmagent.map
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libslurmagent.so.1 -Wl,--version-script=client/slurmagent.map \
	  -o $@ $(call obj,$(SHARED_SRC)) $(COMMON) -lnng -lmunge -lsodium -linih $(MSGPACK) -lpthread

# ---- tests ----------------------------------------------------------------------------------------
TEST_LIBS := -lcriterion -lnng -lsystemd -lsodium -lsqlite3 -lmunge -linih -lslurm -ljansson $(MSGPACK) $(STAGE_LDFLAGS) $(STAGE_LIBS)
UNIT_SRC := $(wildcard tests/unit/*.c tests/kit/*.c tests/fake/*.c) tests/fault/fault_judge.c
UNIT_OBJ := $(filter-out agentd/main.c agentd/worker_main.c agentd/stage_main.c,$(BROKER_SRC) $(WORKER_SRC) $(STAGE_SRC)) agentd/lease.c agentd/grant.c agentd/processes.c
E2E_SRC  := $(wildcard tests/e2e/*.c tests/kit/*.c)
FUZZERS  := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

# As a program of somebody else's: its include is <slurmagent.h>.
$(B)/tests/submit_and_wait: client/example/submit_and_wait.c client/slurmagent.h $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(SAN) -Iclient $(ALL_LDFLAGS) -o $@ $< $(B)/lib/libslurmagent.a -lnng -lmunge -lsodium -linih $(MSGPACK) -lpthread

$(B)/tests/put_and_fetch: client/example/put_and_fetch.c client/slurmagent_store.h $(B)/lib/libslurmagent.a
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(SAN) -Iclient $(ALL_LDFLAGS) -o $@ $< $(B)/lib/libslurmagent.a -lnng -lmunge -lsodium -linih $(MSGPACK) $(STAGE_LDFLAGS) $(STAGE_LIBS)

$(B)/tests/unit: $(call obj,$(sort $(UNIT_SRC) $(UNIT_OBJ) $(CLIENT_SRC) $(filter-out client/cli_main.c,$(CLI_SRC)) exporter/text.c)) $(COMMON)
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

$(B)/tests/e2e: $(call obj,$(E2E_SRC)) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(B)/tests/store: $(call obj,$(wildcard tests/store/*.c) tests/kit/scratch.c tests/kit/run.c) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcriterion $(STAGE_LDFLAGS) $(STAGE_LIBS)

# The same fuzz targets twice: with a main() that replays files, and with clang's libFuzzer.
FUZZ_OBJ := $(call obj,$(sort $(UNIT_OBJ) $(CLIENT_SRC)))
$(B)/tests/%: $(B)/obj/tests/fuzz/%.o $(B)/obj/tests/fuzz/replay.o $(FUZZ_OBJ) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

# The agent beside sbatch itself; the worker and what is preloaded into sbatch keep what they ask of slurmctld.
SBATCH_DIFF := $(addprefix $(B)/tests/,sbatch_diff sbatch_worker libexec/spy.so)
$(B)/tests/sbatch_diff: $(call obj,$(addprefix tests/sbatch/,diff.c job.c submit.c words.c))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lslurm -lpthread
$(B)/tests/sbatch_worker: $(call obj,$(WORKER_SRC) tests/sbatch/spy.c) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lslurm -linih $(MSGPACK)
	@chmod $(UNREADABLE) $@
$(B)/tests/libexec/spy.so: tests/sbatch/spy.c tests/sbatch/desc.def tests/sbatch/facts.h
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) $(OPT) $(DEBUG) $(HARD) -D_GNU_SOURCE -iquote . -shared $(LDFLAGS) -o $@ tests/sbatch/spy.c

# Of the benchmarks only that they compile.
BENCHES := $(patsubst %,$(B)/tests/%,bench bench_fair crowd soak)
.PHONY: tests-built
tests-built: all $(HELPERS) $(SBATCH_DIFF) $(B)/tests/unit $(B)/tests/e2e $(B)/tests/store $(B)/tests/submit_and_wait $(B)/tests/put_and_fetch $(FUZZERS:%=$(B)/tests/%) $(BENCHES)

.PHONY: test
test: deps  ## everything: build, unit, fuzz corpus, a real object store, end to end on a real Slurm
	@$(MAKE) --no-print-directory tests-built
	@B=$(B) bash tests/run.sh unit sbatch fuzz store e2e

.PHONY: test-sbatch
test-sbatch: deps  ## sbatch's command lines through sbatch and through the agent: the same jobs?
	@$(MAKE) --no-print-directory all $(SBATCH_DIFF)
	@B=$(B) bash tests/run.sh sbatch

.PHONY: check
check: deps  ## the quick part of test: unit tests and the fuzz corpus
	@$(MAKE) --no-print-directory tests-built
	@B=$(B) bash tests/run.sh unit fuzz

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
.PHONY: asan-built check-asan
asan-built: deps
	@$(MAKE) --no-print-directory B=build/asan OPT=-O1 SAN="$(SANITIZE)" tests-built
	@$(MAKE) --no-print-directory build/bin/slurm-agent
check-asan: asan-built  ## unit and most end to end tests under ASan and UBSan
	@B=build/asan CLI=build TEST_JOBS=$${TEST_JOBS:-5} E2E_ONLY="users jobs history private requests late single greedy" bash tests/run.sh unit fuzz store e2e

.PHONY: check-clang
check-clang: deps  ## everything compiles with clang too
	@$(MAKE) --no-print-directory B=build/clang CC=clang tests-built

.PHONY: check-layers
check-layers:  ## who may include what
	@bash tests/check-layers.sh

.PHONY: check-man
check-man: deps  ## manual pages are well formed and leave nothing out
	@$(MAKE) --no-print-directory all man
	@B=$(B) bash tests/check-man.sh

.PHONY: check-alerts
check-alerts:  ## the alert rules in docs/alerts.yml (promtool, where it is installed)
	@bash tests/check-alerts.sh || [ $$? = 77 ]

C_FILES := $(wildcard agentd/*.[ch] exporter/*.[ch] client/*.[ch] client/example/*.c common/*.[ch] tests/*/*.[ch])
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
sandbox: deps  ## leaves such a cluster running: see build/sandbox/env (SANDBOX=dir, STORE=swift, SANDBOX_OPTS="dbd=1 restd=1 nodes=2")
	@$(MAKE) --no-print-directory all
	@bash tests/sandbox/sandbox.sh up $(SANDBOX) bin=$(B) $(if $(STORE),store=$(STORE)) $(SANDBOX_OPTS)
sandbox-down:  ## ends it
	@bash tests/sandbox/sandbox.sh down $(SANDBOX)

.PHONY: bench bench-fairness bench-staging soak
bench: deps  ## status, submit and cancel by the agent and its peers, in one run: docs/performance.md (BENCH=quick, BENCH_ONLY="peers users ...")
	@$(MAKE) --no-print-directory all $(B)/tests/bench
	@B=$(B) bash tests/bench/bench.sh $(BENCH_ONLY)
bench-fairness: deps  ## how much slower one user's requests are beside another's flood
	@$(MAKE) --no-print-directory all $(B)/tests/bench_fair
	@B=$(B) bash tests/bench/run.sh fair
bench-staging: deps  ## files to and from a Swift beside rclone, awscli and s3cmd, where they are installed
	@$(MAKE) --no-print-directory all
	@B=$(B) bash tests/bench/staging.sh
soak: deps  ## 50 clients that are killed at random, for SOAK_S=600 seconds: the daemon stays as it is
	@$(MAKE) --no-print-directory all $(B)/tests/soak
	@B=$(B) SOAK_S=$(SOAK_S) bash tests/bench/run.sh soak

BENCH_SRC := $(addprefix tests/bench/,main.c measure.c bench.c raw.c echo.c peers.c sweeps.c table.c follow.c log.c targets.c way_libslurm.c way_agent.c way_slurmrestd.c way_command.c)
# Its curl is its own: nothing here is wrapped as it is for common/stage_s3.c.
BENCH_LIBS := -lnng -lmunge -lsodium -linih -lslurm -ljansson -lcurl $(MSGPACK) -lpthread
$(B)/tests/bench: $(call obj,$(BENCH_SRC) agentd/table.c agentd/jobrec.c agentd/jobid.c $(sort $(filter-out agentd/worker_main.c,$(WORKER_SRC)))) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(BENCH_LIBS)

$(B)/tests/bench_fair: $(call obj,tests/bench/bench_fair.c tests/bench/bench.c tests/bench/raw.c) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(BENCH_LIBS)

$(B)/tests/crowd: $(call obj,tests/bench/crowd.c tests/bench/bench.c) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(B)/tests/soak: $(call obj,tests/bench/soak.c tests/bench/soak_look.c tests/bench/bench.c) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

# ---- faults ---------------------------------------------------------------------------------------
$(B)/tests/fault: $(call obj,$(wildcard tests/fault/*.c) agentd/request_tag.c) $(B)/lib/libclient.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(TEST_LIBS)

.PHONY: fault-built test-faults
fault-built: deps
	@$(MAKE) --no-print-directory B=build/fault CFLAGS="$(CFLAGS) -DFAILPOINTS" all build/fault/tests/fault
test-faults: fault-built  ## exactly one job per request while everything is killed (FAULT_S=3600 SEED=n)
	@B=build/fault bash tests/fault/run.sh

# ---- manual pages ---------------------------------------------------------------------------------
# From docs/man/*.in; settings, errors, commands and the library from where they are defined.
MAN_DATE := $(shell date -u -d "@$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || date +%s)}" +%F)
MAN      := $(patsubst docs/man/%.in,$(B)/man/%,$(wildcard docs/man/*.in))
$(B)/man/%: docs/man/%.in docs/man/page.awk agentd/conf.def agentd/metrics.def client/conf.def common/errors.def client/cli_commands.def agentd/sbatch_options.def client/cli_sbatch.def client/cli_sbatch_env.def client/slurmagent.h client/slurmagent_store.h client/slurmagent_admin.h $(B)/bin/slurm-agent
	@mkdir -p $(@D)
	awk -v version=$(VERSION) -v date=$(MAN_DATE) -v libexecdir=$(LIBEXECDIR) -v cli=$(B)/bin/slurm-agent -f docs/man/page.awk $< > $@.new
	@mv $@.new $@

.PHONY: man
man: $(MAN)  ## manual pages, in build/man

MANDIR ?= $(PREFIX)/share/man
.PHONY: install-man
install-man: man
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man3 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8
	for page in $(MAN); do install -m 644 "$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}/" || exit 1; done
	for name in $$(grep -oE '^[a-z].*\bsagent_[a-z_]+\(' client/slurmagent.h client/slurmagent_store.h client/slurmagent_admin.h -h | grep -oE 'sagent_[a-z_]+'); do \
	  echo '.so man3/libslurmagent.3' > "$(DESTDIR)$(MANDIR)/man3/$$name.3" || exit 1; done

.PHONY: install-completion
install-completion:
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions
	install -m 644 client/completion/slurm-agent.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/slurm-agent
	ln -sf slurm-agent $(DESTDIR)$(PREFIX)/share/bash-completion/completions/slurm-agent-sbatch
	install -m 644 client/completion/_slurm-agent $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_slurm-agent

.PHONY: install
install: all install-man install-completion  ## into DESTDIR
	install -d $(addprefix $(DESTDIR),$(PREFIX)/sbin $(PREFIX)/bin $(LIBEXECDIR) $(PREFIX)/include \
	  $(LIBDIR)/pkgconfig $(SYSCONFDIR)/slurm-agent)
	install $(B)/bin/slurm-agentd $(B)/bin/slurm-agent-exporter $(DESTDIR)$(PREFIX)/sbin/
	install $(B)/bin/slurm-agent $(DESTDIR)$(PREFIX)/bin/
	ln -sf slurm-agent $(DESTDIR)$(PREFIX)/bin/slurm-agent-sbatch
	install $(B)/libexec/agent-auth $(B)/libexec/slurm-agent-hint $(DESTDIR)$(LIBEXECDIR)/
	install -d $(DESTDIR)$(SYSCONFDIR)/default
	[ -e $(DESTDIR)$(SYSCONFDIR)/default/slurm-agent-exporter ] || \
	  install -m 644 systemd/slurm-agent-exporter.default $(DESTDIR)$(SYSCONFDIR)/default/slurm-agent-exporter
	install -m $(UNREADABLE) $(B)/libexec/agent-broker $(B)/libexec/agent-worker $(B)/libexec/agent-stage $(DESTDIR)$(LIBEXECDIR)/
	install -m 644 client/slurmagent.h client/slurmagent_store.h client/slurmagent_admin.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(B)/lib/libslurmagent.a $(DESTDIR)$(LIBDIR)/
	install -m 644 $(B)/lib/libslurmagent.so.1 $(DESTDIR)$(LIBDIR)/libslurmagent.so.$(SOVERSION)
	ln -sf libslurmagent.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libslurmagent.so.1
	ln -sf libslurmagent.so.1 $(DESTDIR)$(LIBDIR)/libslurmagent.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@MSGPACK@|$(MSGPACK)|' \
	  client/slurmagent.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/slurmagent.pc
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@MSGPACK@|$(MSGPACK)|' \
	  -e 's|@STAGE@|$(STAGE_LDFLAGS) $(STAGE_LIBS)|' client/slurmagent-store.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/slurmagent-store.pc
	[ -e $(DESTDIR)$(SYSCONFDIR)/slurm-agent/agentd.conf ] || \
	  install -m 644 systemd/agentd.conf $(DESTDIR)$(SYSCONFDIR)/slurm-agent/
	[ -e $(DESTDIR)$(SYSCONFDIR)/slurm-agent/client.conf ] || \
	  install -m 644 client/client.conf $(DESTDIR)$(SYSCONFDIR)/slurm-agent/

# ---- packages -------------------------------------------------------------------------------------
.PHONY: deb
deb:  ## Debian packages of what is committed, into build/deb
	@bash packaging/deb.sh build/deb

.PHONY: test-system
test-system: deb  ## those packages on three booted hosts (root; containers by systemd-nspawn)
	@bash tests/system/run.sh build/deb

.PHONY: test-suites
test-suites:  ## packages, unit and end to end tests on Debian 12, 13 and sid (root; SUITES=, E2E_ONLY=, SUITE_TESTS=)
	@bash tests/system/suites.sh $(SUITES)

.PHONY: deb-reproducible
deb-reproducible:  ## the packages twice, in two directories: the same bytes?
	@bash packaging/deb.sh build/deb
	@bash packaging/deb.sh build/deb-again
	@cd build/deb && for f in *.deb; do cmp $$f ../deb-again/$$f || exit 1; done && echo "the same bytes: $$(ls *.deb | wc -l) packages"

.PHONY: clean
clean:  ## remove what was built (a running sandbox stays: make sandbox-down)
	rm -rf --one-file-system build/flags build/obj build/bin build/libexec build/lib build/tests build/asan build/clang build/fuzz build/fault

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
