// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// What comes from outside the session's own block forces a replacement in a plan
// that has refreshed, or that would change nothing else.

// Rotation does not depend on a refresh.
func TestRotationWithoutRefresh(t *testing.T) {
	for _, option := range []string{"-refresh=false", "-minimal-refresh"} {
		t.Run(option, func(t *testing.T) {
			if option == "-minimal-refresh" {
				needs(t, minimalRefresh)
			}
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, sessionBlock("this", `rotate_after = "1h"`))
			w.apply()
			w.write("main.tf", requireFlame+sessionBlock("this", `rotate_after = "1ns"`))
			// An update, which Terraform plans again during apply: it must not decide.
			w.must("apply", "-auto-approve", "-input=false", "-refresh=false").says(t, "0 added, 1 changed, 0 destroyed")
			saw(t, fake, 1, 0, 0)
			w.must("apply", "-auto-approve", "-input=false", option).says(t, "1 added, 0 changed, 1 destroyed")
			saw(t, fake, 2, 1, fake.Count(flametest.OpCheck))
			w.agrees()
		})
	}
}

// A plan that no refresh came before, on the protocol.
func TestPlanWithoutRead(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	clock := newClock()
	run, err := newProtocolRunAt(t.Context(), flameArguments(fake), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	config := func(rotateAfter string, revoke bool) *tfprotov6.DynamicValue {
		value, err := protocolValue(run.resource, map[string]tftypes.Value{
			"rotate_after":      tftypes.NewValue(tftypes.String, rotateAfter),
			"revoke_on_destroy": tftypes.NewValue(tftypes.Bool, revoke),
		})
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	nothing, err := protocolNull(run.resource)
	if err != nil {
		t.Fatal(err)
	}
	created, err := run.change(t.Context(), heldSession{value: nothing}, config("1h", true), config("1h", true))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		rotateAfter string
		revoke      bool
		age         time.Duration
		want        int // attributes that force a replacement
	}{
		{"young, unchanged", "1h", true, 59 * time.Minute, 0},
		{"young, changed", "1h", false, 59 * time.Minute, 0},
		{"overdue, unchanged", "1h", true, time.Hour, 1},
		{"overdue, changed", "1h", false, time.Hour, 0},
		{"becomes overdue", "1m", true, 59 * time.Minute, 0},
		{"is no longer overdue", "2h", true, time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			later := newClock()
			later.forward(test.age)()
			run, err := newProtocolRunAt(t.Context(), flameArguments(fake), later.Now)
			if err != nil {
				t.Fatal(err)
			}
			proposed, err := proposedState(run.resource, created.value, config(test.rotateAfter, test.revoke))
			if err != nil {
				t.Fatal(err)
			}
			plan, err := run.PlanResourceChange(t.Context(), &tfprotov6.PlanResourceChangeRequest{
				TypeName: sessionType, PriorState: created.value, PriorPrivate: created.private,
				Config: config(test.rotateAfter, test.revoke), ProposedNewState: proposed,
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(plan.RequiresReplace); got != test.want || len(plan.Diagnostics) != 0 {
				t.Errorf("replaced because of %v, want %d attributes; %s", plan.RequiresReplace, test.want, diagnosticsText(plan.Diagnostics))
			}
		})
	}
}

// proposedState merges prior and config as Terraform does: what the configuration
// leaves null and the provider computes comes from the prior state.
func proposedState(schema *tfprotov6.SchemaBlock, prior, config *tfprotov6.DynamicValue) (*tfprotov6.DynamicValue, error) {
	members := [2]map[string]tftypes.Value{}
	for i, value := range []*tfprotov6.DynamicValue{prior, config} {
		object, err := value.Unmarshal(schema.ValueType())
		if err != nil {
			return nil, err
		}
		if err := object.As(&members[i]); err != nil {
			return nil, err
		}
	}
	for _, attribute := range schema.Attributes {
		if attribute.Computed && members[1][attribute.Name].IsNull() {
			members[1][attribute.Name] = members[0][attribute.Name]
		}
	}
	return protocolValue(schema, members[1])
}

// An argument of the provider that changes during an apply decides nothing there.
// The next plan replaces the session.
func TestProviderArgumentChangesDuringApply(t *testing.T) {
	for _, argument := range []string{"endpoint", "user"} {
		t.Run(argument, func(t *testing.T) {
			fake, other := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
			before, after := fake.URL(), other.URL()
			if argument == "user" {
				before, after, other = "ada@example.com", "bob@example.com", fake
			}
			configuration := func(value, rotateAfter string) string {
				return requireFlame + fmt.Sprintf("resource \"terraform_data\" \"source\" {\n  input = %q\n}\n", value) +
					providerBlock(argument+" = terraform_data.source.output") + sessionBlock("this", fmt.Sprintf("rotate_after = %q", rotateAfter))
			}
			w := newWorkspace(t, fake, "")
			w.write("main.tf", configuration(before, "1h"))
			w.apply()
			w.write("main.tf", configuration(after, "2h"))
			w.apply().says(t, "0 added, 2 changed, 0 destroyed")
			if n := fake.Count(flametest.OpOpen); n != 1 {
				t.Errorf("%d sessions were opened, want 1", n)
			}
			w.apply().says(t, "1 added, 0 changed, 1 destroyed")
			w.fake = other
			w.agrees()
			w.quiet()
			w.destroy()
			w.agrees()
		})
	}
}

// Times are in UTC, to the second, whatever the zone of the machine is.
func TestTimesAreUTC(t *testing.T) {
	now := time.Date(2026, 2, 27, 11, 30, 0, 999_999_999, time.FixedZone("CET", 3600))
	run, err := newProtocolRunAt(t.Context(), flameArguments(newFake(t, flametest.Config{})), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	attributes := attributesOf(t, run, createWith(t, run, map[string]tftypes.Value{"rotate_after": stringValue("90m")}).value)
	for name, want := range map[string]string{"created_at": "2026-02-27T10:30:00Z", "rotate_at": "2026-02-27T12:00:00Z"} {
		if got := attributes[name]; !got.Equal(stringValue(want)) {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
}

// What a plan shows of rotate_at: null without rotate_after, unknown until the session is
// open, and unknown while rotate_after is.
func TestPlannedRotateAt(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := newSessionRun(t, fake, nil)
	created := createWith(t, run, nil)
	none := heldSession{value: nothing(t, run)}
	unknown := unknownString
	for name, test := range map[string]struct {
		session     heldSession
		rotateAfter tftypes.Value
		want        tftypes.Value
	}{
		"new":              {none, stringValue("1h"), unknown},
		"new, without":     {none, noString, noString},
		"new, unknown":     {none, unknown, unknown},
		"open":             {created, stringValue("1h"), stringValue("2026-02-27T11:30:00Z")},
		"open, without":    {created, noString, noString},
		"open, unknown":    {created, unknown, unknown},
		"open, in seconds": {created, stringValue("3600s"), stringValue("2026-02-27T11:30:00Z")},
	} {
		for _, refresh := range []bool{false, true} {
			run := newSessionRun(t, fake, nil)
			if refresh && test.session.token != "" {
				if _, err := run.read(t.Context(), test.session); err != nil {
					t.Fatal(err)
				}
			}
			plan := planWith(t, run, test.session, map[string]tftypes.Value{"rotate_after": test.rotateAfter, "user": stringValue(flametest.User)})
			got := attributeOf(t, run.resource, plan.PlannedState, "rotate_at")
			if len(plan.Diagnostics)+len(plan.RequiresReplace) > 0 || !got.Equal(test.want) {
				t.Errorf("%s, refreshed %v: rotate_at is %v, want %v; %s", name, refresh, got, test.want, diagnosticsText(plan.Diagnostics))
			}
		}
	}
}
