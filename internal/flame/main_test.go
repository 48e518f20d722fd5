// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// credentials are accepted by the fake.
var credentials = flame.Credentials{User: flametest.User, Password: flame.NewPassword(flametest.Password)}

const userAgent = "flame-test/1.0"

// harness is a fake API and a client for it.
type harness struct {
	*testing.T
	*flametest.Server
	client   *flame.Client
	endpoint flame.Endpoint
	attempts *attempts
}

// start starts a fake and a client. Unless config says otherwise, the client
// trusts the fake's CA and retries without delay.
func start(t *testing.T, fake flametest.Config, config flame.Config) *harness {
	t.Helper()
	server, err := flametest.Start(fake)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	if config.RootCAs == nil && fake.TLS {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM([]byte(server.CACertificate()))
	}
	client, observed := newClient(t, config)
	return &harness{T: t, Server: server, client: client, endpoint: parse(t, server.URL()), attempts: observed}
}

func newClient(t *testing.T, config flame.Config) (*flame.Client, *attempts) {
	t.Helper()
	observed := &attempts{}
	config.UserAgent = userAgent
	config.Observe = observed.add
	if config.FirstBackoff == 0 {
		config.FirstBackoff = time.Nanosecond
	}
	client := flame.New(config)
	t.Cleanup(client.CloseIdleConnections)
	return client, observed
}

func parse(t *testing.T, url string) flame.Endpoint {
	t.Helper()
	endpoint, err := flame.ParseEndpoint(url)
	if err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// open opens a session, and stops the test if that fails.
func (h *harness) open() flame.Session {
	h.Helper()
	session, err := h.client.Open(h.Context(), h.endpoint, credentials)
	if err != nil {
		h.Fatal(err)
	}
	return session
}

// call makes one call. Only OpCheck and OpRevoke use the token.
func (h *harness) call(ctx context.Context, op flame.Operation, token string) error {
	var err error
	switch op {
	case flame.OpOpen:
		_, err = h.client.Open(ctx, h.endpoint, credentials)
	case flame.OpCheck:
		_, err = h.client.Check(ctx, h.endpoint, flame.NewToken(token))
	case flame.OpRevoke:
		_, err = h.client.Revoke(ctx, h.endpoint, flame.NewToken(token))
	}
	return err
}

func (h *harness) wantLive(tokens ...string) {
	h.Helper()
	slices.Sort(tokens)
	if live := h.Live(); !slices.Equal(live, tokens) {
		h.Errorf("%d tokens are live, want %d: these and no others", len(live), len(tokens))
	}
}

func (h *harness) wantCount(op flame.Operation, want int) {
	h.Helper()
	if n := h.Count(fakeOp[op]); n != want {
		h.Errorf("%d %s requests, want %d", n, fakeOp[op], want)
	}
}

var (
	fakeOp = map[flame.Operation]flametest.Operation{
		flame.OpOpen: flametest.OpOpen, flame.OpCheck: flametest.OpCheck, flame.OpRevoke: flametest.OpRevoke,
	}
	methods = map[flame.Operation]string{
		flame.OpOpen: http.MethodPost, flame.OpCheck: http.MethodGet, flame.OpRevoke: http.MethodDelete,
	}
	allOperations = []flame.Operation{flame.OpOpen, flame.OpCheck, flame.OpRevoke}
)

// asError returns err as an *Error, and stops the test if it is none.
func asError(t *testing.T, err error) *flame.Error {
	t.Helper()
	var e *flame.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	return e
}

// attempts records the attempts that Observe reports.
type attempts struct {
	mu  sync.Mutex
	all []flame.Attempt
}

func (a *attempts) add(_ context.Context, attempt flame.Attempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, attempt)
}

func (a *attempts) list() []flame.Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

func (a *attempts) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = nil
}
