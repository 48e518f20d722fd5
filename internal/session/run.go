// SPDX-License-Identifier: MPL-2.0

package session

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// InstanceID tells apart the holders of one token. It stays with a Terraform
// object until its session is replaced.
type InstanceID string

// NewInstanceID returns an ID that no other instance has.
func NewInstanceID() InstanceID { return InstanceID(rand.Text()) }

// Held is a token and the instance that holds it.
type Held struct {
	Instance  InstanceID
	Account   Account
	Token     flame.Token
	Ephemeral bool // an ephemeral resource holds it
	Ending    bool // a plan of this run ends it; until that is applied, its token is in use
}

// Run is what one provider process knows about its sessions. It is safe for
// concurrent use.
type Run struct {
	client   *flame.Client
	orphaned func() bool
	locks    accountLocks
	opens    sync.WaitGroup // in flight

	mu           sync.Mutex
	sessions     map[InstanceID]*known
	learned      int // sessions so far
	behaviors    []*behavior
	plannedOpens []Held // without tokens
	unclosed     map[InstanceID]Held
}

// tokenKey identifies a token: two APIs may issue the same text.
type tokenKey struct {
	endpoint flame.Endpoint
	token    flame.Token
}

func (h Held) key() tokenKey { return tokenKey{h.Account.Endpoint, h.Token} }

// NewRun returns a run that knows of no session yet. The client may be nil, if
// what it needs is unknown; then nothing can be opened, checked or revoked. orphaned
// reports whether the Terraform that started the process has died, so that nobody is
// left to receive a token.
func NewRun(client *flame.Client, orphaned func() bool) *Run {
	return &Run{
		client:   client,
		orphaned: orphaned,
		sessions: map[InstanceID]*known{},
		unclosed: map[InstanceID]Held{},
	}
}

// Opened is the outcome of [Run.Open]. If that failed, it has the casualties of attempts
// that may have been carried out all the same.
type Opened struct {
	flame.Session
	Casualties
	Shared bool // another instance of this run holds the same token
	// Beside are sessions that the plan keeps, if nothing has shown that this login left
	// them alive: without a refresh, they are not checked.
	Beside []Held
}

// ErrOrphaned means that Terraform died while a session was being opened, so that it
// was revoked again.
var ErrOrphaned = errors.New("nobody is left to receive the session")

// WouldEndError means that a session was not opened, because its login would have ended
// another one, as this run has seen logins of the account do.
type WouldEndError struct{ Other Held }

func (e *WouldEndError) Error() string { return "the login would end another session of the user" }

// Open opens a session for an instance, which holds its token from then on; held has no
// token yet. An error is a [*flame.Error], [ErrAccountBusy], a [*WouldEndError] or
// [ErrOrphaned].
func (r *Run) Open(ctx context.Context, held Held, password flame.Password) (Opened, error) {
	r.opens.Add(1)
	defer r.opens.Done()
	opened, err := r.open(ctx, held, password)
	if err == nil && r.orphaned() {
		held.Token = opened.Token
		_, err := r.Close(ctx, held)
		return Opened{}, errors.Join(ErrOrphaned, err)
	}
	return opened, err
}

func (r *Run) open(ctx context.Context, held Held, password flame.Password) (Opened, error) {
	unlock, err := r.locks.acquire(ctx, held.Account, func() purpose { return r.loginPurpose(held.Account) })
	if err != nil {
		return Opened{}, err
	}
	defer unlock()
	if other, found := r.wouldEnd(held); found {
		return Opened{}, &WouldEndError{other}
	}
	session, err := r.client.Open(ctx, held.Account.Endpoint, flame.Credentials{User: held.Account.User, Password: password})
	var apiErr *flame.Error
	switch {
	case errors.As(err, &apiErr) && apiErr.Lost > 0:
		return Opened{Casualties: r.loginEnded(ctx, held, false)}, err
	case err != nil:
		return Opened{}, err
	}
	held.Token, held.Account.UserID = session.Token, session.UserID
	opened := Opened{Session: session}
	r.mu.Lock()
	opened.Shared = r.claimLocked(held)
	k := r.knownLocked(held)
	k.opened, k.status = true, alive
	r.behaviorLocked(held.Account).logins++
	if i := slices.IndexFunc(r.plannedOpens, func(p Held) bool { return p.Account.same(held.Account) }); i >= 0 {
		r.plannedOpens = slices.Delete(r.plannedOpens, i, i+1)
	}
	r.mu.Unlock()
	opened.Casualties = r.loginEnded(ctx, held, true)
	opened.Beside = r.keptUnchecked(held)
	return opened, nil
}

func (r *Run) loginPurpose(account Account) purpose {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.behaviorLocked(account).loginsEndNothing() {
		return opening
	}
	return openingAlone
}

// Refreshed records that a refresh of this run found an instance that holds a
// token. It reports whether another instance holds the same token.
func (r *Run) Refreshed(held Held) (shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.knownLocked(held).refreshed = true
	return r.claimLocked(held)
}

// WasRefreshed reports whether this run has refreshed the instance.
func (r *Run) WasRefreshed(instance InstanceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.sessions[instance]
	return ok && k.refreshed
}

// Check reports whether a token still works. The instance no longer holds one
// that does not. An error, a [*flame.Error], means that Flame did not say.
func (r *Run) Check(ctx context.Context, held Held) (alive bool, err error) {
	for range 2 { // again, if a login may have ended the token meanwhile
		before := r.logins(held.Account)
		alive, err = r.client.Check(ctx, held.Account.Endpoint, held.Token)
		if err != nil || !alive || r.sawAlive(held, before) {
			break
		}
	}
	if err == nil && !alive {
		r.sawDead(held)
	}
	return alive, err
}

// Revocation is the outcome of revoking a token. If that failed, it has the casualties of
// attempts that may have been carried out all the same.
type Revocation struct {
	Result Result
	// GivenAgain: with StillHeld, this run has opened a session and got the same token.
	GivenAgain bool
	// Swept: with AlreadyGone, this run had seen the token alive, and has revoked another
	// one of the account since.
	Swept bool
	// Kept: with StillHeld, a session that the plan leaves as it is holds the token.
	Kept bool
	Casualties
	// Others are the live sessions of the same account that the revocation would have
	// ended, with Spared.
	Others []Held
}

// Result is what became of a token that was to be revoked.
type Result int

// The results of a revocation.
const (
	Revoked     Result = iota // Flame ended the session
	AlreadyGone               // Flame knew no such session any more
	StillHeld                 // not revoked, because another instance of this run holds the token
	Spared                    // not revoked, because that would end other live sessions
)

// Revoke revokes the token of an instance, which no longer holds it, unless
// another instance holds it too. An error is a [*flame.Error], or
// [ErrAccountBusy].
func (r *Run) Revoke(ctx context.Context, held Held) (Revocation, error) {
	return r.revoke(ctx, held, r.Release)
}

// RevokeForAll revokes a token, whichever instances hold it. Errors are those of
// [Run.Revoke].
func (r *Run) RevokeForAll(ctx context.Context, account Account, token flame.Token) (Revocation, error) {
	return r.revoke(ctx, Held{Account: account, Token: token}, func(held Held) (shared bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, k := range r.holdersLocked(held) {
			k.leaving = true
		}
		return false
	})
}

func (r *Run) revoke(ctx context.Context, held Held, release func(Held) (shared bool)) (Revocation, error) {
	unlock, err := r.locks.acquire(ctx, held.Account, func() purpose { return revoking })
	if err != nil {
		return Revocation{}, err
	}
	defer unlock()
	if release(held) {
		return r.LeaveToOthers(held), nil
	}
	if others := r.wouldSweep(held); len(others) > 0 {
		return Revocation{Result: Spared, Others: others}, nil
	}
	r.markRevoked(held)
	alreadyGone, err := r.client.Revoke(ctx, held.Account.Endpoint, held.Token)
	var apiErr *flame.Error
	switch {
	case errors.As(err, &apiErr) && apiErr.MayBeDone:
		return Revocation{Casualties: r.revocationEnded(ctx, held, false)}, err
	case err != nil:
		return Revocation{}, err
	}
	swept := alreadyGone && r.sawSwept(held)
	claimed := r.holders(held) // meanwhile: a refresh has found the token alive
	r.sawDead(held)
	if alreadyGone {
		return Revocation{Result: AlreadyGone, Swept: swept}, nil
	}
	casualties := r.revocationEnded(ctx, held, true)
	casualties.Ended = append(casualties.Ended, claimed...)
	return Revocation{Casualties: casualties}, nil
}

// LeaveToOthers releases the token of an instance without revoking it, because another
// instance holds it.
func (r *Run) LeaveToOthers(held Held) Revocation {
	r.Release(held)
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := slices.ContainsFunc(r.holdersLocked(held), func(k *known) bool { return k.kept })
	return Revocation{Result: StillHeld, GivenAgain: r.givenAgainLocked(held), Kept: kept}
}

// givenAgainLocked reports whether a login of this run has brought the same token.
func (r *Run) givenAgainLocked(held Held) bool {
	return slices.ContainsFunc(r.holdersLocked(held), func(k *known) bool { return k.opened })
}

// Close is [Run.Revoke] for a token that nobody can use any more: whatever became
// of ctx, it has 30 seconds of its own.
func (r *Run) Close(ctx context.Context, held Held) (Revocation, error) {
	ctx, cancel := flame.CleanUpContext(ctx)
	defer cancel()
	outcome, err := r.Revoke(ctx, held)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.unclosed, held.Instance)
	}
	return outcome, err
}

// RevokeAtExit has [Run.RevokeUnclosed] revoke the token unless [Run.Close] did.
func (r *Run) RevokeAtExit(held Held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unclosed[held.Instance] = held
}

// WaitForOpens waits until no session is being opened. Each attempt ends within the
// request timeout. Logins that were waiting for others may still be sent; what they bring
// is revoked.
func (r *Run) WaitForOpens() { r.opens.Wait() }

// RevokeUnclosed revokes what [Run.RevokeAtExit] was told of and [Run.Close] has
// not revoked, in parallel. There is nobody to report errors to.
func (r *Run) RevokeUnclosed(ctx context.Context) {
	r.mu.Lock()
	unclosed := slices.Collect(maps.Values(r.unclosed))
	r.mu.Unlock()
	var all sync.WaitGroup
	for _, held := range unclosed {
		all.Go(func() { _, _ = r.Revoke(ctx, held) })
	}
	all.Wait()
}

// Release records that an instance no longer holds its token, or will not after
// this run. It reports whether another instance does.
func (r *Run) Release(held Held) (shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.knownLocked(held).leaving = true
	return len(r.holdersLocked(held)) > 0
}
