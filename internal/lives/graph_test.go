// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-log/tflogtest"
	"github.com/hashicorp/terraform-plugin-log/tfsdklogtest"
)

// This file walks the graph as internal/terraform/graph.go does: each node runs once those
// that it depends on have ended, in parallel with the others.

// state is what Terraform keeps: objects by their keys. Nobody changes an object in it.
type state map[string]*object

// key tells the objects of a state apart.
func (o *object) key() string { return o.name + o.deposed }

// set sets the object of a key; nil removes it.
func (s state) set(key string, o *object) {
	if delete(s, key); o != nil {
		s[key] = o
	}
}

// move gives an object another name, or sets it aside as a deposed one, or back.
func (s state) move(key, name, deposed string) {
	moved := *s[key]
	moved.name, moved.deposed = name, deposed
	delete(s, key)
	s[moved.key()] = &moved
}

// walkKind says which graph is walked.
type walkKind int

const (
	planning        walkKind = iota // core's PlanGraphBuilder
	planningDestroy                 // the same, for a destroy
	applying                        // ApplyGraphBuilder
	destroying                      // the same, for a destroy
)

// walk is one walk of the graph as one of its nodes sees it.
type walk struct {
	*graph
	p    *process // that the node calls
	slot int      // when it calls; see turn. 0: it is not a node
}

// graph has provider processes of its own.
type graph struct {
	l         *life
	kind      walkKind
	run       Run
	config    Config
	record    *record
	ctx       context.Context
	kill      context.CancelFunc // ends ctx, as the death of Terraform does
	processes []*process
	started   map[int]*process // by provider configuration; nil: it did not start
	state     state
	changes   []*change
}

// node is a step of a walk.
type node struct {
	name     string
	provider int      // whose process it calls
	after    []string // names of other nodes; those that do not exist do not count
	do       func(*walk) bool
}

func (l *life) newWalk(kind walkKind, run Run, config Config, st state) *walk {
	w := &walk{graph: &graph{l: l, kind: kind, run: run, config: config, record: l.record, state: st, started: map[int]*process{}}}
	w.ctx, w.kill = context.WithCancel(context.Background())
	if l.script.World.Logged {
		w.ctx = tfsdklogtest.RootLogger(tflogtest.RootLogger(w.ctx, l.log), l.log)
	}
	l.walk = w
	return w
}

// interrupt is Ctrl-C.
func (w *walk) interrupt() {
	for _, p := range w.processes {
		_, _ = p.server.StopProvider(context.Background(), &tfprotov6.StopProviderRequest{})
	}
}

func (w *walk) stopped() bool { return w.l.interrupted || w.l.killed.Load() }

// process returns the process of a provider configuration, or nil if it does not start.
func (w *walk) process(index int) *process {
	if _, ok := w.started[index]; !ok {
		w.started[index] = w.start(index, true)
	}
	return w.started[index]
}

// providerOf returns the provider that an object is ended by: that of the resource's
// block, or else the one in the state.
func (w *walk) providerOf(o *object) int {
	if s := w.config.session(o.name); s != nil {
		return s.Provider
	}
	return o.provider
}

// end ends the processes, as core does at the end of each walk.
func (w *walk) end() {
	for _, p := range w.processes {
		p.server.Exit()
		p.dialer.close()
	}
}

// turn waits for the node's own microsecond of each millisecond. No two nodes call the
// provider at the same instant, so a replay does not depend on the scheduler.
func (w *walk) turn() {
	now := time.Now()
	next := now.Truncate(time.Millisecond).Add(time.Duration(w.slot) * time.Microsecond)
	if !next.After(now) {
		next = next.Add(time.Millisecond)
	}
	time.Sleep(next.Sub(now))
}

// walkGraph runs the nodes, those that do not depend on each other at the same time. A
// node whose dependency failed is not run.
func (w *walk) walkGraph(nodes []node) bool {
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.name, b.name) })
	done := map[string]chan struct{}{}
	failed := map[string]bool{}
	for _, n := range nodes {
		done[n.name] = make(chan struct{})
	}
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			w.l.mu.Lock()
			defer w.l.mu.Unlock()
			fine := true
			for _, before := range n.after {
				if ended, exists := done[before]; exists {
					w.l.await(func() { <-ended })
					fine = fine && !failed[before]
				}
			}
			own := &walk{graph: w.graph, slot: 1 + (i+w.run.Order)%len(nodes)}
			w.l.await(own.turn)
			if fine && !w.stopped() {
				own.p = w.process(n.provider)
			}
			if own.p == nil || !n.do(own) {
				failed[n.name] = true
			}
			close(done[n.name])
		})
	}
	w.l.await(all.Wait)
	clear(w.record.inUse)
	w.l.await(w.end)
	return len(failed) == 0 && !w.stopped()
}

// dependsOn reports whether a session or ephemeral session is another one, or depends on
// it, be it through others.
func (c *Config) dependsOn(name, other string) bool {
	after := map[string]string{}
	for _, s := range c.Sessions {
		after[s.Name] = s.After
	}
	for _, e := range c.Ephemerals {
		after[e.Name] = e.After
	}
	for name != "" && name != other {
		name = after[name]
	}
	return name == other
}

// included reports whether -target includes a resource: a dependency of a target or, to
// destroy, what depends on one.
func (w *walk) included(name string) bool {
	return len(w.run.Target) == 0 || slices.ContainsFunc(w.run.Target, func(target string) bool {
		if w.kind == planningDestroy {
			return w.config.dependsOn(name, target)
		}
		return w.config.dependsOn(target, name)
	})
}

// ephemeralNodes open and close ephemeral sessions.
func (w *walk) ephemeralNodes() (nodes []node) {
	for _, e := range w.config.Ephemerals {
		if !w.included(e.Name) || w.kind == applying && w.l.script.World.OpenTofu && !w.needed(e.Name) {
			continue
		}
		var opened *object
		var last []string // the ephemeral session itself, and whatever depends on it
		for _, name := range w.config.names() {
			if w.config.dependsOn(name, e.Name) {
				last = append(last, name)
			}
		}
		nodes = append(nodes,
			node{e.Name, e.Provider, []string{e.After}, func(w *walk) bool {
				if w.isPending(e.After) {
					return true
				}
				opened = w.open(e)
				return opened != nil
			}},
			node{"close " + e.Name, e.Provider, last, func(w *walk) bool { return opened == nil || w.close(opened) }},
		)
	}
	return nodes
}

// open returns nil if it fails.
func (w *walk) open(e Ephemeral) *object {
	s := schemas().ephemeral
	config := s.pack(e.values(w.kind == planning))
	_, ok := call(w, e.Name, w.p.server.ValidateEphemeralResourceConfig, &tfprotov6.ValidateEphemeralResourceConfigRequest{TypeName: sessionType, Config: config})
	if !ok {
		return nil
	}
	if w.kind != planning || !e.Applying && !w.p.config.Unknown {
		w.record.count("open", w.login(e.User))
	}
	response, ok := call(w, e.Name, w.p.server.OpenEphemeralResource, &tfprotov6.OpenEphemeralResourceRequest{TypeName: sessionType, Config: config})
	if !ok {
		return nil
	}
	o := &object{name: e.Name, values: s.unpack(response.Result), private: response.Private}
	w.checkStored(e.Name, s, o.values, nil)
	if o.token() != "" {
		w.show(e.Name, o.values)
		w.record.hold(o.token(), e)
		w.record.actions["ephemeral"]++
	}
	return o
}

// isPending reports whether OpenTofu opens an ephemeral session only during apply: what it
// depends on has yet to change.
func (w *walk) isPending(after string) bool {
	return w.l.script.World.OpenTofu && w.kind == planning && slices.ContainsFunc(w.changes, func(ch *change) bool {
		return ch.action != noOp && w.config.dependsOn(after, ch.name)
	})
}

// needed reports whether something that the plan changes depends on an ephemeral session:
// otherwise OpenTofu does not open it during apply.
func (w *walk) needed(name string) bool {
	return slices.ContainsFunc(w.changes, func(ch *change) bool {
		return ch.action != noOp && w.config.dependsOn(ch.name, name)
	})
}

func (w *walk) close(opened *object) bool {
	delete(w.record.inUse, opened.token())
	response, ok := call(w, opened.name, w.p.server.CloseEphemeralResource, &tfprotov6.CloseEphemeralResourceRequest{TypeName: sessionType, Private: opened.private})
	if response != nil {
		w.record.count("closed", opened.token())
	}
	return ok
}

// plan plans a run or, when planning a destroy, the end of all objects. It returns the
// state after the refresh, and the changes.
func (l *life) plan(kind walkKind, run Run, config Config, st state) (_ state, _ []*change, ok bool) {
	w := l.newWalk(kind, run, config, maps.Clone(st))
	var nodes []node
	if kind == planning {
		if !w.move() {
			w.end()
			return nil, nil, false
		}
		nodes = w.ephemeralNodes()
		for _, s := range config.Sessions {
			if w.included(s.Name) {
				nodes = append(nodes, node{s.Name, s.Provider, []string{s.After}, func(w *walk) bool { return w.planSession(&s) }})
			}
		}
	}
	for key, o := range w.state {
		ends := kind == planningDestroy || o.deposed != "" || config.session(o.name) == nil
		if ends && w.included(o.name) {
			nodes = append(nodes, node{key, w.providerOf(o), nil, func(w *walk) bool { return w.planEnd(o) }})
		}
	}
	ok = w.walkGraph(nodes)
	return w.state, w.changes, ok
}

// move carries out moved blocks, before anything is planned.
func (w *walk) move() bool {
	for _, names := range w.run.Moved {
		if w.state[names[0]] == nil || w.state[names[1]] != nil {
			continue
		}
		w.state.move(names[0], names[1], "")
		for key, other := range w.state {
			if other.after == names[0] {
				depends := *other
				depends.after = names[1]
				w.state[key] = &depends
			}
		}
	}
	for _, i := range w.run.Import {
		if i.How == "moved" && w.state[i.Name] == nil && !w.moveState(i) {
			return false
		}
	}
	return true
}

// moveState moves a terraform_data here, with a provider that is not configured.
func (w *walk) moveState(i Import) bool {
	index := w.config.session(i.Name).Provider
	p := w.start(index, false)
	if p == nil {
		return false
	}
	source := fmt.Sprintf(`{"output": {"value": {"auth_token": %q, "user": %q}, "type": ["object", {}]}}`, w.l.elsewhere[i.Name], i.User)
	response, ok := call(w, i.Name, p.server.MoveResourceState, &tfprotov6.MoveResourceStateRequest{
		SourceProviderAddress: "terraform.io/builtin/terraform", SourceTypeName: "terraform_data",
		SourceState: &tfprotov6.RawState{JSON: []byte(source)}, TargetTypeName: sessionType,
	})
	if !ok {
		return false
	}
	o := &object{name: i.Name, provider: index, values: schemas().session.unpack(response.TargetState), private: response.TargetPrivate}
	w.checkStored(i.Name, schemas().session, o.values, o.private)
	w.state[i.Name] = o
	return true
}

// importState imports an object and refreshes it.
func (w *walk) importState(i Import) (*object, bool) {
	token := w.l.elsewhere[i.Name]
	name := "FLAME_LIVES_" + filepath.Base(filepath.Dir(w.l.folder))
	id := "env:" + name
	_ = os.Setenv(name, token)
	if i.How == "file" {
		file := filepath.Join(w.l.folder, "token")
		id = "file:" + file
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			panic(err)
		}
	}
	if !w.p.config.NoVerify {
		w.record.count("read", token)
	}
	response, ok := call(w, i.Name, w.p.server.ImportResourceState, &tfprotov6.ImportResourceStateRequest{TypeName: sessionType, ID: id})
	if !ok {
		return nil, false
	}
	imported := response.ImportedResources[0]
	o := &object{name: i.Name, provider: w.p.dialer.provider, values: schemas().session.unpack(imported.State), private: imported.Private}
	w.checkStored(i.Name, schemas().session, o.values, o.private)
	if o, ok = w.refresh(o); o == nil && ok {
		w.record.diagnostics = append(w.record.diagnostics, diagnostic{about: i.Name, isError: true, text: "Cannot import non-existent remote object"})
		return nil, false
	}
	return o, ok
}

// planSession plans a session that is in the configuration.
func (w *walk) planSession(s *Session) bool {
	current, ok := w.state[s.Name], true
	i := slices.IndexFunc(w.run.Import, func(i Import) bool { return i.Name == s.Name && i.How != "moved" && current == nil })
	switch {
	case i >= 0:
		current, ok = w.importState(w.run.Import[i])
	case current != nil:
		current, ok = w.readState(current)
	}
	if !ok {
		return false
	}
	if current != nil {
		current.after = s.After
	}
	w.state.set(s.Name, current)
	if w.run.Op == RefreshOnly {
		return true
	}
	ch, ok := w.plan(s, current, nil)
	if ok && w.run.Refresh == "minimal" && ch.action != noOp && current != nil && i < 0 {
		if current, ok = w.refresh(current); ok {
			w.state.set(s.Name, current)
			ch, ok = w.plan(s, current, nil)
		}
	}
	if ok {
		w.add(ch)
		w.checkTakeover(s, ch)
	}
	return ok
}

// readState reads an object from the state file, and refreshes it where core does.
func (w *walk) readState(o *object) (*object, bool) {
	o, ok := w.upgrade(o)
	if ok && w.run.Refresh == "" && w.kind == planning {
		return w.refresh(o)
	}
	return o, ok
}

// checkTakeover checks that a session that is imported or moved here is not replaced, if
// the configuration is that of its user.
func (w *walk) checkTakeover(s *Session, ch *change) {
	replaced := ch.action == destroyAndCreate || ch.action == createAndDestroy
	if w.l.state[s.Name] != nil || !replaced || slices.Contains(w.run.Replace, s.Name) {
		return
	}
	for _, i := range w.run.Import {
		fits := i.Name == s.Name && w.login(s.User) == w.p.config.api()+" "+i.User
		if fits && ch.before.token() == w.l.elsewhere[i.Name] {
			w.l.violated("takeover replaced", "%s", s.Name)
		}
	}
}

func (w *walk) add(ch *change) {
	what := string(ch.action)
	if ch.before != nil && ch.before.deposed != "" {
		what += " deposed"
	}
	w.record.actions[what]++
	if ch.before != nil && ch.action != noOp && ch.action != update {
		w.record.count("ends", ch.before.token())
	}
	w.changes = append(w.changes, ch)
}

// planEnd plans the end of an object: of one that is no longer in the configuration, of a
// deposed one or, to destroy, of any.
func (w *walk) planEnd(o *object) bool {
	key := o.key()
	forgets := w.kind == planning && w.run.Op != RefreshOnly && slices.Contains(w.run.Forget, key)
	if forgets && !w.l.script.World.OpenTofu { // it refreshes what it forgets
		w.add(&change{action: forget, name: o.name, before: o})
		return true
	}
	o, ok := w.readState(o)
	if !ok {
		return false
	}
	w.state.set(key, o)
	if o == nil || w.run.Op == RefreshOnly {
		return true
	}
	ch := &change{action: forget, name: o.name, before: o}
	if !forgets {
		ch, ok = w.planDestroy(o)
	}
	if ok {
		w.add(ch)
	}
	return ok
}

// apply applies a plan.
func (l *life) apply(run Run, config Config, st state, changes []*change) bool {
	kind := applying
	if run.Op == Destroy {
		kind = destroying
	}
	w := l.newWalk(kind, run, config, st)
	w.changes = changes
	var nodes []node
	if kind == applying {
		nodes = w.ephemeralNodes()
	}
	for _, ch := range changes {
		if ch.action == forget {
			w.record.count("forgotten", ch.before.token())
			delete(w.state, ch.name)
		}
		nodes = append(nodes, w.applyNodes(ch)...)
	}
	w.save()
	return w.walkGraph(nodes)
}

// save writes the state to disk unless Terraform has died.
func (w *walk) save() {
	if !w.l.killed.Load() {
		w.l.state = maps.Clone(w.state)
	}
}

// applyNodes returns the nodes of a change, in the order that core gives them.
func (w *walk) applyNodes(ch *change) []node {
	if ch.action == noOp || ch.action == forget {
		return nil
	}
	if ch.before != nil && ch.before.deposed != "" {
		key := ch.before.key()
		return []node{{"deposed " + key, w.providerOf(ch.before), []string{ch.name}, func(w *walk) bool { return w.applyDestroy(key, nil) }}}
	}
	var nodes []node
	if ch.action == destroy || ch.action == destroyAndCreate {
		var dependents []string // those to end before
		for _, other := range w.changes {
			if other.before != nil && other.before.after == ch.name && other != ch {
				dependents = append(dependents, "destroy "+other.name)
			}
		}
		destroys := func(w *walk) bool { return w.applyDestroy(ch.name, ch.private) }
		nodes = append(nodes, node{"destroy " + ch.name, w.providerOf(ch.before), dependents, destroys})
	}
	if ch.action == destroy {
		return nodes
	}
	s := w.config.session(ch.name)
	deposed := ""
	if ch.action == createAndDestroy {
		w.l.deposals++
		deposed = fmt.Sprint(" #", w.l.deposals)
		users := []string{ch.name}
		for _, s := range w.config.Sessions {
			if s.After == ch.name {
				users = append(users, s.Name)
			}
		}
		nodes = append(nodes, node{"deposed " + ch.name, s.Provider, users, func(w *walk) bool { return w.applyDestroy(ch.name+deposed, nil) }})
	}
	return append(nodes, node{ch.name, s.Provider, []string{s.After, "destroy " + ch.name}, func(w *walk) bool { return w.applySession(s, ch, deposed) }})
}

// applySession creates or updates a session. If deposed is set, the old one is first set
// aside under this name.
func (w *walk) applySession(s *Session, ch *change, deposed string) bool {
	if deposed != "" {
		w.state.move(s.Name, s.Name, deposed)
		w.save()
	}
	o := w.state[s.Name]
	now, ok := w.plan(s, o, ch)
	ok = ok && w.checkPlanned(ch, now)
	if ok && now.action != noOp {
		if o, ok = w.apply(now, s.values()); o != nil {
			o.after = s.After
		}
	}
	w.state.set(s.Name, o)
	if !ok && deposed != "" && o == nil {
		w.state.move(s.Name+deposed, s.Name, "")
	}
	w.save()
	return ok
}

// applyDestroy destroys an object as planned. A deposed one, core plans once more.
func (w *walk) applyDestroy(key string, private []byte) bool {
	o := w.state[key]
	ch := &change{action: destroy, name: o.name, before: o, private: private}
	if o.deposed != "" {
		again, ok := w.planDestroy(o)
		if !ok {
			return false
		}
		ch = again
		w.record.count("deposed", o.token())
	}
	o, ok := w.apply(ch, nil)
	w.state.set(key, o)
	w.save()
	return ok
}

// invoke is terraform apply -invoke of the action, for the token of a session.
func (l *life) invoke(run Run, config Config, o *object) bool {
	invoked := func(kind walkKind) bool {
		w := l.newWalk(kind, run, config, l.state)
		return w.walkGraph([]node{{"action", o.provider, nil, func(w *walk) bool { return w.action(o.token()) }}})
	}
	return invoked(planning) && invoked(applying)
}

func (w *walk) action(token string) bool {
	const name = sessionType + "_revoke"
	packed := schemas().action.pack(values{"auth_token": str(token)})
	if w.kind == planning {
		_, ok := call(w, "action", w.p.server.ValidateActionConfig, &tfprotov6.ValidateActionConfigRequest{ActionType: name, Config: packed})
		if ok {
			_, ok = call(w, "action", w.p.server.PlanAction, &tfprotov6.PlanActionRequest{ActionType: name, Config: packed})
		}
		return ok
	}
	w.record.count("delete", token)
	stream, ok := rpc(w, w.p.server.InvokeAction, &tfprotov6.InvokeActionRequest{ActionType: name, Config: packed})
	if !ok {
		return false
	}
	var events []tfprotov6.InvokeActionEvent
	w.l.await(func() { events = slices.Collect(stream.Events) })
	failed := false
	for _, event := range events {
		switch event := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			w.report("action", []*tfprotov6.Diagnostic{{Severity: tfprotov6.DiagnosticSeverityWarning, Summary: event.Message}})
		case tfprotov6.CompletedInvokeActionEventType:
			failed = w.report("action", event.Diagnostics)
		}
	}
	if !failed {
		w.record.count("reported revoked", token)
	}
	return !failed
}
