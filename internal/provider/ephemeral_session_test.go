// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const (
	oneEphemeral = `
ephemeral "flame_session" "this" {}
`
	// marked puts a text wherever a secret could be: into the plan, the state
	// and what is printed.
	marker = "text-that-is-no-secret"
	marked = `
resource "terraform_data" "marker" {
  input = "` + marker + `"
}
output "marker" {
  value = terraform_data.marker.input
}
`
	// used hands the session to a program.
	used = `
resource "terraform_data" "used" {
  depends_on = [terraform_data.marker]
  provisioner "local-exec" {
    command     = "printf %s \"$SESSION\" >> ../sessions"
    environment = { SESSION = jsonencode(ephemeral.flame_session.this) }
  }
}
`
)

// usedTokens gives the tokens that the program of used was handed.
func usedTokens(w *workspace) []string {
	w.t.Helper()
	var tokens []string
	decoder := json.NewDecoder(strings.NewReader(w.read("../sessions")))
	for decoder.More() {
		var session struct {
			AuthToken string `json:"auth_token"`
		}
		if err := decoder.Decode(&session); err != nil {
			w.t.Fatal(err)
		}
		tokens = append(tokens, session.AuthToken)
	}
	return tokens
}

// lastsOneRun plans and applies the plan, and fails the test where a token or
// the password is kept or printed anywhere.
func lastsOneRun(w *workspace, password string) (plan, apply result) {
	w.t.Helper()
	plan = w.must("plan", "-input=false", "-out=plan.bin")
	show := w.must("show", "-json", "plan.bin")
	content, members := w.read("plan.bin"), w.planFile("plan.bin")
	apply = w.must("apply", "-input=false", "plan.bin")
	places := map[string]string{
		"output of plan": plan.Stdout, "output of apply": apply.Stdout, "output of show -json": show.Stdout,
		"state": w.read("terraform.tfstate"),
	}
	for _, name := range []string{"tfplan", "tfconfig/m-/main.tf"} {
		places["plan file, "+name] = members[name]
	}
	for where, content := range places {
		if !strings.Contains(content, marker) {
			w.t.Errorf("the %s does not have the marker, so it would not be seen if it had a secret", where)
		}
	}
	places["errors of plan"], places["errors of apply"], places["plan file, raw"] = plan.Stderr, apply.Stderr, content
	secrets := append(endedTokens(w.fake), w.fake.Live()...)
	if len(secrets) == 0 {
		w.t.Error("there was no token to look for")
	}
	for where, content := range places {
		if strings.Contains(content, password) {
			w.t.Errorf("the password is in the %s", where)
		}
		for _, token := range secrets {
			if strings.Contains(content, token) {
				w.t.Errorf("a token is in the %s", where)
			}
		}
	}
	return plan, apply
}

// noneLive fails the test where a session is left alive.
func noneLive(t *testing.T, fake *flametest.Server) {
	t.Helper()
	if live := len(fake.Live()); live != 0 {
		t.Errorf("%d sessions are left alive", live)
	}
}

// warned fails the test where a command had another number of warnings,
// besides the one that the provider is an override.
func (r result) warned(t *testing.T, want int) {
	t.Helper()
	if got := strings.Count(r.Stdout+r.Stderr, "Warning:") - 1; got != want {
		t.Errorf("%d warnings, want %d: %v", got, want, r)
	}
}

// An ephemeralCase is an ephemeral session with an API and a provider block of its
// own.
type ephemeralCase struct {
	config    flametest.Config
	provider  map[string]string // expressions of arguments that are not the usual ones
	arguments string            // of the session
	fake      *flametest.Server
}

// ephemeralCases are all kinds of APIs and sessions.
func ephemeralCases() map[string]*ephemeralCase {
	return map[string]*ephemeralCase{
		"v1":           {},
		"v2":           {config: flametest.Config{Version: 2}},
		"shared":       {config: flametest.Config{Kind: flametest.Shared}},
		"no-id":        {config: flametest.Config{SampleID: true}},
		"statuses":     {config: flametest.Config{OpenStatus: 201, RevokeStatus: 204}},
		"access-token": {config: flametest.Config{RequireAccessToken: true}},
		"kept":         {arguments: "revoke_on_close = false"},
		"each": {
			config:    flametest.Config{Users: map[string]string{"ada": "one", "bob": "two"}},
			arguments: "for_each = { ada = \"one\", bob = \"two\" }\n  user     = each.key\n  password = each.value",
		},
	}
}

// echoCases returns a configuration with the cases, whose APIs it starts. The data of
// echo.this are the sessions, by name.
func (a *accTest) echoCases(cases map[string]*ephemeralCase) string {
	a.t.Helper()
	var blocks, sessions string
	for name, c := range cases {
		c.fake = newFake(a.t, c.config)
		provider := "flame-" + name
		a.names = append(a.names, provider)
		arguments := map[string]string{"endpoint": hclString(c.fake.URL()), "user": hclString(flametest.User), "password": hclString(flametest.Password)}
		maps.Copy(arguments, c.provider)
		blocks += fmt.Sprintf("provider %q {\n", provider)
		for argument, expression := range arguments {
			blocks += fmt.Sprintf("  %s = %s\n", argument, expression)
		}
		blocks += fmt.Sprintf("}\nephemeral \"flame_session\" %q {\n  provider = %s\n  %s\n}\n", name, provider, c.arguments)
		sessions += fmt.Sprintf("    %s = ephemeral.flame_session.%s\n", name, name)
	}
	return fmt.Sprintf("%sprovider \"echo\" {\n  data = {\n%s  }\n}\nresource \"echo\" \"this\" {}\n", blocks, sessions)
}

// sent returns what the API of a case gets in one command.
func (c *ephemeralCase) sent() string {
	switch {
	case c.config.RequireAccessToken:
		return "POST DELETE DELETE" // first without the token in the body
	case strings.Contains(c.arguments, "revoke_on_close = false"):
		return "POST"
	}
	return "POST DELETE"
}

// A checkFunc is a check of the state or the plan that looks at the fakes.
type checkFunc func() error

// CheckState implements statecheck.StateCheck.
func (f checkFunc) CheckState(_ context.Context, _ statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	resp.Error = f()
}

// CheckPlan implements plancheck.PlanCheck.
func (f checkFunc) CheckPlan(_ context.Context, _ plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	resp.Error = f()
}

// expectSent checks what the APIs received since the last such check: the requests of
// so many commands.
func expectSent(cases map[string]*ephemeralCase, commands int) checkFunc {
	return func() error {
		for name, c := range cases {
			got, want := order(c.fake), strings.Join(slices.Repeat([]string{c.sent()}, commands), " ")
			if strings.Contains(c.arguments, "for_each") { // two sessions at a time
				got, want = fmt.Sprint(strings.Count(got, "POST"), strings.Count(got, "DELETE")), fmt.Sprint(2*commands, 2*commands)
			}
			if live := len(c.fake.Live()); got != want || c.sent() != "POST" && live > 0 {
				return fmt.Errorf("the API of %s received %s, want %s; %d sessions are open", name, got, want, live)
			}
			c.fake.Reset()
		}
		return nil
	}
}

// hasSession checks all attributes of an ephemeral session of the case.
func (c *ephemeralCase) hasSession(user string, seen map[string]bool) knownvalue.Check {
	orNull := func(check knownvalue.Check, set bool) knownvalue.Check {
		if set {
			return check
		}
		return knownvalue.Null()
	}
	var token string
	return knownvalue.ObjectExact(map[string]knownvalue.Check{
		"user": knownvalue.StringExact(user), "email": orNull(knownvalue.StringExact(user), user == flametest.User), "endpoint": knownvalue.StringExact(c.fake.URL()),
		"password": orNull(knownvalue.NotNull(), strings.Contains(c.arguments, "password")), "revoke_on_close": knownvalue.Bool(c.sent() != "POST"), "open": knownvalue.Bool(true),
		"user_id": orNull(knownvalue.NotNull(), !c.config.SampleID), "full_name": orNull(knownvalue.NotNull(), c.config.Version == 2),
		"auth_token": knownvalue.StringFunc(func(value string) error {
			token = value
			if seen[token] || !slices.Contains(append(endedTokens(c.fake), c.fake.Live()...), token) {
				return errors.New("it is not the token of a session of its own")
			}
			seen[token] = true
			return nil
		}),
		"id": knownvalue.StringFunc(func(id string) error { // checked after auth_token
			if id != flame.NewToken(token).SessionID() {
				return errors.New("it is not the ID of the token")
			}
			return nil
		}),
	})
}

// All that an ephemeral session gives, and that it is open just as long as it is used.
func TestAccSessionEphemeral_basic(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, ephemeralResources)
	cases := ephemeralCases()
	configuration := acc.echoCases(cases)
	seen := map[string]bool{}
	checks := []statecheck.StateCheck{checkFunc(func() error { // of the one that nothing uses
		if opened := acc.fake.Opened(); opened != acc.fake.Count(flametest.OpRevoke) || len(acc.fake.Live()) > 0 {
			return fmt.Errorf("%d sessions that nothing uses were opened, %d of them revoked", opened, acc.fake.Count(flametest.OpRevoke))
		}
		return nil
	})}
	for name, c := range cases {
		path := tfjsonpath.New("data").AtMapKey(name)
		if name != "each" {
			checks = append(checks, statecheck.ExpectKnownValue("echo.this", path, c.hasSession(flametest.User, seen)))
			continue
		}
		for user := range c.config.Users {
			checks = append(checks, statecheck.ExpectKnownValue("echo.this", path.AtMapKey(user), c.hasSession(user, seen)))
		}
	}
	acc.run(
		resource.TestStep{
			Config:      acc.configWith("max_retries = 0", block(`ephemeral "flame_session" "this"`, `password = "wrong"`)),
			ExpectError: regexp.MustCompile(`(?s)Could not open an ephemeral Flame session.*with ephemeral.flame_session.this,.*answered\s+401.*Check the user and\s+password`),
		},
		resource.TestStep{
			PreConfig:         acc.fake.Reset,
			Config:            acc.config(oneEphemeral, configuration),
			ConfigStateChecks: append(checks, expectSent(cases, 2)), // plan and apply
		},
	)
}

// While planning, what the provider or the session is configured with may be unknown:
// the apply opens the session, and revokes it.
func TestAccSessionEphemeral_unknown(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, ephemeralResources)
	// OpenTofu takes no unknown value from a provider. It opens nothing, though, before
	// the apply of what is depended on.
	const dependsOn = "depends_on = [terraform_data.later]"
	later := func(value string) string { return "terraform_data.later.output." + value }
	cases := map[string]*ephemeralCase{
		"endpoint":          {provider: map[string]string{"endpoint": later("endpoint")}, arguments: dependsOn},
		"provider-user":     {provider: map[string]string{"user": later("user")}, arguments: dependsOn},
		"provider-password": {provider: map[string]string{"password": later("password")}, arguments: dependsOn},
		"client":            {provider: map[string]string{"request_timeout": later("duration"), "max_retries": "length(" + later("user") + ")"}, arguments: dependsOn},
		"user":              {provider: map[string]string{"user": "null"}, arguments: "user = " + later("user")},
		"password":          {provider: map[string]string{"password": "null"}, arguments: "password = " + later("password")},
		"revoke-on-close":   {arguments: "revoke_on_close = " + later("user") + ` != ""`},
	}
	configuration := acc.echoCases(cases)
	acc.run(resource.TestStep{
		Config: acc.config(configuration, fmt.Sprintf(`
resource "terraform_data" "later" {
  input = { user = %q, password = %q, duration = "30s", endpoint = %q }
}`, flametest.User, flametest.Password, cases["endpoint"].fake.URL())),
		ConfigStateChecks: []statecheck.StateCheck{expectSent(cases, 1)},                                                // the apply
		ConfigPlanChecks:  resource.ConfigPlanChecks{PostApplyPostRefresh: []plancheck.PlanCheck{expectSent(cases, 2)}}, // two plans
	})
}

// No session is opened, and no warning given, while the provider is not known.
func TestEphemeralUnknown(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	for name, kind := range map[string]tftypes.Type{"endpoint": tftypes.String, "user": tftypes.String, "password": tftypes.String, "request_timeout": tftypes.String, "max_retries": tftypes.Number} {
		arguments := flameArguments(fake)
		arguments[name] = tftypes.NewValue(kind, tftypes.UnknownValue)
		run := mustRun(t, arguments)
		held, err := run.open(t.Context())
		if err == nil || !strings.Contains(err.Error(), "not wholly known") || len(held.diags) > 0 {
			t.Errorf("%s: got %v, %s, want a session that is not known yet", name, err, diagnosticsText(held.diags))
		}
		for _, result := range []string{"id", "auth_token", "user_id", "email", "full_name", "endpoint"} {
			if value := attributeOf(t, run.ephemeral, held.value, result); value.IsKnown() {
				t.Errorf("%s: %s is known", name, result)
			}
		}
	}
	saw(t, fake, 0, 0, 0)
}

// Nothing that a command prints or stores has a token or a password of two sessions,
// one of which stays open.
func TestEphemeralIsNotStored(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{Version: 2, RequireAccessToken: true})
	w := newWorkspace(t, fake, marked+oneEphemeral+used+`
ephemeral "flame_session" "kept" {
  revoke_on_close = false
}
resource "terraform_data" "kept" {
  provisioner "local-exec" {
    command     = "printf %s \"$SESSION\" >> ../sessions"
    environment = { SESSION = jsonencode(ephemeral.flame_session.kept) }
  }
}
`)
	plan, apply := lastsOneRun(w, flametest.Password)
	plan.warned(t, 0)
	apply.warned(t, 0)
	// A DELETE without the token in the body, and one with it. In each run, one GET after
	// the second login, and one after the first revocation.
	saw(t, fake, 4, 4, 4)
	tokens := append(endedTokens(fake), fake.Live()...)
	if got := usedTokens(w); len(got) != 2 || got[0] == got[1] || !slices.Contains(tokens, got[0]) || !slices.Contains(tokens, got[1]) {
		t.Errorf("%d tokens were used, or others than were opened", len(got))
	}
	w.quiet()
	w.destroy()
}

// Tokens and passwords go from one provider to another: into a provider block, which
// sends the token, into a write-only argument, and into the password of a managed
// session. The credentials are ephemeral too.
func TestEphemeralIntoOtherProviders(t *testing.T) {
	needs(t, ephemeralResources, writeOnlyArguments)
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "canary-\"quoted\"-ü"}})
	managed := newFake(t, flametest.Config{Users: map[string]string{"bob": "canary-password"}})
	w := newWorkspace(t, fake, marked+fmt.Sprintf(`
variable "login" {
  type      = object({ user = string, password = string })
  ephemeral = true
}
ephemeral "flame_session" "this" {
  user     = var.login.user
  password = var.login.password
}
provider "restapi" {
  uri     = ephemeral.flame_session.this.endpoint
  headers = { Authorization = provider::flame::authorization_header(ephemeral.flame_session.this.auth_token) }
}
data "restapi_object" "organizations" {
  path         = "/organizations"
  search_key   = "name"
  search_value = terraform_data.marker.output # known in the apply
}
resource "vault_kv_secret_v2" "this" {
  mount                = "secret"
  name                 = "flame"
  data_json_wo         = jsonencode({ token = ephemeral.flame_session.this.auth_token })
  data_json_wo_version = 1
}
ephemeral "vault_kv_secret_v2" "bob" {
  mount = "secret"
  name  = "bob"
}
provider "flame" {
  alias    = "managed"
  endpoint = %q
}
resource "flame_session" "managed" {
  provider            = flame.managed
  user                = "bob"
  password            = ephemeral.vault_kv_secret_v2.bob.data.password
}
`, managed.URL()))
	store := newVault(w, map[string]string{"/v1/secret/data/bob": `{"data": {"password": "canary-password"}}`})
	standIns(w, "mastercard/restapi")
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	w.setenv("TF_VAR_login", `{"user": "ada", "password": "canary-\"quoted\"-ü"}`)
	lastsOneRun(w, "canary-")
	if got := methods(fake); got != "POST DELETE POST GET DELETE" {
		t.Errorf("requests: %s", got)
	}
	noneLive(t, fake)
	if got := store.sawAlive(); !slices.Equal(got, []bool{true}) {
		t.Errorf("of the tokens that the store was sent, these worked: %v", got)
	}
	saw(t, managed, 1, 0, 0)
	sameTokens(t, "managed", managed.Live(), w.sessions()["managed"].text("auth_token"))

	fake.Reset()
	w.quiet()
	if got := methods(fake); got != "POST GET DELETE" {
		t.Errorf("requests: %s", got)
	}
	w.destroy()
	noneLive(t, fake)
	noneLive(t, managed)
}

// An apply that fails once the session is open revokes it.
func TestEphemeralInFailingApply(t *testing.T) {
	needs(t, ephemeralResources)
	const impossible = `terraform_data.marker.output == "something else"` // known in the apply
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+`
ephemeral "flame_session" "program" {}
resource "terraform_data" "program" {
  provisioner "local-exec" {
    command     = "test -z \"$TOKEN\""
    environment = { TOKEN = ephemeral.flame_session.program.auth_token }
  }
}
ephemeral "flame_session" "itself" {
  lifecycle {
    postcondition {
      condition     = self.auth_token != "" && `+impossible+`
      error_message = "told by itself"
    }
  }
}
resource "terraform_data" "itself" {
  depends_on = [terraform_data.marker]
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKEN = ephemeral.flame_session.itself.auth_token }
  }
}
ephemeral "flame_session" "user" {}
resource "terraform_data" "user" {
  input = terraform_data.marker.output
  provisioner "local-exec" {
    command     = "test -n \"$TOKEN\""
    environment = { TOKEN = ephemeral.flame_session.user.auth_token }
  }
  lifecycle {
    postcondition {
      condition     = `+impossible+`
      error_message = "told by its user"
    }
  }
}
ephemeral "flame_session" "other" {}
ephemeral "flame_session" "wrong" {
  user     = ephemeral.flame_session.other.user
  password = terraform_data.marker.output
}
resource "terraform_data" "wrong" {
  provisioner "local-exec" {
    command     = "exit 1"
    environment = { TOKEN = ephemeral.flame_session.wrong.auth_token }
  }
}
`)
	const sessions = 4
	w.must("plan", "-input=false", "-out=plan.bin")
	planned := fake.Count(flametest.OpOpen)
	r := w.fails([]string{"local-exec provisioner error", "told by itself", "told by its user", "Could not open an ephemeral Flame session"}, "apply", "-input=false", "plan.bin")
	if ended := len(endedTokens(fake)); ended != fake.Opened() || ended != planned+sessions {
		t.Errorf("%d were opened by the plan, %d in all, and %d revoked", planned, fake.Opened(), ended)
	}
	noneLive(t, fake)
	for _, token := range endedTokens(fake) {
		r.doesNotSay(t, "a token", token)
	}
}

// What the user reads of opening and closing, and what is sent.
func TestEphemeralDiagnostics(t *testing.T) {
	const opens, revokes = flametest.OpOpen, flametest.OpRevoke
	text := func(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
	for name, test := range map[string]struct {
		arguments map[string]tftypes.Value // of the session
		op        flametest.Operation
		faults    []flametest.Fault
		retries   int
		posts     int
		deletes   int
		checks    int
		alive     int
		texts     []string // none: no diagnostics
	}{
		"wrong password": {
			arguments: map[string]tftypes.Value{"password": text("wrong-canary")}, posts: 1,
			texts: []string{"ERROR: Could not open an ephemeral Flame session", "Flame answered 401", "Check the user and password", "does not send refused credentials twice"},
		},
		"a final line break": {
			arguments: map[string]tftypes.Value{"password": text("wrong-canary\n")}, posts: 1,
			texts: []string{"ERROR: Could not open an ephemeral Flame session", "The password begins or ends with white space, such as a line break"},
		},
		"no token": {
			op: opens, faults: []flametest.Fault{{Status: 200, Body: `{"id": 1}`}}, posts: 1,
			texts: []string{"ERROR: ", "the answer holds no auth_token", "Flame may have opened a session"},
		},
		"a token that cannot be kept": {
			op: opens, faults: []flametest.Fault{{Status: 200, Body: `{"auth_token": "with space"}`}}, posts: 1, deletes: 1,
			texts: []string{"ERROR: ", "A header cannot carry this token"},
		},
		"an answer that never arrives": {
			op: opens, faults: []flametest.Fault{{Drop: true, CarryOut: true}}, posts: 1, alive: 1,
			texts: []string{"ERROR: ", "Flame may have opened a session, but its token never arrived", "ask Flame's support"},
		},
		"an answer that never arrives, at first": {
			op: opens, faults: []flametest.Fault{{Drop: true, CarryOut: true}}, retries: 5, posts: 2, deletes: 1, alive: 1,
			texts: []string{"WARNING: Flame may hold an orphaned session: opened before session ", "but an answer to an earlier attempt never arrived", "may have opened a session each time"},
		},
		"revoked with 401": {op: revokes, faults: []flametest.Fault{{Status: 401, CarryOut: true}}, posts: 1, deletes: 1},
		"revoked with 404": {op: revokes, faults: []flametest.Fault{{Status: 404, CarryOut: true}}, posts: 1, deletes: 1, checks: 1},
		"revoked with 410": {op: revokes, faults: []flametest.Fault{{Status: 410, CarryOut: true}}, posts: 1, deletes: 1, checks: 1},
		"revoked at last":  {op: revokes, faults: []flametest.Fault{{Status: 503}, {Drop: true}}, retries: 5, posts: 1, deletes: 3},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			fake.Script(test.op, test.faults...)
			arguments := flameArguments(fake)
			arguments["max_retries"] = tftypes.NewValue(tftypes.Number, test.retries)
			run := mustRun(t, arguments)
			held, err := run.openWith(t.Context(), test.arguments)
			if err != nil {
				t.Fatal(err)
			}
			diags := held.diags
			if held.token != "" {
				closed, err := run.close(t.Context(), held)
				if err != nil {
					t.Fatal(err)
				}
				diags = append(diags, closed...)
				if test.texts != nil {
					test.texts = append(test.texts, "Session "+flame.NewToken(held.token).SessionID()+" is open, but an answer")
				}
			}
			if len(diags) != min(1, len(test.texts)) {
				t.Errorf("%d diagnostics", len(diags))
			}
			never := []string{"wrong-canary", "with space", flametest.Password}
			if name != "a final line break" {
				never = append(never, "white space")
			}
			wantTexts(t, diagnosticsText(diags), test.texts, never...)
			saw(t, fake, test.posts, test.deletes, test.checks)
			if n := len(fake.Live()); n != test.alive {
				t.Errorf("%d sessions are alive, want %d", n, test.alive)
			}
		})
	}
	wantInvalid(t, "ephemeral", "user", "", []string{"at least 1"})
	wantInvalid(t, "ephemeral", "password", "", []string{"at least 1"})

	fake := newFake(t, flametest.Config{})
	held, err := mustRun(t, map[string]tftypes.Value{"endpoint": text(fake.URL())}).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantTexts(t, diagnosticsText(held.diags), []string{"No user for this Flame session", "or set the environment variable FLAME_USER", "No password for this Flame session"})
	saw(t, fake, 0, 0, 0)
}

// methods gives the methods of all that the fake was sent.
func methods(fake *flametest.Server) string {
	var all []string
	for _, request := range fake.Journal() {
		all = append(all, request.Method)
	}
	return strings.Join(all, " ")
}

// A vault is a secret store: what it was sent last, and whether a token that it
// was sent worked at that moment.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // by path
	alive   []bool
}

func newVault(w *workspace, secrets map[string]string) *vault {
	v := &vault{secrets: secrets}
	server := httptest.NewServer(v.handler(w.fake))
	w.t.Cleanup(server.Close)
	w.setenv("VAULT_ADDR", server.URL)
	w.setenv("STORE_ADDR", server.URL) // of the other stores
	standIns(w, "hashicorp/vault")
	return v
}

func (v *vault) handler(fake *flametest.Server) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		switch r.Method {
		case http.MethodPost:
			v.secrets[r.URL.Path] = string(body)
			v.alive = append(v.alive, slices.ContainsFunc(fake.Live(), func(token string) bool { return strings.Contains(string(body), token) }))
		case http.MethodDelete:
			delete(v.secrets, r.URL.Path)
		default:
			fmt.Fprintf(rw, `{"data": %s}`, v.secrets[r.URL.Path])
		}
	}
}

// sawAlive says of each write whether its token worked.
func (v *vault) sawAlive() []bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.alive)
}

// A session that cannot be revoked is a warning: the run's own work is done.
func TestEphemeralCloseFails(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral+used+providerBlock("max_retries = 0"))
	fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 500})
	for _, args := range [][]string{{"plan", "-input=false", "-out=plan.bin"}, {"apply", "-input=false", "plan.bin"}} {
		r := w.must(args...)
		token := fake.Live()[0]
		r.says(t, "Could not revoke the ephemeral Flame session "+flame.NewToken(token).SessionID(), "500 (server error)", "The token may still work", "ask Flame's support to end the user's sessions")
		r.warned(t, 1)
		r.doesNotSay(t, "the token", token)
		saw(t, fake, 1, 2, 0) // once more at exit
		fake.RevokeAll()
		fake.Reset()
		fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 500})
	}
}

// An interrupt ends the run. The session is revoked, whether it was open by then or
// being opened.
func TestEphemeralInterrupted(t *testing.T) {
	needs(t, ephemeralResources)
	for name, test := range map[string]struct {
		busy   string // what hangs while the session is open
		opened int    // in the apply, before the one that hangs
	}{
		"while it is open":         {sessionBlock("busy", "user = \"bob\"\n  depends_on = [terraform_data.used]"), 1},
		"while it is being opened": {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, marked+oneEphemeral+used+`
resource "terraform_data" "last" {
  depends_on = [terraform_data.used, `+map[bool]string{true: "flame_session.busy"}[test.busy != ""]+`]
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
}
`+test.busy)
			w.must("plan", "-input=false", "-out=plan.bin")
			saw(t, fake, 1, 1, 0)
			fake.Reset()
			for range test.opened {
				fake.Script(flametest.OpOpen, flametest.Fault{Header: http.Header{}, Reason: "OK"})
			}
			fake.Script(flametest.OpOpen, flametest.Fault{Hang: true})
			r := w.start("apply", "plan.bin")
			r.arrived(fake, flametest.OpOpen, test.opened+1)
			r.signal(commandAlone, syscall.SIGINT)
			r.await("Interrupt received")
			fake.Release()
			got := r.end()
			if got.ExitCode == 0 {
				t.Errorf("the run was not interrupted: %v", got)
			}
			saw(t, fake, test.opened+1, 1, 0)
			w.agrees()
			for _, token := range endedTokens(fake) {
				got.doesNotSay(t, "a token", token)
			}
			w.destroy()
			noneLive(t, fake)
		})
	}
}

// If Terraform dies, the provider revokes the sessions that are open, and those that
// are being opened.
func TestEphemeralOrphaned(t *testing.T) {
	needs(t, ephemeralResources)
	const sessions, open = 6, 3
	for to, signal := range map[whom]syscall.Signal{commandAlone: syscall.SIGKILL, wholeGroup: syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, fmt.Sprintf(`
ephemeral "flame_session" "this" {
  count = %d
}
resource "terraform_data" "user" {
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKENS = jsonencode(ephemeral.flame_session.this[*].auth_token) }
  }
}
`, sessions))
			w.must("plan", "-input=false", "-out=plan.bin")
			fake.Reset()
			for range open {
				fake.Script(flametest.OpOpen, flametest.Fault{Reason: "OK"})
			}
			fake.Always(flametest.OpOpen, &flametest.Fault{Hang: true, CarryOut: true})
			r := w.start("apply", "plan.bin")
			r.arrived(fake, flametest.OpOpen, sessions)
			r.signal(to, signal)
			r.wait()
			fake.Release()
			r.end()
			// One GET after the second login, and one after the first revocation if another
			// session is not being revoked just then.
			if n := fake.Count(flametest.OpCheck); n > 2 {
				t.Errorf("%d checks", n)
			}
			saw(t, fake, sessions, sessions, fake.Count(flametest.OpCheck))
			noneLive(t, fake)
		})
	}
}

// Where Flame gives one token per user, an ephemeral session does not take the
// token from a managed one that the same run has seen.
func TestEphemeralSharesWithManaged(t *testing.T) {
	needs(t, ephemeralResources)
	fake := sharingFake(t)
	w := newWorkspace(t, fake, marked+oneSession+`
ephemeral "flame_session" "this" {
  user = flame_session.this.user
}
`+used)
	const warning = "The Flame token is not revoked, because another session holds it"
	// The plan has no other session yet; in the apply, the managed one is created first.
	// OpenTofu does not even open the ephemeral one before.
	w.must("plan", "-input=false", "-out=plan.bin")
	noneLive(t, fake)
	fake.Reset()
	r := w.must("apply", "-input=false", "plan.bin")
	r.says(t, warning, w.sessions()["this"].text("id"))
	r.warned(t, 1)
	saw(t, fake, 2, 0, 0)
	w.agrees()
	sameTokens(t, "used", usedTokens(w), fake.Live()...)

	// A plan refreshes the managed one first.
	r = w.must("plan", "-input=false", "-detailed-exitcode")
	r.says(t, "An apply may revoke the token of a session that it keeps: Flame session "+w.sessions()["this"].text("id"), "revoke_on_close = false")
	saw(t, fake, 3, 0, 1)
	w.agrees()
	fake.RevokeAll()
}

// Of two ephemeral sessions with one token, the last to close revokes it.
func TestEphemeralShareOneToken(t *testing.T) {
	needs(t, ephemeralResources)
	fake := sharingFake(t)
	w := newWorkspace(t, fake, marked+oneEphemeral+`
ephemeral "flame_session" "other" {
  user = ephemeral.flame_session.this.user # so both are open at a time
}
resource "terraform_data" "used" {
  depends_on = [terraform_data.marker]
  provisioner "local-exec" {
    command     = "printf %s \"$SESSIONS\" > ../sessions"
    environment = { SESSIONS = "${jsonencode(ephemeral.flame_session.this)} ${jsonencode(ephemeral.flame_session.other)}" }
  }
}
`)
	plan, apply := lastsOneRun(w, flametest.Password)
	for _, r := range []result{plan, apply} {
		r.says(t, "The Flame token is not revoked, because another session holds it")
		r.warned(t, 1)
	}
	if got := methods(fake); got != "POST POST DELETE POST POST DELETE" {
		t.Errorf("requests: %s", got)
	}
	if got := usedTokens(w); len(got) != 2 || got[0] != got[1] {
		t.Error("the tokens are not the same")
	}
	noneLive(t, fake)
}
