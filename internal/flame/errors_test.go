// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Details are in this package's own words, because a transport's error may hold secrets.
func TestTransportReason(t *testing.T) {
	const secret = "s3cret"
	dial := func(err error) error {
		return &url.Error{Op: "Post", URL: "http://" + secret + "@h", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}}
	}
	verification := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, test := range []struct {
		name            string
		err             error
		sent            bool
		handshakeFailed bool
		reason          error
		detail          string
	}{
		{"unknown host", dial(&net.DNSError{Err: secret, Name: secret, IsNotFound: true}), false, false, ErrUnreachable, "does not exist"},
		{"no name server", dial(&net.DNSError{Err: secret, Name: secret, IsTemporary: true}), false, false, ErrUnreachable, "could not be looked up"},
		{"name server times out", dial(&net.DNSError{Err: secret, Name: secret, IsTimeout: true}), false, false, ErrUnreachable, "could not be looked up"},
		{"refused", dial(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false, false, ErrUnreachable, "refused"},
		{"no network", dial(os.NewSyscallError("connect", syscall.ENETUNREACH)), false, false, ErrUnreachable, "unreachable"},
		{"no route", dial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), false, false, ErrUnreachable, "unreachable"},
		{"reset", dial(os.NewSyscallError("connect", syscall.ECONNRESET)), false, false, ErrUnreachable, "broke"},
		{"slow", dial(os.ErrDeadlineExceeded), false, false, ErrUnreachable, "too long"},
		{"slow handshake", context.DeadlineExceeded, false, true, ErrUnreachable, "too long"},
		{"any other error", errors.New(secret), false, false, ErrUnreachable, ""},

		{"unknown authority", verification(x509.UnknownAuthorityError{}), false, true, ErrTLS, "not trusted"},
		{"other host name", verification(x509.HostnameError{Certificate: &x509.Certificate{}, Host: secret}), false, true, ErrTLS, "another host name"},
		{"expired", verification(x509.CertificateInvalidError{Reason: x509.Expired, Detail: secret}), false, true, ErrTLS, "expired"},
		{"not authorized to sign", verification(x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: secret}), false, true, ErrTLS, "does not verify"},
		{"unverified", verification(errors.New(secret)), false, true, ErrTLS, "does not verify"},
		{"no TLS record", tls.RecordHeaderError{Msg: secret}, false, true, ErrTLS, "plain http"},
		{"plain HTTP", fmt.Errorf("%s: %w", secret, http.ErrSchemeMismatch), false, true, ErrTLS, "plain http"},
		{"alert", &net.OpError{Op: "remote error", Err: tls.AlertError(70)}, false, true, ErrTLS, "TLS 1.2"},

		{"lost", io.ErrUnexpectedEOF, true, false, ErrLost, ""},
		{"reset after sending", dial(syscall.ECONNRESET), true, false, ErrLost, ""},
		{"slow response", context.DeadlineExceeded, true, false, ErrTimeout, ""},
		{"slow read", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true, false, ErrTimeout, ""},
		{"any other error after sending", errors.New(secret), true, false, ErrLost, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			detail, reason := transportReason(test.err, test.sent, test.handshakeFailed)
			if reason != test.reason || !strings.Contains(detail, test.detail) || test.detail == "" && detail != "" {
				t.Errorf("got %v, %q; want %v, %q", reason, detail, test.reason, test.detail)
			}
			if strings.Contains(detail, secret) {
				t.Errorf("the detail repeats the error's text: %q", detail)
			}
		})
	}
}

// A request to a host that does not exist was not sent.
func TestUnknownHost(t *testing.T) {
	runInBubble(t, Config{MaxRetries: 2}, nil, func(t *testing.T, b *bubble) {
		b.client.dialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "flame.example", IsNotFound: true}}
		}
		e := b.call(t.Context(), OpOpen).failure(t)
		want(t, "reason", e.Reason, ErrUnreachable)
		want(t, "detail", e.Detail, "the host name does not exist")
		want(t, "attempts", e.Attempts, 3)
		want(t, "lost a session", e.Lost > 0, false)
	})
}

func TestStatusMeaning(t *testing.T) {
	for status, want := range map[int]string{
		401: "401 (wrong credentials or no session)",
		403: "403 (administrators only)",
		406: "406 (the format is not JSON)",
		429: "429 (too many requests)",
		503: "503 (down for maintenance)",
		502: "502 (bad gateway)",
		799: "799 (a status that HTTP does not know)",
	} {
		if got := StatusMeaning(status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  Error
		want string
	}{
		{Error{Op: OpOpen, Host: "h:1", Path: "/v1/sessions", Reason: ErrUnauthorized, Status: 401}, "POST h:1/v1/sessions: not authorized: 401 (wrong credentials or no session)"},
		{Error{Op: OpCheck, Host: "h", Path: "/organizations", Reason: ErrUnreachable, Detail: "connection refused"}, "GET h/organizations: no connection could be made: connection refused"},
		{Error{Op: OpRevoke, Host: "h", Path: "/sessions", Reason: ErrTimeout}, "DELETE h/sessions: no complete answer arrived in time"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestErrorLogValue(t *testing.T) {
	e := &Error{
		Op: OpRevoke, Host: "flame.example", Path: "/api/v1/sessions", Reason: ErrStatus, Detail: "a page of HTML",
		Status: 502, ProxyStatus: 407, RequestID: "r-1", Attempts: 3,
	}
	want := "[method=DELETE host=flame.example path=/api/v1/sessions reason=" + ErrStatus.Error() +
		" detail=a page of HTML status=502 proxy_status=407 request_id=r-1 attempts=3]"
	if got := e.LogValue().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
