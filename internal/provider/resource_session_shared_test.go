package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func sharingFake(t *testing.T) *flametest.Server {
	t.Helper()
	return newFake(t, flametest.Config{SharedTokens: true})
}

const createFirst = "lifecycle {\n create_before_destroy = true\n}\n"

// A replacement that gets the same token back keeps it.
func TestSharedReplaceCreateFirst(t *testing.T) {
	fake := sharingFake(t)
	w := newWorkspace(t, fake, sessionBlock("this", `rotate_when_changed = { n = "1" }`+"\n"+createFirst))
	w.apply()
	w.write("main.tf", requireFlame+sessionBlock("this", `rotate_when_changed = { n = "2" }`+"\n"+createFirst))
	r := w.apply()
	r.says(t, "The Flame token is not revoked, because another session holds it")
	saw(t, fake, 2, 0, 1)
	w.agrees()
	w.quiet()
	w.destroy()
	saw(t, fake, 2, 1, 3)
	w.agrees()
}

// A replacement that destroys first gets a new token.
func TestSharedReplaceDestroyFirst(t *testing.T) {
	fake := sharingFake(t)
	w := newWorkspace(t, fake, sessionBlock("this", `rotate_when_changed = { n = "1" }`))
	w.apply()
	before := fake.Live()[0]
	w.write("main.tf", requireFlame+sessionBlock("this", `rotate_when_changed = { n = "2" }`))
	w.apply()
	if fake.Live()[0] == before {
		t.Error("the token is the same")
	}
	w.agrees()
	w.quiet()
	w.destroy()
	w.agrees()
}

// Two sessions of one user: both are told of, neither breaks the other, and the
// last one ends the token.
func TestSharedByTwo(t *testing.T) {
	fake := sharingFake(t)
	w := newWorkspace(t, fake, sessionBlock("a", "")+sessionBlock("b", ""))
	w.detectRaces()
	r := w.apply()
	r.says(t, "Two sessions share one Flame token", w.sessions()["a"].text("id"))
	saw(t, fake, 2, 0, 0)
	w.must("plan", "-input=false").says(t, "Two sessions share one Flame token", "No changes")

	// All of them go: then so does the token.
	w.destroy()
	if len(fake.Live()) != 0 {
		t.Error("the token is alive after everything was destroyed")
	}

	w.write("main.tf", requireFlame+sessionBlock("a", "")+sessionBlock("b", "depends_on = [flame_session.a]"))
	w.apply()
	// One goes. Terraform refreshes b only after a, which b depends on, is planned to stay.
	w.write("main.tf", requireFlame+sessionBlock("a", ""))
	r = w.apply()
	if len(fake.Live()) == 1 {
		r.says(t, "The Flame token is not revoked, because another session holds it")
	}
	w.must("apply", "-auto-approve", "-input=false")
	w.agrees()
	w.quiet()
	w.destroy()
	if len(fake.Live()) != 0 {
		t.Error("the token is alive after everything was destroyed")
	}
}

// A session that goes and one of the same user that comes, in one run: whatever
// the order, the one that stays works.
func TestSharedGoesAndComes(t *testing.T) {
	fake := sharingFake(t)
	w := newWorkspace(t, fake, "")
	for i := range 4 {
		w.write("main.tf", requireFlame+sessionBlock(fmt.Sprintf("s%d", i), ""))
		w.apply()
		w.agrees()
		w.quiet()
	}
	w.destroy()
	w.agrees()
}

// A refresh decides whether a rotation is due, so that a plan holds however
// late it is applied.
func TestRotationIsDecidedByRefresh(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", `rotate_after = "720h"`))
	w.apply()
	// Due at once, but planned without a refresh: the plan changes the state alone, and can be applied.
	w.write("main.tf", requireFlame+sessionBlock("this", `rotate_after = "1ns"`))
	w.must("plan", "-input=false", "-refresh=false", "-out=plan.bin").says(t, "0 to add, 1 to change, 0 to destroy")
	w.must("apply", "-input=false", "plan.bin")
	if got := order(fake); got != "POST" {
		t.Errorf("requests: %s", got)
	}
	if r := w.must("plan", "-input=false"); !strings.Contains(r.Stdout, "rotate_at") || !strings.Contains(r.Stdout, "# forces replacement") {
		t.Errorf("the plan does not rotate: %v", r)
	}
	w.destroy()
	w.agrees()
}
