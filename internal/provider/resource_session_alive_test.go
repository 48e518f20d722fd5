// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// Terraform forces some replacements after the provider's plan, and drops the
// warnings of the plan that it makes then. So Delete itself names each token that
// stays alive.
func TestLeftAliveIsReported(t *testing.T) {
	trigger := func(value string) string {
		return fmt.Sprintf("resource \"terraform_data\" \"trigger\" {\n  input = %q\n}\n", value)
	}
	triggered := sessionBlock("this", "revoke_on_destroy = false\nlifecycle {\n  replace_triggered_by = [terraform_data.trigger]\n}")
	for name, end := range map[string]func(*workspace) result{
		"replace": func(w *workspace) result { return w.apply("-replace=" + this) },
		"taint": func(w *workspace) result {
			w.must("taint", this)
			return w.apply()
		},
		"replace_triggered_by": func(w *workspace) result {
			w.write("main.tf", requireFlame+triggered+trigger("2"))
			return w.apply()
		},
		"destroy": func(w *workspace) result { return w.destroy() },
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, triggered+trigger("1"))
			w.apply()
			old := w.sessions()["this"]
			end(w).says(t, "The Flame token stays alive: session "+old.text("id"), "its token was not revoked because its revoke_on_destroy is false in the state")
			if n := fake.Count(flametest.OpRevoke); n != 0 {
				t.Errorf("%d tokens were revoked", n)
			}
			w.destroy()
		})
	}
}

// A session that cannot be revoked can be let go, in one apply: revoke_on_destroy
// of the provider says so for every session, whatever its state says.
func TestLetGo(t *testing.T) {
	letGo := providerBlock("revoke_on_destroy = false")
	for name, test := range map[string]struct {
		before, after string // the session
		prepare       func(*workspace)
		stuck         []string // the command that fails
	}{
		"destroy": {
			stuck: []string{"destroy", "-auto-approve", "-input=false"},
		},
		"replaced": {
			before: `rotate_when_changed = { n = "1" }`, after: `rotate_when_changed = { n = "2" }`,
			stuck: []string{"apply", "-auto-approve", "-input=false"},
		},
		"deposed": {
			before: `rotate_when_changed = { n = "1" }` + "\n" + createFirst, after: `rotate_when_changed = { n = "2" }` + "\n" + createFirst,
			stuck: []string{"apply", "-auto-approve", "-input=false"},
		},
		"tainted": {
			prepare: func(w *workspace) { w.must("taint", this) },
			stuck:   []string{"apply", "-auto-approve", "-input=false"},
		},
		"rotation due": {
			before: `rotate_after = "1h"`, after: `rotate_after = "1ns"`,
			stuck: []string{"apply", "-auto-approve", "-input=false"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, sessionBlock("this", test.before))
			w.apply()
			old := w.sessions()["this"]
			fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 403})
			w.write("main.tf", requireFlame+sessionBlock("this", test.after))
			if test.prepare != nil {
				test.prepare(w)
			}
			w.fails([]string{"Could not revoke the Flame session " + old.text("id"), "set revoke_on_destroy = false in the provider block"}, test.stuck...)

			fake.Reset()
			w.write("provider.tf", letGo)
			w.must(test.stuck...).says(t, "The Flame token stays alive: session "+old.text("id"), "its token was not revoked because the provider's revoke_on_destroy is false")
			if n := fake.Count(flametest.OpRevoke); n != 0 {
				t.Errorf("%d revocations were sent", n)
			}
			for address, s := range w.sessions() {
				if s.text("id") == old.text("id") {
					t.Errorf("the state still holds the session, as %s", address)
				}
			}
		})
	}
}

// With an endpoint that is gone for good, every plan is a replacement.
func TestLetGoOfLostEndpoint(t *testing.T) {
	gone, fake := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	w := newWorkspace(t, gone, sessionBlock("this", "")+providerBlock("max_retries = 0"))
	w.apply()
	old := w.sessions()["this"]
	gone.Close()
	w.setenv(envEndpoint, fake.URL())
	w.fails([]string{"Could not revoke the Flame session " + old.text("id"), "set revoke_on_destroy = false in the provider block"},
		"apply", "-auto-approve", "-input=false")
	w.write("main.tf", requireFlame+sessionBlock("this", "")+providerBlock("max_retries = 0\nrevoke_on_destroy = false"))
	w.apply().says(t, "The Flame token stays alive: session "+old.text("id"))
	w.write("main.tf", requireFlame+sessionBlock("this", ""))
	w.fake = fake
	w.agrees()
	w.quiet()
	w.destroy()
	w.agrees()
}

// What Terraform forgets instead of destroying, it does not show the provider. So
// nothing is sent, and nothing can be said.
func TestForget(t *testing.T) {
	needs(t, removedBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", ""))
	w.apply()
	w.write("main.tf", requireFlame+"removed {\n  from = flame_session.this\n  lifecycle {\n    destroy = false\n  }\n}\n")
	w.apply()
	saw(t, fake, 1, 0, fake.Count(flametest.OpCheck))
	if len(w.sessions()) != 0 || len(fake.Live()) != 1 {
		t.Errorf("%d sessions in the state, %d alive; want 0 and 1", len(w.sessions()), len(fake.Live()))
	}
}

// A removed block without destroy = false revokes.
func TestRemovedBlockRevokes(t *testing.T) {
	needs(t, removedBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", ""))
	w.apply()
	w.write("main.tf", requireFlame+"removed {\n  from = flame_session.this\n  lifecycle {\n    destroy = true\n  }\n}\n")
	w.apply()
	w.agrees()
	if n := fake.Count(flametest.OpRevoke); n != 1 {
		t.Errorf("%d tokens were revoked, want 1", n)
	}
}

// With lifecycle { destroy = false }, Terraform and OpenTofu forget a session
// instead of destroying it, so its token stays alive. The documentation warns of it.
// OpenTofu 1.12 and Terraform 1.16.4 also forget what they replace; Terraform 1.16.0
// does not.
func TestDestroyFalse(t *testing.T) {
	needs(t, destroyFalse)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", "lifecycle {\n  destroy = false\n}"))
	w.apply()
	w.apply("-replace=" + this)
	w.run("destroy", "-auto-approve", "-input=false") // OpenTofu: exit code 1, because something is left
	if n := len(w.sessions()); n != 0 {
		t.Errorf("%d sessions are left in the state", n)
	}
	if alive := len(fake.Live()); alive == 0 || alive != fake.Opened()-fake.Count(flametest.OpRevoke) {
		t.Errorf("%d tokens are alive; %d were opened, and %d revocations sent", alive, fake.Opened(), fake.Count(flametest.OpRevoke))
	}
}

// A session that rotates takes along what depends on it.
func TestReplaceTriggeredByRotation(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	follower := "resource \"terraform_data\" \"follower\" {\n  lifecycle {\n    replace_triggered_by = [flame_session.this.id]\n  }\n}\n"
	w := newWorkspace(t, fake, sessionBlock("this", `rotate_after = "1h"`)+follower)
	w.apply()
	w.write("main.tf", requireFlame+sessionBlock("this", `rotate_after = "1ns"`)+follower)
	r := w.apply()
	r.says(t, "terraform_data.follower will be replaced due to changes in replace_triggered_by", "2 added, 0 changed, 2 destroyed")
	saw(t, fake, 2, 1, 1)
	w.agrees()
}

// An import block may stand in the root module for a session of another one.
func TestImportIntoModule(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "module \"inner\" {\n  source = \"./inner\"\n}\nimport {\n  to = module.inner.flame_session.this\n  id = \"env:A_TOKEN\"\n}\n")
	w.write("inner/main.tf", requireFlame+sessionBlock("this", ""))
	w.setenv("A_TOKEN", openElsewhere(t, fake, 1)[0])
	w.must("get")
	w.apply().says(t, "1 imported, 0 added")
	w.agrees()
	w.destroy()
	w.agrees()
	if n := fake.Count(flametest.OpOpen); n != 0 {
		t.Errorf("%d sessions were opened", n)
	}
}

// Terraform folds warnings whose summaries are equal, so each names its session.
func TestWarningsAreNotFolded(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "resource \"flame_session\" \"this\" {\n  count = 4\n}\n")
	w.apply()
	var ids []string
	for _, s := range w.sessions() {
		ids = append(ids, "The Flame session has ended elsewhere: session "+s.text("id"))
	}
	fake.RevokeAll()
	r := w.must("plan", "-input=false")
	r.says(t, ids...)
	r.doesNotSay(t, "a folded warning", "more similar warning")
}
