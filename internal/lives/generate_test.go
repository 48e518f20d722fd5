// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"math/bits"
	"reflect"
	"slices"

	"pgregory.net/rapid"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const limited flametest.Kind = -1 // independent, but with two tokens at most

// generator makes scripts. What it draws shrinks to the first of the choices: the plain
// ones come first.
type generator struct {
	*rapid.T
	real bool // for real commands: no time, no signals, and nothing that depends on what runs first
}

func (g generator) chance(oneIn int, what string) bool {
	return g.number(0, oneIn-1, what) == oneIn-1
}

func (g generator) number(low, high int, what string) int {
	return low + uniform(high-low+1).Draw(g.T, what)
}

func pick[T any](g generator, what string, choices ...T) T {
	return choices[g.number(0, len(choices)-1, what)]
}

// uniform returns the numbers below n, each as likely as the others. Those of rapid itself
// prefer small ones, which leaves cells of the coverage empty.
func uniform(n int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		size, drawn := bits.Len(uint(n-1))+3, 0
		for range size {
			drawn <<= 1
			if rapid.Bool().Draw(t, "") {
				drawn++
			}
		}
		return drawn * n >> size
	})
}

// script makes a script.
func (g generator) script() Script {
	w := World{
		Kind:       pick(g, "kind", flametest.Independent, flametest.Shared, flametest.Superseding, flametest.Sweeping, limited),
		NoUserID:   g.chance(5, "no user ID"),
		WantsToken: !g.real && g.chance(6, "access_token"),
	}
	if w.Kind == limited {
		w.Kind, w.MaxTokens = flametest.Independent, 2
	}
	if !g.real {
		w.OpenTofu = g.chance(4, "OpenTofu")
		w.Logged = g.chance(8, "logged")
		if g.chance(20, "slow") {
			w.Slow = 20
		}
	}
	s := Script{World: w}
	var config Config
	for range pick(g, "runs", 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6, 8) {
		var run Run
		run, config = g.run(config, len(s.Runs) == 0)
		s.Runs = append(s.Runs, run)
	}
	return s
}

// run makes a run, and the configuration that is then in force.
func (g generator) run(config Config, first bool) (Run, Config) {
	run := Run{Order: g.number(0, 63, "order")}
	old := config
	if first {
		config = g.config()
	} else if g.chance(2, "edits") {
		config = g.edit(config, &run)
	}
	run.Op = pick(g, "command", Apply, Apply, Apply, Destroy, PlanApply, PlanApply, RefreshOnly, PlanOnly, Invoke)
	if first || g.real && run.Op == Invoke {
		run.Op = pick(g, "first command", Apply, PlanApply)
	}
	if run.Op != Invoke {
		run.Refresh = pick(g, "refresh", "", "", "", "", "none", "minimal")
		if g.real && run.Refresh == "minimal" || run.Op == RefreshOnly {
			run.Refresh = ""
		}
	}
	if !g.real && g.chance(3, "waits") {
		run.Wait = pick(g, "hours", 1, 25, 750)
	}
	names := config.sessionNames()
	if len(names) > 0 {
		g.options(&run, old, config, names)
	}
	if g.real {
		config = config.withoutRaces()
		for i := range run.Import {
			run.Import[i].User = config.session(run.Import[i].Name).User
		}
		if g.chance(4, "trouble") {
			run.Faults = []Fault{{
				API: "one", Op: pick(g, "operation", flametest.OpOpen, flametest.OpCheck, flametest.OpRevoke),
				First: 1, Last: 100, What: pick(g, "fault", "404", "403", "302"),
			}}
		}
	} else {
		g.accidents(&run, config, names)
	}
	if !reflect.DeepEqual(old, config) {
		run.Config = &config
	}
	return run, config
}

// accidents draws what goes wrong.
func (g generator) accidents(run *Run, config Config, names []string) {
	if run.Op == PlanApply {
		g.between(run, config, names)
	}
	if g.chance(2, "trouble") {
		g.trouble(run)
	}
	i := slices.IndexFunc(config.Sessions, func(s Session) bool { return s.CBD && !s.NoRevoke })
	if i >= 0 && run.Op == Apply && len(run.Target) == 0 && g.chance(3, "leaves a deposed object") {
		run.Replace = []string{config.Sessions[i].Name}
		for _, api := range []string{"one", "two"} {
			run.Faults = append(run.Faults, Fault{API: api, Op: flametest.OpRevoke, First: 1, Last: 50, What: pick(g, "fault", "500", "403", "reset")})
		}
	}
	switch {
	case g.chance(8, "interrupted"):
		run.Cancel = g.number(1, 6, "at request")
	case g.chance(12, "killed"):
		run.Kill = g.number(1, 6, "at request")
	}
}

// withoutRaces gives each session a user of its own.
func (c Config) withoutRaces() Config {
	alone := Config{Providers: c.Providers, Sessions: slices.Clone(c.Sessions), Ephemerals: slices.Clone(c.Ephemerals)}
	for i := range alone.Sessions {
		s := &alone.Sessions[i]
		s.User, s.Password = "user-"+s.Name, "right"
	}
	for i := range alone.Ephemerals {
		e := &alone.Ephemerals[i]
		e.User, e.Password, e.Applying = "user-"+e.Name, "right", false
	}
	return alone
}

// options draws what a command may do to the sessions of a configuration.
func (g generator) options(run *Run, old, config Config, names []string) {
	some := func(oneIn int, what string) []string {
		if !g.chance(oneIn, what) {
			return nil
		}
		return []string{pick(g, what+" which", names...)}
	}
	run.Taint = some(8, "taint")
	run.Ends = some(6, "ended elsewhere")
	if len(run.Ends) > 0 && g.chance(3, "all") {
		run.Ends = []string{"*"}
	}
	switch run.Op {
	case Invoke:
		run.Target = []string{pick(g, "token of", names...)}
	case Apply, PlanApply, PlanOnly:
		run.Replace = some(6, "replace")
		if len(run.Moved) == 0 { // core refuses to target a part of what moves
			run.Target = some(10, "target")
		}
	case Destroy:
		run.Target = some(6, "target")
	}
	added := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return old.session(name) != nil })
	// What an imported session shows of an account depends on what was opened before.
	fits := !g.real || len(config.Ephemerals) == 0
	if len(added) > 0 && fits && len(run.Moved)+len(run.Target)+len(run.Replace) == 0 && run.Op != Destroy && run.Op != RefreshOnly && run.Op != Invoke && g.chance(3, "import") {
		name := pick(g, "import which", added...)
		how := pick(g, "how", "env", "file", "moved")
		if g.real {
			how = "file"
		}
		user := config.session(name).User
		if user == "" || g.chance(4, "another user") {
			user = pick(g, "whose", users...)
		}
		if config.Providers[config.session(name).Provider].API != "down" {
			run.Import = []Import{{name, user, how}}
		}
	}
}

// between draws what happens between a plan and its apply.
func (g generator) between(run *Run, config Config, names []string) {
	if g.chance(3, "plan waits") {
		run.PlanAge = pick(g, "hours", 1, 25, 750)
	}
	if len(names) > 0 && g.chance(6, "ended meanwhile") {
		run.PlanEnds = []string{pick(g, "which", append(names, "*")...)}
	}
	if g.chance(6, "another environment") {
		run.Providers = slices.Clone(config.Providers)
		p := &run.Providers[0]
		switch pick(g, "what", "user", "endpoint", "let go", "password") {
		case "user":
			p.User, p.Password = pick(g, "user", users...), "right"
		case "endpoint":
			p.API = pick(g, "endpoint", "one", "two")
		case "let go":
			p.NoRevoke = !p.NoRevoke
		case "password":
			p.Password = "wrong"
		}
	}
}

// trouble draws what goes wrong at the APIs. The likeliest are lost answers to what was
// carried out and, for DELETE, answers that prove nothing.
func (g generator) trouble(run *Run) {
	for range g.number(1, 3, "faults") {
		first := pick(g, "from", 1, 1, 2, 3)
		f := Fault{
			API: pick(g, "API", "one", "one", "one", "two"), Op: pick(g, "operation", flametest.OpOpen, flametest.OpRevoke, flametest.OpCheck),
			First: first, Last: first + pick(g, "how many", 0, 1, 2, 10), What: pick(g, "fault", faultNames...),
		}
		switch {
		case f.Op == flametest.OpRevoke && g.chance(4, "proves nothing"):
			f.What = pick(g, "fault", "404", "404 HTML", "410", "401 HTML", "401 Basic", "200 HTML")
		case f.Op != flametest.OpCheck && g.chance(4, "answer lost"):
			f.What = pick(g, "fault", "reset done", "503 done")
		}
		run.Faults = append(run.Faults, f)
	}
}

// config makes a configuration.
func (g generator) config() (c Config) {
	for range g.number(1, 2, "providers") {
		c.Providers = append(c.Providers, g.provider())
	}
	for _, name := range []string{"a", "b", "c", "d"}[:pick(g, "sessions", 1, 1, 2, 2, 3, 4)] {
		c.Sessions = append(c.Sessions, g.session(&c, name))
	}
	for _, name := range []string{"x", "y"}[:pick(g, "ephemerals", 0, 0, 1, 2)] {
		c.Ephemerals = append(c.Ephemerals, g.ephemeral(&c, name))
	}
	return c
}

func (g generator) provider() Provider {
	p := Provider{
		API:      pick(g, "endpoint", "", "", "one", "two"),
		Retries:  pick(g, "retries", 0, 0, 1),
		NoVerify: g.chance(8, "no verify"),
		NoRevoke: g.chance(10, "no revoke"),
		Unknown:  !g.real && g.chance(20, "unknown"),
	}
	if !g.real && g.chance(20, "down") {
		p.API = "down"
	}
	p.User, p.Password = g.login(3)
	return p
}

// login draws a user, one in some own ones, and how its password is given.
func (g generator) login(oneIn int) (user, password string) {
	if g.chance(oneIn, "own user") {
		user, password = pick(g, "user", users...), "right"
	}
	if g.chance(15, "wrong password") {
		password = "wrong"
	}
	return user, password
}

func (g generator) session(c *Config, name string) Session {
	s := Session{
		Name: name, Provider: g.number(0, len(c.Providers)-1, "provider"),
		CBD: g.chance(3, "create_before_destroy"), NoRevoke: g.chance(6, "no revoke"), ShortTimes: g.chance(10, "timeouts"),
		Rotate: pick(g, "rotate", 0, 0, 24, 720), Changed: pick(g, "changed", "", "", "1"),
	}
	s.User, s.Password = g.login(2)
	if before := c.names(); len(before) > 0 && g.chance(3, "depends") {
		s.After = pick(g, "on", before...)
	}
	return s
}

func (g generator) ephemeral(c *Config, name string) Ephemeral {
	e := Ephemeral{
		Name: name, Provider: g.number(0, len(c.Providers)-1, "provider"),
		NoRevoke: g.chance(8, "no revoke"), Applying: g.chance(5, "applying"),
	}
	e.User, e.Password = g.login(2)
	if g.chance(3, "depends") {
		e.After = pick(g, "on", c.sessionNames()...)
	} else if g.chance(3, "needed") {
		if s := &c.Sessions[g.number(0, len(c.Sessions)-1, "by")]; s.After == "" {
			s.After = name
		}
	}
	return e
}

// edit changes a configuration.
func (g generator) edit(c Config, run *Run) Config {
	c.Providers, c.Sessions, c.Ephemerals = slices.Clone(c.Providers), slices.Clone(c.Sessions), slices.Clone(c.Ephemerals)
	for range g.number(1, 2, "changes") {
		if len(c.Sessions) == 0 {
			c.Sessions = append(c.Sessions, g.session(&c, "a"))
			continue
		}
		i := g.number(0, len(c.Sessions)-1, "which")
		s := &c.Sessions[i]
		switch pick(g, "change", "rotate", "changed", "no revoke", "user", "cbd", "add", "remove", "forget", "rename", "provider", "ephemerals", "move") {
		case "rotate":
			s.Rotate = pick(g, "rotate", 0, 24, 720)
		case "changed":
			s.Changed = pick(g, "changed", "1", "2", "")
		case "no revoke":
			s.NoRevoke = !s.NoRevoke
		case "user":
			s.User, s.Password = g.login(2)
		case "cbd":
			s.CBD = !s.CBD
		case "add":
			if len(c.Sessions) < 4 {
				c.Sessions = append(c.Sessions, g.session(&c, g.free(c, *run)))
			}
		case "remove":
			c = c.without(s.Name)
		case "forget":
			run.Forget = append(run.Forget, s.Name)
			c = c.without(s.Name)
		case "rename":
			from, to := s.Name, g.free(c, *run)
			s.Name = to
			c.reattach(from, to)
			run.Moved = append(run.Moved, [2]string{from, to})
		case "provider":
			j := g.number(0, len(c.Providers)-1, "provider")
			c.Providers[j] = g.provider()
		case "ephemerals":
			if len(c.Ephemerals) == 0 {
				c.Ephemerals = append(c.Ephemerals, g.ephemeral(&c, "x"))
			}
		case "move":
			s.Provider = g.number(0, len(c.Providers)-1, "to provider")
		}
	}
	run.Forget = slices.DeleteFunc(run.Forget, func(name string) bool { return c.session(name) != nil })
	return c
}

// free returns a name that no session has or had in this run.
func (g generator) free(c Config, run Run) string {
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		used := func(names [2]string) bool { return slices.Contains(names[:], name) }
		if c.session(name) == nil && !slices.Contains(run.Forget, name) && !slices.ContainsFunc(run.Moved, used) {
			return name
		}
	}
	return "z"
}

// without removes a session, and what depends on it no longer does.
func (c Config) without(name string) Config {
	c.Sessions = slices.DeleteFunc(c.Sessions, func(s Session) bool { return s.Name == name })
	c.reattach(name, "")
	return c
}

// reattach has whatever depends on one name depend on another.
func (c Config) reattach(from, to string) {
	for i := range c.Sessions {
		if c.Sessions[i].After == from {
			c.Sessions[i].After = to
		}
	}
	for i := range c.Ephemerals {
		if c.Ephemerals[i].After == from {
			c.Ephemerals[i].After = to
		}
	}
}

// sessionNames returns the names of the sessions.
func (c Config) sessionNames() (all []string) {
	for _, s := range c.Sessions {
		all = append(all, s.Name)
	}
	return all
}

// names returns those of the sessions and of the ephemeral sessions.
func (c Config) names() []string {
	all := c.sessionNames()
	for _, e := range c.Ephemerals {
		all = append(all, e.Name)
	}
	return all
}
