// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// this is the address of the session in most tests.
const this = "flame_session.this"

// expectText checks an attribute of the session.
func expectText(attribute, want string) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(this, tfjsonpath.New(attribute), knownvalue.StringExact(want))
}

// expectNull checks that an attribute of the session is null.
func expectNull(attribute string) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(this, tfjsonpath.New(attribute), knownvalue.Null())
}

// The whole life of rotate_after and rotate_at.
func TestAccSession_rotateAfter(t *testing.T) {
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
			config := func(arguments string) string {
				return acc.config(sessionBlock("this", arguments+"\n"+test.lifecycle))
			}
			updated := preApply(plancheck.ExpectResourceAction(this, plancheck.ResourceActionUpdate), expectKept(this))
			replaced := preApply(plancheck.ExpectResourceAction(this, test.action), expectReplacedBecause(this, "rotate_at"))
			unchanged := preApply(plancheck.ExpectEmptyPlan())
			acc.run(
				resource.TestStep{
					Config: config(`rotate_after = "24h"`),
					ConfigStateChecks: []statecheck.StateCheck{
						acc.expectRequests("POST"),
						expectText("created_at", "2026-02-27T10:30:00Z"), expectText("rotate_at", "2026-02-28T10:30:00Z"),
					},
				},
				resource.TestStep{ // a second before it is due
					PreConfig: acc.clock.forward(24*time.Hour - time.Second), Config: config(`rotate_after = "24h"`),
					ConfigPlanChecks:  unchanged,
					ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests()},
				},
				resource.TestStep{ // due
					PreConfig: acc.clock.forward(time.Second), Config: config(`rotate_after = "24h"`),
					ConfigPlanChecks: replaced,
					ConfigStateChecks: []statecheck.StateCheck{
						acc.expectRequests(test.requests...),
						expectText("created_at", "2026-02-28T10:30:00Z"), expectText("rotate_at", "2026-03-01T10:30:00Z"),
					},
				},
				resource.TestStep{ // longer
					PreConfig: acc.clock.forward(23 * time.Hour), Config: config(`rotate_after = "48h"`),
					ConfigPlanChecks: updated,
					ConfigStateChecks: []statecheck.StateCheck{
						acc.expectRequests(),
						expectText("created_at", "2026-02-28T10:30:00Z"), expectText("rotate_at", "2026-03-02T10:30:00Z"),
					},
				},
				resource.TestStep{ // gone
					Config: config(""), ConfigPlanChecks: updated,
					ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests(), expectNull("rotate_at")},
				},
				resource.TestStep{ // old, but not told to rotate
					PreConfig: acc.clock.forward(10000 * time.Hour), Config: config(""),
					ConfigPlanChecks:  unchanged,
					ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests()},
				},
				resource.TestStep{ // back, and overdue
					Config: config(`rotate_after = "720h"`), ConfigPlanChecks: replaced,
					ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests(test.requests...)},
				},
				resource.TestStep{ // the same duration, spelled differently
					Config:            config(`rotate_after = "720h0m0s"`),
					ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests()},
				},
			)
		})
	}
}
