// SPDX-License-Identifier: MPL-2.0

// Package lives proves the provider's rule by simulation. It makes up lives of sessions
// at random, lives each of them against the fake API in simulated time, and checks after
// each run of Terraform that every token is in the state, or has been revoked, or that
// the user has been told about it.
//
//   - A [Script] is a life as data: the account, the configurations, the runs, and what
//     goes wrong. generate_test.go makes them, and prints one as a Go literal.
//   - core_test.go and graph_test.go walk like Terraform's core: they call the provider
//     as core does, in its order, and check what core checks.
//   - world_test.go has the fake APIs, the network and the faults.
//   - model_test.go knows from the fakes' journals who made, holds and ended each token,
//     and invariants_test.go says what must be true of it.
package lives

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A Script is one life: an account, and what users and API do.
type Script struct {
	World World
	Runs  []Run
}

// World is what stays the same through a life.
type World struct {
	Kind       flametest.Kind
	MaxTokens  int  // a login beyond it ends the user's oldest token; 0: no limit
	NoUserID   bool // Flame names no user ID
	WantsToken bool // DELETE needs access_token in its body
	Slow       int  // seconds that each answer takes; 0: a few milliseconds
	Logged     bool // TF_LOG is set
	OpenTofu   bool // it opens fewer ephemeral sessions than Terraform
}

// Config is a configuration: what the .tf files say.
type Config struct {
	Providers  []Provider // the first is the default one, the second has an alias
	Sessions   []Session
	Ephemerals []Ephemeral
}

// Provider is a provider block.
type Provider struct {
	API      string // "one", "two", "down" where nobody listens; "": the environment's, which is "one"
	Unknown  bool   // the endpoint is unknown until apply
	User     string // "": the environment's
	Password string // "right" or "wrong" for the user; "": the environment's
	Retries  int    // max_retries; 0: the default
	NoVerify bool   // verify_sessions = false
	NoRevoke bool   // revoke_on_destroy = false
}

// Session is a resource "flame_session".
type Session struct {
	Name       string
	Provider   int    // index
	User       string // "": the provider's
	Password   string // "right" or "wrong" for the user; "": the provider's
	After      string // depends_on: the name of another session or ephemeral session
	CBD        bool   // create_before_destroy
	Rotate     int    // rotate_after, in hours
	Changed    string // a value in rotate_when_changed
	NoRevoke   bool   // revoke_on_destroy = false
	ShortTimes bool   // timeouts of 20 seconds
}

// Ephemeral is an ephemeral "flame_session".
type Ephemeral struct {
	Name     string
	Provider int
	User     string
	Password string
	After    string
	NoRevoke bool // revoke_on_close = false
	Applying bool // open = terraform.applying
}

// Op is a command.
type Op string

// The commands.
const (
	Apply       Op = "apply"
	PlanApply   Op = "plan, apply" // a saved plan
	PlanOnly    Op = "plan"
	RefreshOnly Op = "refresh-only"
	Destroy     Op = "destroy"
	Invoke      Op = "invoke" // apply -invoke of the action
)

// Run is one command, and what happens before and in it.
type Run struct {
	Wait    int     // hours that pass before
	Config  *Config // nil: as in the run before
	Op      Op
	Refresh string // "", "none" (-refresh=false) or "minimal" (-minimal-refresh)

	Replace []string    // -replace
	Target  []string    // -target; for Invoke: whose token it is
	Taint   []string    // terraform taint, before
	Moved   [][2]string // moved blocks: from, to
	Forget  []string    // removed blocks with destroy = false
	Import  []Import    // import blocks, and moved blocks from terraform_data
	Ends    []string    // tokens that somebody else revokes before: of these sessions, or "*"

	// For PlanApply, what happens before the plan is applied.
	PlanAge   int        // hours
	Providers []Provider // the environment of the apply is another one
	PlanEnds  []string   // as Ends

	Faults []Fault
	Cancel int // Ctrl-C when this many requests were carried out
	Kill   int // Terraform dies when this many requests were carried out
	Order  int // which of the independent nodes goes first, and which requests overtake others
}

// Import takes a token over that was opened elsewhere.
type Import struct {
	Name string // of the session
	User string // who opened it, at the API of the session's provider
	How  string // "env", "file", or "moved": from terraform_data
}

// Fault is what happens to some requests of a run.
type Fault struct {
	API         string
	Op          flametest.Operation
	First, Last int // of the requests of Op to API in this run, from 1
	What        string
}

// GoString returns the script as a Go literal that replays it.
func (s Script) GoString() string { return literal(reflect.ValueOf(s)) }

// literal returns a Go literal without the fields that are zero.
func literal(v reflect.Value) string {
	name := strings.ReplaceAll(v.Type().String(), "lives.", "")
	var parts []string
	switch v.Kind() {
	case reflect.Pointer:
		return "&" + literal(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Field(i); !field.IsZero() {
				parts = append(parts, v.Type().Field(i).Name+": "+literal(field))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			parts = append(parts, strings.TrimPrefix(literal(v.Index(i)), strings.TrimPrefix(name, "[]")))
		}
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	default:
		if kind, ok := v.Interface().(flametest.Kind); ok {
			name := kind.String()
			return "flametest." + strings.ToUpper(name[:1]) + name[1:]
		}
		return fmt.Sprint(v.Interface())
	}
	text := strings.Join(parts, ", ")
	if name == "Run" {
		return "\n\t" + name + "{" + text + "}"
	}
	return name + "{" + text + "}"
}

// session returns the session's block, or nil.
func (c *Config) session(name string) *Session {
	for i := range c.Sessions {
		if c.Sessions[i].Name == name {
			return &c.Sessions[i]
		}
	}
	return nil
}

// cbd reports whether a session is created before the old one is destroyed: because it
// says so, or one that depends on it does.
func (c *Config) cbd(name string) bool {
	for _, s := range c.Sessions {
		if s.CBD && (s.Name == name || s.After == name) || s.After == name && c.cbd(s.Name) {
			return true
		}
	}
	return false
}

func (p Provider) api() string {
	if p.API == "" {
		return "one"
	}
	return p.API
}

// values returns the block. While planning, some values are unknown.
func (p Provider) values(planning bool) values {
	v := values{}
	if p.API != "" {
		v.set("endpoint", url(p.API))
	}
	if p.Unknown && planning {
		v["endpoint"] = tftypes.NewValue(tftypes.String, tftypes.UnknownValue)
	}
	v.set("user", p.User)
	v.set("password", password(p.Password, p.User))
	if p.Retries > 0 {
		v["max_retries"] = tftypes.NewValue(tftypes.Number, p.Retries)
	}
	v.setFalse("verify_sessions", p.NoVerify)
	v.setFalse("revoke_on_destroy", p.NoRevoke)
	return v
}

func password(which, user string) string {
	switch {
	case which == "wrong":
		return wrongPassword
	case which == "right" && user == "":
		return passwords[users[0]]
	case which == "right":
		return passwords[user]
	}
	return ""
}

// values returns the block.
func (s *Session) values() values {
	v := values{}
	for _, a := range schemas().session.Attributes {
		v[a.Name] = tftypes.NewValue(a.ValueType(), nil)
	}
	v.set("user", s.User)
	v.set("password", password(s.Password, s.User))
	if s.Rotate > 0 {
		v.set("rotate_after", fmt.Sprintf("%dh", s.Rotate))
	}
	if s.Changed != "" {
		v["rotate_when_changed"] = tftypes.NewValue(tftypes.Map{ElementType: tftypes.String}, map[string]tftypes.Value{"it": str(s.Changed)})
	}
	v.setFalse("revoke_on_destroy", s.NoRevoke)
	if s.ShortTimes {
		limit := str("20s")
		v["timeouts"] = tftypes.NewValue(v["timeouts"].Type(), map[string]tftypes.Value{"create": limit, "read": limit, "delete": limit})
	}
	return v
}

func (e *Ephemeral) values(planning bool) values {
	v := values{}
	v.set("user", e.User)
	v.set("password", password(e.Password, e.User))
	v.setFalse("revoke_on_close", e.NoRevoke)
	v.setFalse("open", e.Applying && planning)
	return v
}

func str(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }

var no = tftypes.NewValue(tftypes.Bool, false)

// set sets a string attribute, unless the string is empty.
func (v values) set(name, s string) {
	if s != "" {
		v[name] = str(s)
	}
}

// setFalse sets an attribute to false if it is switched off.
func (v values) setFalse(name string, off bool) {
	if off {
		v[name] = no
	}
}
