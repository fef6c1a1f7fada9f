# SPDX-License-Identifier: Apache-2.0
#
# Every program and every test is built with the certified Go Cryptographic Module (docs/fips.md), without cgo.

FIPS_MODULE := v1.0.0
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X sluice.dev/sluice/internal/build.version=$(VERSION)
GO          := CGO_ENABLED=0 GOFIPS140=$(FIPS_MODULE) go
comma       := ,
PROGRAMS    := sluice sluice-manager

.DEFAULT_GOAL := help
.PHONY: help build test demo lint generate verify testbed bench clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the programs into bin/ and check their cryptography
	@echo "build: $(PROGRAMS), Go Cryptographic Module $(FIPS_MODULE) (the first build compiles about 1,500 packages)"
	@$(GO) run ./hack/progress build -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))
	@$(GO) run ./hack/cryptogate -commands $(subst $() $(),$(comma),$(addprefix ./cmd/,$(PROGRAMS))) $(addprefix bin/,$(PROGRAMS))

demo: build ## Play the whole product on an embedded control plane (KEEP=1 leaves it running)
	@hack/demo.sh

test: ## Run all tests, in FIPS mode on and again in mode only
	@hack/test.sh

lint: ## Run the linters
	@go -C hack/tools/lint build -o $(CURDIR)/bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@CGO_ENABLED=0 GOFIPS140=$(FIPS_MODULE) bin/golangci-lint run ./...

generate: ## Generate CRDs and docs from their sources
	@hack/generate.sh

verify: ## Check that generated files are current, formats, imports and sub-modules
	@hack/verify.sh

testbed: ## Keep a control plane running until Ctrl-C
	@cd hack/testbed && go run ./cmd/testbed up

bench: build ## Measure the manager (REFERENCE=path of a config to compare with)
	@hack/bench.sh

clean: ## Remove what was built here (not the shared cache of the test bed)
	@rm -rf bin dist
