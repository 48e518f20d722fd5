// SPDX-License-Identifier: MPL-2.0

package provider

import (
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

// deadIDs returns the session IDs in the state whose tokens are dead at the fake.
func (w *workspace) deadIDs() (ids []string) {
	w.t.Helper()
	live := w.fake.Live()
	for _, s := range w.sessions() {
		if !slices.Contains(live, s.text("auth_token")) {
			ids = append(ids, s.text("id"))
		}
	}
	return ids
}

// tellsOfDead fails the test unless as many tokens of the state are dead as wanted, and
// what the user saw names each.
func (w *workspace) tellsOfDead(r result, want int) {
	w.t.Helper()
	dead := w.deadIDs()
	if len(dead) != want {
		w.t.Errorf("%d tokens in the state are dead, want %d", len(dead), want)
	}
	for _, id := range dead {
		if r.told(id) == "" {
			w.t.Errorf("no diagnostic is about session %s: %v", id, r)
		}
	}
}

// On an account whose logins end the earlier token, two new sessions are one too many.
func TestSupersedingTwoNew(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	w := newWorkspace(t, fake, sessionsOfOneUser(2))
	r := w.apply()
	w.tellsOfDead(r, 1)
	r.says(t, "A login has ended another Flame session", "one flame_session per user")
	saw(t, fake, 2, 0, 1)

	// The plan warns of the next login.
	var live string
	for _, s := range w.sessions() {
		if !slices.Contains(w.deadIDs(), s.text("id")) {
			live = s.text("id")
		}
	}
	w.must("plan", "-input=false").says(t, "The Flame session has ended elsewhere: session "+w.deadIDs()[0],
		"Opening another session of the user may end this one: Flame session "+live)
}

// A refresh that finds a token dead names the session that it has seen alive.
func TestRefreshNamesLiveSession(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	ended, live := createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)
	run := newSessionRun(t, fake, nil)
	if _, err := run.read(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	read, err := run.read(t.Context(), ended)
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, read.diags, aWarning, "The Flame session has ended elsewhere: session "+flame.NewToken(ended.token).SessionID(),
		"Session "+flame.NewToken(live.token).SessionID()+" of the same user is alive", "a login ends the earlier token")
}

// A login or a revocation whose answer is lost may have ended another session all the same:
// the error comes with a warning.
func TestLostAnswerEndsAnother(t *testing.T) {
	lost := flametest.Fault{CarryOut: true, Drop: true}
	const ended = "has ended another Flame session: session "
	for name, test := range map[string]struct {
		kind  flametest.Kind
		op    flametest.Operation
		call  func(t *testing.T, run *protocolRun, other heldSession) []*tfprotov6.Diagnostic
		fails string // %s is the ID of the session that is to be revoked
		texts []string
	}{
		"create": {
			flametest.Superseding, flametest.OpOpen,
			func(t *testing.T, run *protocolRun, _ heldSession) []*tfprotov6.Diagnostic {
				return createWith(t, run, nil).diags
			},
			"ERROR: Could not open a Flame session",
			[]string{"A login " + ended, "until a session with an unknown token was opened"},
		},
		"open": {
			flametest.Superseding, flametest.OpOpen,
			func(t *testing.T, run *protocolRun, _ heldSession) []*tfprotov6.Diagnostic {
				opened, err := run.open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return opened.diags
			},
			"ERROR: Could not open an ephemeral Flame session",
			[]string{"A login " + ended, "until a session with an unknown token was opened"},
		},
		"delete": {
			flametest.Sweeping, flametest.OpRevoke,
			func(t *testing.T, run *protocolRun, other heldSession) []*tfprotov6.Diagnostic {
				left, err := run.destroy(t.Context(), other)
				if err != nil {
					t.Fatal(err)
				}
				return left.diags
			},
			"ERROR: Could not revoke the Flame session %s",
			[]string{"A revocation " + ended, "until session %s of the same user was revoked"},
		},
		"close": {
			flametest.Sweeping, flametest.OpRevoke,
			func(t *testing.T, run *protocolRun, other heldSession) []*tfprotov6.Diagnostic {
				diags, err := run.close(t.Context(), other)
				if err != nil {
					t.Fatal(err)
				}
				return diags
			},
			"WARNING: Could not revoke the ephemeral Flame session %s",
			[]string{"A revocation " + ended, "until session %s of the same user was revoked"},
		},
		"action": {
			flametest.Sweeping, flametest.OpRevoke,
			func(t *testing.T, run *protocolRun, other heldSession) []*tfprotov6.Diagnostic {
				diags, _, err := run.invoke(t.Context(), other.token)
				if err != nil {
					t.Fatal(err)
				}
				return diags
			},
			"ERROR: Could not revoke the Flame session %s",
			[]string{"A revocation " + ended, "until session %s of the same user was revoked"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{Kind: test.kind})
			run := newSessionRun(t, fake, nil)
			var other heldSession
			var err error
			switch name {
			case "delete", "action":
				other = createWith(t, run, nil)
			case "close":
				other, err = run.open(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			held := createWith(t, run, nil)
			fake.Script(test.op, lost)
			got := diagnosticsText(test.call(t, run, other))
			id, otherID := flame.NewToken(held.token).SessionID(), flame.NewToken(other.token).SessionID()
			texts := []string{strings.ReplaceAll(test.fails, "%s", otherID), "Session " + id + " was alive"}
			for _, text := range test.texts {
				texts = append(texts, strings.ReplaceAll(text, "%s", otherID))
			}
			wantTexts(t, got, append(texts, test.texts[0]+id))
			if slices.Contains(fake.Live(), held.token) {
				t.Error("the other session is alive")
			}
		})
	}
}

// A login whose first answer is lost may have opened a session that nobody can revoke: a
// warning comes with the one that is open.
func TestLostAnswerBeforeSuccess(t *testing.T) {
	lost := flametest.Fault{CarryOut: true, Drop: true}
	fake := newFake(t, flametest.Config{})
	retries := map[string]tftypes.Value{"max_retries": tftypes.NewValue(tftypes.Number, 2)}
	fake.Script(flametest.OpOpen, lost, lost)
	created := createWith(t, newSessionRun(t, fake, retries), nil)
	fake.Script(flametest.OpOpen, lost, lost)
	opened, err := newSessionRun(t, fake, retries).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range []heldSession{created, opened} {
		id := flame.NewToken(session.token).SessionID()
		expectDiagnostics(t, session.diags, aWarning, "Flame may hold an orphaned session: opened before session "+id, "Session "+id+" is open, but 2 answers")
	}
}

// Of many new sessions, two are opened: the third login would end a live one.
func TestSupersedingManyNew(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	w := newWorkspace(t, fake, sessionsOfOneUser(5))
	r := w.fails([]string{"Could not open a Flame session", "of the same user, which is alive, so nothing was sent"}, "apply", "-auto-approve", "-input=false")
	w.tellsOfDead(r, 1)
	saw(t, fake, 2, 0, 1)
	if n := strings.Count(r.Stderr, "Error: "); n != 3 {
		t.Errorf("%d errors, want 3", n)
	}
}

// A new session beside one that the plan keeps: Terraform shows the provider only the
// new one during apply, so the plan warns.
func TestNewBesideKept(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Superseding} {
		for _, refresh := range []string{"-refresh=true", "-refresh=false"} {
			t.Run(fmt.Sprint(kind, " ", refresh), func(t *testing.T) {
				fake := newFake(t, flametest.Config{Kind: kind})
				w := newWorkspace(t, fake, sessionsOfOneUser(1))
				w.apply()
				id := w.sessions()["this[0]"].text("id")
				w.write("main.tf", requireFlame+sessionsOfOneUser(2))
				fake.Reset()
				r := w.must("plan", "-input=false", refresh)
				r.says(t, "Opening another session of the user may end this one: Flame session "+id)
				saw(t, fake, 0, 0, map[bool]int{true: 1}[refresh == "-refresh=true"])
			})
		}
	}
}

// An ephemeral session that only the apply opens beside one that the plan keeps: the plan
// warns of that too.
func TestApplyingBesideKept(t *testing.T) {
	needs(t, ephemeralResources, applyingKnown)
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {}\n")
	w.apply()
	w.write("main.tf", requireFlame+`
resource "flame_session" "this" {}

ephemeral "flame_session" "this" {
  open       = terraform.applying
  depends_on = [flame_session.this]
}
`)
	fake.Reset()
	w.must("plan", "-input=false").says(t, "Opening another session of the user may end this one: Flame session "+w.sessions()["this"].text("id"))
	saw(t, fake, 0, 0, 1)
}

// An ephemeral session beside a managed one, on an account whose logins end the earlier
// token, is an error or, if it was opened before the check, a warning with both causes.
func TestSupersedingEphemeral(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {}\n")
	w.apply()
	id := w.sessions()["this"].text("id")

	// The ephemeral session waits for the managed one.
	after := "resource \"flame_session\" \"this\" {}\n" + `
ephemeral "flame_session" "this" {
  depends_on = [flame_session.this]
}
`
	w.write("main.tf", requireFlame+after)
	w.fails([]string{"An ephemeral login has ended a managed Flame session: session " + id, "its own user"}, "plan", "-input=false")
	if n := len(fake.Live()); n != 0 {
		t.Errorf("%d tokens are alive: the ephemeral session was not revoked", n)
	}

	// The managed one is checked after the ephemeral one was opened.
	w.write("main.tf", requireFlame+"resource \"flame_session\" \"this\" {}\n")
	w.apply()
	id = w.sessions()["this"].text("id")
	before := marked + `
ephemeral "flame_session" "this" {
}
resource "terraform_data" "used" {
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
}
`
	w.write("main.tf", requireFlame+before+"resource \"flame_session\" \"this\" {}\n")
	fake.Reset()
	fake.Always(flametest.OpCheck, &flametest.Fault{Hang: true})
	r := w.start("plan", "-input=false")
	r.arrived(fake, flametest.OpCheck, 1)
	r.arrived(fake, flametest.OpOpen, 1)
	fake.Release()
	got := r.end()
	if !strings.Contains(got.Text(), "An ephemeral login has ended a managed Flame session: session "+id) &&
		!strings.Contains(got.Text(), "The Flame session has ended elsewhere: session "+id) {
		t.Errorf("the user is not told of session %s: %v", id, got)
	}
}

// A shared token is not rotated by a replacement that is opened first, and the user is
// told. It takes no other session with it.
func TestSharedReplacement(t *testing.T) {
	fake := sharingFake(t)
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n")
	w.apply()
	id := w.sessions()["this"].text("id")
	w.apply("-replace=flame_session.this").says(t, "The Flame token is not revoked, because another session holds it: session "+id, "nothing was rotated", "remove create_before_destroy")
	w.agrees()
	saw(t, fake, 2, 0, 1)
}

// What becomes of the others when one of several sessions that share a token goes.
func TestSharedOneOfSeveral(t *testing.T) {
	const count = 6
	for name, change := range map[string]func(w *workspace) []string{
		"replaced": func(*workspace) []string {
			return []string{"-replace=flame_session.this[0]", "-replace=flame_session.this[1]"}
		},
		"tainted": func(w *workspace) []string {
			w.must("taint", "flame_session.this[0]")
			return nil
		},
		"removed": func(w *workspace) []string {
			w.write("main.tf", requireFlame+sessionsOfOneUser(count-1))
			return nil
		},
		"removed without a refresh": func(w *workspace) []string {
			w.write("main.tf", requireFlame+sessionsOfOneUser(count-1))
			return []string{"-refresh=false"}
		},
		"replaced without a refresh": func(*workspace) []string {
			return []string{"-refresh=false", "-replace=flame_session.this[2]"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := sharingFake(t)
			w := newWorkspace(t, fake, sessionsOfOneUser(count))
			w.apply()
			id := w.sessions()["this[0]"].text("id")
			r := w.apply(change(w)...)
			r.says(t, "session "+id) // not only [id=…], which Terraform prints of each
			if fake.Count(flametest.OpRevoke) == 0 {
				w.agrees() // nobody lost a token
			} else {
				// The plan of what ends came first, and that of another session told of it.
				r.says(t, "The plan revokes the token of a session that it keeps: Flame session "+id)
			}
		})
	}
}

// The plan sees a tainted session neither with its state nor, without a refresh, otherwise.
// But Delete knows the IDs of the sessions that the plan keeps.
func TestSharedTaintWithoutRefresh(t *testing.T) {
	fake := sharingFake(t)
	kept, tainted := createWith(t, newSessionRun(t, fake, nil), nil), createWith(t, newSessionRun(t, fake, nil), nil)
	run := newSessionRun(t, fake, nil)
	planWith(t, run, kept, nil)
	plan := planWith(t, run, heldSession{value: nothing(t, run)}, nil)
	run = newSessionRun(t, fake, nil)
	applied, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: tainted.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: plan.PlannedPrivate,
	})
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, applied.Diagnostics, aWarning, "The Flame token is not revoked, because another session holds it: session "+flame.NewToken(kept.token).SessionID())
	saw(t, fake, 2, 0, 0)
}

// On an account whose revocations end all tokens of the user, the old session takes the
// new one with it, and the user is told.
func TestSweepingRotation(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Sweeping})
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n")
	w.apply()
	r := w.apply("-replace=flame_session.this")
	w.tellsOfDead(r, 1)
	r.says(t, "A revocation has ended another Flame session: session "+w.sessions()["this"].text("id"), "all tokens of the user")
	saw(t, fake, 2, 1, 2)
}

// A rotation of one independent session makes the requests of its documentation, and one
// check of the new session after the old one's revocation.
func TestIndependentRotation(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n")
	w.apply()
	old := slices.Collect(maps.Values(w.sessions()))[0].text("id")
	r := w.apply("-replace=flame_session.this")
	r.doesNotSay(t, "a warning of another session", "session "+old)
	w.agrees()
	if w.sessions()["this"].text("id") == old {
		t.Error("the session was not replaced")
	}
	saw(t, fake, 2, 1, 2)
}

// Whose a session is tells its user ID, or else its login.
func TestWhoseSessionIs(t *testing.T) {
	const keeps = "Opening another session of the user may end this one"
	bob := map[string]tftypes.Value{"user": stringValue("bob@example.com")}
	fake := newFake(t, flametest.Config{SampleID: true})
	kept := createWith(t, newSessionRun(t, fake, nil), bob)
	for user, warns := range map[string]bool{"bob@example.com": true, flametest.User: false} {
		run := newSessionRun(t, fake, nil)
		planWith(t, run, kept, bob)
		plan := planWith(t, run, heldSession{value: nothing(t, run)}, map[string]tftypes.Value{"user": stringValue(user)})
		if got := strings.Contains(diagnosticsText(plan.Diagnostics), keeps); got != warns {
			t.Errorf("%s beside one of bob: warned: %t", user, got)
		}
	}

	// The user has another login now.
	fake = newFake(t, flametest.Config{Kind: flametest.Superseding})
	run := newSessionRun(t, fake, nil)
	renamed := edited(t, run, createWith(t, run, nil), map[string]tftypes.Value{"user": stringValue("lovelace")}, "")
	run = newSessionRun(t, fake, nil)
	if read, err := run.read(t.Context(), renamed); err != nil || read.token == "" {
		t.Fatal(err)
	}
	expectDiagnostics(t, createWith(t, run, nil).diags, aWarning, "A login has ended another Flame session: session "+flame.NewToken(renamed.token).SessionID())
}

// Terraform forces the replacement of one of two sessions that share a token: after the
// first plan, which keeps both. The other goes on holding the token.
func TestSharedForcedReplacement(t *testing.T) {
	fake := sharingFake(t)
	earlier := newSessionRun(t, fake, nil)
	kept, replaced := createWith(t, earlier, nil), createWith(t, earlier, nil)
	run := newSessionRun(t, fake, nil)
	first := map[*heldSession]*tfprotov6.PlanResourceChangeResponse{}
	for _, session := range []*heldSession{&kept, &replaced} {
		if _, err := run.read(t.Context(), *session); err != nil {
			t.Fatal(err)
		}
		first[session] = planWith(t, run, *session, nil)
	}
	second := planWith(t, run, heldSession{value: nothing(t, run), private: first[&replaced].PlannedPrivate}, nil)
	run = newSessionRun(t, fake, nil)
	ended, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: replaced.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: second.PlannedPrivate,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := flame.NewToken(kept.token).SessionID()
	expectDiagnostics(t, ended.Diagnostics, aWarning, "The Flame token is not revoked, because another session holds it: session "+id, "nothing was rotated")
	sameTokens(t, "alive", fake.Live(), kept.token)
}
