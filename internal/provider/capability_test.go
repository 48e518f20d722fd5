// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// A capability is something that not every version of Terraform and OpenTofu has.
type capability string

const (
	ephemeralResources capability = "ephemeral resources"
	writeOnlyArguments capability = "write-only arguments"
	providerFunctions  capability = "functions of providers"
	functionsInConsole capability = "functions of providers in the console"
	actionBlocks       capability = "actions"
	destroyEvents      capability = "actions before and after destroy"
	movesAcrossTypes   capability = "moved blocks across types"
	removedBlocks      capability = "removed blocks that destroy"
	destroyFalse       capability = "destroy = false in a lifecycle block"
	minimalRefresh     capability = "-minimal-refresh"
	applyingKnown      capability = "terraform.applying with unknown results"
	stateEncryption    capability = "encryption of states with a variable"
)

// since has the minor version (of version 1) that brought a capability. Without
// one, the product does not have it.
var since = map[capability]map[string]int{
	ephemeralResources: {"Terraform": 10, "OpenTofu": 11},
	writeOnlyArguments: {"Terraform": 11, "OpenTofu": 11},
	providerFunctions:  {"Terraform": 8, "OpenTofu": 7},
	functionsInConsole: {"Terraform": 8},
	actionBlocks:       {"Terraform": 14},
	destroyEvents:      {"Terraform": 16},
	movesAcrossTypes:   {"Terraform": 8, "OpenTofu": 10},
	removedBlocks:      {"Terraform": 7, "OpenTofu": 10},
	destroyFalse:       {"Terraform": 16, "OpenTofu": 12},
	minimalRefresh:     {"Terraform": 17},
	applyingKnown:      {"Terraform": 10},
	stateEncryption:    {"OpenTofu": 8},
}

// needs skips the test if the command lacks one of the capabilities.
func needs(t *testing.T, capabilities ...capability) {
	t.Helper()
	acceptance(t)
	command, err := commandVersion()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range capabilities {
		first := since[c][command.product]
		switch {
		case first == 0:
			t.Skipf("%s has no %s", command.product, c)
		case command.minor < first:
			t.Skipf("%s 1.%d has no %s, which came with 1.%d", command.product, command.minor, c, first)
		}
	}
}

type version struct {
	product string
	minor   int // of version 1
}

// commandVersion runs the command once. Only its text output tells Terraform from
// OpenTofu.
var commandVersion = sync.OnceValues(func() (v version, err error) {
	w, err := terraformtest.New(terraformtest.DefaultCommand())
	if err != nil {
		return version{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	r, err := w.Run(context.Background(), "version")
	if err != nil {
		return version{}, err
	}
	parts := regexp.MustCompile(`(?m)^(Terraform|OpenTofu) v1\.(\d+)\.`).FindStringSubmatch(r.Stdout)
	if parts == nil {
		return version{}, fmt.Errorf("not a known version: %v", r)
	}
	minor, err := strconv.Atoi(parts[2])
	return version{parts[1], minor}, err
})
