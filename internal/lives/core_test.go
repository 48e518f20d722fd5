// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"context"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/provider"
)

// What follows does for one object what Terraform 1.16 does in
// internal/terraform/node_resource_abstract_instance.go (plan, apply, planDestroy,
// refresh); objchange is internal/plans/objchange.

const sessionType = "flame_session"

// values are the attributes of an object; nil is no object.
type values map[string]tftypes.Value

// schema is the schema of a block.
type schema struct {
	*tfprotov6.SchemaBlock
	object tftypes.Type
}

func newSchema(s *tfprotov6.Schema) *schema { return &schema{s.Block, s.ValueType()} }

func (s *schema) pack(v values) *tfprotov6.DynamicValue {
	object := tftypes.NewValue(s.object, nil)
	if v != nil {
		members := map[string]tftypes.Value{}
		for _, a := range s.Attributes {
			members[a.Name] = tftypes.NewValue(a.ValueType(), nil)
		}
		maps.Copy(members, v)
		object = tftypes.NewValue(s.object, members)
	}
	packed, err := tfprotov6.NewDynamicValue(s.object, object)
	if err != nil {
		panic(err)
	}
	return &packed
}

func (s *schema) unpack(d *tfprotov6.DynamicValue) (v values) {
	if d == nil {
		return nil
	}
	object, err := d.Unmarshal(s.object)
	if err != nil {
		panic(err)
	}
	if object.IsNull() {
		return nil
	}
	members := map[string]tftypes.Value{}
	if err := object.As(&members); err != nil {
		panic(err)
	}
	return members
}

// text returns a string attribute, or "".
func (v values) text(name string) (text string) {
	if value, ok := v[name]; ok && value.IsKnown() && !value.IsNull() {
		_ = value.As(&text)
	}
	return text
}

func (v values) known() bool {
	for _, value := range v {
		if !value.IsFullyKnown() {
			return false
		}
	}
	return true
}

func (v values) equal(other values) bool {
	return maps.EqualFunc(v, other, tftypes.Value.Equal)
}

// json returns the values as a state file has them.
func (v values) json() []byte {
	members := map[string]any{}
	for name, value := range v {
		members[name] = plain(value)
	}
	raw, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return raw
}

func plain(v tftypes.Value) any {
	var (
		text    string
		truth   bool
		number  big.Float
		members map[string]tftypes.Value
	)
	switch {
	case v.IsNull():
		return nil
	case v.As(&text) == nil:
		return text
	case v.As(&truth) == nil:
		return truth
	case v.As(&number) == nil:
		return json.Number(number.String())
	case v.As(&members) == nil:
		object := map[string]any{}
		for name, value := range members {
			object[name] = plain(value)
		}
		return object
	}
	panic("no such type: " + v.Type().String())
}

// process is one provider process: Terraform starts one for each provider
// configuration in each walk.
type process struct {
	server *provider.Server
	dialer *dialer
	config Provider
}

// schemas are those of the provider.
var schemas = sync.OnceValue(func() (all struct{ provider, session, ephemeral, action *schema }) {
	server, err := provider.NewServer(provider.Process{Orphaned: func() bool { return false }})
	if err != nil {
		panic(err)
	}
	response, err := server.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		panic(err)
	}
	all.provider = newSchema(response.Provider)
	all.session = newSchema(response.ResourceSchemas[sessionType])
	all.ephemeral = newSchema(response.EphemeralResourceSchemas[sessionType])
	all.action = newSchema(response.ActionSchemas[sessionType+"_revoke"].Schema)
	return all
})

// rpc calls the provider. It reports false if Terraform dies before the response.
func rpc[Req, Resp any](w *walk, call func(context.Context, Req) (Resp, error), request Req) (_ Resp, ok bool) {
	var response Resp
	defer func() {
		if r := recover(); r != nil {
			w.l.violated("panic", "%T: %v", request, r)
			ok = false
		}
	}()
	if w.slot > 0 {
		w.turn()
	}
	if w.isStopped() {
		return response, false
	}
	response, err := call(w.ctx, request)
	if w.l.killed.Load() {
		return response, false
	}
	if err != nil {
		w.l.violated("protocol error", "%T: %v", request, err)
	}
	return response, err == nil
}

// start starts a process, and configures it if configured.
func (w *walk) start(index int, configured bool) (*process, bool) {
	w = &walk{graph: w.graph} // configuring takes no time: other nodes wait for it
	config := w.config.Providers[index]
	p := &process{dialer: &dialer{l: w.l, kind: w.kind, provider: index}, config: config}
	server, err := provider.NewServer(provider.Process{
		Version: "test", Orphaned: w.l.killed.Load, DialContext: p.dialer.dial, Jitter: jitter, Logging: w.l.script.World.Logged,
	})
	if err != nil {
		panic(err)
	}
	p.server = server
	w.mu.Lock()
	w.processes = append(w.processes, p)
	w.mu.Unlock()
	if _, ok := rpc(w, server.GetProviderSchema, &tfprotov6.GetProviderSchemaRequest{}); !ok || !configured {
		return p, ok
	}
	packed := schemas().provider.pack(config.values(w.kind != applying))
	validated, ok := rpc(w, server.ValidateProviderConfig, &tfprotov6.ValidateProviderConfigRequest{Config: packed})
	if !ok || w.say("provider", validated.Diagnostics) {
		return p, false
	}
	response, ok := rpc(w, server.ConfigureProvider, &tfprotov6.ConfigureProviderRequest{TerraformVersion: "1.16.4", Config: packed})
	return p, ok && !w.say("provider", response.Diagnostics)
}

// object is an object in the state.
type object struct {
	name     string
	provider int
	after    string
	values   values
	private  []byte
	tainted  bool
}

func (o *object) token() string { return o.values.text("auth_token") }

// upgrade reads the object from a state file.
func (w *walk) upgrade(p *process, o *object) (*object, bool) {
	response, ok := rpc(w, p.server.UpgradeResourceState, &tfprotov6.UpgradeResourceStateRequest{
		TypeName: sessionType, RawState: &tfprotov6.RawState{JSON: o.values.json()},
	})
	if !ok || w.say(o.name, response.Diagnostics) {
		return nil, false
	}
	upgraded := *o
	upgraded.values = schemas().session.unpack(response.UpgradedState)
	if !upgraded.values.equal(o.values) {
		w.l.violated("state changed by upgrade", "%s", o.name)
	}
	return &upgraded, true
}

// refresh returns nil if the object is gone.
func (w *walk) refresh(p *process, o *object) (*object, bool) {
	w.l.record.show(p, o.name, o.values)
	if !p.config.NoVerify {
		w.l.record.count("read", o.token())
	}
	response, ok := rpc(w, p.server.ReadResource, &tfprotov6.ReadResourceRequest{
		TypeName: sessionType, CurrentState: schemas().session.pack(o.values), Private: o.private,
	})
	if !ok || w.say(o.name, response.Diagnostics) {
		return nil, false
	}
	refreshed := *o
	refreshed.values, refreshed.private = schemas().session.unpack(response.NewState), response.Private
	if refreshed.values == nil {
		w.checkGone(o)
		return nil, true
	}
	w.checkStored(o.name, schemas().session, refreshed.values, refreshed.private)
	return &refreshed, true
}

// checkGone checks that a refresh drops only what is dead, as far as anybody can tell.
func (w *walk) checkGone(o *object) {
	for _, a := range w.l.apis {
		lies := func(f Fault) bool {
			return f.API == a.name && f.Op == flametest.OpCheck && strings.HasPrefix(f.What, "401")
		}
		if slices.Contains(a.fake.Live(), o.token()) && !slices.ContainsFunc(w.run.Faults, lies) {
			w.l.violated("dropped alive", "%s", o.name)
		}
	}
}

// An action is what a change does to an object.
type action string

const (
	noOp             action = "no-op"
	create           action = "create"
	update           action = "update"
	destroyAndCreate action = "destroy, create"
	createAndDestroy action = "create, destroy"
	destroy          action = "destroy"
	forget           action = "forget"
)

// change is the plan for one object.
type change struct {
	action   action
	name     string
	deposed  string // its key, if it is a deposed object
	provider int
	before   *object // nil: none
	after    values
	private  []byte
}

// proposed merges the configuration with what is computed: objchange.ProposedNew for a
// schema without blocks.
func proposed(prior, config values) values {
	merged := values{}
	for _, a := range schemas().session.Attributes {
		merged[a.Name] = config[a.Name]
		if a.Computed && config[a.Name].IsNull() {
			if merged[a.Name] = tftypes.NewValue(a.ValueType(), nil); prior != nil {
				merged[a.Name] = prior[a.Name]
			}
		}
	}
	return merged
}

// planChange calls PlanResourceChange, and checks that the plan is valid
// (objchange.AssertPlanValid).
func (w *walk) planChange(p *process, name string, prior, config, next values, private []byte) (*tfprotov6.PlanResourceChangeResponse, values, bool) {
	s := schemas().session
	response, ok := rpc(w, p.server.PlanResourceChange, &tfprotov6.PlanResourceChangeRequest{
		TypeName: sessionType, PriorState: s.pack(prior), Config: s.pack(config), ProposedNewState: s.pack(next), PriorPrivate: private,
	})
	if !ok {
		return nil, nil, false
	}
	planned := s.unpack(response.PlannedState)
	if hasError(response.Diagnostics) {
		return response, planned, true
	}
	w.checkStored(name, schemas().session, planned, response.PlannedPrivate)
	if (planned == nil) != (config == nil) {
		w.l.violated("invalid plan", "%s: planned for absence or presence against the configuration", name)
		return nil, nil, false
	}
	for _, a := range s.Attributes {
		if planned == nil {
			break
		}
		value := planned[a.Name]
		fine := value.Equal(config[a.Name]) || prior != nil && value.Equal(prior[a.Name]) || a.Computed && config[a.Name].IsNull()
		if a.WriteOnly {
			fine = value.IsNull()
		}
		if !fine {
			w.l.violated("invalid plan", "%s: %s", name, a.Name)
		}
	}
	return response, planned, true
}

// plan decides what happens to a session. was is the plan that is being applied, nil
// while planning.
func (w *walk) plan(p *process, s *Session, current *object, was *change, force, cbd bool) (*change, bool) {
	config := s.values()
	var prior *object
	var priorValues values
	var priorPrivate []byte
	if current != nil && !current.tainted { // the provider is not shown what is tainted
		prior, priorValues, priorPrivate = current, current.values, current.private
		w.l.record.show(p, current.name, current.values)
	}
	validated, ok := rpc(w, p.server.ValidateResourceConfig, &tfprotov6.ValidateResourceConfigRequest{
		TypeName: sessionType, Config: schemas().session.pack(config),
		ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
	})
	if !ok || w.say(s.Name, validated.Diagnostics) {
		return nil, false
	}
	response, planned, ok := w.planChange(p, s.Name, priorValues, config, proposed(priorValues, config), priorPrivate)
	if !ok || w.say(s.Name, response.Diagnostics) {
		return nil, false
	}
	ch := &change{name: s.Name, provider: s.Provider, before: current, after: planned, private: response.PlannedPrivate}
	replace := destroyAndCreate
	if cbd {
		replace = createAndDestroy
	}
	switch {
	case prior == nil && current != nil, was != nil && prior == nil && was.before != nil:
		ch.action = replace // tainted; or half of a replacement that is being applied
	case prior == nil:
		ch.action = create
	case force || mustReplace(response.RequiresReplace, priorValues, planned):
		ch.action = replace
		// Core plans again, as if there were nothing before. It drops the warnings.
		response, planned, ok = w.planChange(p, s.Name, nil, config, proposed(nil, config), response.PlannedPrivate)
		if !ok || hasError(response.Diagnostics) && w.say(s.Name, response.Diagnostics) {
			return nil, false
		}
		ch.after, ch.private = planned, response.PlannedPrivate
	case planned.known() && planned.equal(priorValues):
		ch.action = noOp
	default:
		ch.action = update
	}
	if due, err := time.Parse(time.RFC3339, priorValues.text("rotate_at")); was == nil && ch.action == noOp && err == nil && !due.After(time.Now()) {
		w.l.violated("rotation missed", "%s is due since %s", s.Name, due)
	}
	return ch, true
}

// mustReplace reports whether one of the attributes that require it has changed.
func mustReplace(paths []*tftypes.AttributePath, prior, planned values) bool {
	return slices.ContainsFunc(paths, func(path *tftypes.AttributePath) bool {
		name := string(path.Steps()[0].(tftypes.AttributeName))
		return !planned[name].Equal(prior[name]) || !planned[name].IsFullyKnown()
	})
}

// planDestroy plans the end of an object.
func (w *walk) planDestroy(p *process, o *object, deposed string) (*change, bool) {
	w.l.record.show(p, o.name, o.values)
	response, planned, ok := w.planChange(p, o.name, o.values, nil, nil, o.private)
	if !ok || w.say(o.name, response.Diagnostics) {
		return nil, false
	}
	return &change{action: destroy, name: o.name, deposed: deposed, provider: o.provider, before: o, after: planned, private: response.PlannedPrivate}, true
}

// apply makes a change: one of create, update and destroy. It returns the object that
// is then there, nil if none is, and whether there was no error.
func (w *walk) apply(p *process, ch *change, prior *object, config values) (_ *object, ok bool) {
	s := schemas().session
	var before values
	if prior != nil {
		before = prior.values
		w.l.record.show(p, prior.name, prior.values)
	}
	if ch.after == nil {
		w.l.record.count("delete", prior.token())
		if p.config.NoRevoke || prior.values["revoke_on_destroy"].Equal(no) {
			w.l.record.count("let go", prior.token())
		}
	} else if prior == nil {
		w.l.record.count("open", w.login(p, config.text("user")))
	}
	response, ok := rpc(w, p.server.ApplyResourceChange, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: s.pack(before), Config: s.pack(config), PlannedState: s.pack(ch.after), PlannedPrivate: ch.private,
	})
	if !ok {
		return prior, false
	}
	failed := w.say(ch.name, response.Diagnostics)
	result := s.unpack(response.NewState)
	if result != nil {
		w.checkStored(ch.name, schemas().session, result, response.Private)
	}
	if !failed {
		w.checkResult(ch, result)
	}
	switch {
	case failed && result == nil:
		return prior, false
	case result == nil:
		return nil, true
	}
	o := &object{name: ch.name, provider: ch.provider, values: result, private: response.Private}
	o.tainted = failed && (prior == nil || prior.tainted)
	w.l.record.show(p, o.name, o.values)
	return o, !failed
}

// checkResult checks that what was known in the plan has come true
// (objchange.AssertObjectCompatible).
func (w *walk) checkResult(ch *change, result values) {
	if (result == nil) != (ch.after == nil) || !result.known() {
		w.l.violated("inconsistent result", "%s: %s", ch.name, ch.action)
		return
	}
	for name, value := range ch.after {
		if value.IsFullyKnown() && !value.Equal(result[name]) {
			w.l.violated("inconsistent result", "%s: %s", ch.name, name)
		}
	}
}

// checkPlanned checks that the plan made during apply is the one that is being applied
// (checkPlannedChange in node_resource_apply_instance.go).
func (w *walk) checkPlanned(was, now *change) bool {
	fine := was.action == now.action || was.action == update && now.action == noOp
	var detail string
	for name, value := range was.after {
		if value.IsFullyKnown() && !value.Equal(now.after[name]) {
			fine, detail = false, name
		}
	}
	if !fine && !w.l.record.excusesInconsistentPlan(was) {
		w.l.violated("inconsistent final plan", "%s: %s became %s %s", was.name, was.action, now.action, detail)
	}
	return fine
}

// checkStored checks that nothing secret is in a plan or a state, but in a sensitive value.
func (w *walk) checkStored(name string, s *schema, v values, private []byte) {
	for _, a := range s.Attributes {
		if secret := w.l.secretIn(v[a.Name].String()); secret != "" && !a.Sensitive {
			w.l.violated("secret stored", "%s: %s holds %s", name, a.Name, secret)
		}
	}
	if secret := w.l.secretIn(string(private)); secret != "" {
		w.l.violated("secret stored", "%s: private data holds %s", name, secret)
	}
}

func hasError(diags []*tfprotov6.Diagnostic) bool {
	return slices.ContainsFunc(diags, func(d *tfprotov6.Diagnostic) bool { return d.Severity == tfprotov6.DiagnosticSeverityError })
}

// login returns the account that a session is opened for.
func (w *walk) login(p *process, user string) string {
	if user == "" {
		user = p.config.User
	}
	if user == "" {
		user = users[0]
	}
	return p.config.api() + " " + user
}

// said is a diagnostic that the user reads.
type said struct {
	about   string
	isError bool
	text    string
	dropped bool // by core: it drops the warnings of some plans
}

// say shows diagnostics to the user, and reports whether one is an error.
func (w *walk) say(about string, diags []*tfprotov6.Diagnostic) bool {
	for _, d := range diags {
		text := d.Summary + "\n" + d.Detail
		if secret := w.l.secretIn(text); secret != "" {
			w.l.violated("secret shown", "%s: %s in %q", about, secret, strings.ReplaceAll(text, secret, "SECRET"))
		}
		isError := d.Severity == tfprotov6.DiagnosticSeverityError
		w.l.record.add(said{about, isError, text, w.drops && !isError})
	}
	return hasError(diags)
}
