// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A situation is a run that may do something to the user's other sessions.
type situation struct {
	name   string
	before string // what is applied first; "": nothing
	taint  string // what is tainted then
	config string // of the run; "": as before
	args   []string
	needs  []capability

	// untold are the kinds of account with which the apply ends a token that Terraform does
	// not show to the provider, and of which the plan does not warn, because it would have to
	// with independent accounts too. The next run tells.
	untold []flametest.Kind
}

const (
	oneNew     = "resource \"flame_session\" \"this\" {\n}\n"
	inModules  = "module \"a\" {\n  source = \"./part\"\n}\nmodule \"b\" {\n  source = \"./part\"\n}\n"
	inForEach  = "resource \"flame_session\" \"this\" {\n  for_each = toset([\"a\", \"b\"])\n}\n"
	afterwards = marked + used + "ephemeral \"flame_session\" \"this\" {\n  depends_on = [flame_session.this]\n}\n"
	beforehand = marked + used + "ephemeral \"flame_session\" \"this\" {\n}\nresource \"flame_session\" \"this\" {\n  depends_on = [ephemeral.flame_session.this]\n}\n"
	leakedVar  = "variable \"leaked\" {\n  sensitive = true\n}\n"
)

// rotating returns sessions with a value whose change rotates them.
func rotating(count int, release, lifecycle string) string {
	return fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n  rotate_when_changed = { release = %q }\n%s}\n", count, release, lifecycle)
}

func situations() []situation {
	unrefreshed := []string{"-refresh=false"}
	ephemeral, actions := []capability{ephemeralResources}, []capability{actionBlocks}
	revoked := leakedVar + revokeOn("after_create", "leaked", "var.leaked")
	replaced := []string{"-replace=flame_session.this[0]"}
	sweeping := []flametest.Kind{flametest.Sweeping}
	return []situation{
		{name: "two new, count", config: sessionsOfOneUser(2)},
		{name: "two new, for_each", config: inForEach},
		{name: "two new, modules", config: inModules},
		{name: "new beside unchanged", before: sessionsOfOneUser(1), config: sessionsOfOneUser(2)},
		{name: "new beside unchanged, no refresh", before: sessionsOfOneUser(1), config: sessionsOfOneUser(2), args: unrefreshed},
		{name: "ephemeral after new", config: oneNew + afterwards, needs: ephemeral},
		{name: "ephemeral before new", config: beforehand, needs: ephemeral},
		{name: "ephemeral after unchanged", before: oneNew, config: oneNew + afterwards, needs: ephemeral},
		{name: "ephemeral after unchanged, no refresh", before: oneNew, config: oneNew + afterwards, args: unrefreshed, needs: ephemeral},
		{name: "ephemeral before unchanged", before: oneNew, config: beforehand, needs: ephemeral},
		{name: "ephemeral before unchanged, no refresh", before: oneNew, config: beforehand, args: unrefreshed, needs: ephemeral},
		{name: "-replace one of three", before: sessionsOfOneUser(3), args: replaced, untold: sweeping},
		{name: "-replace one of three, no refresh", before: sessionsOfOneUser(3), args: append(replaced, unrefreshed...)},
		{name: "-replace one of two, created first", before: rotating(2, "1", createFirst), args: replaced, untold: sweeping},
		{name: "taint one of two", before: sessionsOfOneUser(2), taint: "flame_session.this[0]", untold: sweeping},
		{name: "taint one of two, no refresh", before: sessionsOfOneUser(2), taint: "flame_session.this[0]", args: unrefreshed},
		{name: "rotate one", before: rotating(1, "1", ""), config: rotating(1, "2", "")},
		{name: "rotate one, created first", before: rotating(1, "1", createFirst), config: rotating(1, "2", createFirst)},
		{name: "rotate one, created first, no refresh", before: rotating(1, "1", createFirst), config: rotating(1, "2", createFirst), args: unrefreshed},
		{name: "rotate two", before: rotating(2, "1", ""), config: rotating(2, "2", "")},
		{name: "rotate two, created first", before: rotating(2, "1", createFirst), config: rotating(2, "2", createFirst)},
		{name: "one of two removed", before: sessionsOfOneUser(2), config: sessionsOfOneUser(1), untold: sweeping},
		{name: "one of two removed, no refresh", before: sessionsOfOneUser(2), config: sessionsOfOneUser(1), args: unrefreshed, untold: sweeping},
		{name: "action beside unchanged", before: oneNew, config: oneNew + revoked, needs: actions, untold: sweeping},
		{name: "action beside new", config: oneNew + revoked, needs: actions},
	}
}

// With every kind of account, no run ends with a dead token in the state that it has
// killed itself, unless the user was told of that session. With -v, the test prints what
// each run sent and said, as a Markdown table.
func TestSituations(t *testing.T) {
	acceptance(t)
	t.Parallel()
	var mu sync.Mutex
	var rows []string
	t.Cleanup(func() {
		slices.Sort(rows)
		t.Log("| kind | situation | POST/DELETE/GET | dead in the state | ended by the run, and told |\n|---|---|---|---|---|\n" + strings.Join(rows, "\n"))
	})
	for _, kind := range flametest.Kinds() {
		for _, s := range situations() {
			t.Run(kind.String()+"/"+s.name, func(t *testing.T) {
				needs(t, s.needs...)
				row := s.run(t, kind)
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, row)
			})
		}
	}
}

// run runs the situation, checks the rule, and returns a row of the table.
func (s situation) run(t *testing.T, kind flametest.Kind) string {
	fake := newFake(t, flametest.Config{Kind: kind})
	w := newWorkspace(t, fake, s.before)
	if strings.Contains(s.config, leakedVar) {
		w.setenv("TF_VAR_leaked", openElsewhere(t, fake, 1)[0])
	}
	var said string
	if s.before != "" {
		said += w.run("apply", "-auto-approve", "-input=false").Text() // superseding: the third login is refused
	}
	if s.taint != "" {
		w.must("taint", s.taint)
	}
	if s.config != "" {
		w.write("main.tf", requireFlame+s.config)
	}
	if s.config == inModules {
		w.write("part/main.tf", requireFlame+oneNew)
		w.must("get")
	}
	refreshed := len(w.sessions())
	if slices.Contains(s.args, "-refresh=false") {
		refreshed = 0
	}
	fake.Reset()
	r := w.run(append([]string{"apply", "-auto-approve", "-input=false"}, s.args...)...)
	said += r.Text()
	var tellings, untold []string
	for _, id := range w.killed() {
		if r.told(id) == "" {
			untold = append(untold, id)
		}
		tellings = append(tellings, cmp.Or(r.told(id), "untold"))
	}
	if slices.Contains(s.untold, kind) != (len(untold) > 0) {
		t.Errorf("the run has killed %q, and has not said so: %v", untold, r)
	}
	row := fmt.Sprintf("| %v | %s | %d/%d/%d | %d | %s |", kind, s.name,
		fake.Count(flametest.OpOpen), fake.Count(flametest.OpRevoke), fake.Count(flametest.OpCheck), len(w.deadIDs()), strings.Join(tellings, "; "))
	if kind == flametest.Independent {
		s.isFree(t, r, fake.Count(flametest.OpCheck), refreshed)
	}
	if len(untold) > 0 {
		next := w.must("plan", "-input=false")
		for _, id := range untold {
			next.says(t, "The Flame session has ended elsewhere: session "+id)
		}
	}
	said += w.run("destroy", "-auto-approve", "-input=false").Text()
	for _, token := range fake.Live() {
		if id := flame.NewToken(token).SessionID(); !strings.Contains(said, "session "+id) {
			t.Errorf("session %s is alive after destroy, and nobody was told", id)
		}
	}
	return row
}

// isFree fails the test if an independent account has felt anything: a warning, but for one
// of a login beside a session of which no other was seen alive, or more than two requests.
func (s situation) isFree(t *testing.T, r result, checked, refreshed int) {
	t.Helper()
	if extra := checked - refreshed; extra > 2 {
		t.Errorf("%d extra requests", extra)
	}
	beside := strings.Count(r.Text(), "Warning: Opening another session of the user may end this one")
	if refreshed > 1 && beside > 0 {
		t.Errorf("the plan had seen two live tokens, and warns: %v", r)
	}
	r.warned(t, beside)
}

// killed returns the session IDs of the tokens that requests in the journal have ended: of
// those in the state, and of those that the run opened, unless by their own revocation.
func (w *workspace) killed() (ids []string) {
	w.t.Helper()
	dead, opened := w.deadIDs(), map[string]bool{}
	for _, request := range w.fake.Journal() {
		opened[request.Opened] = true
		for _, token := range request.Ended {
			id := flame.NewToken(token).SessionID()
			if slices.Contains(dead, id) || opened[token] && token != request.Token {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// told returns the summary of the diagnostic about a session, or what an action said of
// it; "" if there is neither. Elsewhere, Terraform prints the IDs of sessions whatever
// becomes of them.
func (r result) told(id string) string {
	for line := range strings.Lines(r.Stdout + r.Stderr) {
		line = strings.Trim(line, "│ \n")
		if _, said, found := strings.Cut(line, "): "); found && strings.HasPrefix(line, "Action ") {
			line, _, _ = strings.Cut(said, ". ")
		}
		isSummary := strings.HasPrefix(line, "Warning: ") || strings.HasPrefix(line, "Error: ") || strings.HasSuffix(line, " is revoked")
		if isSummary && strings.HasSuffix(strings.TrimSuffix(line, " is revoked"), "ession "+id) && !strings.Contains(line, "is not revoked") {
			return strings.Replace(line, id, "…", 1)
		}
	}
	return ""
}
