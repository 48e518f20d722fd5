// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var (
	noString      = tftypes.NewValue(tftypes.String, nil)
	unknownString = tftypes.NewValue(tftypes.String, tftypes.UnknownValue)
)

// rotateWhen returns a value of rotate_when_changed.
func rotateWhen(release string) tftypes.Value {
	return tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"release": stringValue(release)})
}

// planReplacement plans the replacement of a session by one with these attributes, as
// Terraform does: with the session, and then without.
func planReplacement(t *testing.T, run *protocolRun, session heldSession, attributes map[string]tftypes.Value) (first, second *tfprotov6.PlanResourceChangeResponse) {
	t.Helper()
	first = planWith(t, run, session, attributes)
	return first, planWith(t, run, heldSession{value: nothing(t, run), private: first.PlannedPrivate}, attributes)
}

// end applies the end of a session, with the private data of the plan.
func end(t *testing.T, run *protocolRun, session heldSession, private []byte) *tfprotov6.ApplyResourceChangeResponse {
	t.Helper()
	applied, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: session.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: private,
	})
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// A replacement needs of the provider's configuration only what the session does not set
// itself, and nothing any more once the session is destroyed instead.
func TestReplacementNeeds(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	elsewhere := newSessionRun(t, fake, map[string]tftypes.Value{"user": stringValue("bob@example.com"), "password": noString})

	own := map[string]tftypes.Value{"user": stringValue(flametest.User), "password": stringValue(flametest.Password)}
	run := newSessionRun(t, fake, nil)
	session := createWith(t, run, own)
	own["rotate_when_changed"] = rotateWhen("1")
	_, plan := planReplacement(t, run, session, own)
	expectDiagnostics(t, end(t, elsewhere, session, plan.PlannedPrivate).Diagnostics, anError)
	saw(t, fake, 1, 1, 0)

	run = newSessionRun(t, fake, nil)
	session = createWith(t, run, nil)
	_, plan = planReplacement(t, run, session, map[string]tftypes.Value{"rotate_when_changed": rotateWhen("1")})
	fake.Script(flametest.OpRevoke, flametest.Fault{Status: 403})
	failed := end(t, run, session, plan.PlannedPrivate)
	expectDiagnostics(t, failed.Diagnostics, anError, "Could not revoke the Flame session")
	destroyed, err := elsewhere.destroy(t.Context(), heldSession{value: failed.NewState, private: failed.Private})
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, destroyed.diags, anError)
	noneLive(t, fake)
}

// A session is opened with what the provider knows during apply, or not at all.
func TestCreateWithoutProvider(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := newSessionRun(t, fake, nil)
	plan := planWith(t, run, heldSession{value: nothing(t, run)}, nil)
	for argument, test := range map[string]struct {
		value tftypes.Value
		text  string
	}{
		"user":     {noString, "No user for this Flame session"},
		"password": {noString, "No password for this Flame session"},
		"endpoint": {unknownString, "The provider's endpoint has no value yet"},
	} {
		run := newSessionRun(t, fake, map[string]tftypes.Value{argument: test.value})
		planned := attributesOf(t, run, plan.PlannedState)
		if argument == "user" {
			planned["user"] = noString
		}
		applied, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
			TypeName: sessionType, PriorState: nothing(t, run), Config: sessionValue(t, run, nil), PlannedState: sessionValue(t, run, planned), PlannedPrivate: plan.PlannedPrivate,
		})
		if err != nil {
			t.Fatal(err)
		}
		expectDiagnostics(t, applied.Diagnostics, anError, test.text)
		if len(applied.Diagnostics) != 1 {
			t.Errorf("%s: want one error, got %s", argument, diagnosticsText(applied.Diagnostics))
		}
	}
	saw(t, fake, 0, 0, 0)
}

// A provider that was never configured keeps the session at a refresh, and says why it can
// do nothing else.
func TestNotConfigured(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	configured := newSessionRun(t, fake, nil)
	held := createWith(t, configured, nil)
	server, err := newServer(newTestProvider(newClock().Now, 0), false)
	if err != nil {
		t.Fatal(err)
	}
	run := &protocolRun{server, configured.resource, configured.ephemeral, configured.action}
	t.Setenv("A_TOKEN", held.token)
	read, err := run.read(t.Context(), held)
	if err != nil || read.token != held.token || len(read.diags) > 0 {
		t.Errorf("a refresh: %v %s", err, diagnosticsText(read.diags))
	}
	for name, call := range map[string]func() ([]*tfprotov6.Diagnostic, error){
		"create":  func() ([]*tfprotov6.Diagnostic, error) { s, err := run.create(t.Context()); return s.diags, err },
		"destroy": func() ([]*tfprotov6.Diagnostic, error) { s, err := run.destroy(t.Context(), held); return s.diags, err },
		"import": func() ([]*tfprotov6.Diagnostic, error) {
			s, err := run.importFrom(t.Context(), "env:A_TOKEN")
			return s.diags, err
		},
		"open": func() ([]*tfprotov6.Diagnostic, error) { s, err := run.open(t.Context()); return s.diags, err },
		"action": func() ([]*tfprotov6.Diagnostic, error) {
			diags, _, err := run.invoke(t.Context(), held.token)
			return diags, err
		},
	} {
		diags, err := call()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		expectDiagnostics(t, diags, anError, "The provider is not configured")
	}
	saw(t, fake, 1, 0, 0)
}

// Another user of the provider replaces a session that sets none, in a plan that has
// refreshed it. No user of the provider, or one that is not known, replaces none.
func TestUserOfTheProvider(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	inherits := createWith(t, newSessionRun(t, fake, nil), nil)
	own := map[string]tftypes.Value{"user": stringValue(flametest.User)}
	sets := createWith(t, newSessionRun(t, fake, nil), own)
	for name, test := range map[string]struct {
		user     tftypes.Value
		replaces bool
	}{
		"the same": {stringValue(flametest.User), false},
		"another":  {stringValue("bob@example.com"), true},
		"none":     {noString, false},
		"unknown":  {unknownString, false},
	} {
		for _, refresh := range []bool{true, false} {
			run := newSessionRun(t, fake, map[string]tftypes.Value{"user": test.user})
			planned := func(session heldSession, attributes map[string]tftypes.Value) (user string, replaced int) {
				t.Helper()
				if refresh {
					var err error
					if session, err = run.read(t.Context(), session); err != nil {
						t.Fatal(err)
					}
				}
				plan := planWith(t, run, session, attributes)
				for _, path := range plan.RequiresReplace {
					if path.String() != `AttributeName("user")` {
						t.Errorf("%s: replaced because of %v", name, path)
					}
				}
				if err := attributeOf(t, run.resource, plan.PlannedState, "user").As(&user); err != nil {
					t.Fatal(err)
				}
				return user, len(plan.RequiresReplace)
			}
			want := flametest.User
			if test.replaces {
				want = "bob@example.com"
			}
			if user, replaced := planned(inherits, nil); user != want || replaced != map[bool]int{true: 1}[test.replaces] {
				t.Errorf("%s, refreshed %v: the plan has the user %s, and %d attributes replace", name, refresh, user, replaced)
			}
			if user, replaced := planned(sets, own); user != flametest.User || replaced != 0 {
				t.Errorf("%s, refreshed %v: a user of the session's own gives way to %s", name, refresh, user)
			}
		}
	}
}

// Another endpoint of the provider replaces a session, in a plan that has refreshed it or
// would leave it unchanged. One that is not known replaces none.
func TestEndpointOfTheProvider(t *testing.T) {
	fake, other := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	created := createWith(t, newSessionRun(t, fake, nil), nil)
	for name, test := range map[string]struct {
		endpoint tftypes.Value
		refresh  bool
		changes  map[string]tftypes.Value
		replaces bool
	}{
		"the same":                    {stringValue(fake.URL()), true, nil, false},
		"unknown":                     {unknownString, true, nil, false},
		"another":                     {stringValue(other.URL()), false, nil, true},
		"another, refreshed":          {stringValue(other.URL()), true, timeoutsWith("delete", "1m"), true},
		"another, changed, unchecked": {stringValue(other.URL()), false, timeoutsWith("delete", "1m"), false},
	} {
		run := newSessionRun(t, fake, map[string]tftypes.Value{"endpoint": test.endpoint})
		if test.refresh {
			if _, err := run.read(t.Context(), created); err != nil {
				t.Fatal(err)
			}
		}
		plan := planWith(t, run, created, test.changes)
		want, wantPaths := fake.URL(), 0
		if test.replaces {
			want, wantPaths = other.URL(), 1
		}
		if got := attributeOf(t, run.resource, plan.PlannedState, "endpoint"); !got.Equal(stringValue(want)) {
			t.Errorf("%s: the endpoint is %v, want %s", name, got, want)
		}
		if len(plan.RequiresReplace) != wantPaths || wantPaths == 1 && plan.RequiresReplace[0].String() != `AttributeName("endpoint")` {
			t.Errorf("%s: replaced because of %v, want %d", name, plan.RequiresReplace, wantPaths)
		}
	}
}

// A value of rotate_when_changed replaces a session that had none, unless an import has
// just brought it.
func TestRotateWhenChangedIsAdded(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	replaces := func(session heldSession, attributes map[string]tftypes.Value, want int) *tfprotov6.PlanResourceChangeResponse {
		t.Helper()
		plan := planWith(t, newSessionRun(t, fake, nil), session, attributes)
		if len(plan.RequiresReplace) != want || want == 1 && plan.RequiresReplace[0].String() != `AttributeName("rotate_when_changed")` {
			t.Errorf("replaced because of %v, want %d", plan.RequiresReplace, want)
		}
		return plan
	}
	some := map[string]tftypes.Value{"rotate_when_changed": rotateWhen("1")}
	replaces(createWith(t, newSessionRun(t, fake, nil), nil), some, 1)

	t.Setenv("A_TOKEN", openElsewhere(t, fake, 1)[0])
	for _, first := range []map[string]tftypes.Value{nil, some} {
		run := newSessionRun(t, fake, nil)
		imported, err := run.importFrom(t.Context(), "env:A_TOKEN")
		if err != nil {
			t.Fatal(err)
		}
		plan := replaces(imported, first, 0)
		applied, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
			TypeName: sessionType, PriorState: imported.value, Config: sessionValue(t, run, first), PlannedState: plan.PlannedState, PlannedPrivate: plan.PlannedPrivate,
		})
		if err != nil || len(applied.Diagnostics) > 0 {
			t.Fatal(err, diagnosticsText(applied.Diagnostics))
		}
		replaces(heldSession{value: applied.NewState, private: applied.Private}, map[string]tftypes.Value{"rotate_when_changed": rotateWhen("2")}, 1)
	}
}

// A plan warns of the sessions that a login may end once, and not if they are another
// user's, or it is not known whose session it opens.
func TestPlanWarnsOnce(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	kept, replaced := createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)
	id := flame.NewToken(kept.token).SessionID()
	warning := "Opening another session of the user may end this one: Flame session " + id

	run := newSessionRun(t, fake, nil)
	planWith(t, run, kept, nil)
	first, second := planReplacement(t, run, replaced, map[string]tftypes.Value{"rotate_when_changed": rotateWhen("1")})
	leaves := newSessionRun(t, fake, map[string]tftypes.Value{"revoke_on_destroy": tftypes.NewValue(tftypes.Bool, false)})
	left := end(t, leaves, replaced, second.PlannedPrivate)
	ended := end(t, newSessionRun(t, fake, nil), replaced, second.PlannedPrivate)
	for _, diags := range [][]*tfprotov6.Diagnostic{first.Diagnostics, second.Diagnostics, left.Diagnostics, ended.Diagnostics} {
		if text := diagnosticsText(diags); strings.Count(text, warning) != 1 {
			t.Errorf("want one warning of %s, got %s", id, text)
		}
	}

	for name, arguments := range map[string]map[string]tftypes.Value{
		"user":     {"user": unknownString},
		"no user":  {"user": noString},
		"endpoint": {"endpoint": unknownString},
		"another":  {"user": stringValue("bob@example.com")},
	} {
		t.Run(name, func(t *testing.T) {
			run := newSessionRun(t, fake, arguments)
			planWith(t, run, kept, map[string]tftypes.Value{"user": stringValue(flametest.User)})
			if text := diagnosticsText(planWith(t, run, heldSession{value: nothing(t, run)}, nil).Diagnostics); strings.Contains(text, id) {
				t.Errorf("the plan of a session warns: %s", text)
			}
			config, err := protocolValue(run.ephemeral, map[string]tftypes.Value{"open": tftypes.NewValue(tftypes.Bool, false)})
			if err != nil {
				t.Fatal(err)
			}
			opened, err := run.OpenEphemeralResource(t.Context(), &tfprotov6.OpenEphemeralResourceRequest{TypeName: sessionType, Config: config})
			if err != nil || len(opened.Diagnostics) > 0 {
				t.Fatal(err, diagnosticsText(opened.Diagnostics))
			}
			if user := attributeOf(t, run.ephemeral, opened.Result, "user"); user.IsKnown() != (name == "endpoint" || name == "another") {
				t.Errorf("the ephemeral session's user is %v", user)
			}
		})
	}
}

// The warning comes whichever is planned first, and from an ephemeral session that the
// plan opens.
func TestPlanWarnsOfKept(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	kept := []heldSession{createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)}
	warnings := make([]string, len(kept))
	for i, session := range kept {
		warnings[i] = "Opening another session of the user may end this one: Flame session " + flame.NewToken(session.token).SessionID()
	}

	run := newSessionRun(t, fake, nil)
	planWith(t, run, heldSession{value: nothing(t, run)}, nil)
	for i, session := range kept {
		expectDiagnostics(t, planWith(t, run, session, nil).Diagnostics, aWarning, warnings[i])
	}

	run = newSessionRun(t, fake, nil)
	for _, session := range kept {
		planWith(t, run, session, nil)
	}
	opened, err := run.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, opened.diags, aWarning, warnings...)
}

// A plan that ends a session, and keeps another one that holds its token, says so.
func TestPlanWarnsOfRevokedToken(t *testing.T) {
	fake := sharingFake(t)
	ends, kept := createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)
	run := newSessionRun(t, fake, nil)
	planEnd(t, run, ends)
	expectDiagnostics(t, planWith(t, run, kept, nil).Diagnostics, aWarning,
		"The plan revokes the token of a session that it keeps: Flame session "+flame.NewToken(kept.token).SessionID())
}

// Sessions that were moved here are told apart before any refresh, and can be ended.
func TestMovedWithoutRefresh(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	created := createWith(t, newSessionRun(t, fake, nil), nil)
	moved := edited(t, newSessionRun(t, fake, nil), created, map[string]tftypes.Value{"endpoint": noString}, `{"imported":true,"moved_endpoint":"`+fake.URL()+`"}`)

	run := newSessionRun(t, fake, nil)
	planWith(t, run, moved, nil)
	expectDiagnostics(t, planEnd(t, run, moved).Diagnostics, aWarning,
		"The Flame token is not revoked, because another session holds it: session "+flame.NewToken(created.token).SessionID())

	// Terraform plans it again during apply, when the provider's user may be another.
	run = newSessionRun(t, fake, map[string]tftypes.Value{"user": stringValue("bob@example.com")})
	if replaced := planWith(t, run, moved, nil).RequiresReplace; len(replaced) > 0 {
		t.Errorf("replaced because of %v", replaced)
	}

	run = newSessionRun(t, fake, nil)
	expectDiagnostics(t, end(t, run, moved, planEnd(t, run, moved).PlannedPrivate).Diagnostics, anError)
	saw(t, fake, 1, 1, 0)
	noneLive(t, fake)
}

// The end of a replaced session spares its token while the plan keeps another session
// that holds it, whichever is planned first. The apply is not shown that one.
func TestReplacementLeavesSharedToken(t *testing.T) {
	for _, keptFirst := range []bool{true, false} {
		fake := sharingFake(t)
		replaced, kept := createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)
		run := newSessionRun(t, fake, nil)
		for _, session := range []heldSession{replaced, kept} {
			if _, err := run.read(t.Context(), session); err != nil {
				t.Fatal(err)
			}
		}
		if keptFirst {
			planWith(t, run, kept, nil)
		}
		_, plan := planReplacement(t, run, replaced, map[string]tftypes.Value{"rotate_when_changed": rotateWhen("1")})
		if !keptFirst {
			planWith(t, run, kept, nil)
		}
		fake.Reset()
		ended := end(t, newSessionRun(t, fake, nil), replaced, plan.PlannedPrivate)
		expectDiagnostics(t, ended.Diagnostics, aWarning, "The Flame token is not revoked, because another session holds it: session "+flame.NewToken(kept.token).SessionID())
		saw(t, fake, 0, 0, 0)
	}
}
