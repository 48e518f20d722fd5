// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// leakPasswords has the passwords by the way they are set, which is also the user
// they belong to.
var leakPasswords = map[string]string{
	"environment": "Canary-env_4qZ1vN8sK2xW.0", // in the form of a request ID
	"provider":    "Canary-arg-7tR3mH9cL5bY \"quoted\" \\back\\slash <tag>&amp; %2F+\u00fc\u20ac\nsecond line",
	"resource":    "two words Canary-res-2wP6fJ1dG8kV 'x' \"y\" \\n &<>% \u00e4\u00df\U0001f525\tand\na line",
	"write_only":  "%20 Canary-wro-9bS4nT7hQ3zM \"\\\" ${not} <&> \u00f1\n",
}

// A leakLife is a workspace with TRACE logs, whose output and files are scanned.
// Each session gets its password in another way.
type leakLife struct {
	*workspace
	scan leakScan
}

const leakConfiguration = `
variable "provider_password" {
  type      = string
  sensitive = true
}
variable "resource_password" {
  type      = string
  sensitive = true
}
variable "write_only_password" {
  type      = string
  sensitive = true
  ephemeral = true
}
variable "leaked" {
  type      = string
  sensitive = true
  default   = ""
}
variable "age" {
  default = "720h"
}
provider "flame" {
  max_retries = 0
}
provider "flame" {
  alias       = "argument"
  user        = "provider"
  password    = var.provider_password
  max_retries = 0
}
resource "flame_session" "environment" {
  user         = "environment"
  rotate_after = var.age
}
resource "flame_session" "provider" {
  provider = flame.argument
}
resource "flame_session" "resource" {
  user     = "resource"
  password = var.resource_password
}
resource "flame_session" "write_only" {
  user     = "write_only"
  password = var.write_only_password
}
`

const leakEphemeral = `
ephemeral "flame_session" "brief" {
  user     = "write_only"
  password = var.write_only_password
}
resource "terraform_data" "user" {
  triggers_replace = [flame_session.environment.id]
  provisioner "local-exec" {
    command     = "test -n \"$TOKEN$HEADER\""
    environment = {
      TOKEN  = ephemeral.flame_session.brief.auth_token
      HEADER = provider::flame::authorization_header(flame_session.environment.auth_token)
    }
  }
}
`

func newLeakLife(t *testing.T, config flametest.Config) *leakLife {
	t.Helper()
	needs(t, ephemeralResources, writeOnlyArguments, providerFunctions)
	config.Users = leakPasswords
	l := &leakLife{workspace: newWorkspace(t, newFake(t, config), leakConfiguration)}
	l.setenv("TF_LOG", "TRACE")
	l.setenv(envUser, "environment")
	l.setenv(envPassword, leakPasswords["environment"])
	for name, password := range leakPasswords {
		l.scan.add(name, password)
		l.setenv("TF_VAR_"+name+"_password", password)
	}
	return l
}

// openElsewhere opens a session of the user "environment" as another tool would.
func (l *leakLife) openElsewhere(name string) (token string) {
	l.t.Helper()
	endpoint, err := flame.ParseEndpoint(l.fake.URL())
	if err != nil {
		l.t.Fatal(err)
	}
	client := flame.New(flame.Config{})
	defer client.CloseIdleConnections()
	session, err := client.Open(l.t.Context(), endpoint, flame.Credentials{User: "environment", Password: flame.NewPassword(leakPasswords["environment"])})
	if err != nil {
		l.t.Fatal(err)
	}
	l.scan.add(name, session.Token.Reveal())
	return session.Token.Reveal()
}

// does runs a command, which must exit with code, and must leak nothing.
func (l *leakLife) does(code int, args ...string) result {
	l.t.Helper()
	r := l.run(args...)
	command := strings.Join(args, " ")
	if r.ExitCode != code {
		l.t.Errorf("%s ended with %d, want %d:\n%s\n%s", command, r.ExitCode, code, r.Stdout, withoutLogs(r.Stderr))
	}
	if !strings.Contains(r.Stderr, "[TRACE]") {
		l.t.Errorf("%s did not log", command)
	}
	for i, found := range l.find(r, args...) {
		if i < 10 { // a leak into the logs comes many times
			l.t.Errorf("%s: leak in %v", command, found)
		}
	}
	return r
}

// find returns the leaks in what a command printed and in all the files there are.
func (l *leakLife) find(r result, args ...string) (found []leak) {
	l.t.Helper()
	for _, session := range l.sessions() {
		l.scan.add(managedToken, session.text("auth_token"))
	}
	for _, request := range l.fake.Journal() {
		l.scan.add(ephemeralToken, request.Token)
	}
	for _, token := range l.fake.Live() {
		l.scan.add(ephemeralToken, token)
	}
	output := "standard output"
	if args[0] == "show" && slices.Contains(args, "-json") {
		output = planJSON
	}
	found = append(l.scan.file(output, []byte(r.Stdout)), l.scan.file("standard error", []byte(r.Stderr))...)
	err := filepath.WalkDir(l.terraform.Home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		found = append(found, l.scan.file(entry.Name(), content)...)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return found
}

var logLine = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT.*\n`)

func withoutLogs(text string) string { return logLine.ReplaceAllString(text, "") }

func TestAccNoLeaks_lifecycle(t *testing.T) {
	l := newLeakLife(t, flametest.Config{})
	l.does(0, "validate")
	// The function refuses what is not a token, such as a password.
	l.write("function.tf", "output \"header\" {\n  value     = provider::flame::authorization_header(var.resource_password)\n  sensitive = true\n}\n")
	if r := l.does(1, "plan", "-input=false"); !strings.Contains(withoutLogs(r.Stderr), "function") {
		t.Errorf("the plan fails for another reason: %s", withoutLogs(r.Stderr))
	}
	l.write("function.tf", "")

	l.write("ephemeral.tf", leakEphemeral)
	l.does(0, "plan", "-input=false", "-out=first.plan")
	l.does(0, "show", "first.plan")
	l.does(0, "show", "-json", "first.plan")
	l.does(0, "apply", "-input=false", "first.plan")
	l.agrees()
	l.does(0, "plan", "-input=false", "-detailed-exitcode", "-json")
	l.does(0, "show")

	l.setenv("FLAME_TOKEN", l.openElsewhere(managedToken))
	l.write("imported.tf", "resource \"flame_session\" \"imported\" {\n  user = \"environment\"\n}\n")
	l.does(0, "import", "-input=false", "flame_session.imported", "env:FLAME_TOKEN")
	l.agrees()

	l.setenv("TF_VAR_age", "800h") // an update, which sends nothing
	l.does(0, "apply", "-auto-approve", "-input=false")
	l.does(0, "plan", "-input=false", "-out=second.plan", "-replace=flame_session.environment", "-replace=flame_session.resource")
	l.does(0, "show", "-json", "second.plan")
	l.does(0, "apply", "-input=false", "-json", "second.plan")
	l.agrees()
	l.fake.Revoke(l.sessions()["provider"].text("auth_token"))
	l.does(2, "plan", "-input=false", "-detailed-exitcode", "-out=third.plan")
	l.does(0, "show", "-json", "third.plan")
	l.does(0, "apply", "-input=false", "third.plan")
	l.agrees()
	l.does(0, "destroy", "-auto-approve", "-input=false")
	l.agrees()
}

// leakFaults are responses that repeat what was sent, wherever they can. Four
// sessions get four of them, in any order. TestFaultMatrix scans what the provider
// says and logs after each of them.
var leakFaults = []flametest.Fault{
	{Status: 302, Echo: true},
	{Status: 403, Echo: true},
	{Status: 500, Echo: true},
	{Status: 200, Body: "<html>garbage", Echo: true},
}

func TestAccNoLeaks_faults(t *testing.T) {
	l := newLeakLife(t, flametest.Config{})
	l.fake.Script(flametest.OpOpen, leakFaults...)
	l.does(1, "apply", "-auto-approve", "-input=false")
	if opened := l.fake.Count(flametest.OpOpen); opened != len(leakFaults) {
		t.Errorf("%d POSTs", opened)
	}
	l.does(0, "apply", "-auto-approve", "-input=false")

	l.write("ephemeral.tf", leakEphemeral)
	l.fake.Always(flametest.OpOpen, &flametest.Fault{Status: 422, Echo: true})
	l.fake.Script(flametest.OpCheck, leakFaults...)
	l.does(1, "plan", "-input=false")
	l.fake.Always(flametest.OpOpen, nil)

	// The session that is replaced, and the ephemeral one, which is no error.
	l.fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 400, Echo: true})
	l.does(1, "apply", "-auto-approve", "-input=false", "-json", "-replace=flame_session.environment")
	l.fake.Always(flametest.OpRevoke, nil)
	l.fake.Script(flametest.OpRevoke, leakFaults...)
	l.does(1, "destroy", "-auto-approve", "-input=false", "-refresh=false")
}

// The request ID is shown, so it is the best place to have a secret repeated in.
func TestAccNoLeaks_requestID(t *testing.T) {
	l := newLeakLife(t, flametest.Config{Kind: flametest.Shared}) // the token is known before Terraform gets it
	const target = "-target=flame_session.environment"
	named := func(secret string) http.Header { return http.Header{"X-Request-Id": {secret}} }
	l.fake.Always(flametest.OpOpen, &flametest.Fault{Status: 500, Header: named(leakPasswords["environment"])})
	l.does(1, "apply", "-auto-approve", "-input=false", target)

	l.fake.Always(flametest.OpOpen, nil)
	token := l.openElsewhere(managedToken)
	l.fake.Always(flametest.OpOpen, &flametest.Fault{Header: named(token)})
	l.fake.Always(flametest.OpCheck, &flametest.Fault{Status: 500, Header: named(token)})
	l.fake.Always(flametest.OpRevoke, &flametest.Fault{Header: named(token)})
	l.does(0, "apply", "-auto-approve", "-input=false", target)
	l.agrees()
	l.does(0, "destroy", "-auto-approve", "-input=false", target)
	l.agrees()
}

func TestAccNoLeaks_action(t *testing.T) {
	needs(t, actionBlocks)
	l := newLeakLife(t, flametest.Config{})
	l.write("action.tf", "action \"flame_session_revoke\" \"leaked\" {\n  config {\n    auth_token = var.leaked\n  }\n}\n")
	l.setenv("TF_VAR_leaked", l.openElsewhere(actionToken))
	const invoke = "-invoke=action.flame_session_revoke.leaked"
	for _, status := range []int{422, 500} {
		l.fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status, Echo: true})
		l.does(1, "apply", "-auto-approve", "-input=false", invoke)
	}
	l.fake.Always(flametest.OpRevoke, nil)
	l.does(0, "plan", "-input=false", invoke, "-out=action.plan")
	l.does(0, "apply", "-input=false", "action.plan")
	if len(l.fake.Live()) != 0 {
		t.Error("the session was not revoked")
	}
	l.fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 401, Echo: true})
	l.does(0, "apply", "-auto-approve", "-input=false", invoke, "-json")
}

// TestAccNoLeaks_control leaks on purpose with the real command: if the scan were
// blind, the tests above would prove nothing.
func TestAccNoLeaks_control(t *testing.T) {
	l := newLeakLife(t, flametest.Config{})
	l.write("leak.tf", `
output "token" {
  value = nonsensitive(flame_session.environment.auth_token)
}
output "encoded" {
  value = base64encode("x${nonsensitive(var.resource_password)}")
}
resource "terraform_data" "copy" {
  input = nonsensitive(flame_session.resource.auth_token)
}
resource "terraform_data" "print" {
  depends_on = [terraform_data.copy]
  provisioner "local-exec" {
    command = "echo ${urlencode(nonsensitive(var.provider_password))}; printenv FLAME_PASSWORD > copy.txt"
  }
}
`)
	l.must("plan", "-input=false", "-out=leak.plan")
	found := l.find(l.must("apply", "-input=false", "leak.plan"), "apply")
	found = append(found, l.find(l.must("show", "-json", "leak.plan"), "show", "-json")...)
	l.write("leak.tf", `
resource "terraform_data" "refused" {
  lifecycle {
    precondition {
      condition     = var.age == ""
      error_message = "It is ${nonsensitive(var.resource_password)}."
    }
  }
}
`)
	found = append(found, l.find(l.run("plan", "-input=false"), "plan")...)
	for _, want := range []struct{ place, secret, form string }{
		{"standard output", managedToken, "it is"},
		{"standard output", "resource", "base64 after 1"},
		{"standard output", "provider", "query"},
		{"standard error", "resource", "it is"},
		{planJSON + ".planned_values.outputs.encoded.value", "resource", "base64 after 1"},
		{"terraform.tfstate.outputs.token.value", managedToken, "it is"},
		{"terraform.tfstate.resources[].instances[].attributes.input.value", managedToken, "it is"},
		{"copy.txt", "environment", "it is"},
	} {
		if !slices.ContainsFunc(found, func(l leak) bool {
			return strings.HasPrefix(l.place, want.place) && l.needle.secret == want.secret && l.needle.form == want.form
		}) {
			t.Errorf("%v was not found among %v", want, found)
		}
	}
}
