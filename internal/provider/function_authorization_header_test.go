// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// notTokens are values that could break out of a header, with what is said of
// them. Each holds "canaryABC", which no message may repeat.
var notTokens = map[string]string{
	"":                       "it is empty",
	"canaryABC canary":       "it holds a space",
	" canaryABC":             "it holds a space",
	`canaryABC"`:             "it holds a quote or a backslash",
	"canaryABC'":             "it holds a quote or a backslash",
	`canaryABC\`:             "it holds a quote or a backslash",
	"canaryABC\n":            "it holds a control character",
	"canaryABC\r\nX-Evil: 1": "it holds a control character",
	"canaryABC\x00":          "it holds a control character",
	"canaryABC\x7f":          "it holds a control character",
	"canaryABCü":             "it holds a character outside ASCII",
	"canaryABC\u2028":        "it holds a character outside ASCII",
	"Token token=canaryABC":  "it holds a space",
}

func TestFunctionResult(t *testing.T) {
	for token, want := range map[string]string{
		"ULzr7GuYA6iyo9EyiFrf": "Token token=ULzr7GuYA6iyo9EyiFrf",
		"nugyUyuzq6nqvm_u-esD": "Token token=nugyUyuzq6nqvm_u-esD",
		"a+b/c==":              "Token token=a+b/c==",
	} {
		resp := runFunction(t, types.StringValue(token))
		if got := resp.Result.Value(); resp.Error != nil || !got.Equal(types.StringValue(want)) {
			t.Errorf("%s: got %v, %v", token, got, resp.Error)
		}
	}
}

func TestFunctionRefuses(t *testing.T) {
	for value, text := range notTokens {
		resp := runFunction(t, types.StringValue(value))
		err := resp.Error
		if err == nil || err.FunctionArgument == nil || *err.FunctionArgument != 0 || !strings.Contains(err.Text, text) ||
			!strings.Contains(err.Text, "Pass the token alone") || strings.Contains(err.Text, "canaryABC") {
			t.Errorf("%q: got %v", value, err)
		}
		if !resp.Result.Value().IsUnknown() {
			t.Errorf("%q: got a result as well", value)
		}
	}
}

func runFunction(t *testing.T, argument attr.Value) function.RunResponse {
	t.Helper()
	resp := function.RunResponse{Result: function.NewResultData(types.StringUnknown())}
	authorizationHeaderFunction{}.Run(t.Context(), function.RunRequest{Arguments: function.NewArgumentsData([]attr.Value{argument})}, &resp)
	return resp
}

// headerOutputs call the function with known, unknown and sensitive values.
const headerOutputs = `
locals {
  secret = sensitive("canaryABC")
}
resource "terraform_data" "later" {
  input = "knownLater"
}
output "known" {
  value = provider::flame::authorization_header("abc")
}
output "unknown" {
  value = provider::flame::authorization_header(terraform_data.later.output)
}
output "sensitive" {
  value     = provider::flame::authorization_header(local.secret)
  sensitive = true
}
output "marks" {
  value = [issensitive(provider::flame::authorization_header(local.secret)), issensitive(provider::flame::authorization_header("abc"))]
}
`

func TestAccAuthorizationHeader_basic(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, providerFunctions)
	header := func(output, token string) statecheck.StateCheck {
		return statecheck.ExpectKnownOutputValue(output, knownvalue.StringExact("Token token="+token))
	}
	acc.run(
		resource.TestStep{ // Terraform refuses to show a sensitive result
			Config:      acc.config("output \"header\" {\n  value = provider::flame::authorization_header(sensitive(\"abc\"))\n}\n"),
			ExpectError: regexp.MustCompile("(?i)output refers to sensitive values"),
		},
		resource.TestStep{
			Config: acc.config(headerOutputs, oneSession, `
output "session" {
  value     = provider::flame::authorization_header(flame_session.this.auth_token)
  sensitive = true
}`),
			ConfigPlanChecks: preApply(
				plancheck.ExpectKnownOutputValue("known", knownvalue.StringExact("Token token=abc")),
				plancheck.ExpectUnknownOutputValue("unknown"),
			),
			ConfigStateChecks: []statecheck.StateCheck{
				header("known", "abc"), header("unknown", "knownLater"), header("sensitive", "canaryABC"),
				statecheck.ExpectKnownOutputValue("marks", knownvalue.ListExact([]knownvalue.Check{knownvalue.Bool(true), knownvalue.Bool(false)})),
				statecheck.ExpectKnownOutputValue("session", knownvalue.StringFunc(func(got string) error {
					if got != "Token token="+acc.fake.Live()[0] {
						return errors.New("it is not the header for the session's token")
					}
					return nil
				})),
			},
		},
	)
}

// A plan shows no sensitive value, and each error names the argument and the
// reason.
func TestFunctionOutput(t *testing.T) {
	needs(t, providerFunctions)
	w := newWorkspace(t, nil, headerOutputs)
	r := w.must("plan", "-input=false")
	r.says(t, `known = "Token token=abc"`, "sensitive = (sensitive value)", "unknown = (known after apply)")
	r.doesNotSay(t, "the secret", "canaryABC")

	callsFail(w, map[string][]string{
		`null`:         {"Invalid function argument", "argument must not be null"},
		`"a", "b"`:     {"Too many function arguments"},
		``:             {"Not enough function arguments"},
		`["a"]`:        {"Invalid function argument", "string required"},
		`"canary ABC"`: {"it holds a space"},
	})
	calls := map[string][]string{}
	var secrets []string
	for value, text := range notTokens {
		calls[fmt.Sprintf("var.secrets[%d]", len(secrets))] = []string{"Invalid function argument", `Invalid value for "auth_token" parameter`, text, "Pass the token alone"}
		secrets = append(secrets, value)
	}
	encoded, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	w.setenv("TF_VAR_secrets", string(encoded))
	callsFail(w, calls).doesNotSay(t, "a secret", "canaryABC")
}

// callsFail makes a plan with one call of the function for each argument. Each
// must fail with the argument's texts.
func callsFail(w *workspace, texts map[string][]string) result {
	w.t.Helper()
	configuration := requireFlame + "variable \"secrets\" {\n  type      = list(string)\n  sensitive = true\n  default   = []\n}\n"
	for argument := range texts {
		configuration += fmt.Sprintf("output \"o%x\" {\n  value     = provider::flame::authorization_header(%s)\n  sensitive = true\n}\n", argument, argument)
	}
	w.write("main.tf", configuration)
	r := w.fails(nil, "plan", "-input=false")
	problems := strings.Split(r.Text(), "Error: ")
	for argument, texts := range texts {
		at := slices.IndexFunc(problems, func(p string) bool { return strings.Contains(p, fmt.Sprintf("output \"o%x\"", argument)) })
		if at < 0 {
			w.t.Errorf("a call with %s does not fail: %v", argument, r)
			continue
		}
		for _, text := range texts {
			if !strings.Contains(problems[at], text) {
				w.t.Errorf("%s: %q is not in %q", argument, text, problems[at])
			}
		}
	}
	return r
}

// The console evaluates calls without an apply.
func TestFunctionInConsole(t *testing.T) {
	needs(t, functionsInConsole)
	w := newWorkspace(t, nil, headerOutputs)
	cmd := w.command("console")
	cmd.Stdin = strings.NewReader(`[for h in [provider::flame::authorization_header("abc"), provider::flame::authorization_header(local.secret)] : [h, length(h), h == 1]]`)
	out, err := cmd.CombinedOutput()
	got := strings.Join(strings.Fields(string(out)), " ")
	const want = `[ [ "Token token=abc", 15, false, ], [ (sensitive value), (sensitive value), (sensitive value), ], ]`
	if err != nil || !strings.Contains(got, want) || strings.Contains(got, "canaryABC") {
		t.Errorf("got %s (%v), want %s", out, err, want)
	}
}
