# What each target does: `make help`.
root := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
bin  := $(root)/.bin

# Terraform and OpenTofu: the one that is named, else the one on PATH, else one
# built here from its Go module, which takes a minute (OpenTofu: four).
terraform := $(or $(TF_ACC_TERRAFORM_PATH),$(shell command -v terraform),$(bin)/terraform)
tofu      := $(or $(TOFU_PATH),$(shell command -v tofu),$(bin)/tofu)

go := cd $(root) && go

.PHONY: help demo test test-opentofu test-faults fuzz lint fmt provider
.DEFAULT_GOAL := help

help:
	@echo 'make demo            apply, plan and destroy a session with real Terraform, and tell what the API saw'
	@echo 'make test            all tests, with real Terraform, against the fake API'
	@echo 'make test-opentofu   the acceptance tests with OpenTofu'
	@echo 'make test-faults     every operation under every fault, as a table'
	@echo 'make fuzz            a minute of fuzzing for each parser of answers'
	@echo 'make lint            linter, formatting, go.mod'
	@echo 'make fmt             format Go and Terraform files'

demo: provider $(terraform)
	@$(go) run ./internal/cmd/demo -terraform '$(terraform)' -provider '$(bin)/terraform-provider-flame' -example examples/demo -scratch .demo

test: $(terraform)
	$(go) vet ./...
	$(go) test -race ./internal/flame/... ./internal/cmd/...
	cd $(root) && TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(terraform)' go test -race -timeout 20m ./internal/provider

# The address that OpenTofu's own registry gives a provider without a host.
test-opentofu: $(tofu)
	cd $(root) && TF_ACC=1 TF_ACC_TERRAFORM_PATH='$(tofu)' \
		TF_ACC_PROVIDER_HOST=registry.opentofu.org TF_ACC_PROVIDER_NAMESPACE=hashicorp \
		go test -race -timeout 20m ./internal/provider

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

provider:
	@$(go) build -o '$(bin)/terraform-provider-flame' .

# Outside tools, each a Go module of its own under tools/.
$(bin)/terraform: ldflags := -X github.com/hashicorp/terraform/version.dev=no
$(bin)/terraform: package := github.com/hashicorp/terraform
$(bin)/tofu: ldflags := -X github.com/opentofu/opentofu/version.dev=no
$(bin)/tofu: package := github.com/opentofu/opentofu/cmd/tofu
$(bin)/golangci-lint: package := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(bin)/terraform: $(wildcard $(root)/tools/terraform/go.*)
$(bin)/tofu: $(wildcard $(root)/tools/opentofu/go.*)
$(bin)/golangci-lint: $(wildcard $(root)/tools/golangci-lint/go.*)
$(bin)/terraform $(bin)/tofu $(bin)/golangci-lint:
	@echo 'Building $(notdir $@) from its Go module; this takes a while, once.'
	@cd $(dir $<) && go build -trimpath -ldflags '-s -w $(ldflags)' -o '$@' $(package)
