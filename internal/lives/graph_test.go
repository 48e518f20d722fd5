// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"context"
	"encoding/json"
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

// state is what Terraform keeps.
type state struct {
	current map[string]*object
	deposed map[string]*object // by name and number
}

func (s *state) clone() *state {
	return &state{maps.Clone(s.current), maps.Clone(s.deposed)}
}

// objects returns all objects.
func (s *state) objects() []*object {
	return append(slices.Collect(maps.Values(s.current)), slices.Collect(maps.Values(s.deposed))...)
}

// set sets the current object; nil removes it.
func (s *state) set(name string, o *object) {
	if delete(s.current, name); o != nil {
		s.current[name] = o
	}
}

type walkKind int

const (
	planning walkKind = iota
	planningDestroy
	applying
	destroying
)

// walk is one walk of the graph as one of its nodes sees it.
type walk struct {
	*graph
	slot int // when the node calls the provider; see turn
}

// graph has provider processes of its own.
type graph struct {
	l      *life
	kind   walkKind
	run    Run
	config Config
	drops  bool // core drops the warnings of this walk
	ctx    context.Context

	mu        sync.Mutex
	processes []*process
	started   map[int]func() *process
	state     *state
	changes   []*change
	stopped   bool
}

// node is a step of a walk.
type node struct {
	name  string
	after []string // names of other nodes; those that do not exist do not count
	do    func(*walk) bool
}

func (l *life) newWalk(kind walkKind, run Run, config Config, st *state) *walk {
	w := &walk{graph: &graph{l: l, kind: kind, run: run, config: config, state: st, started: map[int]func() *process{}}}
	ctx, cancel := context.WithCancel(context.Background())
	if l.script.World.Logged {
		ctx = tfsdklogtest.RootLogger(tflogtest.RootLogger(ctx, &l.log), &l.log)
	}
	w.ctx = ctx
	l.mu.Lock()
	defer l.mu.Unlock()
	l.interrupt, l.die = w.stop, cancel
	w.stopped = l.interrupted
	return w
}

// stop is Ctrl-C.
func (w *walk) stop() {
	w.mu.Lock()
	w.stopped = true
	processes := slices.Clone(w.processes)
	w.mu.Unlock()
	for _, p := range processes {
		_, _ = p.server.StopProvider(context.Background(), &tfprotov6.StopProviderRequest{})
	}
}

func (w *walk) isStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped || w.l.killed.Load()
}

// process returns the process of a provider configuration, or nil if it does not start.
func (w *walk) process(index int) *process {
	w.mu.Lock()
	start, ok := w.started[index]
	if !ok {
		start = sync.OnceValue(func() *process {
			p, ok := w.start(index, true)
			if !ok {
				return nil
			}
			return p
		})
		w.started[index] = start
	}
	w.mu.Unlock()
	return start()
}

// processOf returns the process that an object is ended by: that of the resource's
// block, or else the one in the state.
func (w *walk) processOf(o *object) *process {
	if s := w.config.session(o.name); s != nil {
		return w.process(s.Provider)
	}
	return w.process(o.provider)
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
func (w *walk) walkGraph(nodes []node) (ok bool) {
	done := map[string]chan struct{}{}
	failed := map[string]bool{}
	for _, n := range nodes {
		done[n.name] = make(chan struct{})
	}
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			fine := true
			for _, before := range n.after {
				if ended, exists := done[before]; exists {
					<-ended
					w.mu.Lock()
					fine = fine && !failed[before]
					w.mu.Unlock()
				}
			}
			own := &walk{w.graph, 1 + (i+w.run.Order)%len(nodes)}
			own.turn()
			if !fine || w.isStopped() || !n.do(own) {
				w.mu.Lock()
				failed[n.name] = true
				w.mu.Unlock()
			}
			close(done[n.name])
		})
	}
	all.Wait()
	w.l.record.release("")
	w.end()
	return len(failed) == 0 && !w.isStopped()
}

// included reports whether -target includes a resource.
func (w *walk) included(name string) bool {
	if len(w.run.Target) == 0 || slices.Contains(w.run.Target, name) {
		return true
	}
	for _, s := range w.config.Sessions {
		if w.kind != planningDestroy && s.After == name && w.included(s.Name) {
			return true // a dependency of a target
		}
		if w.kind == planningDestroy && s.Name == name && s.After != "" && w.included(s.After) {
			return true // it depends on a target
		}
	}
	return slices.ContainsFunc(w.config.Ephemerals, func(e Ephemeral) bool {
		return w.kind != planningDestroy && e.After == name && slices.Contains(w.run.Target, e.Name)
	})
}

// ephemeralNodes open and close ephemeral sessions.
func (w *walk) ephemeralNodes() (nodes []node) {
	for _, e := range w.config.Ephemerals {
		if !w.included(e.Name) || w.kind == applying && w.l.script.World.OpenTofu && !w.needed(e.Name) {
			continue
		}
		var opened *openedSession
		last := []string{e.Name}
		for i := 0; i < len(last); i++ { // whatever depends on it
			for _, s := range w.config.Sessions {
				if s.After == last[i] {
					last = append(last, s.Name)
				}
			}
			for _, other := range w.config.Ephemerals {
				if other.After == last[i] {
					last = append(last, other.Name)
				}
			}
		}
		nodes = append(nodes,
			node{e.Name, []string{e.After}, func(w *walk) bool {
				if w.isPending(e.After) {
					return true
				}
				opened = w.open(e)
				return opened != nil
			}},
			node{"close " + e.Name, last, func(w *walk) bool { return w.close(e, opened) }},
		)
	}
	return nodes
}

type openedSession struct {
	token   string
	private []byte
}

// open returns nil if it fails.
func (w *walk) open(e Ephemeral) *openedSession {
	p := w.process(e.Provider)
	if p == nil {
		return nil
	}
	config := schemas().ephemeral.pack(e.values(w.kind == planning))
	validated, ok := rpc(w, p.server.ValidateEphemeralResourceConfig, &tfprotov6.ValidateEphemeralResourceConfigRequest{TypeName: sessionType, Config: config})
	if !ok || w.say(e.Name, validated.Diagnostics) {
		return nil
	}
	if w.kind != planning || !e.Applying && !p.config.Unknown {
		w.l.record.count("open", w.login(p, e.User))
	}
	response, ok := rpc(w, p.server.OpenEphemeralResource, &tfprotov6.OpenEphemeralResourceRequest{TypeName: sessionType, Config: config})
	if !ok || w.say(e.Name, response.Diagnostics) {
		return nil
	}
	result := schemas().ephemeral.unpack(response.Result)
	w.checkStored(e.Name, schemas().ephemeral, result, nil)
	token := result.text("auth_token")
	if token != "" {
		w.l.record.show(p, e.Name, result)
		w.l.record.hold(token, e)
		w.l.record.act("ephemeral")
	}
	return &openedSession{token, response.Private}
}

// isPending reports whether OpenTofu opens an ephemeral session only during apply: what it
// depends on has yet to change.
func (w *walk) isPending(after string) bool {
	if !w.l.script.World.OpenTofu || w.kind != planning {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for after != "" {
		if slices.ContainsFunc(w.changes, func(ch *change) bool { return ch.name == after && ch.action != noOp }) {
			return true
		}
		if s := w.config.session(after); s != nil {
			after = s.After
		} else {
			after = ""
		}
	}
	return false
}

// needed reports whether something that the plan changes depends on an ephemeral session:
// otherwise OpenTofu does not open it during apply.
func (w *walk) needed(name string) bool {
	for _, s := range w.config.Sessions {
		changes := func(ch *change) bool { return ch.name == s.Name && ch.action != noOp }
		if s.After == name && (slices.ContainsFunc(w.changes, changes) || w.needed(s.Name)) {
			return true
		}
	}
	return false
}

func (w *walk) close(e Ephemeral, opened *openedSession) bool {
	if opened == nil {
		return true
	}
	p := w.process(e.Provider)
	w.l.record.release(opened.token)
	response, ok := rpc(w, p.server.CloseEphemeralResource, &tfprotov6.CloseEphemeralResourceRequest{TypeName: sessionType, Private: opened.private})
	return ok && !w.say(e.Name, response.Diagnostics)
}

// plan is what core plans: the state after the refresh, and the changes.
type plan struct {
	config  Config
	state   *state
	changes []*change
	destroy bool
}

// plan plans a run.
func (l *life) plan(run Run, config Config, st *state, drops bool) (*plan, bool) {
	w := l.newWalk(planning, run, config, st.clone())
	w.drops = drops
	if !w.move() {
		w.end()
		return nil, false
	}
	nodes := w.ephemeralNodes()
	for _, s := range config.Sessions {
		if w.included(s.Name) {
			nodes = append(nodes, node{s.Name, []string{s.After}, func(w *walk) bool { return w.planSession(&s) }})
		}
	}
	for name := range w.state.current {
		if config.session(name) == nil && w.included(name) {
			nodes = append(nodes, node{name, nil, func(w *walk) bool { return w.planOrphan(name) }})
		}
	}
	for key, o := range w.state.deposed {
		if w.included(o.name) {
			nodes = append(nodes, node{key, nil, func(w *walk) bool { return w.planDeposed(key) }})
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return compare(a.name, b.name) })
	ok := w.walkGraph(nodes)
	return &plan{config: config, state: w.state, changes: w.changes}, ok
}

// move carries out moved blocks, before anything is planned.
func (w *walk) move() bool {
	for _, names := range w.run.Moved {
		if o := w.state.current[names[0]]; o != nil && w.state.current[names[1]] == nil {
			moved := *o
			moved.name = names[1]
			w.state.set(names[0], nil)
			w.state.set(names[1], &moved)
			for name, other := range w.state.current {
				if other.after == names[0] {
					depends := *other
					depends.after = names[1]
					w.state.set(name, &depends)
				}
			}
		}
	}
	for _, i := range w.run.Import {
		if i.How == "moved" && w.state.current[i.Name] == nil && !w.moveState(i) {
			return false
		}
	}
	return true
}

// moveState moves a terraform_data here, with a provider that is not configured.
func (w *walk) moveState(i Import) bool {
	index := w.config.session(i.Name).Provider
	p, ok := w.start(index, false)
	if !ok {
		return false
	}
	source, err := json.Marshal(map[string]any{"output": map[string]any{
		"value": map[string]any{"auth_token": w.l.elsewhere[i.Name], "user": i.User}, "type": []any{"object", map[string]string{}},
	}})
	if err != nil {
		panic(err)
	}
	response, ok := rpc(w, p.server.MoveResourceState, &tfprotov6.MoveResourceStateRequest{
		SourceProviderAddress: "terraform.io/builtin/terraform", SourceTypeName: "terraform_data",
		SourceState: &tfprotov6.RawState{JSON: source}, TargetTypeName: sessionType,
	})
	if !ok || w.say(i.Name, response.Diagnostics) {
		return false
	}
	o := &object{name: i.Name, provider: index, values: schemas().session.unpack(response.TargetState), private: response.TargetPrivate}
	w.checkStored(i.Name, schemas().session, o.values, o.private)
	w.state.set(i.Name, o)
	return true
}

// importState imports an object and refreshes it.
func (w *walk) importState(p *process, i Import) (*object, bool) {
	var id string
	if i.How == "file" {
		id = "file:" + filepath.Join(w.l.folder, "token")
		if err := os.WriteFile(filepath.Join(w.l.folder, "token"), []byte(w.l.elsewhere[i.Name]+"\n"), 0o600); err != nil {
			panic(err)
		}
	} else {
		name := "FLAME_LIVES_" + filepath.Base(filepath.Dir(w.l.folder))
		id = "env:" + name
		_ = os.Setenv(name, w.l.elsewhere[i.Name])
	}
	response, ok := rpc(w, p.server.ImportResourceState, &tfprotov6.ImportResourceStateRequest{TypeName: sessionType, ID: id})
	if !p.config.NoVerify {
		w.l.record.count("read", w.l.elsewhere[i.Name])
	}
	if !ok || w.say(i.Name, response.Diagnostics) {
		return nil, false
	}
	imported := response.ImportedResources[0]
	o := &object{name: i.Name, values: schemas().session.unpack(imported.State), private: imported.Private}
	w.checkStored(i.Name, schemas().session, o.values, o.private)
	if o, ok = w.refresh(p, o); o == nil && ok {
		w.l.record.add(said{about: i.Name, isError: true, text: "Cannot import non-existent remote object"})
		return nil, false
	}
	return o, ok
}

// planSession plans a session that is in the configuration.
func (w *walk) planSession(s *Session) bool {
	p := w.process(s.Provider)
	if p == nil {
		return false
	}
	w.mu.Lock()
	current := w.state.current[s.Name]
	w.mu.Unlock()
	ok, imported := true, false
	for _, i := range w.run.Import {
		if imported = i.Name == s.Name && i.How != "moved" && current == nil; imported {
			current, ok = w.importState(p, i)
			break
		}
	}
	if current != nil && !imported {
		current, ok = w.upgrade(p, current)
	}
	if ok && current != nil && !imported && w.run.Refresh == "" {
		current, ok = w.refresh(p, current)
	}
	if !ok {
		return false
	}
	if current != nil {
		depends := *current
		depends.after = s.After
		current = &depends
	}
	w.setCurrent(s.Name, current)
	if w.run.Op == RefreshOnly {
		return true
	}
	force := slices.Contains(w.run.Replace, s.Name)
	ch, ok := w.plan(p, s, current, nil, force, w.config.cbd(s.Name))
	if ok && w.run.Refresh == "minimal" && ch.action != noOp && current != nil && !imported {
		if current, ok = w.refresh(p, current); ok {
			w.setCurrent(s.Name, current)
			ch, ok = w.plan(p, s, current, nil, force, w.config.cbd(s.Name))
		}
	}
	if ok {
		w.add(ch)
		w.checkTakeover(p, s, ch)
	}
	return ok
}

// checkTakeover checks that a session that is imported or moved here is not replaced, if
// the configuration is that of its user.
func (w *walk) checkTakeover(p *process, s *Session, ch *change) {
	for _, i := range w.run.Import {
		if w.l.state.current[s.Name] != nil {
			return // so nothing is imported
		}
		fits := i.Name == s.Name && w.login(p, s.User) == p.config.api()+" "+i.User && !slices.Contains(w.run.Replace, s.Name)
		if fits && ch.before != nil && ch.before.token() == w.l.elsewhere[i.Name] && (ch.action == destroyAndCreate || ch.action == createAndDestroy) {
			w.l.violated("takeover replaced", "%s", s.Name)
		}
	}
}

func (w *walk) setCurrent(name string, o *object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state.set(name, o)
}

func (w *walk) add(ch *change) {
	if what := string(ch.action); ch.deposed == "" {
		w.l.record.act(what)
	} else {
		w.l.record.act(what + " deposed")
	}
	if ch.before != nil && ch.action != noOp && ch.action != update {
		w.l.record.count("ends", ch.before.token())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, ch)
}

// planOrphan plans the end of a session that is no longer in the configuration.
func (w *walk) planOrphan(name string) bool {
	w.mu.Lock()
	o := w.state.current[name]
	w.mu.Unlock()
	forgets := slices.Contains(w.run.Forget, name) && w.run.Op != RefreshOnly
	if forgets && !w.l.script.World.OpenTofu { // it refreshes what it forgets
		w.add(&change{action: forget, name: name, before: o})
		return true
	}
	o, ok := w.planEnd(o, "", forgets)
	w.setCurrent(name, o)
	return ok
}

// planDeposed plans the end of a deposed object.
func (w *walk) planDeposed(key string) bool {
	w.mu.Lock()
	o := w.state.deposed[key]
	w.mu.Unlock()
	o, ok := w.planEnd(o, key, false)
	w.mu.Lock()
	defer w.mu.Unlock()
	if o == nil && ok {
		delete(w.state.deposed, key)
	}
	return ok
}

// planEnd refreshes an object and plans its end.
func (w *walk) planEnd(o *object, deposed string, forgets bool) (*object, bool) {
	p := w.processOf(o)
	if p == nil {
		return o, false
	}
	refreshed, ok := w.upgrade(p, o)
	if ok && w.run.Refresh == "" && w.kind == planning {
		refreshed, ok = w.refresh(p, refreshed)
	}
	if !ok || refreshed == nil || w.run.Op == RefreshOnly {
		return refreshed, ok
	}
	ch := &change{action: forget, name: o.name, before: refreshed}
	if !forgets {
		ch, ok = w.planDestroy(p, refreshed, deposed)
	}
	if ok {
		w.add(ch)
	}
	return refreshed, ok
}

// planDestroyAll is the plan of terraform destroy: first a plan as usual, for the
// refreshed state, whose warnings core drops; then one of destructions alone.
func (l *life) planDestroyAll(run Run, config Config) (*plan, bool) {
	st := l.state
	if run.Refresh == "" && len(st.objects()) > 0 {
		refreshed, ok := l.plan(run, config, st, true)
		if !ok {
			return nil, false
		}
		st = refreshed.state
	}
	w := l.newWalk(planningDestroy, run, config, st.clone())
	var nodes []node
	for _, name := range slices.Sorted(maps.Keys(st.current)) {
		if w.included(name) {
			nodes = append(nodes, node{name, nil, func(w *walk) bool {
				_, ok := w.planEnd(st.current[name], "", false)
				return ok
			}})
		}
	}
	for key, o := range st.deposed {
		if w.included(o.name) {
			nodes = append(nodes, node{key, nil, func(w *walk) bool { return w.planDeposed(key) }})
		}
	}
	ok := w.walkGraph(nodes)
	return &plan{config: config, state: w.state, changes: w.changes, destroy: true}, ok
}

// apply applies a plan.
func (l *life) apply(run Run, pl *plan, config Config) bool {
	kind := applying
	if pl.destroy {
		kind = destroying
	}
	w := l.newWalk(kind, run, config, pl.state)
	w.changes = pl.changes
	var nodes []node
	if !pl.destroy {
		nodes = w.ephemeralNodes()
	}
	for _, ch := range pl.changes {
		if ch.action == forget {
			w.l.record.forget(ch.before)
			w.state.set(ch.name, nil)
		}
		nodes = append(nodes, w.applyNodes(pl, ch)...)
	}
	slices.SortFunc(nodes, func(a, b node) int { return compare(a.name, b.name) })
	w.commit(nil)
	return w.walkGraph(nodes)
}

// commit changes the state, and writes it to disk unless Terraform has died.
func (w *walk) commit(changed func(*state)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.l.killed.Load() {
		return
	}
	if changed != nil {
		changed(w.state)
	}
	w.l.state = w.state.clone()
}

// applyNodes returns the nodes of a change, in the order that core gives them.
func (w *walk) applyNodes(pl *plan, ch *change) []node {
	w.l.deposals++
	key := fmt.Sprint(ch.name, " #", w.l.deposals)
	var dependents []string // those to end before
	for _, other := range pl.changes {
		if other.before != nil && other.before.after == ch.name && other != ch {
			dependents = append(dependents, "destroy "+other.name)
		}
	}
	destroyIt := node{"destroy " + ch.name, dependents, func(w *walk) bool { return w.applyDestroy(ch) }}
	switch ch.action {
	case create, update:
		return []node{{ch.name, w.after(ch), func(w *walk) bool { return w.applySession(ch, "") }}}
	case destroyAndCreate:
		return []node{destroyIt, {ch.name, append(w.after(ch), destroyIt.name), func(w *walk) bool { return w.applySession(ch, "") }}}
	case createAndDestroy:
		after := []string{ch.name}
		for _, s := range w.config.Sessions {
			if s.After == ch.name {
				after = append(after, s.Name)
			}
		}
		return []node{
			{ch.name, w.after(ch), func(w *walk) bool { return w.applySession(ch, key) }},
			{"deposed " + ch.name, after, func(w *walk) bool { return w.destroyDeposed(key) }},
		}
	case destroy:
		if ch.deposed != "" {
			return []node{{"deposed " + ch.deposed, []string{ch.name}, func(w *walk) bool { return w.destroyDeposed(ch.deposed) }}}
		}
		return []node{destroyIt}
	}
	return nil
}

func (w *walk) after(ch *change) []string {
	return []string{w.config.session(ch.name).After}
}

// applySession creates or updates a session. If deposedAs is set, the old one is first
// set aside under this key.
func (w *walk) applySession(ch *change, deposedAs string) bool {
	s := w.config.session(ch.name)
	p := w.process(s.Provider)
	if p == nil {
		return false
	}
	if deposedAs != "" {
		w.commit(func(st *state) {
			st.deposed[deposedAs] = st.current[s.Name]
			st.set(s.Name, nil)
		})
	}
	w.mu.Lock()
	current := w.state.current[s.Name]
	w.mu.Unlock()
	now, ok := w.plan(p, s, current, ch, false, deposedAs != "")
	if ok {
		ok = w.checkPlanned(ch, now)
	}
	o := current
	if ok && now.action != noOp {
		o, ok = w.apply(p, now, current, s.values())
		if o != nil {
			o.after = s.After
		}
	}
	w.commit(func(st *state) {
		st.set(s.Name, o)
		if !ok && deposedAs != "" && o == nil {
			st.set(s.Name, st.deposed[deposedAs])
			delete(st.deposed, deposedAs)
		}
	})
	return ok
}

func (w *walk) applyDestroy(ch *change) bool {
	w.mu.Lock()
	current := w.state.current[ch.name]
	w.mu.Unlock()
	p := w.processOf(ch.before)
	if p == nil || current == nil {
		return false
	}
	o, ok := w.apply(p, &change{action: destroy, name: ch.name, private: ch.private, before: current}, current, nil)
	if w.l.killed.Load() {
		return false
	}
	w.commit(func(st *state) { st.set(ch.name, o) })
	return ok
}

// destroyDeposed plans the end of a deposed object once more, and carries it out.
func (w *walk) destroyDeposed(key string) bool {
	w.mu.Lock()
	o := w.state.deposed[key]
	w.mu.Unlock()
	if o == nil {
		return true
	}
	p := w.processOf(o)
	if p == nil {
		return false
	}
	ch, ok := w.planDestroy(p, o, key)
	if !ok {
		return false
	}
	w.l.record.count("deposed", o.token())
	left, ok := w.apply(p, ch, o, nil)
	w.commit(func(st *state) {
		if left == nil && ok {
			delete(st.deposed, key)
		}
	})
	return ok
}

// invoke is terraform apply -invoke of the action, for the token of a session.
func (l *life) invoke(run Run, config Config, o *object) bool {
	packed := schemas().action.pack(values{"auth_token": str(o.token())})
	for _, kind := range []walkKind{planning, applying} {
		w := l.newWalk(kind, run, config, l.state.clone())
		ok := w.walkGraph([]node{{"action", nil, func(w *walk) bool {
			p := w.process(o.provider)
			return p != nil && w.action(p, packed, o.token())
		}}})
		if !ok {
			return false
		}
	}
	return true
}

func (w *walk) action(p *process, packed *tfprotov6.DynamicValue, token string) bool {
	const name = sessionType + "_revoke"
	if w.kind == planning {
		validated, ok := rpc(w, p.server.ValidateActionConfig, &tfprotov6.ValidateActionConfigRequest{ActionType: name, Config: packed})
		if !ok || w.say("action", validated.Diagnostics) {
			return false
		}
		planned, ok := rpc(w, p.server.PlanAction, &tfprotov6.PlanActionRequest{ActionType: name, Config: packed})
		return ok && !w.say("action", planned.Diagnostics)
	}
	w.l.record.count("delete", token)
	stream, ok := rpc(w, p.server.InvokeAction, &tfprotov6.InvokeActionRequest{ActionType: name, Config: packed})
	if !ok {
		return false
	}
	failed := false
	for event := range stream.Events {
		switch event := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			w.say("action", []*tfprotov6.Diagnostic{{Severity: tfprotov6.DiagnosticSeverityWarning, Summary: event.Message}})
		case tfprotov6.CompletedInvokeActionEventType:
			failed = w.say("action", event.Diagnostics)
		}
	}
	w.l.record.revoked = append(w.l.record.revoked, outcome{token, !failed})
	return !failed
}
