// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// The reasons of an [*Error], to be matched with errors.Is.
var (
	// ErrUnreachable: no connection was made, so nothing was sent.
	ErrUnreachable = errors.New("no connection could be made")
	// ErrTLS: no TLS connection was made, so nothing was sent.
	ErrTLS = errors.New("no trusted TLS connection could be made")
	// ErrLost: the request was sent, and the connection broke before the whole
	// response had arrived.
	ErrLost = errors.New("the connection was lost before the complete answer arrived")
	// ErrTimeout: the request was sent, and the whole response did not arrive in
	// time.
	ErrTimeout = errors.New("no complete answer arrived in time")
	// ErrInterrupted: the caller's context was cancelled before the request was
	// sent, or while waiting for a response that may be dropped. Such an error is
	// also context.Canceled. An error of an earlier attempt is too, if the context
	// was cancelled before the next.
	ErrInterrupted = errors.New("the run was interrupted")
	// ErrStatus: an HTTP status refused the request; see Error.Status.
	ErrStatus = errors.New("refused")
	// ErrUnauthorized: 401. OpOpen: wrong user or password. Otherwise: no live
	// session has the token.
	ErrUnauthorized = errors.New("not authorized")
	// ErrProxy: the proxy answered itself, so Flame never saw the request. See
	// Error.ProxyStatus; it is 0 if the proxy speaks SOCKS.
	ErrProxy = errors.New("the proxy refused")
	// ErrProxyVariable: the environment names a proxy for the endpoint, but not in a
	// way that can be used, so nothing was sent.
	ErrProxyVariable = errors.New("the proxy in the environment cannot be used")
	// ErrForeign: a 401 or 403 that is not Flame's own, but that of a gateway in front
	// of it. It proves nothing about the token or the credentials.
	ErrForeign = errors.New("something other than Flame answered")
	// ErrRedirect: a 3xx. Redirects are never followed, because they could carry
	// a password or token elsewhere.
	ErrRedirect = errors.New("the answer is a redirect, which is not followed")
	// ErrNotJSON: a success whose body is not a JSON object; for OpCheck and
	// OpRevoke, which need no body, a page of HTML.
	ErrNotJSON = errors.New("the answer is not a JSON object")
	// ErrNoToken: a success without an auth_token.
	ErrNoToken = errors.New("the answer holds no auth_token")
	// ErrTokenUnusable: a token that a header cannot carry safely. Flame issued
	// it (OpOpen), or the caller passed it, and nothing was sent.
	ErrTokenUnusable = errors.New("the auth_token holds characters that a header cannot carry safely")
	// ErrNoEndpoint: the caller passed the zero Endpoint, so nothing was sent.
	ErrNoEndpoint = errors.New("no endpoint is given")
	// ErrTooLarge: a success with a body over 1 MiB.
	ErrTooLarge = errors.New("the answer is larger than 1 MiB")
)

// Error is a call that failed. It holds nothing secret: text from a server is
// kept only if it has a known form and repeats nothing that was sent.
type Error struct {
	Op               Operation
	Host             string        // with the port, unless it is the scheme's own
	Path             string        // of the URL, without query
	Reason           error         // one of the variables above
	Detail           string        // more about the reason, in this package's own words; may be empty
	Status           int           // the HTTP status; 0 if no response arrived, or that of a proxy
	RequestID        string        // Flame's X-Request-Id; may be empty
	Target           string        // of a redirect: scheme and host only
	Proxy            string        // the environment variable that names the proxy, if it failed there; else empty
	ProxyStatus      int           // the HTTP status with which a proxy refused; else 0
	Attempts         int           // how many were made
	Wait             time.Duration // how long Flame asked to wait, if that is longer than the time left
	DeadlineExceeded bool          // the caller's deadline ended the attempts

	// NotSent: the last attempt was not made, because another call has met the failure
	// that this error describes.
	NotSent bool
	// OthersServed: other calls to the same origin have succeeded.
	OthersServed bool

	// Lost counts the sessions that Flame may have opened, and whose tokens
	// nobody has.
	Lost int
	// MayBeDone: an attempt of OpRevoke may have been carried out.
	MayBeDone bool
	// StillAlive: Flame answered 404 or 410 to OpRevoke, and still accepts the token.
	StillAlive bool
	// TokenRevoked: with ErrTokenUnusable on OpOpen, the token was revoked.
	TokenRevoked bool

	sent       bool // the request may have reached Flame
	untrusted  bool // the server's certificate is not trusted: a retry would find the same one
	retryAfter time.Duration
	asksToWait bool  // there is a Retry-After
	cause      error // the context error that ended the call, if any
}

// error returns an error of the call.
func (c *call) error(reason error) *Error {
	e := &Error{Op: c.op, Reason: reason}
	if !c.endpoint.IsZero() {
		url := c.op.URL(c.endpoint)
		e.Host, e.Path = url.Host, url.Path
	}
	return e
}

// Error returns one line that names the call, the host and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s: %s", e.Op.Method(), e.Host, e.Path, e.Reason)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %s", StatusMeaning(e.Status))
	}
	if e.ProxyStatus != 0 {
		fmt.Fprintf(&b, ": %s", HTTPStatusMeaning(e.ProxyStatus))
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

// LogValue returns the fields of the error as a group.
func (e *Error) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("method", e.Op.Method()),
		slog.String("host", e.Host),
		slog.String("path", e.Path),
		slog.String("reason", e.Reason.Error()),
		slog.String("detail", e.Detail),
		slog.Int("status", e.Status),
		slog.Int("proxy_status", e.ProxyStatus),
		slog.String("request_id", e.RequestID),
		slog.Int("attempts", e.Attempts),
	)
}

// Unwrap returns the reason and, if a context ended the call, its error.
func (e *Error) Unwrap() []error {
	if e.cause != nil {
		return []error{e.Reason, e.cause}
	}
	return []error{e.Reason}
}

// StatusMeaning returns an HTTP status with its meaning: that of the list of error
// codes in Flame's public reference, or else that of Cloudflare or HTTP.
func StatusMeaning(status int) string {
	meaning, ok := map[int]string{
		400: "invalid request",
		401: "wrong credentials or no session",
		403: "administrators only",
		404: "not found",
		405: "wrong method",
		406: "the format is not JSON",
		410: "gone",
		429: "too many requests",
		500: "server error",
		503: "down for maintenance",
		520: "a proxy got no valid answer from the server",
		521: "a proxy found the server down",
		522: "a proxy could not connect to the server in time",
		523: "a proxy could not reach the server",
		524: "a proxy got no answer from the server in time",
	}[status]
	if !ok {
		return HTTPStatusMeaning(status)
	}
	return fmt.Sprintf("%d (%s)", status, meaning)
}

// HTTPStatusMeaning returns an HTTP status with the meaning that HTTP gives it, which
// is what a proxy means by it.
func HTTPStatusMeaning(status int) string {
	meaning := strings.ToLower(http.StatusText(status))
	if meaning == "" {
		meaning = "a status that HTTP does not know"
	}
	return fmt.Sprintf("%d (%s)", status, meaning)
}

// transportReason returns why an attempt got no response, in words of our own.
// The error's own text is never used: it may quote the URL, a proxy's password, or
// what the server sent.
func transportReason(err error, sent, handshakeFailed bool) (detail string, reason error) {
	switch detail := tlsDetail(err); {
	case sent && timedOut(err):
		return "", ErrTimeout
	case sent:
		return "", ErrLost
	case detail != "":
		return detail, ErrTLS
	case handshakeFailed && !timedOut(err):
		return "the TLS handshake failed; TLS 1.2 or later is needed", ErrTLS
	}
	return connectionDetail(err), ErrUnreachable
}

// timedOut reports whether an attempt took too long.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// certificateFault returns what makes a certificate untrusted, or "".
func certificateFault(err error) string {
	var (
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "is signed by an authority that is not trusted here"
	case errors.As(err, &hostname):
		return "is for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "has expired or is not valid yet"
	case errors.As(err, &verify), errors.As(err, &invalid):
		return "does not verify"
	}
	return ""
}

// tlsDetail returns what is wrong with the server's TLS, or "".
func tlsDetail(err error) string {
	var record tls.RecordHeaderError
	if errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server did not answer in TLS; is it a plain http endpoint?"
	}
	if fault := certificateFault(err); fault != "" {
		return "the server's certificate " + fault
	}
	return ""
}

// connectionDetail returns why no connection was made, or "".
func connectionDetail(err error) string {
	var (
		dns *net.DNSError
		op  *net.OpError
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name does not exist"
	case errors.As(err, &dns):
		return "the host name could not be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "the network or host is unreachable"
	case timedOut(err):
		return "connecting took too long"
	case errors.Is(err, syscall.ECONNRESET), errors.As(err, &op):
		return "the connection broke while it was being made"
	}
	return ""
}
