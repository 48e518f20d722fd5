// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// protocols are how a client speaks to nginx.
var protocols = map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} // with TLS

// startBehind starts nginx in front of a fake, with its own answers first, and a client
// of nginx.
func startBehind(t *testing.T, encrypted bool, server string, config flame.Config) (*harness, *servertest.Nginx) {
	t.Helper()
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	nginx := servertest.StartNginx(t, servertest.NginxConfig{
		TLS:    encrypted,
		Server: server + "location / { proxy_pass " + strings.TrimSuffix(fake.URL(), "/api/v1") + "; }",
	})
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AppendCertsFromPEM([]byte(nginx.CACertificate))
	client, observed := newClient(t, config)
	return &harness{T: t, Server: fake, client: client, endpoint: parse(t, nginx.URL+"/api/v1"), attempts: observed}, nginx
}

// Whatever nginx does to a request, it gets as many as the client makes attempts.
func TestNginxGetsOneRequestPerAttempt(t *testing.T) {
	const answers = `
		if (-f no-answer) { return 444; }
		if (-f unavailable) { return 503; }
	`
	for proto, encrypted := range protocols {
		for _, retries := range []int{0, 2} {
			for _, answer := range []string{"no-answer", "unavailable"} {
				for _, op := range allOperations {
					t.Run(fmt.Sprintf("%s, %s, %s, %d retries", proto, answer, methods[op], retries), func(t *testing.T) {
						// A client of its own: on a slow machine, another call's failures are an outage.
						h, nginx := startBehind(t, encrypted, answers, flame.Config{MaxRetries: retries, RequestTimeout: 5 * time.Second})
						nginx.Switch(answer)
						e := asError(t, h.call(t.Context(), op, "tok"))
						seen, want := nginx.Requests(), retries+1
						if len(seen) != want || seen.Count(methods[op]) != want || seen[0].Proto != proto {
							t.Errorf("nginx got %d requests, %d of them %s; want %d over %s", len(seen), seen.Count(methods[op]), methods[op], want, proto)
						}
						if len(h.attempts.list()) != want || e.Attempts != want {
							t.Errorf("%d attempts, %d in the error; want %d", len(h.attempts.list()), e.Attempts, want)
						}
						if op == flame.OpOpen && e.Lost != want {
							t.Errorf("%d sessions lost, want %d", e.Lost, want)
						}
					})
				}
			}
		}
	}
}

// A gateway gives up on logins that Flame carries out, or answers them in its own name:
// each such session is counted as lost.
func TestNginxLosesLogins(t *testing.T) {
	for proto, encrypted := range protocols {
		for status, test := range map[int]struct {
			server string
			fault  flametest.Fault
		}{
			http.StatusGatewayTimeout:     {"proxy_read_timeout 50ms;", flametest.Fault{Hang: true, CarryOut: true}},
			http.StatusBadGateway:         {"", flametest.Fault{Drop: true, CarryOut: true}},
			http.StatusServiceUnavailable: {"", flametest.Fault{Status: http.StatusServiceUnavailable, CarryOut: true}},
		} {
			t.Run(fmt.Sprintf("%s, %d", proto, status), func(t *testing.T) {
				h, nginx := startBehind(t, encrypted, test.server, flame.Config{MaxRetries: 2})
				h.Always(flametest.OpOpen, &test.fault)
				e := asError(t, h.call(t.Context(), flame.OpOpen, ""))
				if e.Status != status || e.Lost != 3 || len(h.Live()) != 3 {
					t.Errorf("status %d, %d sessions lost, %d alive; want %d, 3, 3", e.Status, e.Lost, len(h.Live()), status)
				}
				if n := nginx.Requests().Count(http.MethodPost); n != 3 {
					t.Errorf("nginx got %d POSTs, want 3", n)
				}
			})
		}
	}
}

// nginx closes connections that the client is about to use again, now before a request
// is on its way and now after. Each session is returned or counted as lost all the same.
func TestNginxClosesConnections(t *testing.T) {
	for proto, encrypted := range protocols {
		for _, closes := range []string{"keepalive_timeout 1ms;", "keepalive_requests 10;"} {
			t.Run(proto+", "+closes, func(t *testing.T) {
				h, nginx := startBehind(t, encrypted, closes, flame.Config{MaxRetries: 5})
				var returned, lost atomic.Int64
				var callers sync.WaitGroup
				for range 10 {
					callers.Go(func() {
						for range 20 {
							session, err := h.client.Open(t.Context(), h.endpoint, credentials)
							var e *flame.Error
							if errors.As(err, &e) {
								lost.Add(int64(e.Lost))
								continue
							}
							returned.Add(1)
							lost.Add(int64(session.Lost))
						}
					})
				}
				callers.Wait()
				if alive := int64(len(h.Live())); alive < returned.Load() || alive > returned.Load()+lost.Load() {
					t.Errorf("%d sessions alive, %d returned, %d lost", alive, returned.Load(), lost.Load())
				}
				if seen, attempts := len(nginx.Requests()), len(h.attempts.list()); seen > attempts || attempts < 200 {
					t.Errorf("nginx got %d requests in %d attempts", seen, attempts)
				}
			})
		}
	}
}
