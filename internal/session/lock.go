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
	waiting []*waiter // in the order in which they came
}

// waiter waits for a lock.
type waiter struct {
	accountLock
	choose  func() purpose
	granted chan struct{}
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
	w := &waiter{accountLock{account: account}, choose, make(chan struct{})}
	a.mu.Lock()
	a.waiting = append(a.waiting, w)
	a.grantLocked()
	a.mu.Unlock()
	select {
	case <-w.granted:
	case <-ctx.Done():
		if a.leave(w) {
			return nil, errors.Join(ErrAccountBusy, ctx.Err())
		}
	}
	return func() { a.release(&w.accountLock) }, nil
}

// grantLocked grants every lock that nothing excludes, in the order in which they were
// asked for, so that it does not depend on the scheduler who goes first.
func (a *accountLocks) grantLocked() {
	a.waiting = slices.DeleteFunc(a.waiting, func(w *waiter) bool {
		w.purpose = w.choose()
		if slices.ContainsFunc(a.locks, w.excludes) {
			return false
		}
		a.locks = append(a.locks, &w.accountLock)
		close(w.granted)
		return true
	})
}

// leave stops waiting. It reports false if the lock was granted meanwhile.
func (a *accountLocks) leave(w *waiter) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.waiting, w)
	if i < 0 {
		return false
	}
	a.waiting = slices.Delete(a.waiting, i, i+1)
	return true
}

func (a *accountLocks) release(lock *accountLock) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.locks = slices.DeleteFunc(a.locks, func(l *accountLock) bool { return l == lock })
	a.grantLocked()
}
