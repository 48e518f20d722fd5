// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// One attempt is one request on the wire, however a server ends its stream.
func TestResetStreamIsNotRepeated(t *testing.T) {
	for _, test := range []struct {
		code http2.ErrCode
		lost bool // the request may have been carried out
	}{
		{http2.ErrCodeRefusedStream, false},
		{http2.ErrCodeProtocol, true},
		{http2.ErrCodeInternal, true},
		{http2.ErrCodeCancel, true},
	} {
		for _, op := range allOperations {
			for _, retries := range []int{0, 2} {
				t.Run(fmt.Sprintf("%v, %s, %d retries", test.code, methods[op], retries), func(t *testing.T) {
					h := start(t, flametest.Config{TLS: true}, flame.Config{MaxRetries: retries})
					h.Always(fakeOp[op], &flametest.Fault{Drop: true, ResetCode: test.code})
					e := asError(t, h.call(t.Context(), op, "tok"))
					h.wantCount(op, retries+1)
					if n := len(h.attempts.list()); n != retries+1 || e.Attempts != n {
						t.Errorf("%d attempts, %d in the error; want %d", n, e.Attempts, retries+1)
					}
					want := 0
					if test.lost && op == flame.OpOpen {
						want = retries + 1
					}
					if e.Lost != want {
						t.Errorf("%d sessions lost, want %d", e.Lost, want)
					}
					if !errors.Is(e, flame.ErrLost) || strings.Contains(e.Detail, "unprocessed") == test.lost {
						t.Errorf("got %v", e)
					}
				})
			}
		}
	}
}

// A server that goes away names the last stream that it may have carried out.
func TestServerGoesAway(t *testing.T) {
	for name, test := range map[string]struct {
		last uint32 // the request has stream 1
		code http2.ErrCode
		lost int
	}{
		"before the request": {0, http2.ErrCodeNo, 0},
		"with an error":      {0, http2.ErrCodeEnhanceYourCalm, 0},
		"after the request":  {1, http2.ErrCodeNo, 1},
		"in its own words":   {1, http2.ErrCodeRefusedStream, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewUnstartedServer(nil)
			server.TLS = &tls.Config{NextProtos: []string{"h2"}}
			server.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
				"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
					goAway(conn, test.last, test.code, &requests)
				},
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			client, _ := newClient(t, flame.Config{InsecureSkipVerify: true, MaxRetries: 2})
			_, err := client.Open(t.Context(), parse(t, server.URL), credentials)
			if e := asError(t, err); e.Lost != 3*test.lost || !errors.Is(e, flame.ErrLost) {
				t.Errorf("%d sessions lost, want %d: %v", e.Lost, 3*test.lost, e)
			}
			if n := requests.Load(); n != 3 {
				t.Errorf("%d requests, want one for each of 3 attempts", n)
			}
		})
	}
}

// goAway waits for a request, then counts it, says GOAWAY and closes the connection.
func goAway(conn net.Conn, last uint32, code http2.ErrCode, requests *atomic.Int64) {
	defer conn.Close()
	_, _ = io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface)))
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
			requests.Add(1)
			_ = framer.WriteGoAway(last, code, nil)
			return
		}
	}
}

// Over HTTP/1, a request that was written to a stale connection is not sent again
// below the client.
func TestStaleConnectionIsNotRepeated(t *testing.T) {
	for _, op := range allOperations {
		t.Run(methods[op], func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 0})
			token := h.open().Token.Reveal()
			h.Reset()
			h.Always(fakeOp[op], &flametest.Fault{Drop: true}) // on the connection of the login
			if err := h.call(t.Context(), op, token); !errors.Is(err, flame.ErrLost) {
				t.Errorf("got %v, want that the connection was lost", err)
			}
			h.wantCount(op, 1)
			if n := len(h.attempts.list()); n != 2 {
				t.Errorf("%d attempts, want 2: the login and one more", n)
			}
		})
	}
}

// 101 turns the connection into something that has no end.
func TestSwitchingProtocolsIsRefused(t *testing.T) {
	for _, op := range allOperations {
		t.Run(methods[op], func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 3})
			h.Always(fakeOp[op], &flametest.Fault{Status: http.StatusSwitchingProtocols})
			e := asError(t, h.call(t.Context(), op, "tok"))
			if !errors.Is(e, flame.ErrStatus) || e.Status != http.StatusSwitchingProtocols || e.Attempts != 1 {
				t.Errorf("got %v", e)
			}
			h.wantCount(op, 1)
		})
	}
}
