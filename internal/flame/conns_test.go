package flame_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
				session, err := h.client.Open(h.Context(), h.endpoint, flametest.User, flametest.Password)
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

// Over HTTP/2, one connection serves all calls.
func TestOneConnection(t *testing.T) {
	for goroutines, rounds := range map[int]int{1: 2, 10: 2, 50: 1} {
		for run := range 5 {
			t.Run(fmt.Sprintf("%d at once, %d", goroutines, run), func(t *testing.T) {
				h := start(t, flametest.Config{TLS: true}, flame.Config{})
				for range 2 { // the second time with one that is there
					h.atOnce(goroutines, rounds)
				}
				if n := h.Connections(); n != 1 {
					t.Errorf("%d connections, want 1", n)
				}
			})
		}
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
		// Over HTTP/1, a busy machine may cost one or two.
		if n := h.Connections(); n > 3 || encrypted && n != 1 {
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
				if n := h.Connections(); encrypted && n != 1 {
					t.Errorf("%d connections, want 1", n)
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
			h.Revoke(session.Token)
		}
		h.atOnce(5, 2)
	}
}

// A connection that takes no more requests holds up none that come after it,
// also where one of its own still hangs.
func TestConnectionThatTakesNoMore(t *testing.T) {
	h := start(t, flametest.Config{TLS: true}, flame.Config{RequestTimeout: 3 * time.Second})
	token := h.open().Token
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
	if n := h.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
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
		session, err := h.client.Open(t.Context(), server.endpoint, flametest.User, flametest.Password)
		if err != nil {
			t.Fatal(err)
		}
		server.wantLive(session.Token)
		if gone, err := h.client.Revoke(context.Background(), server.endpoint, session.Token); gone || err != nil {
			t.Errorf("revoke: %v, %v", gone, err)
		}
	}
	if n := other.Connections(); n != 1 {
		t.Errorf("%d connections over HTTP/2, want 1", n)
	}
}
