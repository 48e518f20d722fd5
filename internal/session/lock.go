// SPDX-License-Identifier: MPL-2.0

package session

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrAccountBusy means that the context ended while sessions of the same account
// were being revoked (or opened). Nothing was sent.
var ErrAccountBusy = errors.New("other sessions of the account were being opened or revoked")

// accountLocks admit either openers or revokers of one account, never both. The
// zero value is ready to use.
type accountLocks struct {
	mu      sync.Mutex
	locks   []*accountLock
	changed chan struct{} // closed when a lock is released; nil if nobody waits
}

type accountLock struct {
	purpose purpose
	account Account
}

type purpose int

const (
	opening purpose = iota
	revoking
)

// excludes reports whether two locks cannot be held at the same time. A user who
// is unknown may be any.
func (l *accountLock) excludes(other *accountLock) bool {
	sameAccount := l.account.Endpoint == other.account.Endpoint &&
		(l.account.User == other.account.User || l.account.User == "" || other.account.User == "")
	return sameAccount && l.purpose != other.purpose
}

// acquire waits for a lock. The caller must call release. It fails with
// ErrAccountBusy if ctx ends first.
func (a *accountLocks) acquire(ctx context.Context, purpose purpose, account Account) (release func(), err error) {
	lock := &accountLock{purpose, account}
	for {
		a.mu.Lock()
		if !slices.ContainsFunc(a.locks, lock.excludes) {
			a.locks = append(a.locks, lock)
			a.mu.Unlock()
			return func() { a.release(lock) }, nil
		}
		if a.changed == nil {
			a.changed = make(chan struct{})
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(ErrAccountBusy, ctx.Err())
		}
	}
}

func (a *accountLocks) release(lock *accountLock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.locks = slices.DeleteFunc(a.locks, func(l *accountLock) bool { return l == lock })
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}
