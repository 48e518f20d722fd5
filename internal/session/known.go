// SPDX-License-Identifier: MPL-2.0

package session

import (
	"context"
	"slices"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// known is a session that a run was shown, or has opened.
type known struct {
	Held
	number    int // in the order in which the run learned of them
	status    status
	opened    bool // by this run
	refreshed bool // by this run
	kept      bool // a plan of this run leaves it as it is
	sawAfter  int  // how many revocations of the account this run had sent when it saw the token alive
	leaving   bool // its instance no longer holds the token
	revoked   bool // this run revokes it, or its plan does
}

// status is what a run knows of a token.
type status int

const (
	unchecked status = iota
	alive
	doubtful // alive, until another session of the user was opened or revoked
	dead
)

// knownLocked returns what the run knows of the session that an instance holds.
func (r *Run) knownLocked(held Held) *known {
	k, ok := r.sessions[held.Instance]
	if !ok || k.key() != held.key() {
		r.learned++
		k = &known{Held: held, sawAfter: r.behaviorLocked(held.Account).revocations, number: r.learned, refreshed: ok && k.refreshed}
		r.sessions[held.Instance] = k
	}
	if held.Account.UserID != "" {
		k.Account.UserID = held.Account.UserID
	}
	return k
}

// holdersLocked returns the other instances that hold the same token.
func (r *Run) holdersLocked(held Held) []*known {
	return r.filterLocked(func(k *known) bool {
		return k.Instance != held.Instance && !k.leaving && k.key() == held.key()
	})
}

// holders returns the other instances that hold the same token.
func (r *Run) holders(held Held) (holders []Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.holdersLocked(held) {
		holders = append(holders, k.Held)
	}
	return holders
}

// othersLocked returns the sessions of the same account with other tokens, which are held.
func (r *Run) othersLocked(held Held) []*known {
	return r.filterLocked(func(k *known) bool {
		return k.Instance != held.Instance && !k.leaving && k.key() != held.key() && k.Account.same(held.Account)
	})
}

// ephemeralLocked returns the ephemeral sessions of the same account with other tokens that
// this run has opened, closed or not.
func (r *Run) ephemeralLocked(held Held) []*known {
	return r.filterLocked(func(k *known) bool {
		return k.Ephemeral && k.key() != held.key() && k.Account.same(held.Account)
	})
}

// filterLocked returns sessions in the order in which the run learned of them.
func (r *Run) filterLocked(matches func(*known) bool) (matching []*known) {
	for _, k := range r.sessions {
		if matches(k) {
			matching = append(matching, k)
		}
	}
	slices.SortFunc(matching, func(a, b *known) int { return a.number - b.number })
	return matching
}

// liveLocked returns the other sessions of the same account that are known to be alive.
func (r *Run) liveLocked(held Held) (live []*known) {
	for _, k := range r.othersLocked(held) {
		if k.status == alive {
			live = append(live, k)
		}
	}
	return live
}

// Suspects returns the sessions of the same account whose logins may have ended a session
// that was found dead.
func (r *Run) Suspects(held Held) (suspects []Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.liveLocked(held) {
		if !k.Ephemeral {
			suspects = append(suspects, k.Held)
		}
	}
	for _, k := range r.ephemeralLocked(held) {
		suspects = append(suspects, k.Held)
	}
	return suspects
}

// claim records that an instance holds a token, and reports whether another one
// does too.
func (r *Run) claimLocked(held Held) (shared bool) {
	k := r.knownLocked(held)
	k.Ending, k.leaving = false, false
	if len(r.holdersLocked(held)) == 0 {
		return false
	}
	r.behaviorLocked(held.Account).shared = true
	return true
}

// logins returns how many logins for the account this run has made.
func (r *Run) logins(account Account) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.behaviorLocked(account).logins
}

// sawAlive records that Flame has accepted the token of an instance. loginsBefore is how
// many logins there were before it was asked: a later one may have ended the token, and
// then it returns false.
func (r *Run) sawAlive(held Held, loginsBefore int) bool {
	if held.Instance == "" {
		return true // nothing holds it yet: an import
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.behaviorLocked(held.Account)
	if b.logins != loginsBefore && !b.loginsEndNothing() {
		r.knownLocked(held).status = doubtful
		return false
	}
	k := r.knownLocked(held)
	k.status, k.sawAfter = alive, b.revocations
	if !b.coexist && held.Account.isKnown() {
		b.coexist = slices.ContainsFunc(r.liveLocked(held), func(k *known) bool { return k.Account.isKnown() })
	}
	return true
}

// sawDead records that a token no longer works.
func (r *Run) sawDead(held Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(held)
}

// markRevoked records that this run revokes a token, before it does: what is planned
// meanwhile has to know.
func (r *Run) markRevoked(held Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviorLocked(held.Account).revocations++
	if held.Instance != "" { // and not the action
		r.knownLocked(held).revoked = true
	}
}

// sawSwept records that a token was dead when it was to be revoked. It reports whether this
// run had seen it alive, and has revoked another one of the account since.
func (r *Run) sawSwept(held Held) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, b := r.knownLocked(held), r.behaviorLocked(held.Account)
	seen := k.status == alive || k.status == doubtful
	swept := seen && b.revocations > k.sawAfter+1 // its own is one of them
	b.sweeps = b.sweeps || swept
	return swept
}

// endLocked records that a token is dead, whichever instances hold it.
func (r *Run) endLocked(held Held) {
	for _, k := range r.filterLocked(func(k *known) bool { return k.key() == held.key() }) {
		k.status, k.leaving = dead, true
	}
}

// wouldEnd returns a live session that a login for the instance would end, as this run
// has seen logins do.
func (r *Run) wouldEnd(held Held) (other Held, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.behaviorLocked(held.Account).supersedes {
		return Held{}, false
	}
	if live := r.liveLocked(held); len(live) > 0 {
		return live[0].Held, true
	}
	return Held{}, false
}

// wouldSweep returns the live sessions that a revocation would end, as this run has seen
// revocations do.
func (r *Run) wouldSweep(held Held) (others []Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// If the user is not known, it may be any of the endpoint's.
	if !slices.ContainsFunc(r.behaviors, func(b *behavior) bool { return b.sweeps && b.account.same(held.Account) }) {
		return nil
	}
	for _, k := range r.liveLocked(held) {
		others = append(others, k.Held)
	}
	return others
}

// doubtLocked puts the live sessions of an account in doubt, until one of them, the witness,
// shows what was done to it. It returns nil if there is none.
func (r *Run) doubtLocked(held Held) (witness *known) {
	for _, k := range r.liveLocked(held) {
		k.status = doubtful
	}
	return bestWitness(r.doubtfulLocked(held.Account))
}

// bestWitness returns a session whose user is known, if there is one, or else any.
func bestWitness(sessions []*known) (witness *known) {
	for _, k := range sessions {
		if witness == nil || k.Account.isKnown() {
			witness = k
		}
	}
	return witness
}

// Casualties are what a login or a revocation did to other live sessions of the account.
type Casualties struct {
	Ended   []Held // dead since
	Doubted []Held // alive until then; what became of them could not be checked
}

// loginEnded finds out whether a login has ended another session. It checks one session,
// once for each account. If it is not certain that the login was carried out, or that the
// other session is of the same user, its survival says nothing.
func (r *Run) loginEnded(ctx context.Context, held Held, certain bool) Casualties {
	r.mu.Lock()
	b := r.behaviorLocked(held.Account)
	if b.shared || b.coexist || len(r.liveLocked(held)) == 0 {
		r.mu.Unlock()
		return Casualties{}
	}
	witness := r.doubtLocked(held)
	if b.loginChecked {
		defer r.mu.Unlock()
		return r.doubtedLocked(held.Account, b.loginCheckFailed)
	}
	b.loginChecked = true
	r.mu.Unlock()
	return r.askWitness(ctx, held.Account, witness, &b.loginCheckFailed, func(survived, sameUser bool) {
		certain := certain && sameUser
		b.coexist = b.coexist || survived && certain // a refresh may have shown it meanwhile
		b.supersedes, b.loginChecked = !survived, certain || !survived
	})
}

// revocationEnded is loginEnded for a revocation.
func (r *Run) revocationEnded(ctx context.Context, held Held, certain bool) Casualties {
	r.mu.Lock()
	b := r.behaviorLocked(held.Account)
	if b.revocationChecked && !b.revocationCheckFailed || len(r.liveLocked(held)) == 0 {
		r.mu.Unlock()
		return Casualties{}
	}
	witness := r.doubtLocked(held)
	if b.revocationChecked {
		defer r.mu.Unlock()
		return r.doubtedLocked(held.Account, true)
	}
	b.revocationChecked = true
	r.mu.Unlock()
	return r.askWitness(ctx, held.Account, witness, &b.revocationCheckFailed, func(survived, sameUser bool) {
		certain := certain && sameUser
		b.sweeps = b.sweeps || !survived // another revocation may have shown it meanwhile
		b.revocationChecked = certain || !survived
	})
}

// askWitness checks whether a session of an account is still alive, and tells learn that,
// and whether it is certainly the same user's. It returns the sessions
// of the account that have died: the witness, and with it all that were in doubt. Those
// whose user is unknown stay in doubt. If Flame does not say, all do.
func (r *Run) askWitness(ctx context.Context, account Account, witness *known, failed *bool, learn func(survived, sameUser bool)) (c Casualties) {
	survived, err := r.client.Check(ctx, witness.Account.Endpoint, witness.Token)
	r.mu.Lock()
	defer r.mu.Unlock()
	for err == nil && witness.leaving { // revoked meanwhile: that is no proof
		// An ephemeral session tells at its close what has happened to it.
		managed := slices.DeleteFunc(r.doubtfulLocked(account), func(k *known) bool { return k.Ephemeral })
		if witness = bestWitness(managed); witness == nil {
			learn(true, false)
			return Casualties{}
		}
		r.mu.Unlock()
		survived, err = r.client.Check(ctx, witness.Account.Endpoint, witness.Token)
		r.mu.Lock()
	}
	if err != nil {
		*failed = true
		return r.doubtedLocked(account, true)
	}
	learn(survived, witness.Account.isKnown())
	for _, k := range r.doubtfulLocked(account) {
		switch {
		case survived:
			k.status = alive
		case k != witness && !k.Account.isKnown(): // it may be another user's
			c.Doubted = append(c.Doubted, k.Held)
		default:
			k.status = dead
			c.Ended = append(c.Ended, k.Held)
		}
	}
	return c
}

// doubtfulLocked returns the sessions of an account that are in doubt. One that is just
// being revoked is not among them: its own revocation tells whether it was alive.
func (r *Run) doubtfulLocked(account Account) []*known {
	return r.filterLocked(func(k *known) bool { return k.status == doubtful && !k.leaving && k.Account.same(account) })
}

// doubtedLocked returns the sessions of an account that are in doubt, if that is because a
// check failed.
func (r *Run) doubtedLocked(account Account, failed bool) (c Casualties) {
	if !failed {
		return Casualties{}
	}
	for _, k := range r.doubtfulLocked(account) {
		c.Doubted = append(c.Doubted, k.Held)
	}
	return c
}

// Beside is what a plan sees of other sessions of an account.
type Beside struct {
	// Opens: the plan opens another session of the account, or has opened an ephemeral
	// one, and nothing has shown that its login leaves the others alive.
	Opens bool
	// Revokes: the plan revokes the same token for another session, or this run already
	// does, or has done so for an ephemeral one.
	Revokes bool
}

// Keep records that a plan leaves a session as it is. It returns what the plan does
// beside it, as far as that is planned already: what is planned later calls
// [Run.PlanOpen] or [Run.PlanEnd], and learns of this session.
func (r *Run) Keep(held Held) (beside Beside) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimLocked(held)
	r.knownLocked(held).kept = true
	for _, k := range r.filterLocked(func(k *known) bool { return (k.revoked || k.status == dead) && k.key() == held.key() }) {
		beside.Revokes = beside.Revokes || k.Instance != held.Instance
	}
	if !r.behaviorLocked(held.Account).loginsEndNothing() {
		for _, p := range r.plannedOpens {
			beside.Opens = beside.Opens || p.Instance != held.Instance && p.Account.same(held.Account)
		}
		beside.Opens = beside.Opens || r.knownLocked(held).status == unchecked && len(r.ephemeralLocked(held)) > 0
	}
	return beside
}

// keptUnchecked returns the sessions that a plan keeps and has not checked, if nothing has
// shown that the login which brought a token leaves them alive.
func (r *Run) keptUnchecked(held Held) (kept []Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behaviorLocked(held.Account).loginsEndNothing() {
		return nil
	}
	for _, k := range r.othersLocked(held) {
		if k.kept && k.status == unchecked {
			kept = append(kept, k.Held)
		}
	}
	return kept
}

// PlannedOpen is what a plan that opens a session has to tell.
type PlannedOpen struct {
	Beside    []Held // sessions that the plan keeps, if nothing has shown that a login leaves them alive
	StillHeld bool   // another instance goes on holding the token of the session that is replaced
}

// PlanOpen records that a plan opens a session. The instance is the one whose session it
// replaces, or "".
func (r *Run) PlanOpen(account Account, replaces InstanceID) (planned PlannedOpen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := Held{Instance: replaces, Account: account}
	r.plannedOpens = append(r.plannedOpens, held)
	if k, ok := r.sessions[replaces]; ok && !k.leaving && !k.Ending {
		planned.StillHeld = r.planEndLocked(k)
	}
	if r.behaviorLocked(account).loginsEndNothing() {
		return planned
	}
	for _, k := range r.othersLocked(held) {
		if k.kept {
			planned.Beside = append(planned.Beside, k.Held)
		}
	}
	return planned
}

// PlanEnd records that a plan ends a session. It reports whether another instance goes
// on holding the token, so that it must not be revoked, and whether that one got it from a
// login of this run.
func (r *Run) PlanEnd(held Held) (stillHeld, givenAgain bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.planEndLocked(r.knownLocked(held)), r.givenAgainLocked(held)
}

func (r *Run) planEndLocked(k *known) (stillHeld bool) {
	k.Ending, k.kept = true, false
	// What is ephemeral in a plan does not outlive it.
	stillHeld = slices.ContainsFunc(r.holdersLocked(k.Held), func(k *known) bool { return !k.Ending && !k.Ephemeral })
	k.revoked = !stillHeld
	return stillHeld
}

// SharedSessions returns the session IDs of the tokens of an account that several
// instances hold.
func (r *Run) SharedSessions(account Account) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.behaviorLocked(account).shared {
		return nil
	}
	holders := map[flame.Token]int{}
	for _, k := range r.filterLocked(func(k *known) bool { return !k.leaving && !k.Ending && k.Account.same(account) }) {
		if holders[k.Token]++; holders[k.Token] == 2 {
			ids = append(ids, k.Token.SessionID())
		}
	}
	return ids
}
