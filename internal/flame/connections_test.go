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
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// atOnce runs several goroutines that each open, check and revoke sessions.
func (h *harness) atOnce(goroutines, rounds int) {
	h.Helper()
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range goroutines {
		all.Go(func() {
			<-begin
			for range rounds {
				session, err := h.client.Open(h.Context(), h.endpoint, credentials)
				if err != nil {
					h.Error(err)
					return
				}
				if alive, err := h.client.Check(h.Context(), h.endpoint, session.Token); !alive || err != nil {
					h.Errorf("check: %v, %v", alive, err)
				}
				if gone, err := h.client.Revoke(h.Context(), h.endpoint, session.Token); gone || err != nil {
					h.Errorf("revoke: %v, %v", gone, err)
				}
			}
		})
	}
	close(begin)
	all.Wait()
	h.wantLive()
}

// However few streams a server allows on one HTTP/2 connection, no call waits for
// another: here, the server answers none before all have arrived.
func TestHTTP2StreamLimit(t *testing.T) {
	for limit, calls := range map[int]int{1: 4, 2: 12, 128: 200} {
		t.Run(fmt.Sprintf("%d streams, %d calls", limit, calls), func(t *testing.T) {
			var arrived sync.WaitGroup
			arrived.Add(calls)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("a request came over %s", r.Proto)
				}
				arrived.Done()
				arrived.Wait()
				_, _ = io.WriteString(w, `{"auth_token":"tok"}`)
			}))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // the transport drops connections that it no longer needs
			server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: limit}
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			client, seen := newClient(t, flame.Config{RootCAs: roots, MaxRetries: flame.DefaultMaxRetries})

			var all sync.WaitGroup
			for range calls {
				all.Go(func() {
					session, err := client.Open(t.Context(), parse(t, server.URL), credentials)
					if err != nil || session.Lost != 0 {
						t.Errorf("%d sessions lost, %v", session.Lost, err)
					}
				})
			}
			all.Wait()
			// Streams beyond the limit are refused until the client knows it.
			if n := len(seen.list()); n < calls {
				t.Errorf("%d attempts, want %d or more", n, calls)
			}
		})
	}
}

// Refusals leave their connection usable.
func TestConnectionSurvivesRefusals(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 3})
		for _, status := range []int{302, 400, 401, 403, 429, 500, 503} {
			for _, op := range operations {
				h.Script(fakeOp[op], flametest.Fault{Status: status, Body: "<html>maintenance</html>"})
				_ = h.call(t.Context(), op, "tok")
			}
		}
		// A transport may dial once more than it needs to.
		if n := h.Connections(); n > 3 {
			t.Errorf("TLS %v: %d connections for %d requests", encrypted, n, len(h.Journal()))
		}
	}
}

// A request that hangs holds none of the others up.
func TestHangingRequestBlocksNoOther(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		for _, first := range operations {
			t.Run(fmt.Sprintf("%s, TLS %v", methods[first], encrypted), func(t *testing.T) {
				h := start(t, flametest.Config{TLS: encrypted}, flame.Config{})
				h.Script(fakeOp[first], flametest.Fault{Hang: true})
				ended := make(chan error)
				go func() { ended <- h.call(t.Context(), first, "tok") }()
				if err := h.Await(t.Context(), fakeOp[first], 1); err != nil {
					t.Fatal(err)
				}
				h.atOnce(5, 5)
				select {
				case err := <-ended:
					t.Errorf("the first request did not hang: %v", err)
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

// One that was lost is replaced.
func TestLostConnectionIsReplaced(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 3})
		for range 5 {
			h.Script(flametest.OpOpen, flametest.Fault{Drop: true})
			session := h.open()
			if session.Lost != 1 {
				t.Errorf("TLS %v: %d lost, want 1", encrypted, session.Lost)
			}
			h.Revoke(session.Token.Reveal())
		}
		h.atOnce(5, 2)
	}
}

// A connection that takes no more requests holds up none that come after it,
// also where one of its own still hangs.
func TestConnectionThatTakesNoMore(t *testing.T) {
	h := start(t, flametest.Config{TLS: true}, flame.Config{RequestTimeout: 3 * time.Second})
	token := h.open().Token.Reveal()
	h.Script(flametest.OpOpen, flametest.Fault{Hang: true})
	ended := make(chan error)
	go func() { ended <- h.call(t.Context(), flame.OpOpen, "") }()
	if err := h.Await(t.Context(), flametest.OpOpen, 2); err != nil {
		t.Fatal(err)
	}
	// Over HTTP/2, the fake then announces that the connection is to end.
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

// A connection in the clear is of no use to https, and must not be waited for.
func TestOneHostInTwoSchemes(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{RequestTimeout: 3 * time.Second})
	h.open() // leaves an idle connection
	h.endpoint = parse(t, strings.Replace(h.URL(), "http:", "https:", 1))
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrTLS) {
		t.Errorf("got %v, want that the server does not answer in TLS", err)
	}
}

// A client may talk to several hosts.
func TestSeveralHosts(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{InsecureSkipVerify: true})
	other := start(t, flametest.Config{TLS: true, Version: 2}, flame.Config{})
	for _, server := range []*harness{h, other, h, other} {
		session, err := h.client.Open(t.Context(), server.endpoint, credentials)
		if err != nil {
			t.Fatal(err)
		}
		server.wantLive(session.Token.Reveal())
		if gone, err := h.client.Revoke(context.Background(), server.endpoint, session.Token); gone || err != nil {
			t.Errorf("revoke: %v, %v", gone, err)
		}
	}
}
