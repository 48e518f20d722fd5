// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// With open = terraform.applying, a plan opens nothing, and needs no password.
func TestEphemeralOpen(t *testing.T) {
	needs(t, ephemeralResources, applyingKnown)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, `
ephemeral "flame_session" "this" {
  open = terraform.applying
}
resource "terraform_data" "user" {
  triggers_replace = "1"
  provisioner "local-exec" {
    command     = "test -n \"$TOKEN\""
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
}
`)
	w.setenv(envPassword, "")
	w.must("plan", "-input=false", "-out=plan.bin").says(t, "1 to add")
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("the plan sent %d requests", n)
	}
	w.setenv(envPassword, flametest.Password)
	w.must("apply", "-input=false", "plan.bin")
	saw(t, fake, 1, 1, 0)
	w.apply() // plans first, once more
	saw(t, fake, 2, 2, 0)
	noneLive(t, fake)
}

// An open whose login has ended another ephemeral session goes on, with a warning.
func TestEphemeralThatEndsEphemeral(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	run := newSessionRun(t, fake, nil)
	first, err := run.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := run.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, second.diags, aWarning, "A login has ended another Flame session: session "+flame.NewToken(first.token).SessionID())
	if live := fake.Live(); len(live) != 1 || live[0] != second.token {
		t.Errorf("%d sessions are alive, want the second alone", len(live))
	}
}

// A close that ends a managed session says which session it revoked.
func TestEphemeralCloseSweeps(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Sweeping})
	run := newSessionRun(t, fake, nil)
	opened, err := run.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	managed := createWith(t, run, nil)
	diags, err := run.close(t.Context(), opened)
	if err != nil {
		t.Fatal(err)
	}
	expectDiagnostics(t, diags, aWarning, "A revocation has ended another Flame session: session "+flame.NewToken(managed.token).SessionID(),
		"until session "+flame.NewToken(opened.token).SessionID()+" of the same user was revoked")
	saw(t, fake, 2, 1, 2)
	noneLive(t, fake)
}

// An open that fails because its login has ended a managed session revokes its own at
// once, and not again at exit.
func TestEphemeralThatEndsAnother(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Superseding})
	p := newTestProvider(newClock().Now, 0)
	run, err := configureProvider(t.Context(), p, flameArguments(fake))
	if err != nil {
		t.Fatal(err)
	}
	managed := createWith(t, run, nil)
	opened, err := run.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := flame.NewToken(managed.token).SessionID()
	expectDiagnostics(t, opened.diags, anError, "An ephemeral login has ended a managed Flame session: session "+id, "so the ephemeral session was revoked")
	noneLive(t, fake)
	p.finish()
	saw(t, fake, 2, 1, 1)
}
