# make help lists what there is.

GO       ?= go
FUZZTIME ?= 20000x
SEEDS    ?= 10000
TOOL      = $(GO) tool -modfile=internal/tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help run test test-programs vet lint fmt-check tidy-check fuzz simulate reliability bench-main bench-cartridges bench-push bench-build bench-logs bench-database bench-control build examples

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## run the sample PaaS; installs what it needs after asking (YES=1: without; ARGS="-load" drives load)
	@scripts/setup.sh $(if $(YES),-yes)
	@$(GO) build -o bin/ ./examples/apaas && exec bin/apaas $(ARGS)

test: ## run all tests; installs what they need, as root on Debian
	@scripts/setup.sh -yes -test
	@$(MAKE) --no-print-directory test-programs
	$(GO) test -race -timeout 15m ./...

test-programs: bin/test/etcd bin/test/versitygw ## build the servers that tests talk to into bin/test/

bin/test/etcd: internal/tools/go.mod internal/tools/go.sum
	$(GO) build -C internal/tools -trimpath -ldflags='-s -w' -o $(CURDIR)/$@ go.etcd.io/etcd/server/v3

bin/test/versitygw: internal/tools/s3/go.mod internal/tools/s3/go.sum
	$(GO) build -C internal/tools/s3 -trimpath -ldflags='-s -w' -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw

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
	cd internal/tools/s3 && $(GO) mod tidy -diff

fuzz: ## run every fuzz test for a short while (FUZZTIME=20000x)
	@scripts/fuzz.sh $(FUZZTIME)

# The simulation decides for itself what happens when, so more cores need more processes.
simulate: ## SEEDS=10000 histories of the Cloud Controller under faults, on two cores
	@$(GO) test -c -o bin/test/simulation ./cloud/controller
	@cd cloud/controller && for half in 0 1; do \
		STRATOS_SIM_SEEDS=$$(($(SEEDS)/2)) STRATOS_TEST_SEED=$$((1 + half * $(SEEDS)/2)) \
			$(CURDIR)/bin/test/simulation -test.run '^TestSimulation$$' -test.timeout 0 & pids="$$pids $$!"; \
	done; for p in $$pids; do wait $$p || failed=1; done; test -z "$$failed" && echo "$(SEEDS) histories, no violation"

reliability: test-programs ## everything that may not be lost, leaked or doubled; an hour or so (ARGS="-short": minutes)
	$(GO) run ./internal/reliability $(ARGS)

bench-main: ## measure the main job: launch, idle cost, start of the example
	$(GO) run ./internal/bench/mainjob

bench-cartridges: ## measure the start of tomcat (<= 2 CPU-s, <= 110 MB) and of a new database (<= 0.5 s)
	@$(GO) test -run '^$$' -bench 'FirstAnswer|NewService' -benchtime 11x ./cartridge/tomcat ./cartridge/mysql

bench-push: ## measure git push: 15 MB with its release (<= 2.5 s), push to served (< 0.5 s), requests that fail (0)
	@$(GO) test -run '^$$' -bench '^BenchmarkPush$$' -benchtime 5x .

bench-build: ## measure the p99 of an app beside a build that takes all it can get (it does not double)
	@$(GO) test -run '^$$' -bench '^BenchmarkBuild$$' -benchtime 5x .

bench-logs: ## measure how soon a printed line is seen by who follows the log (<= 2 s)
	@$(GO) test -run '^$$' -bench '^BenchmarkLogs$$' -benchtime 11x .

bench-database: ## measure a subscription to a database until its service is active (<= 0.5 s)
	@$(GO) test -run '^$$' -bench '^BenchmarkDatabase$$' -benchtime 11x .

bench-control: ## measure the control plane with 10 000 clusters and 100 000 members, and a tenth of that
	$(GO) run ./internal/bench/control $(ARGS)
	$(GO) run ./internal/bench/stream -clusters 1000 -members 10000
	$(GO) run ./internal/bench/stream
