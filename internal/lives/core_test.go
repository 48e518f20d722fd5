// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/provider"
)

// This file does for one object what Terraform 1.16 does in
// internal/terraform/node_resource_abstract_instance.go (plan, apply, planDestroy,
// refresh), with its checks of internal/plans/objchange.

const sessionType = "flame_session"

// must returns a value that is there unless the driver itself is wrong.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

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
	packed := must(tfprotov6.NewDynamicValue(s.object, object))
	return &packed
}

func (s *schema) unpack(d *tfprotov6.DynamicValue) values {
	if d == nil {
		return nil
	}
	return members(must(d.Unmarshal(s.object)))
}

// members returns those of an object or map.
func members(v tftypes.Value) (all map[string]tftypes.Value) {
	if v.IsNull() {
		return nil
	}
	if err := v.As(&all); err != nil {
		panic(err)
	}
	return all
}

// text returns a string attribute, or "" if it is null or unknown.
func (v values) text(name string) (text string) {
	_ = v[name].As(&text)
	return text
}

func (v values) known() bool {
	unknown := func(value tftypes.Value) bool { return !value.IsFullyKnown() }
	return !slices.ContainsFunc(slices.Collect(maps.Values(v)), unknown)
}

func (v values) equal(other values) bool {
	return maps.EqualFunc(v, other, tftypes.Value.Equal)
}

// plain returns the values as a state file has them.
func (v values) plain() map[string]any {
	all := map[string]any{}
	for name, value := range v {
		var text string
		var truth bool
		switch {
		case value.IsNull():
			all[name] = nil
		case value.As(&text) == nil:
			all[name] = text
		case value.As(&truth) == nil:
			all[name] = truth
		default:
			all[name] = values(members(value)).plain()
		}
	}
	return all
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
	server := must(provider.NewServer(provider.Process{Orphaned: func() bool { return false }}))
	response := must(server.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{}))
	all.provider = newSchema(response.Provider)
	all.session = newSchema(response.ResourceSchemas[sessionType])
	all.ephemeral = newSchema(response.EphemeralResourceSchemas[sessionType])
	all.action = newSchema(response.ActionSchemas[sessionType+"_revoke"].Schema)
	return all
})

// rpc calls the provider. It returns false if Terraform is interrupted before the call, or
// dies before the response.
func rpc[Req, Resp any](w *walk, method func(context.Context, *Req) (*Resp, error), request *Req) (response *Resp, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			w.l.violated("panic", "%T: %v", request, r)
			ok = false
		}
	}()
	var err error
	send := func() { response, err = method(w.ctx, request) }
	if w.slot > 0 {
		w.l.await(w.turn)
	}
	switch {
	case w.stopped():
		return nil, false
	case w.slot > 0:
		w.l.await(send)
	default:
		send()
	}
	if w.l.killed.Load() {
		return nil, false
	}
	if err != nil {
		w.l.violated("protocol error", "%T: %v", request, err)
	}
	return response, err == nil
}

// call is rpc, and reports the diagnostics of the response to the user. It returns false
// for an error among them, too.
func call[Req, Resp any](w *walk, about string, method func(context.Context, *Req) (*Resp, error), request *Req) (*Resp, bool) {
	response, ok := rpc(w, method, request)
	if !ok {
		return nil, false
	}
	diags := reflect.ValueOf(response).Elem().FieldByName("Diagnostics").Interface().([]*tfprotov6.Diagnostic)
	return response, !w.report(about, diags)
}

// start starts a process, and configures it if configured. It returns nil if that fails.
func (w *walk) start(index int, configured bool) *process {
	w = &walk{graph: w.graph} // without a slot: configuring takes no time
	config := w.config.Providers[index]
	p := &process{dialer: &dialer{l: w.l, kind: w.kind, provider: index}, config: config}
	p.server = must(provider.NewServer(provider.Process{
		Version: "test", Orphaned: w.l.killed.Load, DialContext: p.dialer.dial, Jitter: jitter, Logging: w.l.script.World.Logged,
	}))
	w.processes = append(w.processes, p)
	_, ok := rpc(w, p.server.GetProviderSchema, &tfprotov6.GetProviderSchemaRequest{})
	packed := schemas().provider.pack(config.values(w.kind != applying))
	if ok && configured {
		_, ok = call(w, "provider", p.server.ValidateProviderConfig, &tfprotov6.ValidateProviderConfigRequest{Config: packed})
	}
	if ok && configured {
		_, ok = call(w, "provider", p.server.ConfigureProvider, &tfprotov6.ConfigureProviderRequest{TerraformVersion: "1.16.4", Config: packed})
	}
	if !ok {
		return nil
	}
	return p
}

// object is an object in the state.
type object struct {
	name     string
	deposed  string // what tells a deposed object from the others of the name, else ""
	provider int
	after    string
	values   values
	private  []byte
	tainted  bool
}

func (o *object) token() string { return o.values.text("auth_token") }

// shown is an object that a process was shown, or has opened.
type shown struct {
	name string
	values
}

// show records what the provider is shown: it can warn only about what it knows.
func (w *walk) show(name string, v values) {
	w.record.shown[w.p.dialer] = append(w.record.shown[w.p.dialer], shown{name, v})
}

// upgrade reads the object from a state file.
func (w *walk) upgrade(o *object) (*object, bool) {
	response, ok := call(w, o.name, w.p.server.UpgradeResourceState, &tfprotov6.UpgradeResourceStateRequest{
		TypeName: sessionType, RawState: &tfprotov6.RawState{JSON: must(json.Marshal(o.values.plain()))},
	})
	if !ok {
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
func (w *walk) refresh(o *object) (*object, bool) {
	if !w.p.config.NoVerify {
		w.record.count("read", o.token())
	}
	response, ok := call(w, o.name, w.p.server.ReadResource, &tfprotov6.ReadResourceRequest{
		TypeName: sessionType, CurrentState: schemas().session.pack(o.values), Private: o.private,
	})
	if response != nil {
		w.show(o.name, o.values)
	}
	if !ok {
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
	before   *object // nil: none
	after    values
	private  []byte
	replaces []*tftypes.AttributePath // require replacement, if they change
}

// proposed merges the configuration with what is computed: objchange.ProposedNew for a
// schema without blocks.
func proposed(prior, config values) values {
	merged := maps.Clone(config)
	for _, a := range schemas().session.Attributes {
		if prior != nil && config != nil && a.Computed && config[a.Name].IsNull() {
			merged[a.Name] = prior[a.Name]
		}
	}
	return merged
}

// planChange calls PlanResourceChange, and checks that the plan is valid
// (objchange.AssertPlanValid). A nil config plans a destruction.
func (w *walk) planChange(prior *object, config values, warns bool) (*change, bool) {
	s := schemas().session
	response, ok := rpc(w, w.p.server.PlanResourceChange, &tfprotov6.PlanResourceChangeRequest{
		TypeName: sessionType, PriorState: s.pack(prior.values), Config: s.pack(config), ProposedNewState: s.pack(proposed(prior.values, config)), PriorPrivate: prior.private,
	})
	if ok && prior.values != nil {
		w.show(prior.name, prior.values)
	}
	if !ok || (warns || hasError(response.Diagnostics)) && w.report(prior.name, response.Diagnostics) {
		return nil, false
	}
	planned := s.unpack(response.PlannedState)
	w.checkStored(prior.name, s, planned, response.PlannedPrivate)
	if (planned == nil) != (config == nil) {
		w.l.violated("invalid plan", "%s: planned for absence or presence against the configuration", prior.name)
		return nil, false
	}
	for _, a := range s.Attributes {
		value := planned[a.Name]
		fine := planned == nil || value.Equal(config[a.Name]) || prior.values != nil && value.Equal(prior.values[a.Name]) || a.Computed && config[a.Name].IsNull()
		if a.WriteOnly {
			fine = value.IsNull()
		}
		if !fine {
			w.l.violated("invalid plan", "%s: %s", prior.name, a.Name)
		}
	}
	return &change{name: prior.name, after: planned, private: response.PlannedPrivate, replaces: response.RequiresReplace}, true
}

// plan decides what happens to a session. was is the plan that is being applied, nil
// while planning.
func (w *walk) plan(s *Session, current *object, was *change) (*change, bool) {
	config := s.values()
	prior := &object{name: s.Name} // what the provider is shown: nothing of a tainted object
	if current != nil && !current.tainted {
		prior = current
	}
	_, ok := call(w, s.Name, w.p.server.ValidateResourceConfig, &tfprotov6.ValidateResourceConfigRequest{
		TypeName: sessionType, Config: schemas().session.pack(config),
		ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
	})
	if !ok {
		return nil, false
	}
	ch, ok := w.planChange(prior, config, true)
	if !ok {
		return nil, false
	}
	replace := destroyAndCreate
	if w.config.cbd(s.Name) {
		replace = createAndDestroy
	}
	switch {
	case prior.values == nil && current != nil, was != nil && prior.values == nil && was.before != nil:
		ch.action = replace // tainted; or half of a replacement that is being applied
	case prior.values == nil:
		ch.action = create
	case was == nil && slices.Contains(w.run.Replace, s.Name), ch.mustReplace(prior.values):
		// Core plans again, as if there were nothing before. It drops the warnings.
		if ch, ok = w.planChange(&object{name: s.Name, private: ch.private}, config, false); !ok {
			return nil, false
		}
		ch.action = replace
	case ch.after.known() && ch.after.equal(prior.values):
		ch.action = noOp
	default:
		ch.action = update
	}
	ch.before = current
	if due, err := time.Parse(time.RFC3339, prior.values.text("rotate_at")); was == nil && ch.action == noOp && err == nil && !due.After(time.Now()) {
		w.l.violated("rotation missed", "%s is due since %s", s.Name, due)
	}
	return ch, true
}

// mustReplace reports whether one of the attributes that require it has changed.
func (ch *change) mustReplace(prior values) bool {
	return slices.ContainsFunc(ch.replaces, func(path *tftypes.AttributePath) bool {
		name := string(path.Steps()[0].(tftypes.AttributeName))
		return !ch.after[name].Equal(prior[name]) || !ch.after[name].IsFullyKnown()
	})
}

// planDestroy plans the end of an object.
func (w *walk) planDestroy(o *object) (*change, bool) {
	ch, ok := w.planChange(o, nil, true)
	if !ok {
		return nil, false
	}
	ch.action, ch.before = destroy, o
	return ch, true
}

// apply makes a change: one of create, update and destroy. It returns the object that
// is then there, nil if none is, and whether there was no error.
func (w *walk) apply(ch *change, config values) (*object, bool) {
	s := schemas().session
	o := object{name: ch.name}
	if ch.before != nil {
		o = *ch.before
	}
	if ch.after == nil {
		w.record.count("delete", o.token())
		if w.p.config.NoRevoke || o.values["revoke_on_destroy"].Equal(no) {
			w.record.count("let go", o.token())
		}
	} else if ch.before == nil {
		w.record.count("open", w.login(config.text("user")))
	}
	response, ok := rpc(w, w.p.server.ApplyResourceChange, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: s.pack(o.values), Config: s.pack(config), PlannedState: s.pack(ch.after), PlannedPrivate: ch.private,
	})
	if !ok {
		return ch.before, false
	}
	if o.values != nil {
		w.show(o.name, o.values)
	}
	failed := w.report(ch.name, response.Diagnostics)
	result := s.unpack(response.NewState)
	w.checkStored(ch.name, s, result, response.Private)
	if !failed {
		w.checkResult(ch, result)
	}
	switch {
	case failed && result == nil:
		return ch.before, false
	case result == nil:
		return nil, true
	}
	o.provider, o.values, o.private = w.p.dialer.provider, result, response.Private
	o.tainted = failed && (ch.before == nil || o.tainted)
	w.show(o.name, o.values)
	return &o, !failed
}

// checkResult checks that what was known in the plan has come true
// (objchange.AssertObjectCompatible).
func (w *walk) checkResult(ch *change, result values) {
	name, same := ch.after.comesTrue(result)
	if !same || (result == nil) != (ch.after == nil) || !result.known() {
		w.l.violated("inconsistent result", "%s: %s %s", ch.name, ch.action, name)
	}
}

// checkPlanned checks that the plan made during apply is the one that is being applied
// (checkPlannedChange in node_resource_apply_instance.go).
func (w *walk) checkPlanned(was, now *change) bool {
	name, fine := was.after.comesTrue(now.after)
	fine = fine && (was.action == now.action || was.action == update && now.action == noOp)
	// A saved plan may be applied with another provider configuration. The provider cannot
	// see that if it creates, or takes over a session that the state does not fully know.
	creates := was.action != update || was.before.values.text("endpoint") == "" || was.before.values.text("user") == ""
	if !fine && (w.run.Providers == nil || !creates) {
		w.l.violated("inconsistent final plan", "%s: %s became %s %s", was.name, was.action, now.action, name)
	}
	return fine
}

// comesTrue reports whether all that is known in a plan is so later, or else what is not.
func (v values) comesTrue(later values) (attribute string, ok bool) {
	for name, value := range v {
		if value.IsFullyKnown() && !value.Equal(later[name]) {
			return name, false
		}
	}
	return "", true
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
func (w *walk) login(user string) string {
	return w.p.config.api() + " " + cmp.Or(user, w.p.config.User, users[0])
}

// diagnostic is one that the user reads.
type diagnostic struct {
	about   string
	isError bool
	text    string
	dropped bool // by core: it drops the warnings of some plans
}

// report shows diagnostics to the user. It returns true if one is an error.
func (w *walk) report(about string, diags []*tfprotov6.Diagnostic) bool {
	for _, d := range diags {
		text := d.Summary + "\n" + d.Detail
		if secret := w.l.secretIn(text); secret != "" {
			w.l.violated("secret shown", "%s: %s in %q", about, secret, strings.ReplaceAll(text, secret, "SECRET"))
		}
		isError := d.Severity == tfprotov6.DiagnosticSeverityError
		dropped := w.run.Op == Destroy && w.kind == planning && !isError
		w.record.diagnostics = append(w.record.diagnostics, diagnostic{about, isError, text, dropped})
	}
	return hasError(diags)
}
