// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// life is a script while it is lived.
type life struct {
	mu sync.Mutex // guards the life and all that belongs to it; see await

	script      Script
	folder      string
	apis        []*api
	config      Config
	state       state
	record      *record
	walk        *walk             // the latest
	elsewhere   map[string]string // by session name: the token to import
	deposals    int               // so far, to tell deposed objects apart
	killed      atomic.Bool
	interrupted bool
	requests    int  // of the run
	counting    bool // they are the run's own
	signal      *time.Timer
	sent        map[string]int    // requests, by what tells them apart
	secrets     map[string]string // and what they are
	violations  []violation

	log   *os.File
	turns turns
}

// await waits without the lock. The driver holds it at all other times, so its code needs
// no locks of its own. Nobody may sleep with the lock: simulated time passes only while
// every goroutine sleeps, and one that waits for a mutex does not count as asleep.
func (l *life) await(wait func()) {
	l.mu.Unlock()
	defer l.mu.Lock()
	wait()
}

func (l *life) sleep(d time.Duration) { l.await(func() { time.Sleep(d) }) }

// violation is a promise that was broken.
type violation struct{ rule, detail string }

// token is what the model knows of a token.
type token struct {
	text, api, user string
	lost            bool    // the answer that brought it was lost
	elsewhere       bool    // opened without Terraform
	endedIn         int     // the run that ended it, -1: none
	endedBy         string  // the method of the request that did, "" if it was not the run's own
	ender           tokenIn // what sent that request, and the token that it brought or revoked
	knewAlive       bool    // the ender had seen that this token was alive
	settled         bool    // alive, and the user knows, or need not
}

// id is what the user reads of a token.
func id(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// fact is something that the model counts:
//   - what the provider is asked for: to "open" for an account; to "read", to "delete" or to
//     "let go" a token, or to end one that is "deposed";
//   - what core does to a token: it plans that it "ends", it has it "forgotten" or "closed";
//   - what became of a token: it "died in use", it was "answered" before Terraform died, it
//     was "reported revoked" by the action, or "said dead" by Flame, which lied.
type fact struct{ what, about string }

// record is what is known of one run.
type record struct {
	run   Run
	index int

	diagnostics []diagnostic
	counts      map[fact]int
	actions     map[string]int       // changes that were planned, by action
	shown       map[*dialer][]shown  // what each process was shown, or opened
	held        map[string]Ephemeral // tokens that ephemeral sessions held
	inUse       map[string]bool      // those that they hold just now
	saidAlive   []tokenIn            // dead tokens of which a process was told that they are alive
	ok          bool                 // the command succeeded
	healthy     bool                 // nothing went wrong, and no user has two sessions
	took        time.Duration
	states      []string                       // what Terraform then holds
	journal     map[string][]flametest.Request // by API
}

func newRecord(run Run, index int) *record {
	return &record{
		run: run, index: index, counts: map[fact]int{}, actions: map[string]int{}, shown: map[*dialer][]shown{},
		held: map[string]Ephemeral{}, inUse: map[string]bool{}, journal: map[string][]flametest.Request{},
	}
}

func (r *record) count(what, about string) { r.counts[fact{what, about}]++ }

func (r *record) has(what, about string) bool { return r.counts[fact{what, about}] > 0 }

func (r *record) hold(token string, e Ephemeral) {
	e.NoRevoke = e.NoRevoke || r.held[token].NoRevoke // one of those that share it leaves it alive
	r.held[token] = e
	r.inUse[token] = true
}

// reported reports whether the user has read what became of a token. That two sessions share
// one does not say that it is dead, or that nobody holds it any more. What core drops
// counts only for those who can say it nowhere else.
func (r *record) reported(token string, droppedToo bool) bool {
	return slices.ContainsFunc(r.diagnostics, func(d diagnostic) bool {
		return strings.Contains(d.text, id(token)) && (droppedToo || !d.dropped) && !strings.HasPrefix(d.text, "Two sessions share one Flame token")
	})
}

func (l *life) violated(rule, format string, args ...any) {
	l.violations = append(l.violations, violation{rule, fmt.Sprintf("run %d: ", l.record.index) + fmt.Sprintf(format, args...)})
}

// secretIn names the secret that a text holds, or returns "".
func (l *life) secretIn(text string) string {
	for secret := range l.secrets {
		if strings.Contains(text, secret) {
			return secret
		}
	}
	return ""
}

// admit is called by the fakes for each request before it is carried out. Requests that are
// under way at the same time overtake each other. At its request, Terraform is interrupted
// or killed: while the answer is awaited or, with an odd order, once it has arrived.
func (l *life) admit(api string, request flametest.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	user, password := credentialsOf(request)
	key := fmt.Sprint(api, request.Op, user, password, l.secrets[request.Token])
	l.sent[key]++
	var overtaken time.Duration
	if l.counting && l.record.run.Order > 0 {
		overtaken = time.Duration(chaos(l.record.run.Order, key, l.sent[key])%16) * time.Millisecond
	}
	l.sleep(overtaken)
	l.await(func() { l.turns.wait(key) })
	if !l.counting {
		return
	}
	l.requests++
	if run := l.record.run; l.requests == run.Kill || l.requests == run.Cancel {
		l.signal = time.AfterFunc(time.Nanosecond+time.Duration(run.Order%2)*l.latency(), l.signalled)
	}
}

// signalled kills or interrupts Terraform.
func (l *life) signalled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record.run.Kill > 0 {
		l.killed.Store(true)
		l.walk.kill()
	} else {
		l.interrupted = true
		l.walk.interrupt()
	}
}

// observe is called by the fakes for each request before it is answered.
func (l *life) observe(request flametest.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if request.Opened != "" && l.secrets[request.Opened] == "" {
		user, _ := credentialsOf(request)
		l.secrets[request.Opened] = fmt.Sprintf("token %d of %s", len(l.secrets)-len(passwords), user)
	}
	if !l.counting {
		return
	}
	for _, token := range request.Ended {
		if l.record.inUse[token] {
			l.record.count("died in use", token)
		}
	}
	if request.Opened != "" && !l.killed.Load() {
		l.record.count("answered", request.Opened)
	}
}

// live lives a script in a bubble, and returns what was violated and a record of each
// run. A goroutine that is left behind, and a deadlock, are violations too.
func live(t *testing.T, script Script) (violations []violation, records []*record) {
	folder := t.TempDir()
	l := &life{
		script: script, folder: folder, log: must(os.Create(filepath.Join(folder, "log"))), state: state{}, record: newRecord(Run{}, -1),
		elsewhere: map[string]string{}, sent: map[string]int{}, secrets: map[string]string{wrongPassword: "a password"},
	}
	defer l.log.Close()
	for _, password := range passwords {
		l.secrets[password] = "a password"
	}
	var bubble sync.WaitGroup // a failure in it ends its goroutine
	bubble.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				l.violated("hang", "%v", r)
			}
		}()
		synctest.Test(t, func(*testing.T) {
			l.newAPIs()
			l.mu.Lock()
			defer l.mu.Unlock()
			for i, run := range script.Runs {
				records = append(records, l.step(i, run))
				if len(l.violations) > 0 {
					break
				}
			}
			for _, a := range l.apis {
				l.await(a.fake.Close)
			}
		})
	})
	bubble.Wait()
	return l.violations, records
}

// step lives one run, and checks what must be true after it.
func (l *life) step(index int, run Run) *record {
	l.sleep(time.Duration(run.Wait) * time.Hour)
	if run.Config != nil {
		l.config = *run.Config
	}
	before := l.prepare(run)
	l.record = newRecord(run, index)
	l.requests, l.interrupted, l.counting = 0, false, true
	l.killed.Store(false)
	started := time.Now()
	l.record.ok = l.command(run)
	l.record.took = time.Since(started)
	if run.Op == PlanApply {
		l.record.took -= time.Duration(run.PlanAge) * time.Hour
	}
	if l.signal != nil {
		l.signal.Stop()
	}
	l.sleep(time.Second) // requests that nobody waits for any more arrive, too
	l.await(synctest.Wait)
	l.counting = false
	for _, a := range l.apis {
		l.record.journal[a.name] = a.fake.Journal()
	}
	l.record.states = l.describe()
	l.check(before)
	return l.record
}

// prepare does what happens before a run, and returns the state that it begins with.
func (l *life) prepare(run Run) state {
	l.inject(Run{})
	for _, i := range run.Import {
		a := l.api(l.config.Providers[l.config.session(i.Name).Provider].api())
		opened := l.openElsewhere(a, i.User)
		l.elsewhere[i.Name] = opened
		a.issued[opened] = &token{text: opened, api: a.name, user: i.User, elsewhere: true, endedIn: -1}
		for _, ended := range a.fake.Journal()[len(a.fake.Journal())-1].Ended {
			a.issued[ended].endedIn = len(l.script.Runs) // by nobody's run
		}
	}
	l.revokeElsewhere(run.Ends)
	for _, name := range run.Taint {
		if o := l.state[name]; o != nil {
			tainted := *o
			tainted.tainted = true
			l.state[name] = &tainted
		}
	}
	l.inject(run)
	return maps.Clone(l.state)
}

// revokeElsewhere revokes tokens of sessions without Terraform.
func (l *life) revokeElsewhere(names []string) {
	for _, a := range l.apis {
		for _, o := range l.state {
			t := a.issued[o.token()]
			if t != nil && (slices.Contains(names, o.name) || slices.Contains(names, "*")) && a.fake.Revoke(t.text) {
				t.endedIn = len(l.script.Runs)
			}
		}
	}
}

// command runs the command of a run, and reports whether it succeeded.
func (l *life) command(run Run) bool {
	config := l.config
	switch run.Op {
	case Invoke:
		for _, key := range slices.Sorted(maps.Keys(l.state)) {
			o := l.state[key]
			// Whoever names another endpoint sends the token there.
			if slices.Contains(run.Target, o.name) && o.values.text("endpoint") == url(config.Providers[o.provider].api()) {
				return l.invoke(run, config, o)
			}
		}
		return true
	case Destroy:
		// First a plan as usual, for the refreshed state; then one of destructions alone.
		st, ok := l.state, true
		if run.Refresh == "" && len(st) > 0 {
			st, _, ok = l.plan(planning, run, config, st)
		}
		if !ok {
			return false
		}
		st, changes, ok := l.plan(planningDestroy, run, config, st)
		return ok && l.apply(run, config, st, changes)
	}
	st, changes, ok := l.plan(planning, run, config, l.state)
	if !ok || run.Op == PlanOnly {
		return ok
	}
	if run.Op == PlanApply {
		l.sleep(time.Duration(run.PlanAge) * time.Hour)
		l.revokeElsewhere(run.PlanEnds)
		if run.Providers != nil {
			config.Providers = run.Providers
		}
	}
	return l.apply(run, config, st, changes)
}

// faultOf returns the fault of the nth request of an operation, from 1.
func (r *record) faultOf(api string, op flametest.Operation, n int) (what string) {
	for _, f := range r.run.Faults {
		if f.API == api && f.Op == op && f.First <= n && n <= f.Last {
			what = f.What
		}
	}
	return what
}

// tokenIn is a token in a process.
type tokenIn struct {
	process *dialer
	token   string
}

// learn takes in what the journals say of tokens. It returns how many logins may have
// been carried out although their answers were lost.
func (l *life) learn() (lost int) {
	for _, a := range l.apis {
		n := map[flametest.Operation]int{}
		seen := map[tokenIn]bool{}     // alive
		accepted := map[*dialer]bool{} // by process
		for _, r := range l.record.journal[a.name] {
			n[r.Op]++
			fault := l.record.faultOf(a.name, r.Op, n[r.Op])
			process, about, succeeded := a.processOf(r), cmp.Or(r.Token, r.Opened), r.Status/100 == 2
			opens, checks, revokes := r.Op == flametest.OpOpen, r.Op == flametest.OpCheck, r.Op == flametest.OpRevoke
			if !opens && (fault == "401" || fault == "401 Basic" && accepted[process] || revokes && (fault == "200 nothing" || fault == "cut")) {
				l.record.count("said dead", r.Token) // by Flame itself, as far as anybody can tell
			}
			accepted[process] = accepted[process] || succeeded
			if t := a.issued[r.Token]; checks && fault != "" && (succeeded || r.Status == 403) && t != nil && t.endedIn >= 0 {
				l.record.saidAlive = append(l.record.saidAlive, tokenIn{process, r.Token})
			}
			if succeeded && fault == "" {
				seen[tokenIn{process, about}] = true
			}
			isLost := opens && mayBeLost(fault, r.Status)
			if isLost {
				lost++
			}
			if opens && r.Status == 0 && fault == "" && l.script.World.Slow == 0 && !l.killed.Load() {
				l.violated("login aborted", "a POST at %q was on the wire, and nobody waited for its answer", a.name)
			}
			if r.Opened != "" && a.issued[r.Opened] == nil {
				user, _ := credentialsOf(r)
				a.issued[r.Opened] = &token{text: r.Opened, api: a.name, user: user, lost: isLost, endedIn: -1}
			}
			for _, ended := range r.Ended {
				if t := a.issued[ended]; t != nil && t.endedIn < 0 {
					t.endedIn, t.endedBy, t.ender, t.knewAlive = l.record.index, r.Method, tokenIn{process, about}, seen[tokenIn{process, ended}]
				}
			}
		}
	}
	return lost
}

// mayBeLost reports whether a login may have been carried out although its answer, with
// this fault, brought no token.
func mayBeLost(fault string, status int) bool {
	if fault == "503 wait" {
		return status == 0
	}
	return status == 0 || status >= 500 || slices.Contains([]string{"cut", "cut done", "200 HTML", "200 nothing"}, fault)
}

func credentialsOf(r flametest.Request) (user, password string) {
	var body struct{ User, Password string }
	_ = json.Unmarshal(r.Body, &body)
	return body.User, body.Password
}

// tokens returns all tokens.
func (l *life) tokens() (all []*token) {
	for _, a := range l.apis {
		for _, t := range a.issued {
			all = append(all, t)
		}
	}
	return all
}
