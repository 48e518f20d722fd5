package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

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

// What a configuration gets: of values that are known, unknown, sensitive, and
// of a session.
func TestFunctionInConfiguration(t *testing.T) {
	needs(t, providerFunctions)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession+`
variable "secret" {
  type      = string
  sensitive = true
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
  value     = provider::flame::authorization_header(var.secret)
  sensitive = true
}
output "session" {
  value     = provider::flame::authorization_header(flame_session.this.auth_token)
  sensitive = true
}
output "marks" {
  value = [issensitive(provider::flame::authorization_header(var.secret)), issensitive(provider::flame::authorization_header("abc"))]
}
`)
	w.setenv("TF_VAR_secret", "canaryABC")
	r := w.must("plan", "-input=false")
	r.says(t, `known = "Token token=abc"`, "sensitive = (sensitive value)", "unknown = (known after apply)")
	r.doesNotSay(t, "the secret", "canaryABC")
	r = w.apply()
	token := fake.Live()[0]
	r.doesNotSay(t, "the secret", "canaryABC")
	r.doesNotSay(t, "the token", token)
	for name, want := range map[string]string{
		"known": "Token token=abc", "unknown": "Token token=knownLater", "sensitive": "Token token=canaryABC", "session": "Token token=" + token,
	} {
		if got := strings.TrimSpace(w.must("output", "-raw", name).Stdout); got != want {
			t.Errorf("%s is another than expected: %d characters", name, len(got))
		}
	}
	if got := strings.Join(strings.Fields(w.must("output", "-json", "marks").Stdout), ""); got != "[true,false]" {
		t.Errorf("sensitive are %s", got)
	}
	w.quiet()
	w.destroy()
	noneLive(t, fake)
}

// Where a sensitive result would be shown, Terraform refuses.
func TestFunctionKeepsSensitive(t *testing.T) {
	needs(t, providerFunctions)
	w := newWorkspace(t, nil, `
variable "secret" {
  type      = string
  sensitive = true
}
output "header" {
  value = provider::flame::authorization_header(var.secret)
}
`)
	w.setenv("TF_VAR_secret", "canaryABC")
	r := w.fails([]string{"sensitive"}, "plan", "-input=false")
	r.doesNotSay(t, "the secret", "canaryABC")
}

// An error in the configuration names argument and reason; a sensitive value is
// not in it.
func TestFunctionErrors(t *testing.T) {
	needs(t, providerFunctions)
	w := newWorkspace(t, nil, `
variable "secret" {
  type      = string
  sensitive = true
}
output "header" {
  value     = provider::flame::authorization_header(var.secret)
  sensitive = true
}
`)
	for value, text := range notTokens {
		if strings.Contains(value, "\x00") {
			continue // not in an environment
		}
		w.setenv("TF_VAR_secret", value)
		r := w.fails([]string{"Invalid function argument", `Invalid value for "auth_token" parameter`, text, "Pass the token alone"}, "plan", "-input=false")
		r.doesNotSay(t, "the value", "canaryABC")
	}
	for argument, texts := range map[string][]string{
		`null`:         {"Invalid function argument", "argument must not be null"},
		`"a", "b"`:     {"Too many function arguments"},
		``:             {"Not enough function arguments"},
		`["a"]`:        {"Invalid function argument", "string required"},
		`"canary ABC"`: {"it holds a space"},
	} {
		w.write("main.tf", requireFlame+fmt.Sprintf("output \"header\" {\n  value = provider::flame::authorization_header(%s)\n}\n", argument))
		w.fails(texts, "plan", "-input=false")
	}
}

// The console evaluates it without an apply.
func TestFunctionInConsole(t *testing.T) {
	needs(t, functionsInConsole)
	w := newWorkspace(t, nil, `
variable "secret" {
  type      = string
  sensitive = true
}
`)
	w.setenv("TF_VAR_secret", "canaryABC")
	for expression, want := range map[string]string{
		`provider::flame::authorization_header("abc")`:           `"Token token=abc"`,
		`provider::flame::authorization_header(var.secret)`:      "(sensitive value)",
		`length(provider::flame::authorization_header("abc"))`:   "15",
		`[provider::flame::authorization_header("abc")][0] == 1`: "false",
	} {
		cmd := w.command("console")
		cmd.Stdin = strings.NewReader(expression + "\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "canaryABC") {
			t.Errorf("%s: %v: %s", expression, err, out)
		}
	}
}
