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
