# The one door for everything. `make run` and `make test` need nothing but Go.

GO      ?= go
TEST    ?= $(GO) test
DATA    ?= wattbus-data
# golangci-lint is built from source at this version, so that no other program has to be installed.
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: run test race fuzz fuzz-nightly e2e bench bench-broker schedules kills lint build console

run: ## the whole system on real household data
	$(GO) run ./cmd/wattbus up --data $(DATA)

test: ## all tests; those against other programs are skipped, loudly, where the program is missing
	$(GO) vet ./...
	$(TEST) ./...

race: ## all tests with the race detector
	$(GO) test -race ./...

fuzz: ## each fuzz test for FUZZTIME
	./scripts/fuzz $(FUZZTIME)

# What reads bytes of others: MQTT with its listeners, logins, client and bridge; MQTT-SN; the message formats.
NIGHTLY := mqtt topic broker listen auth client bridge mqttsn gateway snlink seal formats record echonet dsmr dlms jsonmap stomp

fuzz-nightly: ## each fuzz test of MQTT and MQTT-SN, from codec to bridge, and of the message formats for ten minutes, about eight hours; PACKAGES=internal for all
	./scripts/fuzz 10m $(or $(PACKAGES),$(addprefix internal/,$(NIGHTLY)))

e2e: ## end to end only: kills, foreign meters and concentrators, whole history
	$(GO) test -count=1 -v ./e2e/

bench: ## end to end and per package; ratios, CPU seconds per million readings, allocations, bytes
	$(GO) run ./cmd/wattbus bench
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

bench-broker: ## the MQTT core beside Mosquitto and NATS, about twelve minutes; BENCH=--quick only sees that nothing is lost
	$(GO) run ./cmd/wattbus bench broker $(BENCH)

schedules: ## a million random schedules of commands, about a quarter of an hour of one processor; WATTBUS_SEED says from where on
	WATTBUS_SCHEDULES=$(or $(SCHEDULES),1000000) $(GO) test -count=1 -timeout 0 -v -run TestSchedules ./internal/commandsim

kills: ## 200 kills of the centre on SQLite and on PostgreSQL, and as many of each store, some with power cuts; about half an hour; KILLS says how many
	WATTBUS_KILLS=$(or $(KILLS),200) $(GO) test -count=1 -timeout 0 -v -run TestCentreKilled ./e2e
	WATTBUS_KILLS=$(or $(KILLS),200) $(GO) test -count=1 -timeout 0 -v -run 'TestPowerCut|TestServerKilled|TestContract/kill' ./internal/store/sqlite ./internal/store/postgres

lint:
	$(GO) run $(LINT) run ./...

build: ## one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/wattbus ./cmd/wattbus

console: ## rebuild the page (needs node and npm)
	cd web/console && npm ci && npm run check && npm test && npm run build
