# What each target does: `make help`.
root := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
bin  := $(root)/.bin

# Terraform and OpenTofu: the one that is named, else the one on PATH, else one
# built here from its Go module, which takes a minute (OpenTofu: four).
terraform := $(or $(TF_ACC_TERRAFORM_PATH),$(shell command -v terraform),$(bin)/terraform)
tofu      := $(or $(TOFU_PATH),$(shell command -v tofu),$(bin)/tofu)

go := cd $(root) && go

.PHONY: help demo test test-opentofu test-faults fuzz lint fmt docs docs-check docs-rendered bench release-check provider
.DEFAULT_GOAL := help

help:
	@echo 'make demo            apply, plan and destroy a session with real Terraform, and tell what the API saw'
	@echo 'make test            all tests, with real Terraform, against the fake API'
	@echo 'make test-opentofu   the acceptance tests with OpenTofu'
	@echo 'make test-faults     every operation under every fault, as a table'
	@echo 'make fuzz            a minute of fuzzing for each parser of answers'
	@echo 'make lint            linter, formatting, go.mod'
	@echo 'make fmt             format Go and Terraform files'
	@echo 'make docs            docs/ from the schema, templates/ and examples/'
	@echo 'make docs-check      whether docs/ is up to date'
	@echo 'make bench           how long many sessions take, as a table and a chart'
	@echo 'make release-check   build a release twice, look into it, and install it with real Terraform and OpenTofu'

demo: provider $(terraform)
	@$(go) run ./internal/cmd/demo -terraform '$(terraform)' -provider '$(bin)/terraform-provider-flame' -example examples/demo

test: $(terraform)
	$(go) vet ./...
	$(go) test -race . ./internal/flame/... ./internal/cmd/...
	cd $(root) && TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' go test -race -timeout 20m ./internal/terraformtest ./internal/provider

# The address that OpenTofu's own registry gives a provider without a host. What
# runs no command is not run again.
test-opentofu: $(tofu)
	cd $(root) && TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(tofu)' \
		TF_ACC_PROVIDER_HOST=registry.opentofu.org TF_ACC_PROVIDER_NAMESPACE=hashicorp \
		go test -race -timeout 20m -skip 'TestFaultMatrix|TestScanFindsLeaks' ./internal/terraformtest ./internal/provider

test-faults:
	cd $(root) && FLAME_FAULT_TABLE=1 go test -race -count=1 -run TestFaultMatrix ./internal/provider

fuzz:
	$(go) test -run '^$$' -fuzz FuzzParseSession -fuzztime 60s ./internal/flame
	$(go) test -run '^$$' -fuzz FuzzRetryAfter -fuzztime 60s ./internal/flame

lint: $(bin)/golangci-lint $(terraform)
	cd $(root) && $(bin)/golangci-lint run ./...
	$(go) mod tidy -diff
	cd $(root) && '$(terraform)' fmt -check -recursive -diff examples

fmt: $(bin)/golangci-lint $(terraform)
	cd $(root) && $(bin)/golangci-lint fmt ./...
	cd $(root) && '$(terraform)' fmt -recursive examples

docs: docs-rendered
	rm -rf '$(root)/docs' && cp -R '$(bin)/docs/rendered' '$(root)/docs'
	cd $(root) && '$(bin)/tfplugindocs' validate --provider-name flame --providers-schema .bin/docs/schema.json >'$(bin)/docs/log' 2>&1 || { cat '$(bin)/docs/log'; exit 1; }

docs-check: docs-rendered
	@diff -r '$(root)/docs' '$(bin)/docs/rendered' || { echo 'docs/ is out of date: run make docs.'; exit 1; }

# Without a registry: tfplugindocs takes the schema from a file, in which it
# looks for a provider without a namespace of its own. Only a Terraform built
# here is sure to know actions.
docs-rendered: provider $(bin)/terraform $(bin)/tfplugindocs
	@rm -rf '$(bin)/docs' && mkdir -p '$(bin)/docs'
	@printf 'provider_installation {\n  dev_overrides {\n    "hashicorp/flame" = "%s"\n  }\n}\n' '$(bin)' >'$(bin)/docs/cli.tfrc'
	@echo 'provider "flame" {}' >'$(bin)/docs/main.tf'
	@cd '$(bin)/docs' && CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=cli.tfrc '$(bin)/terraform' providers schema -json >schema.json
	@cd $(root) && '$(bin)/tfplugindocs' generate --provider-name flame --rendered-provider-name Flame \
		--providers-schema .bin/docs/schema.json --rendered-website-dir .bin/docs/rendered >'$(bin)/docs/log' 2>&1 || { cat '$(bin)/docs/log'; exit 1; }

# Ten minutes; on a quiet machine.
bench: $(terraform)
	@$(go) build -trimpath -ldflags '-s -w' -o '$(bin)/bench/terraform-provider-flame' .
	@$(go) run ./internal/cmd/bench -terraform '$(terraform)' -provider '$(bin)/bench/terraform-provider-flame' -json '$(bin)/bench/rows.json'
	@cd '$(root)/tools/chart' && go run . <'$(bin)/bench/rows.json' >'$(bin)/bench/chart.svg'
	@echo 'The chart is in .bin/bench/chart.svg.'

release-check: $(bin)/goreleaser $(bin)/cyclonedx-gomod $(terraform) $(tofu)
	@$(go) run ./internal/cmd/releasecheck -goreleaser '$(bin)/goreleaser' -cyclonedx-gomod '$(bin)/cyclonedx-gomod' -terraform '$(terraform)' -tofu '$(tofu)'

provider:
	@$(go) build -o '$(bin)/terraform-provider-flame' .

# Outside tools, each a Go module of its own under tools/.
$(bin)/terraform: ldflags := -X github.com/hashicorp/terraform/version.dev=no
$(bin)/terraform: package := github.com/hashicorp/terraform
$(bin)/tofu: ldflags := -X github.com/opentofu/opentofu/version.dev=no
$(bin)/tofu: package := github.com/opentofu/opentofu/cmd/tofu
$(bin)/golangci-lint: package := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(bin)/tfplugindocs: package := github.com/hashicorp/terraform-plugin-docs/cmd/tfplugindocs
$(bin)/goreleaser: package := github.com/goreleaser/goreleaser/v2
$(bin)/cyclonedx-gomod: package := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
$(bin)/terraform: $(wildcard $(root)/tools/terraform/go.*)
$(bin)/tofu: $(wildcard $(root)/tools/opentofu/go.*)
$(bin)/golangci-lint: $(wildcard $(root)/tools/golangci-lint/go.*)
$(bin)/tfplugindocs: $(wildcard $(root)/tools/tfplugindocs/go.*)
$(bin)/goreleaser: $(wildcard $(root)/tools/goreleaser/go.*)
$(bin)/cyclonedx-gomod: $(wildcard $(root)/tools/cyclonedx-gomod/go.*)
$(bin)/terraform $(bin)/tofu $(bin)/golangci-lint $(bin)/tfplugindocs $(bin)/goreleaser $(bin)/cyclonedx-gomod:
	@echo 'Building $(notdir $@) from its Go module; this takes a while, once.'
	@cd $(dir $<) && go build -trimpath -ldflags '-s -w $(ldflags)' -o '$@' $(package)
