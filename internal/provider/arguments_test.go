// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// onTheWire says for each argument which tests hold it against what the server receives:
// each must fail if the argument is ignored, or another one is used in its place.
var onTheWire = map[string]string{
	"provider.endpoint":             "TestEndpointSources",
	"provider.user":                 "TestCredentialSources",
	"provider.password":             "TestCredentialSources",
	"provider.request_timeout":      "TestRequestLimits",
	"provider.max_retries":          "TestRequestLimits",
	"provider.requests_per_second":  "TestRequestsPerSecond",
	"provider.verify_sessions":      "TestSessionVerification TestImportVerifies",
	"provider.revoke_on_destroy":    "TestRevokeOnDestroy",
	"provider.ca_certificate":       "TestUntrustedCertificate TestTrustedCertificate TestTLSWithTerraform",
	"provider.insecure_skip_verify": "TestTrustedCertificate TestTLSWithTerraform",

	"flame_session.user":                "TestCredentialSources TestAccSession_replaced",
	"flame_session.password":            "TestCredentialSources TestAccSession_password",
	"flame_session.rotate_after":        "TestPlanWithoutRead TestAccSession_rotateAfter",
	"flame_session.rotate_when_changed": "TestAccSession_replaced",
	"flame_session.revoke_on_destroy":   "TestRevokeOnDestroy",
	"flame_session.timeouts.create":     "TestTimeLimits",
	"flame_session.timeouts.read":       "TestTimeLimits",
	"flame_session.timeouts.delete":     "TestTimeLimits",

	"ephemeral.user":            "TestCredentialSources",
	"ephemeral.password":        "TestCredentialSources",
	"ephemeral.revoke_on_close": "TestEphemeralArguments",
	"ephemeral.open":            "TestEphemeralArguments TestEphemeralOpen",

	"action.auth_token":             "TestActionInvoke",
	"authorization_header.argument": "TestFunctionResult", // it is sent nowhere
}

// Every argument of every schema is held against the wire.
func TestArgumentsAreHeld(t *testing.T) {
	schemas, err := providerSchema()
	if err != nil {
		t.Fatal(err)
	}
	var arguments []string
	collect := func(of string, block *tfprotov6.SchemaBlock) {
		for _, a := range block.Attributes {
			switch {
			case a.NestedType != nil:
				for _, inner := range a.NestedType.Attributes {
					arguments = append(arguments, of+"."+a.Name+"."+inner.Name)
				}
			case a.Required || a.Optional:
				arguments = append(arguments, of+"."+a.Name)
			}
		}
	}
	collect("provider", schemas.Provider.Block)
	for name, schema := range schemas.ResourceSchemas {
		collect(name, schema.Block)
	}
	for _, schema := range schemas.EphemeralResourceSchemas {
		collect("ephemeral", schema.Block)
	}
	for _, schema := range schemas.ActionSchemas {
		collect("action", schema.Schema.Block)
	}
	for name, function := range schemas.Functions {
		for range function.Parameters {
			arguments = append(arguments, name+".argument")
		}
	}
	for _, argument := range arguments {
		if onTheWire[argument] == "" {
			t.Errorf("no test holds %s against what the server receives: name one in the list above", argument)
		}
	}
	exists := testsOfModule(t)
	for argument, tests := range onTheWire {
		if !slices.Contains(arguments, argument) {
			t.Errorf("%s is no argument", argument)
		}
		for _, name := range strings.Fields(tests) {
			if !slices.Contains(exists, name) {
				t.Errorf("there is no test %s, which is to hold %s", name, argument)
			}
		}
	}
}

// Each argument of the provider may be unknown. Then what needs it sends nothing, and
// says which one is missing; what does not need it goes on.
func TestUnknownProviderArguments(t *testing.T) {
	schemas, err := providerSchema()
	if err != nil {
		t.Fatal(err)
	}
	fake := newFake(t, flametest.Config{})
	known := mustRun(t, flameArguments(fake))
	session := createWith(t, known, nil)
	ephemeral, err := known.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.Reset()
	everything := flameArguments(fake)
	var needed []string
	for _, attribute := range schemas.Provider.Block.Attributes {
		arguments := flameArguments(fake)
		arguments[attribute.Name] = tftypes.NewValue(attribute.Type, tftypes.UnknownValue)
		run := mustRun(t, arguments)
		plan := planWith(t, run, session, nil)
		expectDiagnostics(t, append(plan.Diagnostics, planEnd(t, run, session).Diagnostics...), aWarning)
		if len(plan.RequiresReplace) > 0 {
			t.Errorf("%s replaces the session", attribute.Name)
		}
		if attribute.Name == "user" || attribute.Name == "password" {
			continue // TestEphemeralUnknown has them
		}
		needed = append(needed, attribute.Name)
		everything[attribute.Name] = arguments[attribute.Name]
		diags, _, err := run.invoke(t.Context(), session.token)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"ERROR: A provider argument is not known yet", "The provider's " + attribute.Name + " has no value yet"}
		wantTexts(t, diagnosticsText(diags), want)
		if attribute.Name == "endpoint" {
			continue // the state says where an existing session is revoked
		}
		left, err := run.destroy(t.Context(), session)
		if err != nil || left.token != session.token {
			t.Errorf("%s: a destroy loses the session: %v", attribute.Name, err)
		}
		wantTexts(t, diagnosticsText(left.diags), want)
		closed, err := run.close(t.Context(), ephemeral)
		if err != nil {
			t.Fatal(err)
		}
		wantTexts(t, diagnosticsText(closed), want)
	}
	diags, _, err := mustRun(t, everything).invoke(t.Context(), session.token)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(needed)
	wantTexts(t, diagnosticsText(diags), []string{"The provider's " + strings.Join(needed, ", ") + " has no value yet"})
	saw(t, fake, 0, 0, 0)
}

// planEnd plans the destruction of a session.
func planEnd(t *testing.T, run *protocolRun, session heldSession) *tfprotov6.PlanResourceChangeResponse {
	t.Helper()
	plan, err := run.PlanResourceChange(t.Context(), &tfprotov6.PlanResourceChangeRequest{
		TypeName: sessionType, PriorState: session.value, PriorPrivate: session.private, Config: nothing(t, run), ProposedNewState: nothing(t, run),
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Numbers at the edge of what is allowed are.
func TestProviderArgumentsAtTheEdge(t *testing.T) {
	for argument, values := range map[string][]any{
		"max_retries": {0, 20}, "requests_per_second": {0.01, 0.5, 100000}, "request_timeout": {"1ns", "1000h"}, "endpoint": {"http://localhost", "HTTPS://flame.example:4003/a/b/"},
	} {
		for _, value := range values {
			run := mustRun(t, nil)
			schemas, err := providerSchema()
			if err != nil {
				t.Fatal(err)
			}
			index := slices.IndexFunc(schemas.Provider.Block.Attributes, func(a *tfprotov6.SchemaAttribute) bool { return a.Name == argument })
			config, err := protocolValue(schemas.Provider.Block, map[string]tftypes.Value{argument: tftypes.NewValue(schemas.Provider.Block.Attributes[index].Type, value)})
			if err != nil {
				t.Fatal(err)
			}
			validated, err := run.ValidateProviderConfig(t.Context(), &tfprotov6.ValidateProviderConfigRequest{Config: config})
			if err != nil || len(validated.Diagnostics) > 0 {
				t.Errorf("%s = %v: %v, %s", argument, value, err, diagnosticsText(validated.Diagnostics))
			}
		}
	}
}

// A session is revoked unless its state or the provider says that it is not to be. Then
// the plan and the apply each say so.
func TestRevokeOnDestroy(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	choices := map[string]tftypes.Value{
		"not set": tftypes.NewValue(tftypes.Bool, nil), "true": tftypes.NewValue(tftypes.Bool, true), "false": tftypes.NewValue(tftypes.Bool, false),
	}
	for inProvider, provider := range choices {
		for inState, own := range choices {
			for _, end := range []string{"destroy", "replace"} {
				fake.Reset()
				kept := map[string]tftypes.Value{"revoke_on_destroy": own}
				if own.IsNull() {
					kept["revoke_on_destroy"] = choices["true"] // its default
				}
				session := createWith(t, newSessionRun(t, fake, nil), kept)
				run := newSessionRun(t, fake, map[string]tftypes.Value{"revoke_on_destroy": provider})
				plan := planEnd(t, run, session)
				if end == "replace" {
					changed := maps.Clone(kept)
					changed["user"] = stringValue("bob@example.com")
					plan = planWith(t, run, session, changed)
				}
				ended, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
					TypeName: sessionType, PriorState: session.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: plan.PlannedPrivate,
				})
				if err != nil {
					t.Fatal(err)
				}
				revokes, id := inProvider != "false" && inState != "false", flame.NewToken(session.token).SessionID()
				what := fmt.Sprintf("%s, %s in the provider, %s in the state", end, inProvider, inState)
				if got := fake.Count(flametest.OpRevoke); got != map[bool]int{true: 1}[revokes] {
					t.Errorf("%s: %d revocations", what, got)
				}
				for summary, diags := range map[string][]*tfprotov6.Diagnostic{"The Flame token will stay alive: session " + id: plan.Diagnostics, "The Flame token stays alive: session " + id: ended.Diagnostics} {
					if got := len(diags) == 1 && diags[0].Severity == aWarning && diags[0].Summary == summary; got == revokes || revokes && len(diags) > 0 {
						t.Errorf("%s: want %q, got %s", what, summary, diagnosticsText(diags))
					}
				}
				reason := map[bool]string{true: "the provider's revoke_on_destroy is false", false: "its revoke_on_destroy is false in the state"}[inProvider == "false"]
				if text := diagnosticsText(ended.Diagnostics); !revokes && !strings.Contains(text, reason) {
					t.Errorf("%s: the reason is not told: %s", what, text)
				}
				fake.RevokeAll()
			}
		}
	}
}

// What open and revoke_on_close have the ephemeral resource send.
func TestEphemeralArguments(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	truth := func(value bool) tftypes.Value { return tftypes.NewValue(tftypes.Bool, value) }
	for _, test := range []struct {
		arguments map[string]tftypes.Value
		sends     string
	}{
		{nil, "POST DELETE"},
		{map[string]tftypes.Value{"open": truth(true), "revoke_on_close": truth(true)}, "POST DELETE"},
		{map[string]tftypes.Value{"revoke_on_close": truth(false)}, "POST"},
		{map[string]tftypes.Value{"open": truth(false)}, ""},
		{map[string]tftypes.Value{"open": truth(false), "revoke_on_close": truth(true), "user": stringValue("bob@example.com")}, ""},
	} {
		fake.Reset()
		p := newTestProvider(newClock().Now, 0)
		run, err := configureProvider(t.Context(), p, flameArguments(fake))
		if err != nil {
			t.Fatal(err)
		}
		config, err := protocolValue(run.ephemeral, test.arguments)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := run.OpenEphemeralResource(t.Context(), &tfprotov6.OpenEphemeralResourceRequest{TypeName: sessionType, Config: config})
		if err != nil || len(opened.Diagnostics) > 0 {
			t.Fatal(err, diagnosticsText(opened.Diagnostics))
		}
		want, own := test.arguments["user"]
		if !own {
			want = stringValue(flametest.User) // the provider's
		}
		if user := attributeOf(t, run.ephemeral, opened.Result, "user"); !user.Equal(want) {
			t.Errorf("%v: the user is %v, want %v", test.arguments, user, want)
		}
		closed, err := run.close(t.Context(), heldSession{private: opened.Private})
		if err != nil || len(closed) > 0 {
			t.Errorf("%v: %v, %s", test.arguments, err, diagnosticsText(closed))
		}
		p.finish() // nothing is left to be revoked at exit
		if got := methods(fake); got != test.sends {
			t.Errorf("%v: %s is sent, want %s", test.arguments, got, test.sends)
		}
		if left := len(fake.Live()); left != map[bool]int{true: 1}[test.sends == "POST"] {
			t.Errorf("%v: %d sessions are alive", test.arguments, left)
		}
		fake.RevokeAll()
	}
}

// Each request names Terraform, the provider and what the environment appends, in which
// no control character survives.
func TestUserAgent(t *testing.T) {
	const agent = "Terraform/1.11.0 (+https://www.terraform.io) terraform-provider-flame/test"
	fake := newFake(t, flametest.Config{})
	for appended, want := range map[string]string{"": agent, "pipeline/7\r\nX-Evil: 1 ": agent + " pipeline/7X-Evil: 1", " \t": agent, "\x1f~\x7f": agent + " ~"} {
		t.Setenv("TF_APPEND_USER_AGENT", appended)
		fake.Reset()
		run := mustRun(t, flameArguments(fake))
		session := createWith(t, run, nil)
		for _, call := range []func(context.Context, heldSession) (heldSession, error){run.read, run.destroy} {
			if _, err := call(t.Context(), session); err != nil {
				t.Fatal(err)
			}
		}
		saw(t, fake, 1, 1, 1)
		for _, request := range fake.Journal() {
			if got := request.Header.Values("User-Agent"); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: User-Agent is %q, want %q", request.Op, got, want)
			}
		}
	}
}

// attributeOf returns one attribute of an object.
func attributeOf(t *testing.T, schema *tfprotov6.SchemaBlock, value *tfprotov6.DynamicValue, name string) tftypes.Value {
	t.Helper()
	var attributes map[string]tftypes.Value
	object, err := value.Unmarshal(schema.ValueType())
	if err == nil {
		err = object.As(&attributes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return attributes[name]
}
