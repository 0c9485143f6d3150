# Everything a developer does with this repository. `make run` and `make test` need Rust and nothing else.

CARGO ?= cargo
NEXTEST_PROFILE ?= default

.PHONY: run test test-full bench lint fmt deny openapi tools

run: ## Serve on 127.0.0.1:7420 with SQLite in ./data
	$(CARGO) build --release
	./target/release/claviger serve

test: tools ## Every test; volumes a tenth of the full ones
	$(CARGO) build
	$(CARGO) nextest run --workspace --profile $(NEXTEST_PROFILE)

test-full: tools ## Every test at full volume, on the release build
	$(CARGO) build --release
	TEST_FULL=1 $(CARGO) nextest run --workspace --release --profile $(NEXTEST_PROFILE)

bench: ## Figures, as ratios within one run
	$(CARGO) build --release
	$(CARGO) run --release -p claviger-tests --bin bench

lint: ## Formatting, lints, generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) run --quiet -- openapi | diff docs/openapi.json -

fmt: ## Format everything
	$(CARGO) fmt --all

deny: ## Licences, bans and sources of dependencies
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	cargo-deny --offline check bans licenses sources

openapi: ## Regenerate docs/openapi.json
	$(CARGO) run --quiet -- openapi > docs/openapi.json

tools: ## What the tests need and this machine lacks
	command -v cargo-nextest >/dev/null || $(CARGO) install cargo-nextest --locked
	python3 -c 'import ensurepip' 2>/dev/null || (apt-get update && apt-get install -y python3 python3-venv)
	command -v npm >/dev/null || (apt-get update && apt-get install -y nodejs npm)
