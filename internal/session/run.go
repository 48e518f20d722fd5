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

// Account is a user of one Flame API. Sessions of one account may share a token.
type Account struct {
	Endpoint flame.Endpoint
	User     string // "" if unknown, as for an imported session: then it may be any user
}

// InstanceID tells apart the holders of one token. It stays with a Terraform
// object until its session is replaced.
type InstanceID string

// NewInstanceID returns an ID that no other instance has.
func NewInstanceID() InstanceID { return InstanceID(rand.Text()) }

// Held is a token and the instance that holds it.
type Held struct {
	Instance InstanceID
	Account  Account
	Token    flame.Token
}

// Run is what one provider process knows about its sessions. It is safe for
// concurrent use.
type Run struct {
	client   *flame.Client
	orphaned func() bool
	locks    accountLocks
	opens    sync.WaitGroup // in flight

	mu        sync.Mutex
	holders   map[tokenKey][]InstanceID
	refreshed map[InstanceID]bool
	unclosed  map[InstanceID]Held
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
		client:    client,
		orphaned:  orphaned,
		holders:   map[tokenKey][]InstanceID{},
		refreshed: map[InstanceID]bool{},
		unclosed:  map[InstanceID]Held{},
	}
}

// Opened is the outcome of [Run.Open].
type Opened struct {
	flame.Session
	Shared bool // another instance of this run holds the same token
}

// ErrOrphaned means that Terraform died while a session was being opened, so that it
// was revoked again.
var ErrOrphaned = errors.New("nobody is left to receive the session")

// Open opens a session for an instance, which holds its token from then on. An
// error is a [*flame.Error], [ErrAccountBusy] or [ErrOrphaned].
func (r *Run) Open(ctx context.Context, account Account, password flame.Password, instance InstanceID) (Opened, error) {
	r.opens.Add(1)
	defer r.opens.Done()
	opened, err := r.open(ctx, account, password, instance)
	if err == nil && r.orphaned() {
		_, err := r.Close(ctx, Held{instance, account, opened.Token})
		return Opened{}, errors.Join(ErrOrphaned, err)
	}
	return opened, err
}

func (r *Run) open(ctx context.Context, account Account, password flame.Password, instance InstanceID) (Opened, error) {
	unlock, err := r.locks.acquire(ctx, opening, account)
	if err != nil {
		return Opened{}, err
	}
	defer unlock()
	session, err := r.client.Open(ctx, account.Endpoint, flame.Credentials{User: account.User, Password: password})
	if err != nil {
		return Opened{}, err
	}
	return Opened{session, r.claim(Held{instance, account, session.Token})}, nil
}

// Refreshed records that a refresh of this run found an instance that holds a
// token. It reports whether another instance holds the same token.
func (r *Run) Refreshed(held Held) (shared bool) {
	r.mu.Lock()
	r.refreshed[held.Instance] = true
	r.mu.Unlock()
	return r.claim(held)
}

// WasRefreshed reports whether this run has refreshed the instance.
func (r *Run) WasRefreshed(instance InstanceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refreshed[instance]
}

// Check reports whether a token still works. The instance no longer holds one
// that does not. An error, a [*flame.Error], means that Flame did not say.
func (r *Run) Check(ctx context.Context, held Held) (alive bool, err error) {
	alive, err = r.client.Check(ctx, held.Account.Endpoint, held.Token)
	if err == nil && !alive {
		r.Release(held)
	}
	return alive, err
}

// Revocation is the outcome of revoking a token.
type Revocation int

// The outcomes of a revocation that did not fail.
const (
	Revoked     Revocation = iota // Flame ended the session
	AlreadyGone                   // Flame knew no such session any more
	StillHeld                     // not revoked, because another instance of this run holds the token
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
		delete(r.holders, held.key())
		return false
	})
}

func (r *Run) revoke(ctx context.Context, held Held, release func(Held) (shared bool)) (Revocation, error) {
	unlock, err := r.locks.acquire(ctx, revoking, held.Account)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if release(held) {
		return StillHeld, nil
	}
	alreadyGone, err := r.client.Revoke(ctx, held.Account.Endpoint, held.Token)
	if alreadyGone {
		return AlreadyGone, err
	}
	return Revoked, err
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
// request timeout, and an orphaned run makes no other.
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

// claim records that an instance holds a token, and reports whether another one
// does too.
func (r *Run) claim(held Held) (shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := held.key()
	if !slices.Contains(r.holders[key], held.Instance) {
		r.holders[key] = append(r.holders[key], held.Instance)
	}
	return len(r.holders[key]) > 1
}

// Release records that an instance no longer holds its token, or will not after
// this run. It reports whether another instance does.
func (r *Run) Release(held Held) (shared bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := held.key()
	others := slices.DeleteFunc(r.holders[key], func(holder InstanceID) bool { return holder == held.Instance })
	if len(others) == 0 {
		delete(r.holders, key)
		return false
	}
	r.holders[key] = others
	return true
}
