// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// expectLogins checks with which users and passwords the fake was asked to open
// sessions.
func expectLogins(t *testing.T, fake *flametest.Server, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, request := range fake.Journal() {
		var sent struct{ User, Password string }
		if request.Op != flametest.OpOpen {
			continue
		}
		if err := json.Unmarshal(request.Body, &sent); err != nil {
			t.Error(err)
		}
		got[sent.User] = sent.Password
	}
	if !maps.Equal(got, want) {
		t.Errorf("the logins are %v, want %v", got, want)
	}
}

// The resource's user and password take precedence over the provider's, each on its
// own. TestProviderEnvironment has the environment.
func TestAccSession_credentials(t *testing.T) {
	users := map[string]string{flametest.User: flametest.Password, "mixed": flametest.Password, "own": "own-pw"}
	acc := newAccTest(t, flametest.Config{Users: users}, writeOnlyArguments)
	var user []statecheck.StateCheck
	for name, want := range map[string]string{"provider": flametest.User, "mixed": "mixed", "own": "own"} {
		user = append(user, statecheck.ExpectKnownValue("flame_session."+name, tfjsonpath.New("user"), knownvalue.StringExact(want)))
	}
	acc.run(resource.TestStep{
		Config:            acc.config(sessionBlock("provider", ""), sessionBlock("mixed", `user = "mixed"`), sessionBlock("own", "user = \"own\"\n password = \"own-pw\"")),
		ConfigStateChecks: append(user, expectHeld(acc.fake)),
	})
	expectLogins(t, acc.fake, users)
}

// A password is never stored, and a change of it is no change at all. That nothing
// else holds it either is in TestAccNoLeaks.
func TestAccSession_password(t *testing.T) {
	const secret = "\"quoted\"-${ü}"
	acc := newAccTest(t, flametest.Config{Users: map[string]string{"ada": secret}}, writeOnlyArguments)
	config := func(password string) string {
		variable := "variable \"password\" {\n ephemeral = true\n default = " + hclString(secret) + "\n}\n"
		return acc.config(variable, sessionBlock("this", "user = \"ada\"\n"+password))
	}
	unchanged := preApply(plancheck.ExpectEmptyPlan())
	acc.run(
		resource.TestStep{
			Config:            config("password = var.password"),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST"), expectHeld(acc.fake), expectNull("password")},
		},
		resource.TestStep{ // any other password
			Config: config(`password = "other"`), ConfigPlanChecks: unchanged,
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests(), expectHeld(acc.fake)},
		},
		resource.TestStep{ // none
			Config: config(""), ConfigPlanChecks: unchanged,
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests()},
		},
	)
}

// What validation refuses.
func TestSessionArguments(t *testing.T) {
	run := newSessionRun(t, newFake(t, flametest.Config{}), nil)
	type arguments = map[string]tftypes.Value
	for name, test := range map[string]struct {
		arguments
		text string
	}{
		"empty user":               {arguments{"user": stringValue("")}, "at least 1"},
		"empty password":           {arguments{"password": stringValue("")}, "at least 1"},
		"rotate_after no duration": {arguments{"rotate_after": stringValue("30d")}, "Duration"},
		"rotate_after negative":    {arguments{"rotate_after": stringValue("-1h")}, "not longer than zero"},
		"timeout no duration":      {timeoutsWith("create", "soon"), "Time Duration"},
		"none":                     {},
	} {
		t.Run(name, func(t *testing.T) {
			validated, err := run.ValidateResourceConfig(t.Context(), &tfprotov6.ValidateResourceConfigRequest{
				TypeName: sessionType, Config: sessionValue(t, run, test.arguments),
				ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := diagnosticsText(validated.Diagnostics); !strings.Contains(got, test.text) || (got == "") != (test.text == "") {
				t.Errorf("want %q, got %s", test.text, got)
			}
		})
	}
}

// timeoutsWith returns the argument timeouts with one limit.
func timeoutsWith(operation, limit string) map[string]tftypes.Value {
	types, values := map[string]tftypes.Type{}, map[string]tftypes.Value{}
	for _, name := range []string{"create", "read", "delete"} {
		types[name], values[name] = tftypes.String, noString
	}
	values[operation] = stringValue(limit)
	return map[string]tftypes.Value{"timeouts": tftypes.NewValue(tftypes.Object{AttributeTypes: types}, values)}
}

// What replaces a session: another value of rotate_when_changed, another user,
// another endpoint. rotate_at has a test of its own.
func TestAccSession_replaced(t *testing.T) {
	for name, test := range map[string]struct {
		lifecycle string
		action    plancheck.ResourceActionType
		requests  []string
	}{
		"destroy_before_create": {"", plancheck.ResourceActionDestroyBeforeCreate, []string{"DELETE", "POST"}},
		"create_before_destroy": {createFirst, plancheck.ResourceActionCreateBeforeDestroy, []string{"POST", "DELETE"}},
	} {
		t.Run(name, func(t *testing.T) {
			acc := newAccTest(t, flametest.Config{})
			elsewhere := &accTest{fake: newFake(t, flametest.Config{})}
			var token string // of the session that another endpoint replaces
			another := statecheck.CompareValue(compare.ValuesDiffer()).AddStateValue
			step := func(cause, config string, checks ...statecheck.StateCheck) resource.TestStep {
				step := resource.TestStep{Config: config, ConfigStateChecks: append(checks, another(this, tfjsonpath.New("id")))}
				if cause != "" {
					step.ConfigPlanChecks = preApply(plancheck.ExpectResourceAction(this, test.action), expectReplacedBecause(this, cause))
				}
				return step
			}
			block := func(arguments string) string { return sessionBlock("this", arguments+"\n"+test.lifecycle) }
			held, replaced := expectHeld(acc.fake), acc.expectRequests(test.requests...)
			moved := step("endpoint", elsewhere.config(block(`user = "grace"`)), expectHeld(elsewhere.fake), stateCheck(func(statecheck.CheckStateRequest) error {
				sameTokens(t, "sent to the first endpoint with DELETE", endedTokens(acc.fake), token)
				for _, request := range acc.fake.Journal() {
					if request.Token != token {
						return errors.New("the first endpoint received another token than its own")
					}
				}
				return nil
			}))
			moved.PreConfig = func() { token = acc.fake.Live()[0] }
			u, err := url.Parse(elsewhere.fake.URL())
			if err != nil {
				t.Fatal(err)
			}
			acc.run(
				step("", acc.config(block("")), held, acc.expectRequests("POST")),
				step("rotate_when_changed", acc.config(block(`rotate_when_changed = { release = "1" }`)), held, replaced),
				step("rotate_when_changed", acc.config(block(`rotate_when_changed = { release = "2" }`)), held, replaced),
				step("rotate_when_changed", acc.config(block("")), held, replaced),
				step("user", acc.config(block(`user = "grace"`)), held, replaced, expectText("user", "grace")),
				moved,
				resource.TestStep{ // the same endpoint, spelled differently
					Config:   strings.ReplaceAll(elsewhere.config(block(`user = "grace"`)), elsewhere.fake.URL(), "HTTP://"+u.Host+u.Path+"//"),
					PlanOnly: true,
				},
			)
			for _, request := range elsewhere.fake.Journal() {
				if request.Token == token {
					t.Error("the second endpoint received the first one's token")
				}
			}
			if len(elsewhere.fake.Live()) != 0 {
				t.Error("a session is live at the second endpoint")
			}
		})
	}
}

// What updates a session sends nothing, and counts from then on. With
// revoke_on_destroy = false, neither replacing nor destroying it revokes its token.
func TestAccSession_updated(t *testing.T) {
	acc := newAccTest(t, flametest.Config{})
	const that = "flame_session.that"
	updated := func(addresses ...string) resource.ConfigPlanChecks {
		checks := preApply()
		for _, address := range addresses {
			checks.PreApply = append(checks.PreApply, plancheck.ExpectResourceAction(address, plancheck.ResourceActionUpdate), expectKept(address))
		}
		return checks
	}
	revoke := func(address string, want bool) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(address, tfjsonpath.New("revoke_on_destroy"), knownvalue.Bool(want))
	}
	acc.runLeaving(2,
		resource.TestStep{
			Config:            acc.config(sessionBlock("this", ""), sessionBlock("that", "revoke_on_destroy = false")),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST", "POST"), revoke(this, true), revoke(that, false)},
		},
		resource.TestStep{
			Config: acc.config(
				sessionBlock("this", "revoke_on_destroy = false\n rotate_after = \"720h\"\n timeouts = { create = \"1m\" }"),
				sessionBlock("that", ""),
			),
			ConfigPlanChecks: updated(this, that),
			ConfigStateChecks: []statecheck.StateCheck{
				acc.expectRequests(), expectHeld(acc.fake), revoke(this, false), revoke(that, true),
				expectText("rotate_at", "2026-03-29T10:30:00Z"),
				statecheck.ExpectKnownValue(this, tfjsonpath.New("timeouts").AtMapKey("create"), knownvalue.StringExact("1m")),
			},
		},
		resource.TestStep{ // replaced
			Config:            acc.config(sessionBlock("this", "revoke_on_destroy = false\n rotate_when_changed = { release = \"1\" }"), sessionBlock("that", "")),
			ConfigPlanChecks:  preApply(plancheck.ExpectResourceAction(this, plancheck.ResourceActionDestroyBeforeCreate), expectReplacedBecause(this, "rotate_when_changed")),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST")},
		},
	)
}

// A plan warns of a token that will stay alive.
func TestSessionStaysAlive(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	keep := map[string]tftypes.Value{"revoke_on_destroy": tftypes.NewValue(tftypes.Bool, false)}
	session := createWith(t, newSessionRun(t, fake, nil), keep)
	warning := []string{"The Flame token will stay alive: session " + flame.NewToken(session.token).SessionID(), "set revoke_on_destroy = true and apply before"}

	run := newSessionRun(t, fake, nil)
	expectDiagnostics(t, planWith(t, run, session, keep).Diagnostics, aWarning)
	expectDiagnostics(t, planWith(t, run, session, map[string]tftypes.Value{"user": stringValue("grace")}).Diagnostics, aWarning, warning...)
	_, err := run.destroy(t.Context(), session) // stops at the warning
	if err == nil || !strings.Contains(err.Error(), warning[0]) || !strings.Contains(err.Error(), warning[1]) {
		t.Errorf("want a warning, got %v", err)
	}
}

// A session whose token was revoked elsewhere is opened again, unless nobody is to
// look. Destroying it succeeds.
func TestAccSession_disappears(t *testing.T) {
	acc := newAccTest(t, flametest.Config{})
	another := statecheck.CompareValue(compare.ValuesDiffer()).AddStateValue
	acc.run(
		resource.TestStep{
			Config:            acc.config(oneSession),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST"), another(this, tfjsonpath.New("id"))},
		},
		resource.TestStep{
			PreConfig: acc.fake.RevokeAll, Config: acc.config(oneSession),
			ConfigPlanChecks:  preApply(plancheck.ExpectResourceAction(this, plancheck.ResourceActionCreate)),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST"), expectHeld(acc.fake), another(this, tfjsonpath.New("id"))},
		},
		resource.TestStep{
			PreConfig: func() { acc.fake.RevokeAll(); acc.fake.Reset() },
			Config:    acc.configWith("verify_sessions = false", oneSession), PlanOnly: true,
		},
	)
	saw(t, acc.fake, 0, 1, 0) // the last step sends nothing, and destroy does not look first
}

// What a refresh makes of what the API answers.
func TestSessionVerification(t *testing.T) {
	unverified := []string{"The Flame session could not be verified", "keeps the session in the state"}
	failed := append([]string{"set verify_sessions = false"}, unverified...)
	unknown := unknownString
	for name, test := range map[string]struct {
		fault     flametest.Fault
		change    func(fake *flametest.Server)
		arguments map[string]tftypes.Value
		unchecked bool
		gone      bool
		warning   []string
	}{
		"404":               {fault: flametest.Fault{Status: 404}, warning: failed},
		"405":               {fault: flametest.Fault{Status: 405}, warning: failed},
		"500":               {fault: flametest.Fault{Status: 500}, warning: failed},
		"503":               {fault: flametest.Fault{Status: 503}, warning: failed},
		"301":               {fault: flametest.Fault{Status: 301}, warning: failed},
		"no answer":         {fault: flametest.Fault{Drop: true}, warning: failed},
		"200":               {fault: flametest.Fault{Status: 200}},
		"204":               {fault: flametest.Fault{Status: 204}},
		"403":               {fault: flametest.Fault{Status: 403}},
		"a long pause":      {fault: busy, warning: append([]string{busyText}, failed...)},
		"unreachable":       {change: (*flametest.Server).Close, unchecked: true, warning: append([]string{"connection refused"}, failed...)},
		"revoked elsewhere": {change: (*flametest.Server).RevokeAll, gone: true, warning: []string{"The Flame session has ended elsewhere"}},
		"nobody looks":      {fault: flametest.Fault{Status: 500}, arguments: map[string]tftypes.Value{"verify_sessions": tftypes.NewValue(tftypes.Bool, false)}, unchecked: true},
		"unknown arguments": {
			arguments: map[string]tftypes.Value{"endpoint": unknown, "ca_certificate": unknown}, unchecked: true,
			warning: []string{"The Flame session could not be verified", "ca_certificate is unknown until apply", "The next plan checks it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, flametest.Config{})
			session := createWith(t, newSessionRun(t, fake, nil), timeoutsWith("read", "20s"))
			fake.Script(flametest.OpCheck, test.fault)
			if test.change != nil {
				test.change(fake)
			}
			run := newSessionRun(t, fake, test.arguments)
			read, err := run.read(t.Context(), session)
			if err != nil {
				t.Fatal(err)
			}
			if test.warning != nil {
				test.warning = append(test.warning, flame.NewToken(session.token).SessionID())
			}
			expectDiagnostics(t, read.diags, aWarning, test.warning...)
			if got := read.token == ""; got != test.gone {
				t.Errorf("the session is gone: %t", got)
			}
			if got := fake.Count(flametest.OpCheck) == 0; got != test.unchecked {
				t.Errorf("nothing was asked: %t", got)
			}
		})
	}
}

// busy is an answer that asks for a longer pause than the timeouts in these tests,
// which is not longer than the default timeouts.
var busy = flametest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"40"}}}

const busyText = "Flame asked the provider to wait 40s more, which is longer than this operation's time limit allows"

// wrapped returns a pattern for texts that Terraform may break into lines.
func wrapped(texts ...string) *regexp.Regexp {
	var patterns []string
	for _, text := range texts {
		patterns = append(patterns, strings.ReplaceAll(regexp.QuoteMeta(text), " ", `[\s│]+`))
	}
	return regexp.MustCompile(strings.Join(patterns, "(?s:.*)"))
}

// The read timeout is in TestSessionVerification.
func TestAccSession_timeouts(t *testing.T) {
	acc := newAccTest(t, flametest.Config{})
	config := func(operation string) string {
		return acc.config(sessionBlock("this", "timeouts = { "+operation+" = \"20s\" }"))
	}
	acc.run(
		resource.TestStep{
			PreConfig: func() { acc.fake.Script(flametest.OpOpen, busy) }, Config: config("create"),
			ExpectError: wrapped("429 (too many requests)", busyText, "requests_per_second"),
		},
		resource.TestStep{
			Config:            config("delete"),
			ConfigStateChecks: []statecheck.StateCheck{expectHeld(acc.fake)},
		},
		resource.TestStep{
			PreConfig: func() { acc.fake.Script(flametest.OpRevoke, busy) }, Config: config("delete"), Destroy: true,
			ExpectError: wrapped("Could not revoke the Flame session", busyText),
		},
		resource.TestStep{ // kept
			Config: config("delete"), PlanOnly: true,
		},
	)
}

// Values that are unknown until the apply fail no plan, and are used then. While
// the provider's are unknown, a session that exists is kept.
func TestAccSession_unknown(t *testing.T) {
	acc := newAccTest(t, flametest.Config{Users: map[string]string{"ada": "secret", "grace": "hidden"}}, writeOnlyArguments)
	config := func(endpoint string) string {
		return fmt.Sprintf(`
resource "terraform_data" "endpoint" {
  input = %q
}
resource "terraform_data" "later" {
  input = { user = "ada", password = "secret", own_user = "grace", own_password = "hidden", duration = "720h" }
}
provider "flame" {
  endpoint        = terraform_data.endpoint.output
  user            = terraform_data.later.output.user
  password        = terraform_data.later.output.password
  request_timeout = terraform_data.later.output.duration
  verify_sessions = terraform_data.endpoint.output != ""
  ca_certificate  = terraform_data.endpoint.output == "" ? "" : null
}
resource "flame_session" "this" {}
resource "flame_session" "own" {
  user         = terraform_data.later.output.own_user
  password     = terraform_data.later.output.own_password
  rotate_after = terraform_data.later.output.duration
  rotate_when_changed = { version = terraform_data.later.output.user }
}
`, endpoint)
	}
	const own = "flame_session.own"
	unknown := func(address, attribute string) plancheck.PlanCheck {
		return plancheck.ExpectUnknownValue(address, tfjsonpath.New(attribute))
	}
	is := func(attribute, want string) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(own, tfjsonpath.New(attribute), knownvalue.StringExact(want))
	}
	acc.run(
		resource.TestStep{
			Config:           config(acc.fake.URL()),
			ConfigPlanChecks: preApply(unknown(this, "user"), unknown(this, "endpoint"), unknown(own, "user"), unknown(own, "rotate_at")),
			ConfigStateChecks: []statecheck.StateCheck{
				acc.expectRequests("POST", "POST"), expectHeld(acc.fake),
				expectText("user", "ada"), expectText("endpoint", acc.fake.URL()), expectNull("rotate_at"),
				is("user", "grace"), is("endpoint", acc.fake.URL()), is("rotate_at", "2026-03-29T10:30:00Z"),
			},
		},
		resource.TestStep{ // unknown again, but the same in the end
			Config: config(acc.fake.URL() + "/"),
			ConfigPlanChecks: preApply(
				plancheck.ExpectResourceAction("terraform_data.endpoint", plancheck.ResourceActionUpdate),
				plancheck.ExpectResourceAction(this, plancheck.ResourceActionNoop), plancheck.ExpectResourceAction(own, plancheck.ResourceActionNoop),
			),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests(), expectHeld(acc.fake)},
		},
	)
}

// A plan that is applied elsewhere, with another environment: nothing is opened at
// another endpoint, and a session that could not be replaced is not revoked.
func TestPlanAppliedElsewhere(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	here := w.terraform.Env
	const elsewhere = "https://flame.invalid/v2"
	w.must("plan", "-input=false", "-out=plan.bin")
	w.setenv(envEndpoint, elsewhere)
	w.fails([]string{"inconsistent final plan", ".endpoint"}, "apply", "-input=false", "plan.bin")
	saw(t, fake, 0, 0, 0)
	w.terraform.Env = here
	w.apply()

	w.must("plan", "-input=false", "-replace=flame_session.this", "-out=plan.bin")
	state := w.read("terraform.tfstate")
	for _, change := range []struct{ variable, value string }{{envPassword, ""}, {envUser, "bob@example.com"}, {envEndpoint, elsewhere}} {
		w.setenv(change.variable, change.value)
		w.fails([]string{"The Flame session cannot be replaced as planned", change.variable, "Nothing was revoked"}, "apply", "-input=false", "plan.bin")
		saw(t, fake, 1, 0, 1)
		w.agrees()
		w.terraform.Env = here
		w.write("terraform.tfstate", state) // or the plan is stale
	}
	w.must("apply", "-input=false", "plan.bin")
	saw(t, fake, 2, 1, 1)
	w.agrees()
}

// block writes an HCL block with arguments that are separated by ", ".
func block(head, arguments string) string {
	return head + " {\n" + strings.ReplaceAll(arguments, ", ", "\n") + "\n}\n"
}

// order gives what the fake was sent, POST and DELETE only.
func order(fake *flametest.Server) string {
	var calls []string
	for _, request := range fake.Journal() {
		if request.Op == flametest.OpOpen || request.Op == flametest.OpRevoke {
			calls = append(calls, request.Method)
		}
	}
	return strings.Join(calls, " ")
}
