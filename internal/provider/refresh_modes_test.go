// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// What a plan does with a session that is due, and with one that has ended elsewhere, in
// each refresh mode. TestPlanWithoutRead plays -minimal-refresh on the protocol.
func TestRefreshModes(t *testing.T) {
	const (
		replaces = "1 to add, 0 to change, 1 to destroy"
		reopens  = "1 to add, 0 to change, 0 to destroy"
		nothing  = "No changes"
		dead     = "The Flame session has ended elsewhere"
	)
	noChecks := providerBlock("verify_sessions = false")
	for name, test := range map[string]struct {
		due      bool // otherwise the session has ended elsewhere
		option   string
		provider string
		says     []string
		checks   int
	}{
		"due":                           {due: true, option: "-refresh=true", says: []string{replaces}, checks: 1},
		"due, no refresh":               {due: true, option: "-refresh=false", says: []string{replaces}},
		"due, refresh only":             {due: true, option: "-refresh-only", says: []string{nothing}, checks: 1},
		"due, no checks":                {due: true, option: "-refresh=true", provider: noChecks, says: []string{replaces}},
		"ended elsewhere":               {option: "-refresh=true", says: []string{dead, reopens}, checks: 1},
		"ended elsewhere, no refresh":   {option: "-refresh=false", says: []string{nothing}},
		"ended elsewhere, refresh only": {option: "-refresh-only", says: []string{dead, "This is a refresh-only plan"}, checks: 1},
		"ended elsewhere, no checks":    {option: "-refresh=true", provider: noChecks, says: []string{nothing}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			rotateAfter := "1h"
			if test.due {
				rotateAfter = "1ns"
			}
			w := newWorkspace(t, fake, sessionBlock("this", "rotate_after = \""+rotateAfter+"\"")+test.provider)
			w.apply()
			if !test.due {
				fake.RevokeAll()
			}
			fake.Reset()
			w.must("plan", "-input=false", test.option).says(t, test.says...)
			saw(t, fake, 0, 0, test.checks)
		})
	}
}

// A session that is due is replaced without a refresh even if it has ended elsewhere.
func TestRotateDeadSessionWithoutRefresh(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", `rotate_after = "1ns"`))
	w.apply()
	fake.RevokeAll()
	fake.Reset()
	w.must("plan", "-input=false", "-refresh=false", "-out=plan.bin")
	w.must("apply", "-input=false", "plan.bin").says(t, "1 added, 0 changed, 1 destroyed")
	saw(t, fake, 1, 1, 0)
	w.agrees()
}

// A refresh alone takes a session out of the state that has ended elsewhere, and opens
// none in its place.
func TestApplyRefreshOnly(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	w.apply()
	fake.RevokeAll()
	fake.Reset()
	w.apply("-refresh-only")
	saw(t, fake, 0, 0, 1)
	if n := len(w.sessions()); n != 0 {
		t.Errorf("%d sessions are in the state", n)
	}
	w.apply().says(t, "1 added")
	saw(t, fake, 1, 0, 1)
	w.agrees()
}
