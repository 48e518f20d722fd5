// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"strings"
	"testing"
)

// Excerpts of https://releases.hashicorp.com/terraform/index.json and
// https://get.opentofu.org/tofu/api.json.
const (
	terraformIndex = `{"name":"terraform","versions":{"1.9.8":{"name":"terraform","version":"1.9.8"},"1.16.4":{"version":"1.16.4"},"1.17.0-beta1":{"version":"1.17.0-beta1"}}}`
	opentofuIndex  = `{"versions":[{"id":"1.12.6","files":["tofu_1.12.6_linux_amd64.zip"]},{"id":"1.13.0-rc1","files":[]},{"id":"1.9.4","files":[]}]}`
)

func TestCheck(t *testing.T) {
	const workflow = "      matrix:\n        terraform: [\"1.8.5\", \"1.15.*\", \"1.16.*\"]\n        opentofu: [\"1.9.x\", \"1.12.x\"]\n"
	for _, test := range []struct{ name, product, index, want string }{
		{"tested", "terraform", terraformIndex, ""},
		{"tested", "opentofu", opentofuIndex, ""},
		{"new", "terraform", strings.ReplaceAll(terraformIndex, "1.17.0-beta1", "1.17.0"), "terraform 1.17 is out, and the tests stop at 1.16. Read https://github.com/hashicorp/terraform/blob/v1.17/CHANGELOG.md"},
		{"new", "opentofu", strings.ReplaceAll(opentofuIndex, "1.13.0-rc1", "1.13.0"), "opentofu 1.13 is out"},
		{"no index", "terraform", "<html>", "names no version"},
		{"no line", "helm", terraformIndex, "no line"},
	} {
		t.Run(test.product+" "+test.name, func(t *testing.T) {
			err := check(test.product, workflow, test.index)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The workflow has the lines that the command looks for.
func TestWorkflow(t *testing.T) {
	text, err := os.ReadFile("../../../.github/workflows/test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for product, index := range map[string]string{"terraform": terraformIndex, "opentofu": opentofuIndex} {
		if err := check(product, string(text), index); err != nil {
			t.Error(err)
		}
	}
}
