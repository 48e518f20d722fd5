package flame

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// What can go wrong, to be matched with errors.Is on an [*Error].
var (
	// ErrUnreachable: no request was sent, because no connection was made.
	ErrUnreachable = errors.New("no connection could be made")
	// ErrTLS: no request was sent, because TLS could not be agreed on.
	ErrTLS = errors.New("no trusted TLS connection could be made")
	// ErrLost: the request was sent and no whole answer arrived.
	ErrLost = errors.New("the connection was lost before the whole answer had arrived")
	// ErrTimeout: the request was sent and the answer did not arrive in time.
	ErrTimeout = errors.New("no whole answer arrived in time")
	// ErrInterrupted: the caller gave up before the request was sent, or waited
	// for an answer that it no longer wants. It is also context.Canceled. Between
	// two tries, the error is the last try's, and context.Canceled too.
	ErrInterrupted = errors.New("the run was interrupted")
	// ErrStatus: the request was refused with an HTTP status; see Error.Status.
	ErrStatus = errors.New("refused")
	// ErrUnauthorized: 401; on open, a wrong user or password; elsewhere, no
	// live session has the token.
	ErrUnauthorized = errors.New("not authorized")
	// ErrRedirect: a 3xx; redirects are never followed, because they would
	// carry a password or token elsewhere.
	ErrRedirect = errors.New("the answer is a redirect, which is not followed")
	// ErrNotJSON: a success whose body is not the JSON object that it should be;
	// for a check or a revocation, whose body any text may be, a page of HTML.
	ErrNotJSON = errors.New("the answer is not a JSON object")
	// ErrNoToken: a success without an auth_token.
	ErrNoToken = errors.New("the answer holds no auth_token")
	// ErrTokenUnusable: an auth_token that no header can carry safely, be it in a
	// success or given by the caller; then nothing was sent.
	ErrTokenUnusable = errors.New("the auth_token holds characters that a header cannot carry safely")
	// ErrNoEndpoint: the caller gave the zero Endpoint; nothing was sent.
	ErrNoEndpoint = errors.New("no endpoint is given")
	// ErrTooLarge: a success with a body over 1 MiB.
	ErrTooLarge = errors.New("the answer is larger than 1 MiB")
)

// Error is a call that failed. It holds nothing secret: texts that a server
// chose are kept only where their form is known and they do not repeat what
// was sent.
type Error struct {
	Op        Operation
	Host      string        // host, and the port where it is not the scheme's own
	Path      string        // of the URL, without query
	Reason    error         // one of the sentinels above
	Detail    string        // more about the reason, in this package's own words; may be empty
	Status    int           // the HTTP status; 0 where there was no answer
	RequestID string        // Flame's X-Request-Id, where it gave one
	Target    string        // of a redirect: scheme and host only
	Tries     int           // how often the call was tried
	Wait      time.Duration // how long Flame asked to wait, where that is longer than the time left
	Expired   bool          // the operation's own time limit ended the tries

	// MaybeOpened: Flame may have opened a session whose token is not known.
	MaybeOpened bool
	// TokenRevoked, with ErrTokenUnusable: the unusable token was revoked.
	TokenRevoked bool

	sent       bool // the request may have reached Flame
	retryAfter time.Duration
	cause      error // the caller's context error, if that is what ended the call
}

// Error gives one line that names the call, the host and the reason.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s: %s", e.Op.method(), e.Host, e.Path, e.Reason)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %s", StatusMeaning(e.Status))
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

// Unwrap gives the reason and, where the caller's context ended the call, the
// context's error.
func (e *Error) Unwrap() []error {
	if e.cause != nil {
		return []error{e.Reason, e.cause}
	}
	return []error{e.Reason}
}

// StatusMeaning gives an HTTP status with what it means in Flame's public
// reference, or else in HTTP.
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
	}[status]
	if !ok {
		meaning = strings.ToLower(http.StatusText(status))
	}
	if meaning == "" {
		meaning = "a status that HTTP does not know"
	}
	return fmt.Sprintf("%d (%s)", status, meaning)
}

// describe turns a transport error into a reason and words of our own. The
// error's text is never used: it may quote the URL, a proxy's password, or
// what the server sent.
func describe(err error, sent, handshakeFailed bool) (detail string, reason error) {
	var (
		timeout  net.Error
		dns      *net.DNSError
		op       *net.OpError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	timedOut := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	if sent {
		if timedOut {
			return "", ErrTimeout
		}
		return "", ErrLost
	}
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that is not trusted here", ErrTLS
	case errors.As(err, &hostname):
		return "the server's certificate is for another host name", ErrTLS
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet", ErrTLS
	case errors.As(err, &verify), errors.As(err, &invalid):
		return "the server's certificate does not verify", ErrTLS
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the server did not answer in TLS; is it a plain http endpoint?", ErrTLS
	case handshakeFailed && !timedOut:
		return "the TLS handshake failed; TLS 1.2 or later is needed", ErrTLS
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy named by the environment could not be reached", ErrUnreachable
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name does not exist", ErrUnreachable
	case errors.As(err, &dns):
		return "the host name could not be looked up", ErrUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", ErrUnreachable
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "the network or host is unreachable", ErrUnreachable
	case timedOut:
		return "connecting took too long", ErrUnreachable
	case errors.Is(err, syscall.ECONNRESET), errors.As(err, &op):
		return "the connection broke while it was being made", ErrUnreachable
	default:
		return "", ErrUnreachable
	}
}

// requestID gives an answer's X-Request-Id where it has the form of one and
// does not repeat a secret that was sent.
func requestID(header http.Header, secrets ...string) string {
	id := header.Get("X-Request-Id")
	if !requestIDForm.MatchString(id) || repeats(id, secrets) {
		return ""
	}
	return id
}

var requestIDForm = regexp.MustCompile(`^[0-9A-Za-z._-]{1,64}$`)

// redirectTarget gives scheme and host of a Location, or "" where they could
// repeat a secret.
func redirectTarget(location string, secrets ...string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || !redirectHostForm.MatchString(u.Host) || repeats(u.Host, secrets) {
		return ""
	}
	switch scheme := strings.ToLower(u.Scheme); scheme {
	case "http", "https":
		return scheme + "://" + u.Host
	case "":
		return "//" + u.Host
	}
	return ""
}

var redirectHostForm = regexp.MustCompile(`^[0-9A-Za-z._:\[\]-]{1,255}$`)

// repeats reports whether s holds one of the secrets, as it is or in an
// encoding that s can carry.
func repeats(s string, secrets []string) bool {
	s = strings.ToLower(s)
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		forms := []string{secret, url.PathEscape(secret), url.QueryEscape(secret), fmt.Sprintf("%x", secret)}
		// Base64 looks different for each of the three places in a group of three
		// bytes where the secret may begin; what depends on its neighbours is left out.
		for before := range 3 {
			bytes := append(make([]byte, before), secret...)
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				encoded := encoding.EncodeToString(bytes)
				if own := encoded[(8*before+5)/6 : 8*len(bytes)/6]; len(own) >= len(secret) {
					forms = append(forms, own)
				}
			}
		}
		for _, form := range forms {
			if strings.Contains(s, strings.ToLower(form)) {
				return true
			}
		}
	}
	return false
}
