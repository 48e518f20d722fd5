// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// answer is what a 2xx response said.
type answer struct {
	status    int
	requestID string
	session   Session // of OpOpen; with ErrTokenUnusable, it has the token too
}

// interpret returns what a response means. If Flame reported success with a body
// that is of no use, there are both an answer and an error. accepted reports whether
// the endpoint has accepted a token or a login before.
func (c *call) interpret(response *http.Response, body []byte, accepted bool) (*answer, *Error) {
	a := &answer{status: response.StatusCode}
	success := a.status/100 == 2
	detail, reason := c.refusal(response, body, accepted)
	if success {
		a.session, reason = c.readBody(response.Header, body)
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
	e.Detail = detail
	e.retryAfter = retryAfter(response.Header.Get("Retry-After"), serverTime(response.Header))
	e.asksToWait = response.Header.Get("Retry-After") != ""
	if errors.Is(reason, ErrRedirect) {
		e.Target = redirectTarget(response.Header.Get("Location"), secrets)
	}
	return nil, e
}

// refusal returns what a status other than 2xx stands for, after more about it. A gateway in
// front of Flame answers 401 and 403 too, in its own name.
func (c *call) refusal(response *http.Response, body []byte, accepted bool) (detail string, reason error) {
	switch status := response.StatusCode; {
	case status/100 == 3:
		return "", ErrRedirect
	case c.op == OpOpen && status == http.StatusUnauthorized:
		return "", ErrUnauthorized
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && isHTML(response.Header, body):
		return "a page of HTML", ErrForeign
	case status == http.StatusUnauthorized && !accepted && asksForOtherScheme(response.Header):
		return "it asks for another authentication scheme than Flame's", ErrForeign
	case status == http.StatusUnauthorized:
		return "", ErrUnauthorized
	}
	return "", ErrStatus
}

// asksForOtherScheme reports whether a response asks to authenticate, but not with the
// scheme Token (vendor's page on authentication).
func asksForOtherScheme(header http.Header) bool {
	challenges := header.Values("WWW-Authenticate")
	return len(challenges) > 0 && !slices.ContainsFunc(challenges, func(challenge string) bool {
		scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		return strings.EqualFold(scheme, "Token")
	})
}

// isHTML reports whether a body is a page of HTML, which Flame never sends.
func isHTML(header http.Header, body []byte) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if len(body) > 0 && err == nil && (mediaType == "text/html" || mediaType == "application/xhtml+xml") {
		return true
	}
	return bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff"))), []byte("<"))
}

// readBody reads the body of a 2xx response. Only OpOpen needs one; a page of
// HTML comes from a proxy, so Flame has done nothing.
func (c *call) readBody(header http.Header, body []byte) (Session, error) {
	switch {
	case c.op == OpOpen && len(body) > maxBody:
		return Session{}, ErrTooLarge
	case c.op == OpOpen:
		return parseSession(body)
	case isHTML(header, body):
		return Session{}, ErrNotJSON
	}
	return Session{}, nil
}
