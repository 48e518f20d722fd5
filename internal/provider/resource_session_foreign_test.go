// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// loose returns a pattern that matches a text however Terraform wraps its lines.
func loose(text string) *regexp.Regexp {
	words := strings.Fields(text)
	for i, word := range words {
		words[i] = regexp.QuoteMeta(word)
	}
	return regexp.MustCompile(strings.Join(words, `\s+`))
}

// A token never goes to a host that the state of another provider chose.
func TestAccSession_moveEndpoint(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint func(fake, other *flametest.Server) string // in the old state
		fails    string                                     // "": it moves
	}{
		"the provider's": {func(fake, _ *flametest.Server) string { return fmt.Sprintf("endpoint = %q", fake.URL()) }, ""},
		"the provider's, spelled differently": {func(fake, _ *flametest.Server) string {
			return fmt.Sprintf("endpoint = %q", strings.Replace(fake.URL(), "http:", "HTTP:", 1)+"/")
		}, ""},
		"none": {func(_, _ *flametest.Server) string { return "" }, ""},
		"another": {
			func(_, other *flametest.Server) string { return fmt.Sprintf("endpoint = %q", other.URL()+"/webhook") },
			"The moved session belongs to another endpoint",
		},
		"another path": {
			func(fake, _ *flametest.Server) string { return fmt.Sprintf("endpoint = %q", fake.URL()+"/elsewhere") },
			"The moved session belongs to another endpoint",
		},
		"not a URL": {func(_, _ *flametest.Server) string { return `endpoint = "staging"` }, "state of the terraform_data: it has no scheme"},
		"with a password": {func(_, other *flametest.Server) string {
			return `endpoint = "` + strings.Replace(other.URL(), "//", "//ada:s3cret@", 1) + `"`
		}, "state of the terraform_data: it holds a user name or password"},
	} {
		t.Run(name, func(t *testing.T) {
			acc := newAccTest(t, flametest.Config{}, movesAcrossTypes)
			other := newFake(t, flametest.Config{})
			token := openElsewhere(t, acc.fake, 1)[0]
			acc.fake.Reset()
			old := acc.config(fmt.Sprintf("resource \"terraform_data\" \"old\" {\n  input = { auth_token = %q, %s }\n}\n", token, test.endpoint(acc.fake, other)))
			moved := acc.config(sessionBlock("this", ""), "moved {\n  from = terraform_data.old\n  to = flame_session.this\n}\n")
			steps := []resource.TestStep{{Config: old}}
			open := 0
			if test.fails == "" {
				steps = append(steps,
					resource.TestStep{
						Config:            moved,
						ConfigPlanChecks:  preApply(plancheck.ExpectResourceAction(this, plancheck.ResourceActionUpdate)),
						ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests(), expectText("endpoint", acc.fake.URL()), expectText("auth_token", token)},
					},
					resource.TestStep{Config: moved, ConfigPlanChecks: preApply(plancheck.ExpectEmptyPlan())})
			} else {
				open = 1
				steps = append(steps, resource.TestStep{Config: moved, ExpectError: loose(test.fails)}, resource.TestStep{Config: old}) // back, so that destroy works
			}
			acc.runLeaving(open, steps...)
			if n := len(other.Journal()); n != 0 {
				t.Errorf("%d requests went to the host that the old state chose", n)
			}
			if test.fails != "" && len(acc.fake.Journal()) != 0 {
				t.Errorf("%d requests went to the provider's endpoint", len(acc.fake.Journal()))
			}
		})
	}
}

// The error names scheme and host of the other endpoint, and nothing else of it.
// Without a refresh, it comes with the plan.
func TestMoveEndpointError(t *testing.T) {
	needs(t, movesAcrossTypes)
	fake, other := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	token := openElsewhere(t, fake, 1)[0]
	w := newWorkspace(t, fake, fmt.Sprintf("resource \"terraform_data\" \"old\" {\n  input = { auth_token = %q, endpoint = %q }\n}\n", token, other.URL()+"/s3cret-path"))
	w.apply()
	w.write("main.tf", requireFlame+sessionBlock("this", "")+"moved {\n  from = terraform_data.old\n  to = flame_session.this\n}\n")
	for _, args := range [][]string{{"plan", "-input=false"}, {"plan", "-input=false", "-refresh=false"}, {"destroy", "-auto-approve", "-input=false", "-refresh=false"}} {
		r := w.fails([]string{"The moved session belongs to another endpoint", "an endpoint at " + strings.TrimSuffix(other.URL(), "/api/v1") + ", which"}, args...)
		r.doesNotSay(t, "the path", "s3cret-path")
		r.doesNotSay(t, "the token", token)
	}
	w.setenv(envEndpoint, other.URL()+"/s3cret-path") // the user agrees
	w.must("plan", "-input=false", "-refresh=false").says(t, "flame_session.this", "0 to destroy")
	if len(other.Journal()) != 0 || len(fake.Live()) != 1 {
		t.Errorf("%d requests went to the other endpoint, %d tokens are alive at Flame", len(other.Journal()), len(fake.Live()))
	}
}

// Files that PowerShell and some editors write begin with a byte order mark.
func TestAccSession_importEncodings(t *testing.T) {
	for name, test := range map[string]struct {
		encode func(string) string
		fails  string
	}{
		"byte order mark": {func(s string) string { return "\ufeff" + s + "\r\n" }, ""},
		"UTF-16, little-endian": {func(s string) string {
			return encodeUTF16(s, func(unit uint16) []byte { return []byte{byte(unit), byte(unit >> 8)} })
		}, "is in UTF-16"},
		"UTF-16, big-endian": {func(s string) string {
			return encodeUTF16(s, func(unit uint16) []byte { return []byte{byte(unit >> 8), byte(unit)} })
		}, "is in UTF-16"},
		"two byte order marks": {func(s string) string { return "\ufeff\ufeff" + s }, "it holds a character outside ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			acc := newAccTest(t, flametest.Config{})
			token := openElsewhere(t, acc.fake, 1)[0]
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(test.encode(token)), 0o600); err != nil {
				t.Fatal(err)
			}
			config := acc.config(sessionBlock("this", ""))
			step := resource.TestStep{Config: config, ResourceName: this, ImportState: true, ImportStateId: "file:" + file, ImportStatePersist: true}
			if test.fails != "" {
				step.ExpectError = loose(test.fails)
				acc.runLeaving(1, step)
				return
			}
			acc.run(step, resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{expectText("auth_token", token)}})
		})
	}
}

func encodeUTF16(s string, unit func(uint16) []byte) string {
	var encoded []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + s + "\r\n")) {
		encoded = append(encoded, unit(u)...)
	}
	return string(encoded)
}
