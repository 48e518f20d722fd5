// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// found are lives that once broke the rule, as they were shrunk, and which rule it was.
var found = map[string]struct {
	rule   string
	script Script
}{
	"two new sessions of one user, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs:  []Run{{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply}},
	}},
	"a new session beside an unchanged one, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply},
		},
	}},
	"an ephemeral session before a managed one, superseding": {"dead in use", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", After: "x"}}, Ephemerals: []Ephemeral{{Name: "x"}}},
			Op:     Apply,
		}},
	}},
	"an ephemeral session beside a managed one, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}}, Op: Apply},
		},
	}},
	"one of two tainted, shared": {"dead in state", Script{
		World: World{Kind: flametest.Shared},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply},
			{Op: Apply, Taint: []string{"a"}},
		},
	}},
	"one of two dropped without a refresh, shared": {"dead in state", Script{
		World: World{Kind: flametest.Shared},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "b"}}}, Op: Apply, Refresh: "none"},
		},
	}},
	"one of two rotates, shared": {"dead in state", Script{
		World: World{Kind: flametest.Shared},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", Rotate: 24}, {Name: "b"}}}, Op: Apply},
			{Wait: 25, Op: Apply, Refresh: "minimal"},
		},
	}},
	"replaced with create_before_destroy, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", CBD: true}}}, Op: Apply},
			{Op: Apply, Replace: []string{"a"}},
		},
	}},
	"one of two removed, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "b"}}}, Op: Apply},
		},
	}},
	"an ephemeral session closed beside a managed one, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}},
			Op:     Apply,
		}},
	}},
	"an ephemeral session closed in a plan that replaces a managed one, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}}, Op: PlanOnly, Replace: []string{"a"}},
		},
	}},
	"an ephemeral session with the token of one that the plan replaces, shared": {"dead in state", Script{
		World: World{Kind: flametest.Shared},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}}, Op: PlanOnly, Replace: []string{"a"}},
		},
	}},
	"a forced replacement that leaves its token alive, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", NoRevoke: true}, {Name: "b", After: "a"}}}, Op: Apply},
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", NoRevoke: true}, {Name: "b"}}}, Op: Apply, Refresh: "none", Replace: []string{"a"}, Order: 1},
		},
	}},
	"a revocation whose answer was lost, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}},
			Op:     Apply, Faults: []Fault{{API: "one", Op: flametest.OpRevoke, First: 2, Last: 2, What: "reset done"}},
		}},
	}},
	"a login whose answers were lost, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{Retries: 1}}, Sessions: []Session{{Name: "a"}, {Name: "b", After: "a"}}},
			Op:     Apply, Faults: []Fault{{API: "one", Op: flametest.OpOpen, First: 2, Last: 3, What: "503 done"}},
		}},
	}},
	"a new session beside one that is moved here without a refresh, superseding": {"dead in state", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a", User: "ada", Password: "right"}, {Name: "b", After: "a"}}},
			Op:     Apply, Refresh: "none", Import: []Import{{"a", "ada", "moved"}},
		}},
	}},
	"an ephemeral login, at last, that ends a managed session, superseding": {"lost in silence", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}}, Op: Apply},
			{
				Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}}, Ephemerals: []Ephemeral{{Name: "x", After: "a"}}},
				Op:     Apply, Faults: []Fault{{API: "one", Op: flametest.OpOpen, First: 1, Last: 1, What: "503 done"}},
			},
		},
	}},
	"an ephemeral session that is closed while a managed one is refreshed, shared": {"dead in state", Script{
		World: World{Kind: flametest.Shared},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "b", User: "bob", Password: "right"}, {Name: "a", After: "b"}, {Name: "c", User: "cyd", Password: "right"}}}, Op: Apply},
			{
				Config: &Config{
					Providers:  []Provider{{}},
					Sessions:   []Session{{Name: "b", User: "bob", Password: "right"}, {Name: "a", After: "b"}, {Name: "c", User: "cyd", Password: "right"}},
					Ephemerals: []Ephemeral{{Name: "x"}},
				},
				Op: RefreshOnly, Order: 5,
			},
		},
	}},
	"an ephemeral session that is swept while it closes": {"dead in use", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{
			{
				Config: &Config{
					Providers: []Provider{{}}, Sessions: []Session{{Name: "b", User: "bob", Password: "right", After: "y"}},
					Ephemerals: []Ephemeral{{Name: "x"}, {Name: "y"}},
				},
				Op: Apply, Order: 38,
			},
			{Op: Apply, Order: 48},
		},
	}},
	"an ephemeral session that closes while it is in doubt, sweeping": {"dead in use", Script{
		World: World{Kind: flametest.Sweeping},
		Runs: []Run{{
			Config: &Config{
				Providers: []Provider{{}, {Retries: 1, NoRevoke: true}},
				Sessions: []Session{
					{Name: "a", CBD: true, Rotate: 720}, {Name: "b", Provider: 1}, {Name: "c", After: "x", Rotate: 720}, {Name: "d", After: "c", Rotate: 24, Changed: "1"},
				},
				Ephemerals: []Ephemeral{{Name: "x", Provider: 1, User: "ada", Password: "right"}, {Name: "y", Provider: 1}},
			},
			Op: "plan, apply", Order: 14,
		}},
	}},
	"an ephemeral session of a user whose session the plan ends, superseding": {"healthy run failed", Script{
		World: World{Kind: flametest.Superseding},
		Runs: []Run{
			{Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "a"}, {Name: "b", User: "bob", Password: "right"}}}, Op: Apply},
			{
				Config: &Config{Providers: []Provider{{}}, Sessions: []Session{{Name: "b", User: "bob", Password: "right"}}, Ephemerals: []Ephemeral{{Name: "x", After: "b"}}},
				Op:     Apply, Order: 2,
			},
		},
	}},
	"a revocation that an interrupt aborts, sweeping": {"dead in state", Script{
		World: World{Kind: flametest.Sweeping, OpenTofu: true},
		Runs: []Run{
			{
				Config: &Config{Providers: []Provider{{API: "two", User: "ada", Password: "right"}}, Sessions: []Session{
					{Name: "a", CBD: true}, {Name: "b", User: "ada", Password: "right", CBD: true},
				}},
				Op: Apply,
			},
			{Wait: 25, Op: "plan, apply", Replace: []string{"a"}, PlanAge: 1, Cancel: 4},
		},
	}},
	"a password that is accepted, then refused": {"refused twice", Script{
		Runs: []Run{{
			Config: &Config{Providers: []Provider{{}}, Sessions: []Session{
				{Name: "a"},
				{Name: "b", User: "bob", Password: "right"},
				{Name: "c", After: "a"},
				{Name: "d", User: "cyd", Password: "right", After: "b"},
				{Name: "e", After: "d"},
			}},
			Op: Apply, Faults: []Fault{{API: "one", Op: flametest.OpOpen, First: 3, Last: 3, What: "401"}, {API: "one", Op: flametest.OpOpen, First: 5, Last: 5, What: "401"}},
		}},
	}},
	"a wrong password for two sessions": {"refused twice", Script{
		Runs: []Run{{Config: &Config{Providers: []Provider{{Password: "wrong"}}, Sessions: []Session{{Name: "a"}, {Name: "b"}}}, Op: Apply}},
	}},
}

// TestFound lives what was found once.
func TestFound(t *testing.T) {
	for name, f := range found {
		t.Run(name, func(t *testing.T) {
			violations, _ := live(t, f.script)
			for _, v := range violations {
				t.Errorf("%s: %s\n%#v", v.rule, v.detail, f.script)
			}
		})
	}
}
