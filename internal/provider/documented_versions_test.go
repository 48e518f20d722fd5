// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The pages name the oldest versions that .github/workflows/test.yml tests with, all in
// the same words.
func TestDocumentedMinimum(t *testing.T) {
	workflow := document(t, ".github/workflows/test.yml")
	oldest := func(product string) string {
		match := regexp.MustCompile(`(?m)^ +` + product + `: \["([0-9.]+?)(?:\.[x*])?"`).FindStringSubmatch(workflow)
		if match == nil {
			t.Fatalf("the workflow has no matrix of %s", product)
		}
		return match[1]
	}
	want := fmt.Sprintf("Terraform %s or later, or OpenTofu %s or later", oldest("terraform"), oldest("opentofu"))
	statement := regexp.MustCompile(`Terraform [0-9.]+ or later, or OpenTofu [0-9.]+ or later`)
	for _, name := range []string{"README.md", "CHANGELOG.md", "templates/index.md.tmpl"} {
		text := strings.Join(strings.Fields(document(t, name)), " ")
		statements := statement.FindAllString(text, -1)
		if len(statements) == 0 {
			t.Errorf("%s does not say %q", name, want)
		}
		for _, got := range statements {
			if got != want {
				t.Errorf("%s says %q, but the oldest that are tested are %q", name, got, want)
			}
		}
	}
}

// The table of the provider page agrees with the tests, which skip what a version lacks.
func TestDocumentedCapabilities(t *testing.T) {
	_, table, _ := strings.Cut(document(t, "templates/index.md.tmpl"), "## Which Terraform, which OpenTofu")
	table, _, _ = strings.Cut(table, "\n## ")
	for feature, c := range map[string]capability{
		"ephemeral resource":                       ephemeralResources,
		"`open = terraform.applying`":              applyingKnown,
		"`password` of the resource":               writeOnlyArguments,
		"action `flame_session_revoke`":            actionBlocks,
		"the action, when a resource is destroyed": destroyEvents,
	} {
		row := "| " + feature
		for _, product := range []string{"Terraform", "OpenTofu"} {
			if minor, ok := since[c][product]; ok {
				row += fmt.Sprintf(" | 1.%d", minor)
			} else {
				row += " | –"
			}
		}
		if !strings.Contains(table, row+" |\n") {
			t.Errorf("the table has no row %q", row+" |")
		}
	}
}

// document returns a file of the repository.
func document(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
