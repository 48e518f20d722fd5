// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// callInParallel opens, checks and revokes sessions in several goroutines.
func (h *harness) callInParallel(goroutines, rounds int) {
	h.Helper()
	var all sync.WaitGroup
	start := make(chan struct{})
	for range goroutines {
		all.Go(func() {
			<-start
			for range rounds {
				session, err := h.client.Open(h.Context(), h.endpoint, credentials)
				if err != nil {
					h.Error(err)
					return
				}
				if alive, err := h.client.Check(h.Context(), h.endpoint, session.Token); !alive || err != nil {
					h.Errorf("check: alive is %v, error %v", alive, err)
				}
				if alreadyGone, err := h.client.Revoke(h.Context(), h.endpoint, session.Token); alreadyGone || err != nil {
					h.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
				}
			}
		})
	}
	close(start)
	all.Wait()
	h.wantLive()
}

// However few streams a server allows on one HTTP/2 connection, no call waits for another:
// in the end, this server answers none before all have arrived. net/http may queue a call
// on a new connection whose limit it does not know yet, so each round makes one more known.
func TestHTTP2StreamLimit(t *testing.T) {
	type round struct {
		arrived atomic.Int64
		want    int // how many have to arrive before one is answered
		enough  chan struct{}
	}
	for limit, calls := range map[int]int{1: 4, 2: 12, 128: 200} {
		t.Run(fmt.Sprintf("%d streams, %d calls", limit, calls), func(t *testing.T) {
			var now atomic.Pointer[round]
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("a request used %s, want HTTP/2", r.Proto)
				}
				round := now.Load()
				if int(round.arrived.Add(1)) == round.want {
					close(round.enough)
				}
				<-round.enough
				_, _ = io.WriteString(w, `{"auth_token":"tok"}`)
			}))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // the transport closes connections that it does not need
			server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: limit}
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			client, attempts := newClient(t, flame.Config{RootCAs: roots, MaxRetries: flame.DefaultMaxRetries})

			made := 0
			for known := 0; made == 0 || now.Load().want < calls; known++ {
				now.Store(&round{want: min(known*limit+1, calls), enough: make(chan struct{})})
				var all sync.WaitGroup
				for i := range calls {
					all.Go(func() {
						// Each user's first login goes alone.
						credentials := flame.Credentials{User: fmt.Sprint(i), Password: credentials.Password}
						if _, err := client.Open(t.Context(), parse(t, server.URL), credentials); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				made += calls
			}
			// The server refuses streams beyond the limit until the client knows it.
			if n := len(attempts.list()); n < made {
				t.Errorf("%d attempts, want %d or more", n, made)
			}
		})
	}
}

func TestRefusalsKeepConnection(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 3})
		for _, status := range []int{302, 400, 401, 403, 429, 500, 503} {
			for _, op := range allOperations {
				h.Script(fakeOp[op], flametest.Fault{Status: status, Body: "<html>maintenance</html>"})
				_ = h.call(t.Context(), op, "tok")
			}
		}
		// The transport may dial a connection more than it needs.
		if n := h.Connections(); n > 3 {
			t.Errorf("TLS %v: %d connections for %d requests", encrypted, n, len(h.Journal()))
		}
	}
}

func TestHangingRequestBlocksNoOther(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		for _, first := range allOperations {
			t.Run(fmt.Sprintf("%s, TLS %v", methods[first], encrypted), func(t *testing.T) {
				h := start(t, flametest.Config{TLS: encrypted}, flame.Config{})
				if err := h.call(t.Context(), flame.OpOpen, ""); err != nil { // the first login goes alone
					t.Fatal(err)
				}
				h.RevokeAll()
				h.Reset()
				h.Script(fakeOp[first], flametest.Fault{Hang: true})
				ended := make(chan error)
				go func() { ended <- h.call(t.Context(), first, "tok") }()
				if err := h.Await(t.Context(), fakeOp[first], 1); err != nil {
					t.Fatal(err)
				}
				h.callInParallel(5, 5)
				select {
				case err := <-ended:
					t.Errorf("the hanging request ended: %v", err)
				default:
				}
				h.Release()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestLostConnectionIsReplaced(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 3})
		for range 5 {
			h.Script(flametest.OpOpen, flametest.Fault{Drop: true})
			session := h.open()
			if session.Lost != 1 {
				t.Errorf("TLS %v: %d lost sessions, want 1", encrypted, session.Lost)
			}
			h.Revoke(session.Token.Reveal())
		}
		h.callInParallel(5, 2)
	}
}

// A connection that the server closes gracefully delays no later request, even
// while one of its own requests hangs.
func TestGracefulCloseOfConnection(t *testing.T) {
	h := start(t, flametest.Config{TLS: true}, flame.Config{RequestTimeout: 3 * time.Second})
	token := h.open().Token.Reveal()
	h.Script(flametest.OpOpen, flametest.Fault{Hang: true})
	ended := make(chan error)
	go func() { ended <- h.call(t.Context(), flame.OpOpen, "") }()
	if err := h.Await(t.Context(), flametest.OpOpen, 2); err != nil {
		t.Fatal(err)
	}
	// Over HTTP/2, this makes the fake send GOAWAY.
	h.Script(flametest.OpCheck, flametest.Fault{Header: http.Header{"Connection": {"close"}}})
	for range 3 {
		if err := h.call(t.Context(), flame.OpCheck, token); err != nil {
			t.Error(err)
		}
	}
	h.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A call over https must not reuse or wait for a connection over plain http.
func TestHTTPConnectionIsNotUsedForHTTPS(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{RequestTimeout: 3 * time.Second})
	h.open() // leaves an idle connection
	h.endpoint = parse(t, strings.Replace(h.URL(), "http:", "https:", 1))
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrTLS) {
		t.Errorf("got %v, want %v", err, flame.ErrTLS)
	}
}

func TestSeveralHosts(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{InsecureSkipVerify: true})
	other := start(t, flametest.Config{TLS: true, Version: 2}, flame.Config{})
	for _, server := range []*harness{h, other, h, other} {
		session, err := h.client.Open(t.Context(), server.endpoint, credentials)
		if err != nil {
			t.Fatal(err)
		}
		server.wantLive(session.Token.Reveal())
		if alreadyGone, err := h.client.Revoke(context.Background(), server.endpoint, session.Token); alreadyGone || err != nil {
			t.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
		}
	}
}
