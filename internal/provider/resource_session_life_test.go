package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// Where user and password come from: the resource stands over the provider,
// and that over the environment, each for itself.
func TestCredentials(t *testing.T) {
	users := map[string]string{"env": "env-pw", "prov": "prov-pw", "res": "res-pw", "mixed": "prov-pw"}
	for name, test := range map[string]struct {
		provider, resource string
		user               string
	}{
		"environment":                   {user: "env"},
		"provider":                      {provider: `user = "prov", password = "prov-pw"`, user: "prov"},
		"resource":                      {provider: `user = "prov", password = "prov-pw"`, resource: `user = "res", password = "res-pw"`, user: "res"},
		"resource, write-only":          {provider: `user = "prov", password = "prov-pw"`, resource: `user = "res", password_wo = "res-pw", password_wo_version = 1`, user: "res"},
		"user here, password from over": {provider: `password = "prov-pw"`, resource: `user = "mixed"`, user: "mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(test.resource, "password_wo") {
				needs(t, writeOnlyArguments)
			}
			fake := newFake(t, flametest.Config{Users: users})
			w := newWorkspace(t, fake, block(`provider "flame"`, test.provider)+block(`resource "flame_session" "this"`, test.resource))
			w.setenv(envUser, "env")
			w.setenv(envPassword, "env-pw")
			w.apply()
			if got := w.sessions()["this"].text("user"); got != test.user {
				t.Errorf("user is %q", got)
			}
			var sent struct{ User, Password string }
			if err := json.Unmarshal(fake.Journal()[0].Body, &sent); err != nil || sent.Password != users[test.user] {
				t.Errorf("sent %v (%v)", sent, err)
			}
			w.quiet()
			w.destroy()
			w.agrees()
		})
	}
}

// block writes an HCL block with arguments that are separated by ", ".
func block(head, arguments string) string {
	return head + " {\n" + strings.ReplaceAll(arguments, ", ", "\n") + "\n}\n"
}

// A write-only password is used, and is nowhere afterwards; without it in the
// configuration, an open session stays as it is.
func TestWriteOnlyPassword(t *testing.T) {
	needs(t, writeOnlyArguments)
	const secret = "wo-canary-\"quoted\"-ü"
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": secret}})
	const variable = `
variable "password" {
  type      = string
  ephemeral = true
  default   = null
}
`
	w := newWorkspace(t, fake, variable+`
resource "flame_session" "this" {
  user                = "ada"
  password_wo         = var.password
  password_wo_version = 1
}
`)
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	w.setenv("TF_VAR_password", secret)
	w.must("plan", "-input=false", "-out=plan.bin")
	plan := w.must("show", "-json", "plan.bin").Stdout
	w.must("apply", "-input=false", "plan.bin")
	saw(t, fake, 1, 0, 0)
	session := w.sessions()["this"]
	private, err := base64.StdEncoding.DecodeString(session.Private)
	if err != nil {
		t.Fatal(err)
	}
	places := w.planFile("plan.bin")
	if !strings.Contains(places["tfplan"], "password_wo_version") {
		t.Error("the plan file cannot be read")
	}
	maps.Copy(places, map[string]string{"plan": plan, "state": w.read("terraform.tfstate"), "private state": string(private)})
	for where, content := range places {
		if strings.Contains(content, "wo-canary") {
			t.Errorf("the password is in the %s", where)
		}
	}
	if session.Attributes["password_wo_version"] != 1. || !strings.Contains(string(private), privateKey) {
		t.Errorf("version or private data are missing: %v", session.Attributes)
	}
	w.quiet()

	id := session.text("id")
	w.write("main.tf", requireFlame+variable+`
resource "flame_session" "this" {
  user                = "ada"
  password_wo         = var.password
  password_wo_version = 2
}
`)
	w.apply()
	w.quiet()
	w.write("main.tf", requireFlame+"resource \"flame_session\" \"this\" {\n  user = \"ada\"\n}\n")
	w.apply()
	w.quiet()
	if got := w.sessions()["this"].text("id"); got != id {
		t.Error("the session was replaced")
	}
	if got := fake.Count(flametest.OpOpen) + fake.Count(flametest.OpRevoke); got != 1 {
		t.Errorf("%d sessions were opened or revoked", got)
	}
	w.destroy()
	w.agrees()
}

func TestPasswordArguments(t *testing.T) {
	for name, test := range map[string]struct{ arguments, text string }{
		"both":                     {`password = "a", password_wo = "b"`, "cannot be specified when"},
		"version without password": {`password_wo_version = 1`, `"password_wo" must be specified when "password_wo_version" is specified`},
		"empty user":               {`user = ""`, "at least 1"},
		"empty password":           {`password = ""`, "at least 1"},
		"rotate_after no duration": {`rotate_after = "30d"`, "Duration"},
		"rotate_after negative":    {`rotate_after = "-1h"`, "not longer than zero"},
		"timeout no duration":      {`timeouts = { create = "soon" }`, "Time Duration"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(test.arguments, "password_wo ") {
				needs(t, writeOnlyArguments)
			}
			w := newWorkspace(t, nil, block(`resource "flame_session" "this"`, test.arguments))
			w.fails([]string{test.text}, "validate")
		})
	}
}

// Values that are known only during the apply do not fail the plan, and are
// used then.
func TestUnknownValues(t *testing.T) {
	for name, configuration := range map[string]string{
		"resource": `
resource "flame_session" "this" {
  user         = terraform_data.later["user"].output
  password     = terraform_data.later["password"].output
  rotate_after = terraform_data.later["duration"].output
  rotate_when_changed = { version = terraform_data.later["user"].output }
}`,
		"provider": `
provider "flame" {
  endpoint        = terraform_data.later["endpoint"].output
  user            = terraform_data.later["user"].output
  password        = terraform_data.later["password"].output
  request_timeout = terraform_data.later["duration"].output
  verify_sessions = terraform_data.later["user"].output != ""
}
resource "flame_session" "this" {}`,
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "secret"}})
			w := newWorkspace(t, fake, fmt.Sprintf(`
resource "terraform_data" "later" {
  for_each = { user = "ada", password = "secret", duration = "720h", endpoint = %q }
  input    = each.value
}
`, fake.URL())+configuration)
			w.setenv(envUser, "")
			w.setenv(envPassword, "")
			if name == "provider" {
				w.setenv(envEndpoint, "")
			}
			w.must("plan", "-input=false")
			w.apply()
			saw(t, fake, 1, 0, 0)
			session := w.sessions()["this"]
			if session.text("user") != "ada" || session.text("endpoint") != fake.URL() {
				t.Errorf("user and endpoint are %q and %q", session.text("user"), session.text("endpoint"))
			}
			if (session.text("rotate_at") != "") != (name == "resource") {
				t.Errorf("rotate_at is %q", session.text("rotate_at"))
			}
			w.quiet()
			w.destroy()
			w.agrees()
		})
	}
}

// While what the provider needs is unknown, an existing session is neither
// verified nor replaced.
func TestUnknownProviderOverExistingSession(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	w.apply()
	w.write("main.tf", requireFlame+fmt.Sprintf(`
resource "terraform_data" "later" {
  input = %q
}
provider "flame" {
  endpoint       = terraform_data.later.output
  ca_certificate = terraform_data.later.output == "" ? "" : null
}
`, fake.URL())+oneSession)
	r := w.run("plan", "-input=false", "-detailed-exitcode")
	r.says(t, "The Flame session could not be verified", "ca_certificate is not known before the apply", "Plan: 1 to add, 0 to change, 0 to destroy.")
	w.apply()
	w.quiet()
	saw(t, fake, 1, 0, 1)
	w.destroy()
	w.agrees()
}

// What revoked, broken and unwilling APIs do to a plan.
func TestVerification(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession+"\nprovider \"flame\" {\n  max_retries = 0\n}\n")
	w.apply()

	for _, fault := range []flametest.Fault{
		{Status: 404},
		{Status: 405},
		{Status: 500},
		{Status: 503},
		{Status: 301},
		{Drop: true},
	} {
		fake.Always(flametest.OpCheck, &fault)
		r := w.run("plan", "-input=false", "-detailed-exitcode")
		r.says(t, "The Flame session could not be verified", "so the state is kept", "set verify_sessions = false", "No changes")
		if r.ExitCode != 0 {
			t.Errorf("%+v: %v", fault, r)
		}
	}
	for _, status := range []int{200, 204, 403} {
		fake.Always(flametest.OpCheck, &flametest.Fault{Status: status})
		w.quiet()
	}

	fake.Always(flametest.OpCheck, &flametest.Fault{Status: 500})
	before := fake.Count(flametest.OpCheck)
	w.write("main.tf", requireFlame+oneSession+"\nprovider \"flame\" {\n  verify_sessions = false\n}\n")
	w.quiet()
	if got := fake.Count(flametest.OpCheck); got != before {
		t.Error("a check was sent although verify_sessions is false")
	}

	fake.Always(flametest.OpCheck, nil)
	w.write("main.tf", requireFlame+oneSession)
	id := w.sessions()["this"].text("id")
	fake.RevokeAll()
	r := w.run("plan", "-input=false", "-detailed-exitcode")
	r.says(t, "The Flame session has ended elsewhere", id, "1 to add, 0 to change, 0 to destroy")
	w.apply()
	w.agrees()
	w.quiet()
	if got := w.sessions()["this"].text("id"); got == id {
		t.Error("the session was not replaced")
	}
	// A token that is revoked elsewhere after the refresh is gone, which is what destroy wants.
	fake.RevokeAll()
	w.destroy("-refresh=false")
	w.agrees()
}

// An API that cannot be reached at all turns no plan red either.
func TestVerificationUnreachable(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession+"\nprovider \"flame\" {\n  max_retries = 0\n}\n")
	w.apply()
	fake.Close()
	r := w.run("plan", "-input=false", "-detailed-exitcode")
	r.says(t, "The Flame session could not be verified", "connection refused", "No changes")
	if r.ExitCode != 0 || len(w.sessions()) != 1 {
		t.Error(r)
	}
}

func TestRevokeOnDestroy(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	w.apply()
	w.write("main.tf", requireFlame+"resource \"flame_session\" \"this\" {\n  revoke_on_destroy = false\n}\n")
	w.apply()
	saw(t, fake, 1, 0, 1)
	w.quiet()
	warning := []string{"The Flame token stays alive", "set revoke_on_destroy = true and apply before"}
	w.must("plan", "-destroy", "-input=false").says(t, warning...)
	w.must("plan", "-replace=flame_session.this", "-input=false")
	w.destroy().says(t, warning...)
	if fake.Count(flametest.OpRevoke) != 0 || len(fake.Live()) != 1 {
		t.Error("the token was revoked")
	}
}

// The session belongs to the endpoint that issued its token: another endpoint
// replaces it, and either token is only ever sent to its own.
func TestEndpointChange(t *testing.T) {
	for _, lifecycle := range []string{"", "lifecycle {\n create_before_destroy = true\n}"} {
		t.Run("create_before_destroy="+fmt.Sprint(lifecycle != ""), func(t *testing.T) {
			first, second := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
			w := newWorkspace(t, first, "resource \"flame_session\" \"this\" {\n"+lifecycle+"\n}\n")
			w.apply()
			token := first.Live()[0]
			w.setenv(envEndpoint, second.URL())
			r := w.must("plan", "-input=false")
			r.says(t, "endpoint", "# forces replacement", "1 to add, 0 to change, 1 to destroy")
			w.apply()
			w.fake = second
			w.agrees()
			w.quiet()
			if len(first.Live()) != 0 {
				t.Error("the old token is alive")
			}
			for _, request := range first.Journal() {
				if request.Op != flametest.OpOpen && request.Token != token {
					t.Error("the first endpoint was sent another token than its own")
				}
			}
			for _, request := range second.Journal() {
				if request.Token == token {
					t.Error("the second endpoint was sent the first one's token")
				}
			}
			// The same endpoint in another spelling is the same endpoint.
			u, err := url.Parse(second.URL())
			if err != nil {
				t.Fatal(err)
			}
			w.setenv(envEndpoint, "HTTP://"+u.Host+u.Path+"//")
			w.quiet()
			w.destroy()
			w.agrees()
		})
	}
}

// A plan that was made for one endpoint is not applied to another: Terraform
// finds that the plan no longer holds.
func TestEndpointChangeAfterPlan(t *testing.T) {
	first, second := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	w := newWorkspace(t, first, oneSession)
	w.must("plan", "-input=false", "-out=plan.bin")
	w.setenv(envEndpoint, second.URL())
	w.fails([]string{"inconsistent final plan", ".endpoint"}, "apply", "-input=false", "plan.bin")
	if len(first.Journal())+len(second.Journal()) != 0 {
		t.Error("a request was sent")
	}
}

func TestTimeouts(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	limited := func(operation, limit string) string {
		return requireFlame + fmt.Sprintf("resource \"flame_session\" \"this\" {\n  timeouts = { %s = %q }\n}\n", operation, limit)
	}
	busy := &flametest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"3600"}}}
	used := "Flame asked for a pause of 1h0m0s more, which is longer than this operation's time limit allows"

	w := newWorkspace(t, fake, "")
	w.write("main.tf", limited("create", "20s"))
	fake.Always(flametest.OpOpen, busy)
	w.fails([]string{"429 (too many requests)", used, "requests_per_second"}, "apply", "-auto-approve", "-input=false")
	fake.Always(flametest.OpOpen, nil)
	w.apply()

	w.write("main.tf", limited("read", "20s"))
	w.apply()
	fake.Always(flametest.OpCheck, busy)
	w.must("plan", "-input=false").says(t, "The Flame session could not be verified", used)
	fake.Always(flametest.OpCheck, nil)

	w.write("main.tf", limited("delete", "20s"))
	w.apply()
	fake.Always(flametest.OpRevoke, busy)
	w.fails([]string{"Could not revoke the Flame session", used}, "destroy", "-auto-approve", "-input=false")
	w.agrees()
	fake.Always(flametest.OpRevoke, nil)
	w.destroy()
	w.agrees()
}

// order gives what the fake was sent, POST and DELETE only, by the last
// characters of the tokens.
func order(fake *flametest.Server) string {
	var calls []string
	for _, request := range fake.Journal() {
		if request.Op == flametest.OpOpen || request.Op == flametest.OpRevoke {
			calls = append(calls, request.Method)
		}
	}
	return strings.Join(calls, " ")
}

// The values of rotate_when_changed, and when the old token is revoked.
func TestRotateWhenChanged(t *testing.T) {
	for lifecycle, want := range map[string]string{
		"": "POST DELETE POST DELETE POST",
		"lifecycle {\n create_before_destroy = true\n}": "POST POST DELETE POST DELETE",
	} {
		t.Run("create_before_destroy="+fmt.Sprint(lifecycle != ""), func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, "")
			var ids []string
			for _, values := range []string{"", `rotate_when_changed = { release = "1" }`, `rotate_when_changed = { release = "2" }`} {
				w.write("main.tf", requireFlame+"resource \"flame_session\" \"this\" {\n"+values+"\n"+lifecycle+"\n}\n")
				w.apply()
				w.agrees()
				w.quiet()
				ids = append(ids, w.sessions()["this"].text("id"))
			}
			slices.Sort(ids)
			if len(slices.Compact(ids)) != 3 {
				t.Error("not every change gave a new session")
			}
			if got := order(fake); got != want {
				t.Errorf("requests: %s", got)
			}
			w.destroy()
			w.agrees()
		})
	}
}

// A replacement is planned with one environment and applied with another: the
// session is not revoked, since none could be opened in its place.
func TestReplacementAppliedElsewhere(t *testing.T) {
	for name, change := range map[string]struct{ variable, value string }{
		"without the password": {envPassword, ""},
		"for another user":     {envUser, "bob@example.com"},
		"at another endpoint":  {envEndpoint, "https://flame.invalid/v2"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, oneSession)
			w.apply()
			w.must("plan", "-input=false", "-replace=flame_session.this", "-out=plan.bin")
			before := w.terraform.Env
			w.setenv(change.variable, change.value)
			w.fails([]string{"The Flame session cannot be replaced as planned", change.variable, "Nothing was revoked"}, "apply", "-input=false", "plan.bin")
			saw(t, fake, 1, 0, 1)
			w.agrees()
			w.terraform.Env = before
			w.quiet()
			w.destroy()
			w.agrees()
		})
	}
}
