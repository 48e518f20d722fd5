// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const oneSession = `
resource "flame_session" "this" {}
`

// hclString gives a quoted string, or null for none.
func hclString(s string) string {
	if s == "" {
		return "null"
	}
	return strings.ReplaceAll(fmt.Sprintf("%q", s), "${", "$${")
}

// Opening, reading and revoking a session, with everything that an API may do
// differently. TestSessionAPIs has each difference on its own.
func TestAccSession_basic(t *testing.T) {
	acc := newAccTest(t, flametest.Config{Version: 2, TLS: true, RequireAccessToken: true, OpenStatus: 201, RevokeStatus: 204})
	var token string
	is := func(attribute string, check knownvalue.Check) statecheck.StateCheck {
		return statecheck.ExpectKnownValue(this, tfjsonpath.New(attribute), check)
	}
	acc.run(resource.TestStep{
		Config: acc.configWith("ca_certificate = "+hclString(acc.fake.CACertificate()), oneSession),
		ConfigStateChecks: []statecheck.StateCheck{
			acc.expectRequests("POST"),
			expectHeld(acc.fake),
			is("auth_token", knownvalue.StringFunc(func(got string) error { token = got; return nil })),
			is("id", knownvalue.StringFunc(func(got string) error {
				if want := flame.NewToken(token).SessionID(); got != want {
					return fmt.Errorf("want %s", want)
				}
				return nil
			})),
			expectText("user", flametest.User), expectText("endpoint", acc.fake.URL()),
			expectText("email", flametest.User), expectText("full_name", "Ada"),
			is("user_id", knownvalue.NotNull()), expectText("created_at", "2026-02-27T10:30:00Z"),
			is("revoke_on_destroy", knownvalue.Bool(true)),
			expectNull("rotate_at"), expectNull("password"), expectNull("timeouts"),
		},
	})
	sameTokens(t, "sent with DELETE", endedTokens(acc.fake), token, token) // again with the token in the body
}

// stateCheck is a state check made of a function.
type stateCheck func(statecheck.CheckStateRequest) error

// CheckState implements statecheck.StateCheck.
func (check stateCheck) CheckState(_ context.Context, req statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	resp.Error = check(req)
}

// expectHeld checks that the state holds the live tokens and no others.
func expectHeld(fake *flametest.Server) statecheck.StateCheck {
	return stateCheck(func(req statecheck.CheckStateRequest) error {
		held := map[any]bool{}
		for _, r := range req.State.Values.RootModule.Resources {
			if r.Type == sessionType {
				held[r.AttributeValues["auth_token"]] = true
			}
		}
		live := fake.Live()
		for _, token := range live {
			if !held[token] {
				return errors.New("a token is live that the state does not hold")
			}
		}
		if len(held) != len(live) {
			return fmt.Errorf("the state holds %d tokens, but %d are live", len(held), len(live))
		}
		return nil
	})
}

// The tests below need no Terraform: they are about what the provider answers.

// newSessionRun configures the provider for the fake, without retries.
func newSessionRun(t *testing.T, fake *flametest.Server, arguments map[string]tftypes.Value) *protocolRun {
	t.Helper()
	all := flameArguments(fake)
	all["max_retries"] = tftypes.NewValue(tftypes.Number, 0)
	maps.Copy(all, arguments)
	run, err := newProtocolRun(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// sessionValue returns a session that is configured with these attributes.
func sessionValue(t *testing.T, run *protocolRun, attributes map[string]tftypes.Value) *tfprotov6.DynamicValue {
	t.Helper()
	value, err := protocolValue(run.resource, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// nothing returns the value of a session that does not exist.
func nothing(t *testing.T, run *protocolRun) *tfprotov6.DynamicValue {
	t.Helper()
	value, err := protocolNull(run.resource)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// createWith opens a session with these attributes. What went wrong is in diags.
func createWith(t *testing.T, run *protocolRun, attributes map[string]tftypes.Value) heldSession {
	t.Helper()
	config := sessionValue(t, run, attributes)
	session, err := run.change(t.Context(), heldSession{value: nothing(t, run)}, config, config)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// planWith plans a session that is configured with these attributes.
func planWith(t *testing.T, run *protocolRun, session heldSession, attributes map[string]tftypes.Value) *tfprotov6.PlanResourceChangeResponse {
	t.Helper()
	config := sessionValue(t, run, attributes)
	plan, err := run.PlanResourceChange(t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: sessionType, PriorState: session.value, PriorPrivate: session.private, Config: config, ProposedNewState: config,
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// attributesOf returns the attributes of a session.
func attributesOf(t *testing.T, run *protocolRun, value *tfprotov6.DynamicValue) (attributes map[string]tftypes.Value) {
	t.Helper()
	object, err := value.Unmarshal(run.resource.ValueType())
	if err == nil {
		err = object.As(&attributes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return attributes
}

// expectDiagnostics checks what a user is told: an error or a warning that
// contains each of the texts. Without texts, there must be nothing to tell.
func expectDiagnostics(t *testing.T, diags []*tfprotov6.Diagnostic, severity tfprotov6.DiagnosticSeverity, texts ...string) {
	t.Helper()
	got := diagnosticsText(diags)
	if len(texts) == 0 && got != "" {
		t.Errorf("want no diagnostics, got %s", got)
	}
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%q is not in: %s", text, got)
		}
	}
	for _, d := range diags {
		if d.Severity != severity {
			t.Errorf("want %s, got %s", severity, got)
		}
	}
	if lines := len(got) / 70; lines > 30 { // as wide as Terraform prints them
		t.Errorf("the diagnostics take %d lines: %s", lines, got)
	}
}

const (
	anError  = tfprotov6.DiagnosticSeverityError
	aWarning = tfprotov6.DiagnosticSeverityWarning
)

func TestSessionAPIs(t *testing.T) {
	for name, config := range map[string]flametest.Config{
		"version 1":              {},
		"version 2":              {Version: 2},
		"one token per user":     {Kind: flametest.Shared},
		"id without a value":     {SampleID: true},
		"201 and 204":            {OpenStatus: 201, RevokeStatus: 204},
		"access token in body":   {RequireAccessToken: true},
		"access token, 422":      {RequireAccessToken: true, AccessTokenStatus: 422},
		"TLS":                    {TLS: true},
		"TLS, token in the body": {TLS: true, RequireAccessToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, config)
			arguments := map[string]tftypes.Value{}
			if config.TLS {
				arguments["ca_certificate"] = stringValue(fake.CACertificate())
			}
			run := newSessionRun(t, fake, arguments)
			created := createWith(t, run, nil)
			expectDiagnostics(t, created.diags, anError)
			saw(t, fake, 1, 0, 0)
			sameTokens(t, "live", fake.Live(), created.token)
			attributes := attributesOf(t, run, created.value)
			for attribute, want := range map[string]string{
				"id": flame.NewToken(created.token).SessionID(), "user": flametest.User, "endpoint": fake.URL(), "email": flametest.User,
			} {
				if got := attributes[attribute]; !got.Equal(stringValue(want)) {
					t.Errorf("%s is %v, want %s", attribute, got, want)
				}
			}
			for _, attribute := range []string{"rotate_at", "password", "timeouts"} {
				if got := attributes[attribute]; !got.IsNull() {
					t.Errorf("%s is %v", attribute, got)
				}
			}
			if id := attributes["user_id"]; id.IsNull() != config.SampleID {
				t.Errorf("user_id is %v", id)
			}
			if name := attributes["full_name"]; name.IsNull() != (config.Version != 2) {
				t.Errorf("full_name is %v", name)
			}

			read, err := run.read(t.Context(), created)
			if err != nil {
				t.Fatal(err)
			}
			plan := planWith(t, run, read, nil)
			expectDiagnostics(t, append(read.diags, plan.Diagnostics...), aWarning)
			for _, value := range []*tfprotov6.DynamicValue{read.value, plan.PlannedState} {
				for attribute, got := range attributesOf(t, run, value) {
					if want := attributes[attribute]; !got.Equal(want) {
						t.Errorf("%s changes from %v to %v", attribute, want, got)
					}
				}
			}
			saw(t, fake, 1, 0, 1)

			destroyed, err := run.destroy(t.Context(), read)
			if err != nil {
				t.Fatal(err)
			}
			expectDiagnostics(t, destroyed.diags, anError)
			deletes := []string{created.token}
			if config.RequireAccessToken {
				deletes = append(deletes, created.token)
			}
			saw(t, fake, 1, len(deletes), 1)
			sameTokens(t, "sent with DELETE", endedTokens(fake), deletes...)
			sameTokens(t, "live", fake.Live())
		})
	}
}

// Errors of opening a session: what the API receives, what the user reads, and
// that nothing is stored.
func TestSessionOpenErrors(t *testing.T) {
	const html = "<html><title>Sign in</title></html>"
	for name, test := range map[string]struct {
		fault    *flametest.Fault
		endpoint func(fake *flametest.Server) string
		password string
		posts    int
		texts    []string
	}{
		"wrong password": {
			password: "wrong-secret", posts: 1,
			texts: []string{"Could not open a Flame session", "Flame answered 401", "Check the user and password", "does not send refused credentials twice"},
		},
		"wrong password with a line break": {
			password: "wrong-secret\n", posts: 1,
			texts: []string{"Flame answered 401", "The password begins or ends with white space"},
		},
		"unreachable": {
			endpoint: func(*flametest.Server) string { return "http://127.0.0.1:1/api/v1" },
			texts:    []string{"Could not open a Flame session", "connection refused", "Check the endpoint, the network"},
		},
		"unknown host": {
			endpoint: func(*flametest.Server) string { return "https://flame.invalid/api/v1" },
			texts:    []string{"Could not open a Flame session", "the host name", "Check the endpoint"},
		},
		"wrong path": {
			endpoint: func(fake *flametest.Server) string { return strings.TrimSuffix(fake.URL(), "/v1") },
			texts:    []string{"404 (not found)", "part of its path may be missing"},
		},
		"HTML": {
			fault: &flametest.Fault{Status: 200, Body: html}, posts: 1,
			texts: []string{"the answer is not a JSON object", "such as a proxy or a login page", "Flame may have opened a session"},
		},
		"a gateway's page": {
			fault: &flametest.Fault{Status: 401, Body: html}, posts: 1,
			texts: []string{"the answer was 401", "but it did not come from Flame", "A gateway or a login page in front of Flame", "and the gateway"},
		},
		"no token": {
			fault: &flametest.Fault{Status: 200, Body: `{"id":1}`}, posts: 1,
			texts: []string{"the answer holds no auth_token", "Check the endpoint"},
		},
		"redirect": {
			fault: &flametest.Fault{Status: 302, Header: map[string][]string{"Location": {"https://elsewhere.example/login?next=secret"}}}, posts: 1,
			texts: []string{"a redirect to https://elsewhere.example", "Set the endpoint to the address of the API itself"},
		},
		"administrators only": {
			fault: &flametest.Fault{Status: 403}, posts: 1,
			texts: []string{"403 (administrators only)", "administrator"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, flametest.Config{})
			fake.Always(flametest.OpOpen, test.fault)
			arguments := map[string]tftypes.Value{}
			if test.endpoint != nil {
				arguments["endpoint"] = stringValue(test.endpoint(fake))
			}
			if test.password != "" {
				arguments["password"] = stringValue(test.password)
			}
			session := createWith(t, newSessionRun(t, fake, arguments), nil)
			expectDiagnostics(t, session.diags, anError, test.texts...)
			for _, secret := range []string{html, "wrong-secret", flametest.Password, "next=secret"} {
				if strings.Contains(diagnosticsText(session.diags), secret) {
					t.Errorf("%q is printed", secret)
				}
			}
			if got := fake.Count(flametest.OpOpen); got != test.posts {
				t.Errorf("%d POSTs, want %d", got, test.posts)
			}
			if session.token != "" || len(fake.Live()) != 0 {
				t.Error("a session is stored, or live")
			}
		})
	}
	t.Run("no URL", func(t *testing.T) {
		_, err := newProtocolRun(t.Context(), map[string]tftypes.Value{"endpoint": stringValue("pull.flameanalytics.com")})
		for _, text := range []string{"The Flame endpoint is not usable", "it has no scheme", "https://pull.flameanalytics.com/api/v1"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q is not in: %v", text, err)
			}
		}
	})
}

// Errors of revoking a session: what the user reads, and that the session is kept
// unless Flame does not know it.
func TestSessionRevokeErrors(t *testing.T) {
	for status, texts := range map[int][]string{
		500: {"Could not revoke the Flame session", "500 (server error)", "Run again later", "set revoke_on_destroy = false in the provider block"},
		403: {"403 (administrators only)"},
		302: {"a redirect"},
		401: nil, 404: nil, 410: nil, // it is gone
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, flametest.Config{})
			run := newSessionRun(t, fake, nil)
			session := createWith(t, run, nil)
			fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status, CarryOut: texts == nil})
			left, err := run.destroy(t.Context(), session)
			if err != nil {
				t.Fatal(err)
			}
			expectDiagnostics(t, left.diags, anError, texts...)
			if kept := left.token != ""; kept != (texts != nil) {
				t.Errorf("the session is kept: %t", kept)
			}
			fake.Always(flametest.OpRevoke, nil)
			if left.token != "" {
				left, err = run.destroy(t.Context(), left)
			}
			if err != nil || left.token != "" || len(fake.Live()) != 0 {
				t.Errorf("the session is not revoked afterwards: %v", err)
			}
		})
	}
}

// The exact numbers of requests and connections that a run makes.
func TestManySessions(t *testing.T) {
	const count, parallelism = 60, 10 // Terraform's default
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n}\n", count))
	w.detectRaces()
	w.apply()
	const asked = 1 // whether the second login has ended the first session
	saw(t, fake, count, 0, asked)
	if got := len(w.sessions()); got != count {
		t.Errorf("%d sessions in the state", got)
	}
	w.agrees()
	if got := fake.Connections(); got > parallelism {
		t.Errorf("apply made %d connections", got)
	}
	before := fake.Connections()
	w.quiet()
	saw(t, fake, count, 0, asked+count)
	if got := fake.Connections() - before; got > parallelism {
		t.Errorf("plan made %d connections", got)
	}
	before = fake.Connections()
	w.destroy("-refresh=false")
	saw(t, fake, count, count, asked+count)
	if got := fake.Connections() - before; got > parallelism {
		t.Errorf("destroy made %d connections", got)
	}
	if len(fake.Live()) != 0 {
		t.Errorf("%d sessions are left alive", len(fake.Live()))
	}
}

func stringValue(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
