# SPDX-License-Identifier: MIT
# tfqd - build, check, install. `make help` lists the targets, V=1 shows the commands.
#
# All output goes below build/; each flavour has a folder there, so they never mix:
#   make check SAN=address,undefined      make check COV=1
# A part of the tests:
#   make check FILTER=unit/test_config

VERSION := 0.1.0

# --- where things are installed ------------------------------------------------------

PREFIX     ?= /usr
BINDIR     ?= $(PREFIX)/bin
SBINDIR    ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec/tfqd
MANDIR     ?= $(PREFIX)/share/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
SYSCONFDIR ?= /etc
# Of the shells: bash-completion, zsh's $fpath, fish.
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR     ?= $(PREFIX)/share/zsh/site-functions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d

# --- how things are built ------------------------------------------------------------

comma := ,
BUILD := build$(if $(SAN),/$(subst $(comma),-,$(SAN)))$(if $(COV),/coverage)$(if $(FUZZ),/fuzz)

PKG_CONFIG ?= pkg-config
PKGS       := libsystemd libcurl libcrypto inih jansson expat libzip zlib sqlite3 ncursesw
# Asked once, and only when first needed: `make deps` may have to install them before.
PKG_CFLAGS  = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS    = $(shell $(PKG_CONFIG) --libs $(PKGS))
CHECK_LIBS  = $(shell $(PKG_CONFIG) --libs check)

CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wcast-align=strict -Wcast-qual -Wconversion -Wdate-time \
        -Wdouble-promotion -Wduplicated-branches -Wduplicated-cond -Wfloat-equal \
        -Wformat=2 -Wformat-signedness -Wimplicit-fallthrough=5 -Wjump-misses-init \
        -Wlogical-op -Wmissing-declarations -Wmissing-prototypes -Wnull-dereference \
        -Wold-style-definition -Wpointer-arith -Wredundant-decls -Wshadow \
        -Wstrict-prototypes -Wundef -Wvla -Wwrite-strings \
        -Werror=format-security -Werror=implicit-function-declaration \
        -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=return-type
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-common -fPIE
# Off where a tool watches: zeroed stack variables would hide what it looks for.
ifeq ($(SAN)$(COV)$(FUZZ),)
HARDEN += -ftrivial-auto-var-init=zero -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif

# libFuzzer is clang's, which knows fewer warnings.
ifneq ($(FUZZ),)
CC   := clang
WARN := -Wall -Wextra -Wno-unused-variable -Wno-string-concatenation
endif

ALL_CFLAGS  = -std=gnu17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DLIBEXECDIR='"$(LIBEXECDIR)"' \
              -I. $(PKG_CFLAGS) $(WARN) $(if $(WERROR),-Werror) $(HARDEN) $(CPPFLAGS) $(CFLAGS) $(FLAVOUR)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(FLAVOUR) $(LDFLAGS)
FLAVOUR     = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer) \
              $(if $(COV),--coverage -O0) \
              $(if $(FUZZ),-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined -fno-sanitize-recover=all \
               -fno-omit-frame-pointer)

Q := $(if $(V),,@)

# --- what is built -------------------------------------------------------------------

objects = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)))
COMMON := $(call objects,common/*.c)
COMMON_AWS := $(call objects,common/aws/*.c)
COMMON_PLAN := $(call objects,common/plan/*.c)
DAEMON := $(call objects,daemon/*.c daemon/aws/*.c daemon/lock/*.c)
RUNNER := $(call objects,runner/*.c)
RUNNER_AWS := $(call objects,runner/aws/*.c)
RUNNER_DOCTOR := $(call objects,runner/doctor/*.c)
CLIENT := $(call objects,client/*.c client/doctor/*.c)
UNIT   := $(call objects,tests/unit/test_*.c)
TESTS  := $(UNIT:.o=)
SOAK   := $(call objects,tests/soak/*.c)
SOAKS  := $(BUILD)/tests/soak/cycles
FLOOR  := $(BUILD)/tests/bench/floor
FUZZED := $(call objects,tests/fuzz/fuzz_*.c)
FUZZERS := $(FUZZED:.o=)
TESTED := $(BUILD)/tested.a
PROGRAMS := $(BUILD)/tfqd $(BUILD)/tfq $(BUILD)/tfq-runner $(BUILD)/tfq-credentials $(BUILD)/tfq-doctor
SOURCES := $(wildcard common/*.[ch] common/*/*.[ch] daemon/*.[ch] daemon/*/*.[ch] runner/*.[ch] runner/*/*.[ch] client/*.[ch] client/*/*.[ch] tests/*/*.[ch])
PRODUCT := $(filter-out tests/%,$(filter %.c,$(SOURCES)))

.PHONY: all
all: $(PROGRAMS) ## Build tfqd, tfq and what tfqd starts below build/

$(BUILD)/tfqd: $(DAEMON) $(COMMON) $(COMMON_AWS)
$(BUILD)/tfq: $(CLIENT) $(COMMON) $(COMMON_PLAN)
$(BUILD)/tfq-runner: $(RUNNER) $(COMMON) $(COMMON_PLAN)
$(BUILD)/tfq-credentials: $(RUNNER_AWS) $(COMMON) $(COMMON_AWS)
$(BUILD)/tfq-doctor: $(RUNNER_DOCTOR) $(filter-out %/main.o,$(RUNNER_AWS)) $(COMMON) $(COMMON_AWS)
$(TESTS): %: %.o $(TESTED)
$(SOAKS): $(SOAK) $(TESTED)
$(FLOOR): $(FLOOR).o
# With libFuzzer's main(), or with one that takes the seeds alone.
$(FUZZERS): %: %.o $(if $(FUZZ),,$(BUILD)/tests/fuzz/replay.o) $(TESTED)
$(FUZZERS): ALL_LDFLAGS += $(if $(FUZZ),-fsanitize=fuzzer)
$(TESTED): $(COMMON) $(COMMON_AWS) $(COMMON_PLAN) $(filter-out %/main.o,$(DAEMON) $(RUNNER) $(RUNNER_AWS) $(RUNNER_DOCTOR) $(CLIENT))
$(TESTS): PKG_LIBS += $(CHECK_LIBS)

$(PROGRAMS) $(TESTS) $(SOAKS) $(FLOOR) $(FUZZERS):
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

# An archive, so that a test can put its own function in place of the real one.
$(TESTED):
	@rm -f $@
	@echo "  AR      $@"
	$(Q)$(AR) rcs $@ $^

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The flags are a prerequisite too: what they built is rebuilt when they change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' | cmp -s - $@ || \
	 echo '$(subst ','\'',$(CC) $(ALL_CFLAGS))' > $@

-include $(patsubst %.o,%.d,$(COMMON) $(COMMON_AWS) $(COMMON_PLAN) $(DAEMON) $(RUNNER) $(RUNNER_AWS) $(RUNNER_DOCTOR) $(CLIENT) $(UNIT) $(SOAK) $(FLOOR).o $(FUZZED))

# --- what it needs -------------------------------------------------------------------

BUILD_PACKAGES := build-essential pkg-config libcurl4-openssl-dev libssl-dev libsystemd-dev \
                  libinih-dev libjansson-dev libexpat1-dev libzip-dev zlib1g-dev libsqlite3-dev \
                  libncurses-dev
DEMO_PACKAGES  := python3
DEB_PACKAGES   := debhelper dpkg-dev lintian
TEST_PACKAGES  := $(DEMO_PACKAGES) $(DEB_PACKAGES) check fish spin tmux zsh
FUZZ_PACKAGES  := clang libclang-rt-dev
LINT_PACKAGES  := clang-format clang-tidy cppcheck shellcheck mandoc codespell systemd

.PHONY: deps
deps: ## Install the Debian packages that the build needs, if one is missing
	$(Q).ci/deps $(BUILD_PACKAGES)

# The same with what else the goals need that depend on them.
.PHONY: demodeps testdeps debdeps lintdeps
demodeps:
	$(Q).ci/deps $(BUILD_PACKAGES) $(DEMO_PACKAGES)

testdeps:
	$(Q).ci/deps $(BUILD_PACKAGES) $(TEST_PACKAGES)

debdeps:
	$(Q).ci/deps $(BUILD_PACKAGES) $(DEB_PACKAGES)

lintdeps:
	$(Q).ci/deps $(BUILD_PACKAGES) $(TEST_PACKAGES) $(LINT_PACKAGES)

# For these goals the packages come before the first compiler; `make all` never needs root.
ifneq ($(filter check chaos,$(MAKECMDGOALS)),)
$(BUILD)/flags: | testdeps
endif
ifneq ($(filter soak demo bench scale,$(MAKECMDGOALS)),)
$(BUILD)/flags: | demodeps
endif

# --- checks --------------------------------------------------------------------------

.PHONY: check
check: testdeps $(PROGRAMS) $(TESTS) $(SOAKS) $(FUZZERS) ## Run all tests (FILTER=part of a path: some of them; LANES=2: side by side)
	$(Q)python3 tests/run $(BUILD) '$(FILTER)' $(or $(LANES),1)

.PHONY: soak
soak: demodeps $(PROGRAMS) $(SOAKS) ## Thousands of lock cycles on a store that fails; then a tfqd at work, TFQ_SOAK_SECONDS (180): does it grow?
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/soak/run
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/soak/growth

.PHONY: chaos
chaos: testdeps $(PROGRAMS) ## Kill tfqd 200 times at work, and see what becomes of it (TFQ_SEED= repeats one)
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/chaos/run
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) TFQ_FULL=1 python3 tests/e2e/test_bad_output.py "no byte is lost"

# Where clang, or its libFuzzer, is missing and cannot be had, that is said and nothing is built.
.PHONY: fuzz
fuzz: demodeps ## Give made-up bytes to all that reads foreign ones, FUZZ_SECONDS (20) each
	$(Q).ci/deps $(FUZZ_PACKAGES) || true
	$(Q)if echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
	  clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null; then \
	 $(MAKE) --no-print-directory FUZZ=1 fuzzers && \
	 python3 tests/fuzz/run build/fuzz '$(FILTER)'; \
	else \
	 echo "SKIP fuzz: clang with libFuzzer is missing: apt-get install clang libclang-rt-dev"; \
	 echo "0 passed, 0 failed, 1 skipped"; \
	fi

.PHONY: fuzzers
fuzzers: $(FUZZERS)

.PHONY: demo
demo: demodeps $(PROGRAMS) ## Show what it does, against a store on this machine
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/demo/demo.py

.PHONY: bench
bench: demodeps $(PROGRAMS) $(FLOOR) ## Measure it beside what people use today (FULL=1: for 20 minutes)
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/bench/bench.py $(if $(FULL),--full) --out $(BUILD)/bench

.PHONY: scale
scale: demodeps $(PROGRAMS) $(FLOOR) ## Measure how its cost grows with jobs, clients and locks
	$(Q)TFQ_BUILD=$(abspath $(BUILD)) python3 tests/bench/scale.py --out $(BUILD)/bench

.PHONY: coverage
coverage: ## Measure what the tests cover (with gcovr: build/coverage/index.html)
	$(Q)rm -f $$(find build/coverage -name '*.gcda' 2>/dev/null)
	$(Q)$(MAKE) --no-print-directory check COV=1
	$(Q)if command -v gcovr >/dev/null; then \
	 gcovr --filter common/ --filter daemon/ --filter runner/ --filter client/ --print-summary \
	  --html-details build/coverage/index.html build/coverage; \
	else \
	 echo "Lines covered, by gcov (install gcovr for a report that shows them):"; \
	 find build/coverage -name '*.gcda' -not -path '*/tests/*' -exec gcov -n {} + 2>/dev/null | \
	  awk -F"'" '/^File/ { file = $$2 } \
	   /^Lines executed/ { sub(/.*:/, ""); if (file ~ /^[a-z].*\.c$$/) print "  " file ": " $$0; file = "" }' | \
	  sort; \
	fi

# --- lint ----------------------------------------------------------------------------

LINTS := format tidy cppcheck analyzer shell man units spell license layers
CORES  = $(eval CORES := $$(shell nproc))$(CORES)
LINT_FLAGS = -std=gnu17 -D_GNU_SOURCE -DVERSION='""' -DLIBEXECDIR='""' -I.
WITH_SPDX  = find Makefile .ci common daemon runner client tests units conf man -type f \
             ! -name '*.pyc' ! -name '*.json' ! -path '*/data/*' ! -path '*/corpus/*' ! -path '*/seeds/*'

.PHONY: lint
lint: lintdeps ## Run every check that runs nothing of ours
	$(Q)$(MAKE) --no-print-directory --keep-going $(LINTS:%=lint-%)
	@echo "lint: nothing found"

.PHONY: $(LINTS:%=lint-%)
lint-format:
	@echo "  LINT    clang-format"
	$(Q)clang-format --dry-run --Werror $(SOURCES)

lint-tidy:
	@echo "  LINT    clang-tidy"
	@mkdir -p $(BUILD)
	$(Q)printf '%s\n' $(filter %.c,$(SOURCES)) | \
	 xargs -P $(CORES) -I{} clang-tidy --quiet {} -- $(LINT_FLAGS) $(PKG_CFLAGS) \
	  2>$(BUILD)/tidy.err || { grep -v 'warnings* generated' $(BUILD)/tidy.err >&2; exit 1; }

# cppcheck reads no system headers; it needs these two for their macros. What it takes for
# leaks (it knows no cleanup attributes) is left to the analyzer; of our threads the
# store's calls none of these functions.
MACROS = $(shell $(CC) -M -include sys/queue.h -include jansson.h -x c /dev/null | \
           grep -oE '/[^ ]*/(queue|jansson)\.h')
CPPCHECK_OFF := memleak resourceLeak readdirCalled getpwuidCalled getgrnamCalled getgrgidCalled \
                getpwnamCalled

lint-cppcheck:
	@echo "  LINT    cppcheck"
	$(Q)cppcheck -j $(CORES) --quiet --error-exitcode=1 --enable=warning,performance,portability \
	 --std=c11 --library=posix --inline-suppr $(CPPCHECK_OFF:%=--suppress=%) $(MACROS:%=--include=%) \
	 $(filter -D% -I%,$(LINT_FLAGS)) $(PRODUCT)

# It is our leak checker. Of what freep() reads by memcpy gcc 12 says that it was never set,
# although it was (= NULL); clang-tidy looks for that too, and is right.
lint-analyzer:
	@echo "  LINT    gcc -fanalyzer"
	$(Q)printf '%s\n' $(PRODUCT) | \
	 xargs -P $(CORES) -n 1 $(CC) $(ALL_CFLAGS) -Werror -fanalyzer \
	  -Wno-analyzer-use-of-uninitialized-value -c -o /dev/null

# A script is what starts with #!/…sh, whatever its name.
lint-shell:
	@echo "  LINT    shellcheck"
	$(Q)find .ci tests debian -type f -exec awk \
	 'FNR == 1 { if (/^#!.*[\/ ](ba|da)?sh( |$$)/) print FILENAME; nextfile }' {} + | \
	 xargs -r shellcheck

lint-man:
	@echo "  LINT    mandoc"
	$(Q)mandoc -T lint -W warning $(wildcard man/*.[1-8])

# verify exits 0 on what it warns of, so any other output than this one fails. What the service is
# exposed to, of 100 at worst, may be 20.
lint-units:
	@echo "  LINT    systemd-analyze"
	$(Q)! systemd-analyze verify --man=no $(UNITS) 2>&1 | grep -v 'is not executable'
	$(Q)! XDG_RUNTIME_DIR=$(abspath $(BUILD)) systemd-analyze verify --user --man=no $(USER_UNITS) 2>&1 | \
	 grep -v 'is not executable'
	$(Q)systemd-analyze security --offline=true --threshold=20 --no-pager units/tfqd.service >$(BUILD)/exposure || \
	 { tail -n 1 $(BUILD)/exposure; exit 1; }

# test_tfargs.c has misspelt subcommands on purpose.
lint-spell:
	@echo "  LINT    codespell"
	$(Q)codespell -L nd,2st,ans --skip '*.pyc,*.json,test_tfargs.c,*/seeds/*' $(wildcard common daemon runner client units conf man tests debian README.md SECURITY.md)

lint-license:
	@echo "  LINT    SPDX lines"
	$(Q)! $(WITH_SPDX) -exec awk 'FNR == 1 { if (seen == 0 && file) print file; file = FILENAME; seen = 0 } \
	 FNR <= 3 && /SPDX-License-Identifier: / { seen = 1 } \
	 END { if (seen == 0 && file) print file }' {} + | sed 's/$$/: no SPDX-License-Identifier in its first three lines/' | grep .

# Includes point one way: common knows no program, no program another, and the pure
# modules know no loop, no network and no clock.
PURE := $(wildcard $(foreach m,daemon/job daemon/job_fsm daemon/queue daemon/usual daemon/config daemon/config_read daemon/config_table daemon/config_suggest \
          daemon/access daemon/lock/lease daemon/lock/lease_answer daemon/lock/lockinfo client/doctor/findings client/doctor/judge_lock client/doctor/judge_store \
          runner/doctor/xml client/doctor/judge_probe client/doctor/judge_table client/doctor/judge_machine runner/fence runner/prompt common/tfargs common/parse common/frame \
          common/timestamp common/aws_profile runner/aws/sts_answer client/cells client/table client/view client/top \
          client/timeline client/timeline_text client/timeline_svg, \
          $(m).c $(m).h))
forbid = $(if $(strip $(2)),! grep -nE '$(1)' $(2) | sed 's|$$|   <-- $(3)|' | grep .)
INCLUDE_EDGE := ^\# *include <((systemd|curl|netinet|arpa)/.*|sys/socket\.h|netdb\.h|poll\.h)>
CALL_EDGE    := \<(clock_gettime|gettimeofday|clock|socket|connect|nanosleep|u?sleep)\(|\<time\((NULL|0|&)

lint-layers:
	@echo "  LINT    layers"
	$(Q)$(call forbid,^# *include "(daemon|runner|client)/,$(wildcard common/*.[ch] common/*/*.[ch]),common/ knows no program)
	$(Q)$(call forbid,^# *include "daemon/,$(wildcard client/*.[ch] client/*/*.[ch] runner/*.[ch] runner/*/*.[ch]),not in client/ or runner/)
	$(Q)$(call forbid,^# *include "(client|runner)/,$(wildcard daemon/*.[ch] daemon/*/*.[ch]),not in daemon/)
	$(Q)$(call forbid,$(INCLUDE_EDGE),$(PURE),not in a pure module)
	$(Q)$(call forbid,$(CALL_EDGE),$(PURE),not in a pure module)

.PHONY: format
format: ## Put the C sources into form
	clang-format -i $(SOURCES)

# --- install -------------------------------------------------------------------------

MANPAGES := $(wildcard man/*.[1-8])
UNITS := units/tfqd.service units/tfqd.socket units/tfq.slice
USER_UNITS := units/user/tfqd.service units/user/tfqd.socket
man_dir = $(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(1)))

.PHONY: install
install: all ## Install, below DESTDIR if that is set
	install -D -m 0755 -t $(DESTDIR)$(SBINDIR) $(BUILD)/tfqd
	install -D -m 0755 -t $(DESTDIR)$(BINDIR) $(BUILD)/tfq
	install -D -m 0755 -t $(DESTDIR)$(LIBEXECDIR) $(BUILD)/tfq-runner $(BUILD)/tfq-credentials $(BUILD)/tfq-doctor
	install -D -m 0644 -t $(DESTDIR)$(UNITDIR) $(UNITS)
	install -D -m 0644 -t $(DESTDIR)$(USERUNITDIR) $(USER_UNITS)
	sed -i 's|/usr/sbin/tfqd|$(SBINDIR)/tfqd|' $(DESTDIR)$(UNITDIR)/tfqd.service $(DESTDIR)$(USERUNITDIR)/tfqd.service
	install -D -m 0644 units/tfqd.sysusers $(DESTDIR)$(SYSUSERSDIR)/tfqd.conf
	install -D -m 0644 -t $(DESTDIR)$(CATALOGDIR) units/tfqd.catalog
	test -e $(DESTDIR)$(SYSCONFDIR)/tfqd/tfqd.conf || \
	 install -D -m 0644 -t $(DESTDIR)$(SYSCONFDIR)/tfqd conf/tfqd.conf
	$(foreach m,$(MANPAGES),install -D -m 0644 -t $(call man_dir,$(m)) $(m) &&) true
	install -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	$(BUILD)/tfq completion bash > $(DESTDIR)$(BASHDIR)/tfq
	$(BUILD)/tfq completion zsh > $(DESTDIR)$(ZSHDIR)/_tfq
	$(BUILD)/tfq completion fish > $(DESTDIR)$(FISHDIR)/tfq.fish
	@$(if $(DESTDIR),:,echo "To start it: systemd-sysusers && journalctl --update-catalog && systemctl daemon-reload && systemctl enable --now tfqd.socket")

.PHONY: uninstall
uninstall: ## Remove what install put there, but for the configuration and the state
	rm -f $(DESTDIR)$(SBINDIR)/tfqd $(DESTDIR)$(BINDIR)/tfq
	rm -f $(DESTDIR)$(LIBEXECDIR)/tfq-runner $(DESTDIR)$(LIBEXECDIR)/tfq-credentials $(DESTDIR)$(LIBEXECDIR)/tfq-doctor
	rm -f $(UNITS:units/%=$(DESTDIR)$(UNITDIR)/%) $(USER_UNITS:units/user/%=$(DESTDIR)$(USERUNITDIR)/%)
	rm -f $(DESTDIR)$(SYSUSERSDIR)/tfqd.conf $(DESTDIR)$(CATALOGDIR)/tfqd.catalog
	rm -f $(DESTDIR)$(BASHDIR)/tfq $(DESTDIR)$(ZSHDIR)/_tfq $(DESTDIR)$(FISHDIR)/tfq.fish
	rm -f $(foreach m,$(MANPAGES),$(call man_dir,$(m))/$(notdir $(m)))
	-rmdir $(DESTDIR)$(LIBEXECDIR) 2>/dev/null

# The tree is copied: what a package's build leaves behind is not to lie between the sources.
DEB := build/deb
.PHONY: deb
deb: debdeps ## Build the Debian package, below build/deb/
	$(Q)rm -rf $(DEB)
	$(Q)mkdir -p $(DEB)/tfqd-$(VERSION)
	$(Q)tar --create --exclude=./build --exclude=./.git --exclude=__pycache__ . | tar --extract --directory=$(DEB)/tfqd-$(VERSION)
	$(Q)cd $(DEB)/tfqd-$(VERSION) && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage --build=binary --no-sign >../log 2>&1 || \
	 { tail -n 40 ../log; exit 1; }
	$(Q)if command -v lintian >/dev/null; then lintian --fail-on error $(DEB)/*.changes; fi
	@ls $(DEB)/*.deb

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build

.PHONY: FORCE
FORCE:
.SECONDARY:
.DELETE_ON_ERROR:
