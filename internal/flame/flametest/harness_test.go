// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// harness is a fake and an HTTP client that does not follow redirects.
type harness struct {
	*testing.T
	*Server
	client *http.Client
}

func start(t *testing.T, cfg Config) *harness {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	if cfg.TLS && !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(s.CACertificate())) {
		t.Fatal("no CA certificate")
	}
	t.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
	})
	return &harness{T: t, Server: s, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// result is the outcome of a request for the client. A truncated response has
// both a body and an err.
type result struct {
	status int
	reason string
	header http.Header
	body   string
	err    error
}

// send sends a request with headers of the form "Name: value".
func (h *harness) send(ctx context.Context, method, path, body string, headers ...string) result {
	req, err := http.NewRequestWithContext(ctx, method, h.URL()+path, strings.NewReader(body))
	if err != nil {
		return result{err: err}
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return result{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	_, reason, _ := strings.Cut(resp.Status, " ")
	return result{resp.StatusCode, reason, resp.Header, string(read), err}
}

const (
	jsonBody    = "Content-Type: application/json"
	credentials = `{"user": "` + User + `", "password": "` + Password + `"}`
)

func (h *harness) post() result {
	return h.send(h.Context(), "POST", "/sessions", credentials, jsonBody, "Accept: application/json")
}

func (h *harness) delete(token string) result {
	return h.send(h.Context(), "DELETE", "/sessions", "", auth(token))
}

func (h *harness) get(token string) result {
	return h.send(h.Context(), "GET", "/organizations?page=1&per_page=1", "", auth(token))
}

func auth(token string) string { return "Authorization: Token token=" + token }

func (h *harness) open() (token string) {
	h.Helper()
	r := h.post()
	h.want(r, http.StatusOK)
	var session struct {
		AuthToken string `json:"auth_token"`
	}
	if err := json.Unmarshal([]byte(r.body), &session); err != nil {
		h.Fatalf("%v in %s", err, r.body)
	}
	return session.AuthToken
}

func (h *harness) want(r result, status int) {
	h.Helper()
	if r.err != nil {
		h.Fatal(r.err)
	}
	if r.status != status {
		h.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if r.header.Get("X-Request-Id") == "" {
		h.Error("no X-Request-Id")
	}
}

// wantLost checks that no complete response arrived.
func (h *harness) wantLost(r result) {
	h.Helper()
	if r.err == nil {
		h.Fatalf("got a response, status %d", r.status)
	}
}

func (h *harness) wantSessions(opened, revoked, live int) {
	h.Helper()
	if o, r, l := h.Opened(), h.Revoked(), len(h.Live()); o != opened || r != revoked || l != live {
		h.Fatalf("%d opened, %d revoked, %d live; want %d, %d, %d", o, r, l, opened, revoked, live)
	}
}

// await is Await with a time limit.
func (h *harness) await(op Operation, n int) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
	defer cancel()
	if err := h.Await(ctx, op, n); err != nil {
		h.Fatal(err)
	}
}

// last returns the newest request in the journal.
func (h *harness) last() Request {
	journal := h.Journal()
	return journal[len(journal)-1]
}
