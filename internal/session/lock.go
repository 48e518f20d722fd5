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

// accountLocks admit either openers or revokers of one account, never both, and a
// single opener until it is known what a login does to the account's other sessions. The
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
	opening      purpose = iota
	openingAlone         // until it is known what a login does to the other sessions
	revoking
)

// excludes reports whether two locks cannot be held at the same time. A user who
// is unknown may be any.
func (l *accountLock) excludes(other *accountLock) bool {
	sameAccount := l.account.Endpoint == other.account.Endpoint &&
		(l.account.User == other.account.User || l.account.User == "" || other.account.User == "")
	return sameAccount && (l.purpose != other.purpose || l.purpose == openingAlone)
}

// acquire waits for a lock. The caller must call release. choose returns the purpose,
// which may change while it waits. It fails with ErrAccountBusy if ctx ends first.
func (a *accountLocks) acquire(ctx context.Context, account Account, choose func() purpose) (release func(), err error) {
	lock := &accountLock{account: account}
	for {
		a.mu.Lock()
		lock.purpose = choose()
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
