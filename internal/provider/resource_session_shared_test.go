// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A sharingFake gives all sessions of a user one token.
func sharingFake(t *testing.T) *flametest.Server {
	t.Helper()
	return newFake(t, flametest.Config{Kind: flametest.Shared})
}

const createFirst = "lifecycle {\n create_before_destroy = true\n}\n"

// A replacement that is opened first gets the same token, which must not be
// revoked then. One that is opened last gets a new token.
func TestAccSession_sharedReplaced(t *testing.T) {
	acc := newAccTest(t, flametest.Config{Kind: flametest.Shared})
	config := func(release string) string {
		values := "rotate_when_changed = { release = \"" + release + "\" }\n"
		return acc.config(sessionBlock("first", "user = \"first\"\n"+values+createFirst), sessionBlock("last", "user = \"last\"\n"+values))
	}
	same, other := statecheck.CompareValue(compare.ValuesSame()).AddStateValue, statecheck.CompareValue(compare.ValuesDiffer()).AddStateValue
	token := tfjsonpath.New("auth_token")
	requests := func(opened, revoked int) statecheck.StateCheck {
		return stateCheck(func(statecheck.CheckStateRequest) error {
			if acc.fake.Count(flametest.OpOpen) != opened || acc.fake.Count(flametest.OpRevoke) != revoked {
				t.Errorf("the API received %s", order(acc.fake))
			}
			return nil
		})
	}
	acc.run(
		resource.TestStep{
			Config:            config("1"),
			ConfigStateChecks: []statecheck.StateCheck{requests(2, 0), expectHeld(acc.fake), same("flame_session.first", token), other("flame_session.last", token)},
		},
		resource.TestStep{
			Config:            config("2"),
			ConfigStateChecks: []statecheck.StateCheck{requests(4, 1), expectHeld(acc.fake), same("flame_session.first", token), other("flame_session.last", token)},
		},
	)
	if got := acc.fake.Count(flametest.OpRevoke); got != 3 {
		t.Errorf("%d tokens are revoked in the end", got)
	}
}

// Two sessions of one user live and end together. A session that goes while another
// of its user comes leaves that one its token, whichever is first.
func TestAccSession_shared(t *testing.T) {
	acc := newAccTest(t, flametest.Config{Kind: flametest.Shared})
	config := func(name string) string {
		blocks := sessionBlock("a", "") + sessionBlock("b", "")
		for user := range 12 { // in many orders
			blocks += sessionBlock(fmt.Sprintf("%s%d", name, user), fmt.Sprintf("user = \"user%d\"", user))
		}
		return acc.config(blocks)
	}
	checks := []statecheck.StateCheck{expectHeld(acc.fake)}
	acc.run(
		resource.TestStep{Config: config("goes"), ConfigStateChecks: checks},
		resource.TestStep{Config: config("comes"), ConfigStateChecks: checks},
	)
}

// What a user is told of sessions that share a token, in an order that Terraform
// does not promise.
func TestSessionShared(t *testing.T) {
	const shared, notRevoked = "Two sessions share one Flame token", "The Flame token is not revoked, because another session holds it"
	ctx, fake := t.Context(), sharingFake(t)
	run := newSessionRun(t, fake, nil)
	a, b := createWith(t, run, nil), createWith(t, run, nil)
	id := flame.NewToken(a.token).SessionID()
	expectDiagnostics(t, a.diags, aWarning)
	expectDiagnostics(t, b.diags, aWarning, shared, id)

	// The plan of a run in which b goes.
	run = newSessionRun(t, fake, nil)
	for i, want := range [][]string{nil, {shared, id}} {
		read, err := run.read(ctx, []heldSession{a, b}[i])
		if err != nil {
			t.Fatal(err)
		}
		expectDiagnostics(t, read.diags, aWarning, want...)
	}
	_, err := run.destroy(ctx, b) // stops at the warning
	if err == nil || !strings.Contains(err.Error(), notRevoked) || !strings.Contains(err.Error(), id) {
		t.Errorf("want a warning, got %v", err)
	}

	// The apply of a replacement of a, create first: c got the same token.
	run = newSessionRun(t, fake, nil)
	c := createWith(t, run, nil)
	applied, err := run.ApplyResourceChange(ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: a.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: a.private,
	})
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, applied.Diagnostics, aWarning, notRevoked, id)
	saw(t, fake, 3, 0, 2)

	left, err := newSessionRun(t, fake, nil).destroy(ctx, c) // the last one
	if err != nil || left.token != "" || len(left.diags) > 0 || len(fake.Live()) != 0 {
		t.Errorf("the token is not revoked with the last session: %v", err)
	}
}

// A refresh decides whether a rotation is due, so that a plan holds however late
// it is applied.
func TestRotationIsDecidedByRefresh(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	due := map[string]tftypes.Value{"rotate_after": stringValue("1ns")}
	session := createWith(t, newSessionRun(t, fake, nil), map[string]tftypes.Value{"rotate_after": stringValue("720h")})
	run := newSessionRun(t, fake, nil)
	if plan := planWith(t, run, session, due); len(plan.RequiresReplace)+len(plan.Diagnostics) > 0 {
		t.Errorf("without a refresh, the plan replaces the session because of %v", plan.RequiresReplace)
	}
	session, err := run.read(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	plan := planWith(t, run, session, due)
	if len(plan.RequiresReplace) != 1 || !strings.Contains(plan.RequiresReplace[0].String(), "rotate_at") {
		t.Errorf("after a refresh, the plan replaces the session because of %v", plan.RequiresReplace)
	}
}
