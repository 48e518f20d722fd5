# `make help` lists what there is.
.DEFAULT_GOAL := help
bin := $(CURDIR)/.bin

# The commands under test: the one that is named, or the one on PATH, or one built
# here from its Go module (Terraform: a minute, OpenTofu: four; once).
terraform := $(or $(TF_ACC_TERRAFORM_PATH),$(shell command -v terraform),$(bin)/terraform)
tofu      := $(or $(TOFU_PATH),$(shell command -v tofu),$(bin)/tofu)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-20s%s\n", $$1, $$2 }' Makefile

## Try it

.PHONY: provider install demo probe
provider: ## build the provider into .bin/
	go build -o '$(bin)/terraform-provider-flame' .

# Both commands look into this folder before they ask a registry.
install: provider ## install the provider where `terraform init` and `tofu init` find it
	@for registry in registry.terraform.io registry.opentofu.org; do \
		folder="$$HOME/.terraform.d/plugins/$$registry/flameanalytics/flame/0.0.1/$$(go env GOOS)_$$(go env GOARCH)"; \
		mkdir -p "$$folder" && cp -f '$(bin)/terraform-provider-flame' "$$folder/terraform-provider-flame_v0.0.1" && echo "Installed into $$folder" || exit 1; \
	done

demo: provider $(terraform) ## apply, plan and destroy a session with real Terraform, and show what the API saw
	@go run ./internal/cmd/demo -terraform '$(terraform)' -provider '$(bin)/terraform-provider-flame' -example examples/demo

probe: ## ask a real Flame API what nobody could tell; see CONTRIBUTING.md
	@go run ./internal/cmd/probe $(PROBE_FLAGS)

## Test it

# In these tests nothing is concurrent, and -race takes four times as long.
unraced := TestFaultMatrix|TestLeakScan

.PHONY: test test-unit test-opentofu test-live test-faults test-lives test-lives-mutants test-servers install-servers fuzz lint audit english fmt
test: $(terraform) ## every test, with real Terraform, against the fake API
	go vet ./...
	go test -run '$(unraced)' ./internal/provider
	go test -race . ./internal/flame/... ./internal/session/... ./internal/cmd/...
	TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' go test -race -timeout 20m -skip '$(unraced)' ./internal/terraformtest ./internal/provider
	TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' go test -timeout 20m ./internal/live

test-unit: ## the tests that need no Terraform, in seconds
	TF_ACC= go test ./...

# OpenTofu's own registry gives this address to a provider that is named without a
# host. What runs no command need not run twice.
test-opentofu: $(tofu) ## the acceptance tests with OpenTofu
	TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(tofu)' TF_ACC_PROVIDER_HOST=registry.opentofu.org TF_ACC_PROVIDER_NAMESPACE=hashicorp \
		go test -race -timeout 20m -skip '$(unraced)' ./internal/terraformtest ./internal/provider

# Not go test: it takes the terminal away, on which the suite asks whether to begin.
test-live: $(terraform) ## the provider with your own Flame account; see CONTRIBUTING.md
	@go test -c -o '$(bin)/test/live.test' ./internal/live
	@cd internal/live && TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' '$(bin)/test/live.test' -test.v -live $(LIVE_FLAGS)

test-faults: ## every operation under every fault, as a table
	FLAME_FAULT_TABLE=1 go test -v -count=1 -run TestFaultMatrix ./internal/provider

# LIVES is the number of scripts; with a LIVES_TIME of its own, it ends when that is used
# up. A LIVES_SEED of 0 is a random one, which is printed.
LIVES      ?= 2000
LIVES_SEED ?= 1
LIVES_TIME ?= 10m
test-lives: ## thousands of random lives against a model of the rule, in simulated time
	go test -race -v -count=1 -run 'TestLives$$' -timeout $(LIVES_TIME) ./internal/lives -lives=$(LIVES) -seed=$(LIVES_SEED)

test-lives-mutants: ## break the code in many ways; the lives must find each
	FLAME_LIVES_MUTANTS=60s go test -v -count=1 -run 'TestMutants$$' -timeout 60m ./internal/lives

# Debian's packages. As an ordinary user, one may not have /usr/sbin on PATH.
servers := nginx-light squid puma ruby-actionpack
servers-path := PATH="$$PATH:/usr/sbin"
has-servers := ($(servers-path); for s in nginx squid puma; do command -v $$s || exit 1; done; ruby -r action_controller -e '') >/dev/null 2>&1

test-servers: $(terraform) ## the tests with real nginx, squid and Rails
	@$(has-servers) || { echo 'This needs nginx, squid, and Rails on puma: on Debian, $(servers). make install-servers installs them, as root.'; exit 1; }
	$(servers-path) FLAME_SERVERS=1 TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' \
		go test -race -count=1 -timeout 20m -run 'Nginx|Squid|Rails' ./internal/servertest ./internal/flame ./internal/provider ./internal/live

install-servers: ## install what test-servers needs, with apt-get, unless it is there
	@$(has-servers) || { apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(servers); } \
		|| { echo 'Could not install nginx, squid, and Rails on puma. With apt-get, run this as root; without it, install them yourself.'; exit 1; }

fuzz: ## fuzz each parser for a minute
	go test -run '^$$' -fuzz FuzzParseSession -fuzztime 60s ./internal/flame
	go test -run '^$$' -fuzz FuzzRetryAfter -fuzztime 60s ./internal/flame

lint: $(bin)/golangci-lint $(bin)/actionlint $(terraform) english ## linter, formatting, go.mod, workflows, English
	'$(bin)/golangci-lint' run ./...
	'$(bin)/actionlint'
	go mod tidy -diff
	'$(terraform)' fmt -check -recursive -diff examples

# It ends with 3 if it has found something.
audit: $(bin)/govulncheck ## known vulnerabilities in the code that is used; needs the network
	@'$(bin)/govulncheck' ./... || { test $$? -eq 3 || echo 'Nothing was checked: the database of vulnerabilities was not read.'; exit 1; }

# Every line of bad.md is a sentence that the check must find, so that it cannot pass by
# finding nothing.
vale := '$(bin)/vale' --no-global --config tools/vale/vale.ini --output line --sort
english: $(bin)/vale ## what a machine can see of unclear English, in the documentation and in messages
	@test "$$($(vale) --no-exit tools/vale/bad.md | cut -d: -f2 | sort -u | wc -l)" -eq "$$(wc -l <tools/vale/bad.md)" || { echo 'The check misses sentences of tools/vale/bad.md.'; exit 1; }
	$(vale) *.md docs main.go $$(find internal/provider internal/session internal/flame -name '*.go' ! -name '*_test.go' ! -path '*test*/*')

fmt: $(bin)/golangci-lint $(terraform) ## format Go and Terraform files
	'$(bin)/golangci-lint' fmt ./...
	'$(terraform)' fmt -recursive examples

## Document it

.PHONY: docs docs-check docs-rendered
docs: docs-rendered ## write docs/ from the schema, templates/ and examples/
	rm -rf docs && cp -R .bin/docs/rendered docs
	'$(bin)/tfplugindocs' validate --provider-name flame --providers-schema .bin/docs/schema.json >.bin/docs/log 2>&1 || { cat .bin/docs/log; exit 1; }

docs-check: docs-rendered ## fail if docs/ is out of date
	@diff -r docs .bin/docs/rendered || { echo 'docs/ is out of date: run make docs.'; exit 1; }

# Without a registry, tfplugindocs needs the schema in a file, in which it looks for
# a provider without a namespace. Only a Terraform built here is sure to know actions.
docs-rendered: provider $(bin)/terraform $(bin)/tfplugindocs
	@rm -rf .bin/docs && mkdir -p .bin/docs
	@printf 'provider_installation {\n  dev_overrides {\n    "hashicorp/flame" = "%s"\n  }\n}\n' '$(bin)' >.bin/docs/cli.tfrc
	@echo 'provider "flame" {}' >.bin/docs/main.tf
	@cd .bin/docs && CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=cli.tfrc '$(bin)/terraform' providers schema -json >schema.json
	@'$(bin)/tfplugindocs' generate --provider-name flame --rendered-provider-name Flame \
		--providers-schema .bin/docs/schema.json --rendered-website-dir .bin/docs/rendered >.bin/docs/log 2>&1 || { cat .bin/docs/log; exit 1; }

## Measure and release it

.PHONY: bench release-check release-verify install-emulators
bench: $(terraform) ## how long many sessions take, as a table and a chart; ten minutes, on a quiet machine
	@go build -trimpath -ldflags '-s -w' -o .bin/bench/terraform-provider-flame .
	@go run ./internal/cmd/bench -terraform '$(terraform)' -provider '$(bin)/bench/terraform-provider-flame' -remote -json .bin/bench/rows.json
	@go -C tools/chart run . <.bin/bench/rows.json >.bin/bench/chart.svg
	@echo 'The chart is in .bin/bench/chart.svg.'

release-check: $(bin)/goreleaser $(bin)/cyclonedx-gomod $(terraform) $(tofu) ## build a release twice, inspect it, install it with real Terraform and OpenTofu, and start it on other platforms
	@go run ./internal/cmd/releasecheck -goreleaser '$(bin)/goreleaser' -cyclonedx-gomod '$(bin)/cyclonedx-gomod' -terraform '$(terraform)' -tofu '$(tofu)'

release-verify: $(terraform) $(tofu) ## check a downloaded release: VERSION=1.2.3 RELEASE=folder KEY=public.asc
	@go run ./internal/cmd/releasecheck -release '$(RELEASE)' -version '$(VERSION)' -key '$(KEY)' -terraform '$(terraform)' -tofu '$(tofu)'

install-emulators: ## install what release-check starts other platforms with, with apt-get, as root
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends qemu-user-static wine64

## Outside tools: each is a Go module of its own in tools/, built into .bin/

package-terraform       := github.com/hashicorp/terraform
package-tofu            := github.com/opentofu/opentofu/cmd/tofu
package-golangci-lint   := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
package-tfplugindocs    := github.com/hashicorp/terraform-plugin-docs/cmd/tfplugindocs
package-goreleaser      := github.com/goreleaser/goreleaser/v2
package-cyclonedx-gomod := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
package-actionlint      := github.com/rhysd/actionlint/cmd/actionlint
package-govulncheck     := golang.org/x/vuln/cmd/govulncheck
package-vale            := github.com/vale-cli/vale/v3/cmd/vale
# Otherwise they call themselves -dev.
ldflags-terraform       := -X github.com/hashicorp/terraform/version.dev=no
ldflags-tofu            := -X github.com/opentofu/opentofu/version.dev=no

$(bin)/tofu: tools/opentofu/go.mod tools/opentofu/go.sum
$(foreach tool,terraform golangci-lint tfplugindocs goreleaser cyclonedx-gomod actionlint govulncheck vale,\
	$(eval $(bin)/$(tool): tools/$(tool)/go.mod tools/$(tool)/go.sum))
$(bin)/%:
	@echo 'Building $* from its Go module; this takes a while, once.'
	@go -C '$(<D)' build -trimpath -ldflags '-s -w $(ldflags-$*)' -o '$@' '$(package-$*)'
