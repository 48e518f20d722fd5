// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// check checks what must be true after a run that began with a state.
func (l *life) check(before state) {
	lost := l.learn()
	l.checkAlive(lost)
	l.checkDead()
	l.checkRevoked()
	l.checkAttempts()
	l.checkLogins()
	l.checkPlaces()
	l.checkState()
	if secret := l.secretIn(string(must(os.ReadFile(l.log.Name())))); secret != "" {
		l.violated("secret logged", "%s", secret)
	}
	if l.record.took > 3*time.Hour {
		l.violated("hang", "the run took %s", l.record.took)
	}
	if l.record.healthy = l.healthy(before); l.record.healthy {
		l.checkHealthy(before)
	}
}

// checkAlive: every live token is in the state, or the user has been told about it by id,
// or as one of the sessions whose answers were lost.
func (l *life) checkAlive(lost int) {
	r := l.record
	held := map[string]bool{}
	for _, o := range l.state {
		held[o.token()] = true
	}
	untold := 0
	for _, t := range l.tokens() {
		if t.endedIn >= 0 || held[t.text] || t.elsewhere || t.settled || r.reported(t.text, true) {
			if t.endedIn < 0 && !held[t.text] {
				t.settled = true
			}
			continue
		}
		t.settled = true
		switch {
		case r.held[t.text].NoRevoke, r.has("forgotten", t.text): // the user wants it so
		case r.has("said dead", t.text): // Flame lied
		case l.killed.Load() && (t.lost || r.has("answered", t.text) || r.sent(t, flametest.OpRevoke) > 0 || r.hinders(t.api)):
			// Nobody is left to be told.
		case r.held[t.text].Name != "" && !r.has("closed", t.text) && (r.sent(t, flametest.OpRevoke) > 0 || r.hinders(t.api)):
			// Its revocation at exit failed. Nobody can be told.
		case t.lost:
			untold++
		default:
			l.violated("orphan", "the token of session %s of %s at %q is alive, nobody holds it, and nobody was told", id(t.text), t.user, t.api)
		}
	}
	// Core drops the warnings of the plan that refreshes the state before a destroy.
	if told := r.losses(r.run.Op == Destroy); told < untold {
		l.violated("lost in silence", "%d sessions were lost, and %d were told", untold, told)
	}
	if told := r.losses(true); told > lost {
		l.violated("loss made up", "%d losses were told, and %d can have been", told, lost)
	}
}

// checkDead: no token that this run has ended is in the state, or was in an ephemeral
// session's hands, unless the user has been told by its id.
func (l *life) checkDead() {
	r := l.record
	if l.killed.Load() {
		return
	}
	for _, t := range l.tokens() {
		// A server that keeps a limited number of tokens is found out by the next refresh.
		evicted := l.script.World.MaxTokens > 0 && t.endedBy == "POST"
		if t.endedIn != r.index || t.endedBy == "" || evicted || l.misled(t.ender.process, t) {
			continue
		}
		// Core drops the warnings of the plan that refreshes the state before a destroy.
		if r.reported(t.text, r.run.Op == Destroy && t.ender.process.kind == planning) {
			continue
		}
		for _, o := range l.state { // what is deposed is to end anyway
			if o.deposed == "" && o.token() == t.text && l.foresees(t, o.name) {
				l.violated("dead in state", "the token of session %s (%s) was ended by a %s of this run, and nobody was told", id(t.text), o.name, t.endedBy)
			}
		}
		if r.has("died in use", t.text) && l.foresees(t, r.held[t.text].Name) {
			l.violated("dead in use", "the token of session %s, held by the ephemeral %s, was ended by a %s of this run, and nobody was told", id(t.text), r.held[t.text].Name, t.endedBy)
		}
	}
}

// atExit reports whether the token of an ephemeral session may have been revoked at exit:
// core did not close it, or that failed.
func (r *record) atExit(token string) bool {
	failed := func(d diagnostic) bool {
		return strings.Contains(d.text, "Could not revoke the ephemeral Flame session "+id(token))
	}
	return r.held[token].Name != "" && (!r.has("closed", token) || slices.ContainsFunc(r.diagnostics, failed))
}

// misled reports whether a process cannot know what happens to a token: of its user, it was
// shown a session that was imported under the name of another user, or was told by
// something between that a token is alive.
func (l *life) misled(p *dialer, t *token) bool {
	for _, other := range l.tokens() {
		if other.api != t.api {
			continue
		}
		wrong := func(s shown) bool {
			user := s.text("user")
			return other.elsewhere && other.text == s.text("auth_token") && user != "" && user != other.user && (user == t.user || other.user == t.user)
		}
		lie := other.user == t.user && slices.Contains(l.record.saidAlive, tokenIn{p, other.text})
		if lie || slices.ContainsFunc(l.record.shown[p], wrong) {
			return true
		}
	}
	return false
}

// foresees reports whether the run can know that it ends a token that somebody holds: the
// process that ended it was shown the holder, or the plan was and can say so, or pass it on.
func (l *life) foresees(t *token, holder string) bool {
	r := l.record
	sees := func(p *dialer) bool {
		return slices.ContainsFunc(r.shown[p], func(s shown) bool { return s.name == holder && s.text("auth_token") == t.text })
	}
	by := t.ender
	switch {
	case t.endedBy == "DELETE" && r.atExit(by.token):
		return false // nobody is left to be told
	case sees(by.process) && t.knewAlive:
		return true
	case by.process.kind != applying, r.run.Op == RefreshOnly:
		return false // a refresh-only plan shows what it keeps as little as an apply does
	case r.has("ends", t.text):
		return false // the plan ends it too, and that failed
	case r.run.Providers != nil, l.config.Providers[by.process.provider].Unknown:
		return false // the plan did not know the endpoint
	case t.endedBy == "DELETE" && by.token != t.text:
		return false // swept: what a revocation does is found out during apply, which does not show what is unchanged
	case t.endedBy == "DELETE" && (r.has("deposed", t.text) || r.held[t.text].Name != ""):
		return false // nothing that was planned reaches them
	}
	// Of a replacement that core forces, it drops the plan's warnings, and hands nothing to
	// those who create before they destroy.
	for _, o := range l.state {
		if o.deposed == "" && t.endedBy == "POST" && o.token() == by.token && slices.Contains(r.run.Replace, o.name) && l.config.cbd(o.name) {
			return false
		}
	}
	for p := range r.shown {
		if p.kind == planning && p.provider == by.process.provider && sees(p) {
			return !l.misled(p, t)
		}
	}
	return false
}

// checkState: the state says whose token it is, and of which API.
func (l *life) checkState() {
	for _, a := range l.apis {
		for _, o := range l.state {
			t := a.issued[o.token()]
			if t == nil || t.elsewhere {
				continue
			}
			if user, endpoint := o.values.text("user"), o.values.text("endpoint"); user != t.user || endpoint != url(t.api) {
				l.violated("wrong state", "%s is the session of %s at %s, not of %s at %s", o.name, user, endpoint, t.user, t.api)
			}
		}
	}
}

// checkRevoked: what was said to be revoked is dead.
func (l *life) checkRevoked() {
	for _, t := range l.tokens() {
		if l.record.has("reported revoked", t.text) && t.endedIn < 0 && !l.record.has("said dead", t.text) {
			l.violated("not revoked", "the action reported success for session %s, which is alive", id(t.text))
		}
	}
}

// checkAttempts: no request is retried more often than max_retries says, and nothing is
// sent for a session that was let go.
func (l *life) checkAttempts() {
	attempts := 1
	for _, p := range append(l.config.Providers, l.record.run.Providers...) {
		if p.Retries == 0 {
			p.Retries = 5
		}
		attempts = max(attempts, p.Retries+1)
	}
	r := l.record
	type kind struct {
		op    flametest.Operation
		about string // the token, or the account
	}
	sent := map[kind]int{}
	doubtful := map[kind]bool{} // calls that may have been carried out, so that a check follows
	for _, a := range l.apis {
		for _, request := range r.journal[a.name] {
			about := request.Token
			if user, _ := credentialsOf(request); request.Op == flametest.OpOpen {
				about = a.name + " " + user
			}
			if request.Status != 429 { // those do not count
				sent[kind{request.Op, about}]++
			}
			if request.Op != flametest.OpCheck && (request.Status == 0 || request.Status >= 500) {
				doubtful[kind{request.Op, about}] = true
			}
		}
	}
	for k, n := range sent {
		ephemeral := 0
		if r.held[k.about].Name != "" {
			ephemeral = 1
		}
		calls := 0
		switch k.op {
		case flametest.OpOpen:
			calls = r.counts[fact{"open", k.about}]
		case flametest.OpCheck: // and two to find out the account's kind
			calls = r.counts[fact{"read", k.about}] + r.counts[fact{"delete", k.about}] + 2 + 2*ephemeral + len(doubtful)
		case flametest.OpRevoke: // with access_token too, and for what cannot be kept, closed, and again at exit
			calls = 2*r.counts[fact{"delete", k.about}] + 2 + 4*ephemeral
			if l.script.World.Kind != flametest.Shared && r.has("let go", k.about) {
				l.violated("let go", "a DELETE was sent for session %s", id(k.about))
			}
		}
		if n > calls*attempts {
			l.violated("too many attempts", "%d of %s for %d calls", n, k.op, calls)
		}
	}
}

// checkLogins: the first login of a user and password goes alone, and once refused, no
// other is sent by that process. Others may be on their way when one is refused.
func (l *life) checkLogins() {
	type login struct {
		process        *dialer
		user, password string
	}
	for _, a := range l.apis {
		refusedAt, accepted := map[login]time.Time{}, map[login]bool{}
		for _, request := range l.record.journal[a.name] {
			if request.Op != flametest.OpOpen {
				continue
			}
			user, password := credentialsOf(request)
			key := login{a.processOf(request), user, password}
			first, again := refusedAt[key]
			if again && (!accepted[key] || request.Arrived.Sub(first) > l.latency()) {
				l.violated("refused twice", "a login of %s at %q", user, a.name)
			}
			if request.Status == 401 && !again {
				refusedAt[key] = request.Arrived
			}
			accepted[key] = accepted[key] || request.Status/100 == 2
		}
	}
}

// checkPlaces: each token and each password goes only to where it belongs.
func (l *life) checkPlaces() {
	configured := map[string]bool{}
	for _, p := range append(l.config.Providers, l.record.run.Providers...) {
		configured[p.api()] = true
	}
	for _, a := range l.apis {
		for _, request := range l.record.journal[a.name] {
			if request.Op == flametest.OpOpen && !configured[a.name] {
				l.violated("wrong place", "a login at %q, which no provider block names", a.name)
			}
			if request.Token != "" && a.issued[request.Token] == nil {
				l.violated("wrong place", "a %s at %q with a token that is not its own", request.Method, a.name)
			}
			if request.Status == 400 && !request.Faulted && !l.script.World.WantsToken || request.Status == 406 {
				l.violated("malformed request", "%s %s", request.Method, request.Path)
			}
		}
	}
}

// healthy reports whether nothing went wrong in the run, and no user has two sessions.
func (l *life) healthy(before state) bool {
	w, run := l.script.World, l.record.run
	if len(run.Faults) > 0 || run.Cancel > 0 || run.Kill > 0 || w.Slow > 0 || run.Providers != nil {
		return false
	}
	owners := map[string]string{} // by user: the name of the session
	alone := func(name string, provider int, user, password string) bool {
		p := l.config.Providers[provider]
		given := cmp.Or(p.User, users[0]) // with the provider's password
		if user == "" && password == "right" && p.User != "" {
			return false // it is right for the environment's user
		}
		user = cmp.Or(user, given)
		known := password == "right" || password == "" && user == given && (p.Password == "right" || p.Password == "" && user == users[0])
		_, taken := owners[user]
		owners[user] = name
		return !taken && known && !p.Unknown && p.API != "down"
	}
	for _, s := range l.config.Sessions {
		if !alone(s.Name, s.Provider, s.User, s.Password) {
			return false
		}
	}
	for _, e := range l.config.Ephemerals {
		if !alone(e.Name, e.Provider, e.User, e.Password) {
			return false
		}
	}
	for _, o := range l.state {
		if o.deposed != "" {
			return false
		}
	}
	for _, o := range before { // what is no longer in the configuration
		if owner, taken := owners[o.values.text("user")]; taken && owner != o.name {
			return false
		}
	}
	for _, i := range run.Import {
		s := l.config.session(i.Name)
		if cmp.Or(s.User, l.config.Providers[s.Provider].User, users[0]) != i.User {
			return false
		}
	}
	return true
}

// checkHealthy: with nothing wrong, the command succeeds, sends exactly the requests that
// the documentation's table says, and leaves nothing to do.
func (l *life) checkHealthy(before state) {
	r := l.record
	if !r.ok {
		l.violated("healthy run failed", "%s: %s", r.run.Op, r.errors())
		return
	}
	got, want := map[string]int{}, map[string]int{}
	for _, journal := range r.journal {
		for _, request := range journal {
			got[request.Method]++
		}
	}
	for fact, n := range r.counts {
		switch fact.what {
		case "open":
			want["POST"] += n
		case "read":
			want["GET"] += n
		case "delete":
			want["DELETE"] += n
		case "let go":
			want["DELETE"] -= n
		}
	}
	for _, e := range r.held {
		if !e.NoRevoke {
			want["DELETE"]++
		}
	}
	extra := map[string]int{"GET": r.findsOut()}
	for _, method := range []string{"POST", "GET", "DELETE"} {
		if surplus := got[method] - want[method]; (surplus < 0 || surplus > extra[method]) && (method != "DELETE" || !l.script.World.WantsToken) && l.script.World.Kind == flametest.Independent {
			l.violated("requests", "%d %ss, want %d", got[method], method, want[method])
		}
	}
	if r.run.Op == Destroy && len(r.run.Target) == 0 && len(l.state) > 0 {
		l.violated("destroy left something", "%d of %d objects", len(l.state), len(before))
	}
	if r.run.Op == Apply && r.run.Refresh == "" && len(r.run.Target) == 0 {
		l.checkApplied()
	}
}

// findsOut returns how many requests the run may send to find out what a login and a
// revocation do to a user's other sessions: two for each user of which a process knows
// several. A session of which neither user is known may be anybody's.
func (r *record) findsOut() (n int) {
	same := func(a, b shown) bool {
		unknown := func(name string) bool { return a.text(name) == "" || b.text(name) == "" }
		switch {
		case a.text("endpoint") != b.text("endpoint"):
			return false
		case !unknown("user_id"):
			return a.text("user_id") == b.text("user_id")
		}
		return unknown("user") || a.text("user") == b.text("user")
	}
	for _, all := range r.shown {
		var several []shown // one of each user
		for _, a := range all {
			other := func(b shown) bool { return same(a, b) && a.text("auth_token") != b.text("auth_token") }
			if slices.ContainsFunc(all, other) && !slices.ContainsFunc(several, func(b shown) bool { return same(a, b) }) {
				several = append(several, a)
			}
		}
		n += 2 * len(several)
	}
	return n
}

// checkApplied: after an apply every token is alive, and a plan has nothing to do.
func (l *life) checkApplied() {
	for _, t := range l.tokens() {
		for _, o := range l.state {
			if o.token() == t.text && t.endedIn == l.record.index {
				return // checkDead has said so
			}
			provider := o.provider
			if s := l.config.session(o.name); s != nil {
				provider = s.Provider
			}
			if o.token() == t.text && t.endedIn >= 0 && !l.config.Providers[provider].NoVerify {
				l.violated("dead after apply", "%s", o.name)
			}
		}
	}
	if len(l.config.Ephemerals) > 0 {
		return
	}
	_, changes, ok := l.plan(planning, Run{Op: PlanOnly}, l.config, l.state)
	if !ok {
		l.violated("healthy run failed", "the plan after it: %s", l.record.errors())
		return
	}
	for _, ch := range changes {
		if ch.action != noOp {
			l.violated("plan not empty", "%s: %s", ch.name, ch.action)
		}
	}
}

// hinders reports whether an API kept the provider from revoking what nobody waits for: it
// failed, or asked to wait.
func (r *record) hinders(api string) bool {
	return slices.ContainsFunc(r.run.Faults, func(f Fault) bool {
		return f.API == api && (f.Op == flametest.OpRevoke || f.What == "down" || faults[f.What].Header.Get("Retry-After") != "")
	})
}

// sent counts the requests of an operation with a token.
func (r *record) sent(t *token, op flametest.Operation) (n int) {
	for _, request := range r.journal[t.api] {
		if request.Op == op && request.Token == t.text {
			n++
		}
	}
	return n
}

var lossTexts = regexp.MustCompile(`Flame may have opened (?:a session, but its token|(\d+) sessions, but their tokens) never arrived|but (?:an answer to an earlier attempt|(\d+) answers to earlier attempts) never arrived`)

// losses counts the lost sessions that the user was told of.
func (r *record) losses(droppedToo bool) (n int) {
	for _, d := range r.diagnostics {
		if d.dropped && !droppedToo {
			continue
		}
		for _, match := range lossTexts.FindAllStringSubmatch(d.text, -1) {
			count := 1
			for _, digits := range match[1:] {
				if digits != "" {
					count, _ = strconv.Atoi(digits)
				}
			}
			n += count
		}
	}
	return n
}

func (r *record) errors() (all []string) {
	for _, d := range r.diagnostics {
		if d.isError {
			all = append(all, fmt.Sprintf("%s: %.300s", d.about, d.text))
		}
	}
	return all
}
