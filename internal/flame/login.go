// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"net/http"
	"sync"
)

// login is what a client knows of one user and password. Until Flame has accepted
// them, logins go one at a time; once refused, none is sent again. Twelve sessions with
// a wrong password are then one failed login, which locks no account.
type login struct {
	turn chan struct{} // holds one value while a login goes alone

	mu       sync.Mutex
	accepted bool
	refusal  *Error // nil: not refused
}

// loginKey identifies a login. Two accounts may have the same user.
type loginKey struct {
	endpoint    Endpoint
	credentials Credentials
}

// login returns what the client knows of the credentials at the endpoint.
func (c *Client) login(endpoint Endpoint, credentials Credentials) *login {
	known, _ := c.logins.LoadOrStore(loginKey{endpoint, credentials}, &login{turn: make(chan struct{}, 1)})
	return known.(*login)
}

// wait waits until an attempt may be made, or returns the refusal of an earlier one. The
// caller must call release after learn. A nil login is a call that is none.
func (l *login) wait(ctx context.Context) (release func(), refusal *Error, err error) {
	if l == nil {
		return func() {}, nil, nil
	}
	if accepted, refusal := l.known(); accepted || refusal != nil {
		return func() {}, refusal, nil
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	release = func() { <-l.turn }
	accepted, refusal := l.known()
	if accepted || refusal != nil {
		release()
		return func() {}, refusal, nil
	}
	return release, nil, nil
}

func (l *login) known() (accepted bool, refusal *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, l.refusal
}

// learn takes in how an attempt has ended. apiErr is nil if it succeeded. An answer
// that neither accepts nor refuses the credentials, such as a 503, changes nothing.
func (l *login) learn(apiErr *Error) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case apiErr == nil:
		l.accepted = true
	case apiErr.refusesLogin():
		snapshot := *apiErr // do goes on to change its own
		l.refusal = &snapshot
	}
}

// refusesLogin reports whether an answer to OpOpen refuses the user or the password.
// The documented status is 401; some frameworks answer 400, 403 or 422.
func (e *Error) refusesLogin() bool {
	switch e.Status {
	case http.StatusUnauthorized:
		return true
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return e.Reason == ErrStatus //nolint:errorlint // a reason is never wrapped
	}
	return false
}
