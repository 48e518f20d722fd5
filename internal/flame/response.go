// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"bytes"
	"errors"
	"net/http"
	"time"
)

// answer is what a 2xx response said.
type answer struct {
	status    int
	requestID string
	session   Session // of OpOpen; with ErrTokenUnusable, it has the token too
}

// interpret returns what a response means. If Flame reported success with a
// body that is of no use, there are both an answer and an error.
func (c *call) interpret(response *http.Response, body []byte) (*answer, *Error) {
	a := &answer{status: response.StatusCode}
	success := a.status/100 == 2
	reason := refusal(a.status)
	if success {
		a.session, reason = c.readBody(body)
	}
	secrets := append(c.secrets[:len(c.secrets):len(c.secrets)], c.token.Reveal(), a.session.Token.Reveal())
	a.requestID = requestID(response.Header, secrets)
	if reason == nil {
		return a, nil
	}
	e := c.error(reason)
	e.Status, e.RequestID, e.sent = a.status, a.requestID, true
	if success {
		return a, e
	}
	e.retryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	if errors.Is(reason, ErrRedirect) {
		e.Target = redirectTarget(response.Header.Get("Location"), secrets)
	}
	return nil, e
}

// refusal returns the reason that a status other than 2xx stands for.
func refusal(status int) error {
	switch {
	case status/100 == 3:
		return ErrRedirect
	case status == http.StatusUnauthorized:
		return ErrUnauthorized
	}
	return ErrStatus
}

// readBody reads the body of a 2xx response. Only OpOpen needs one; a page of
// HTML comes from a proxy, so Flame has done nothing.
func (c *call) readBody(body []byte) (Session, error) {
	switch {
	case c.op == OpOpen && len(body) > maxBody:
		return Session{}, ErrTooLarge
	case c.op == OpOpen:
		return parseSession(body)
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return Session{}, ErrNotJSON
	}
	return Session{}, nil
}
