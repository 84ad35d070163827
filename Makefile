# make help lists what there is.

GO       ?= go
FUZZTIME ?= 20000x
TOOL      = $(GO) tool -modfile=internal/tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help run test vet lint fmt-check tidy-check fuzz bench-main build examples

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## run the sample PaaS; installs what it needs after asking (YES=1: without; ARGS="-load" drives load)
	@scripts/setup.sh $(if $(YES),-yes)
	@$(GO) build -o bin/ ./examples/apaas && exec bin/apaas $(ARGS)

test: ## run all tests; installs what they need, as root on Debian
	@scripts/setup.sh -yes -test
	$(GO) test -race -timeout 15m ./...

build: ## build the command into bin/
	$(GO) build -o bin/ ./cmd/...

examples: ## build every example into bin/
	$(GO) build -o bin/ ./examples/...

vet: ## run go vet
	$(GO) vet ./...

lint: ## run staticcheck, of the version pinned in internal/tools
	$(TOOL) staticcheck ./...

fmt-check: ## fail if a file is not formatted
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "run gofmt -w on:" $$unformatted >&2; exit 1; }

tidy-check: ## fail if a go.mod or go.sum is not tidy
	$(GO) mod tidy -diff
	cd internal/tools && $(GO) mod tidy -diff

fuzz: ## run every fuzz test for a short while (FUZZTIME=20000x)
	@scripts/fuzz.sh $(FUZZTIME)

bench-main: ## measure the main job: launch, idle cost, start of the example
	$(GO) run ./internal/bench/mainjob
