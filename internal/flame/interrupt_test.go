// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCancelAfterOpenWasSent(t *testing.T) {
	const cancelledAt, respondedAt = 3 * time.Second, 20 * time.Second
	for _, test := range []struct {
		name    string
		respond responder // after 20 s; nil: success
		after   time.Duration
		reason  error // nil: success
		lost    bool
	}{
		{"success", nil, respondedAt, nil, false},
		{"refused", always(http.StatusUnauthorized), respondedAt, ErrUnauthorized, false},
		{"unavailable, no retry", always(http.StatusServiceUnavailable), respondedAt, ErrStatus, true},
		{
			"connection lost, no retry",
			func(int, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
			respondedAt, ErrLost, true,
		},
		{"no response", hang, DefaultRequestTimeout, ErrTimeout, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			respondLate := func(n int, w http.ResponseWriter, r *http.Request) bool {
				time.Sleep(respondedAt)
				return test.respond != nil && test.respond(n, w, r)
			}
			runInBubble(t, Config{MaxRetries: 5}, respondLate, func(t *testing.T, b *bubble) {
				r := b.callAndCancel(t.Context(), OpOpen, cancelledAt)
				want(t, "duration", r.after, test.after)
				want(t, "requests", len(b.received()), 1)
				if test.reason == nil {
					if r.err != nil || r.session.Token.Reveal() != token {
						t.Errorf("the session did not arrive: %v", r.err)
					}
					return
				}
				e := r.failure(t)
				want(t, "reason", e.Reason, test.reason)
				want(t, "lost a session", e.Lost > 0, test.lost)
				want(t, "deadline exceeded", e.DeadlineExceeded, false)
			})
		})
	}
}

// The client revokes an unusable token even if the run was cancelled.
func TestCancelDoesNotStopCleanUp(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		time.Sleep(20 * time.Second)
		_, _ = w.Write([]byte(`{"auth_token":"a b"}`))
		return true
	}
	runInBubble(t, Config{}, respond, func(t *testing.T, b *bubble) {
		e := b.callAndCancel(t.Context(), OpOpen, 3*time.Second).failure(t)
		want(t, "reason", e.Reason, ErrTokenUnusable)
		want(t, "revoked", e.TokenRevoked, true)
		want(t, "lost a session", e.Lost > 0, false)
		want(t, "requests", len(b.received()), 2)
	})
}

func TestCancelDuringResponseToOpen(t *testing.T) {
	respond := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		writePartialSession(w)
		time.Sleep(20 * time.Second)
		_, _ = w.Write([]byte(`"` + token + `"}`))
		return true
	}
	runInBubble(t, Config{}, respond, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // a deadline must not change this
		defer cancel()
		r := b.callAndCancel(ctx, OpOpen, 3*time.Second)
		if r.err != nil || r.session.Token.Reveal() != token || r.after != 20*time.Second {
			t.Errorf("the session did not arrive: %v after %v", r.err, r.after)
		}
	})
}

func TestCancelAbortsCheckAndRevoke(t *testing.T) {
	for _, op := range []Operation{OpCheck, OpRevoke} {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: 5}, hang, func(t *testing.T, b *bubble) {
				r := b.callAndCancel(t.Context(), op, 3*time.Second)
				want(t, "duration", r.after, 3*time.Second)
				want(t, "reason", r.failure(t).Reason, ErrInterrupted)
				want(t, "is context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "requests", len(b.received()), 1)
			})
		})
	}
}

func TestCancelDuringDial(t *testing.T) {
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: 5}, nil, func(t *testing.T, b *bubble) {
				b.hangDial()
				r := b.callAndCancel(t.Context(), op, 3*time.Second)
				want(t, "duration", r.after, 3*time.Second)
				want(t, "reason", r.failure(t).Reason, ErrInterrupted)
				want(t, "is context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "lost a session", r.err.Lost > 0, false)
			})
		})
	}
}

func TestCancelBeforeCall(t *testing.T) {
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{}, nil, func(t *testing.T, b *bubble) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				r := b.call(ctx, op)
				want(t, "reason", r.failure(t).Reason, ErrInterrupted)
				want(t, "is context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "lost a session", r.err.Lost > 0, false)
				want(t, "requests", len(b.received()), 0)
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name             string
		requestTimeout   time.Duration
		deadline         time.Duration
		maxRetries       int
		after            time.Duration
		attempts         int
		deadlineExceeded bool
	}{
		{"request timeout", 5 * time.Second, time.Hour, 0, 5 * time.Second, 1, false},
		{"default request timeout", 0, time.Hour, 0, 30 * time.Second, 1, false},
		{"deadline before request timeout", 0, 10 * time.Second, 5, 10 * time.Second, 1, true},
		{"deadline, no retries allowed", 0, 10 * time.Second, 0, 10 * time.Second, 1, true},
		{"deadline during the second attempt", 6 * time.Second, 10 * time.Second, 5, 10 * time.Second, 2, true},
	} {
		for _, op := range allOperations {
			t.Run(testName(op, test.name), func(t *testing.T) {
				config := Config{RequestTimeout: test.requestTimeout, MaxRetries: test.maxRetries}
				runInBubble(t, config, hang, func(t *testing.T, b *bubble) {
					ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
					defer cancel()
					r := b.call(ctx, op)
					e := r.failure(t)
					want(t, "duration", r.after, test.after)
					want(t, "reason", e.Reason, ErrTimeout)
					want(t, "deadline exceeded", e.DeadlineExceeded, test.deadlineExceeded)
					want(t, "is context.DeadlineExceeded", errors.Is(e, context.DeadlineExceeded), test.deadlineExceeded)
					want(t, "lost a session", e.Lost > 0, op == OpOpen)
					want(t, "attempts", e.Attempts, test.attempts)
					want(t, "requests", len(b.received()), test.attempts)
				})
			})
		}
	}
}

func TestTimeoutThenSuccess(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 2 {
			writePartialSession(w)
		}
		return n <= 2 && hang(n, w, r)
	}
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: 2, RequestTimeout: time.Minute}, respond, func(t *testing.T, b *bubble) {
				r := b.call(t.Context(), op)
				if r.err != nil {
					t.Fatal(r.err)
				}
				if op == OpOpen {
					want(t, "lost sessions", r.session.Lost, 2)
					want(t, "requests", len(b.received()), 3)
				}
			})
		})
	}
}

func TestTimeoutDuringDial(t *testing.T) {
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{RequestTimeout: 5 * time.Second}, nil, func(t *testing.T, b *bubble) {
				b.hangDial()
				r := b.call(t.Context(), op)
				want(t, "duration", r.after, 5*time.Second)
				want(t, "reason", r.failure(t).Reason, ErrUnreachable)
				want(t, "lost a session", r.err.Lost > 0, false)
			})
		})
	}
}

func TestTimeoutDuringTLSHandshake(t *testing.T) {
	runInBubble(t, Config{RequestTimeout: 5 * time.Second}, nil, func(t *testing.T, b *bubble) {
		endpoint, err := ParseEndpoint("https://flame.example/api/v1")
		if err != nil {
			t.Fatal(err)
		}
		b.endpoint = endpoint
		b.client.dialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				for buffer := make([]byte, 1024); ; {
					if _, err := server.Read(buffer); err != nil {
						return
					}
				}
			}()
			return client, nil
		}
		r := b.call(t.Context(), OpOpen)
		want(t, "duration", r.after, 5*time.Second)
		want(t, "reason", r.failure(t).Reason, ErrUnreachable)
		want(t, "detail", r.err.Detail, "connecting took too long")
		want(t, "lost a session", r.err.Lost > 0, false)
		synctest.Wait()
	})
}

// The client stops reading a body that does not end, whatever the status.
func TestEndlessBody(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusForbidden} {
		for _, op := range allOperations {
			t.Run(testName(op, status), func(t *testing.T) {
				var written atomic.Int64
				respond := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(status)
					for chunk := make([]byte, 64<<10); written.Load() < 16<<20; {
						n, err := w.Write(chunk)
						written.Add(int64(n))
						if err != nil {
							break
						}
					}
					return true
				}
				runInBubble(t, Config{}, respond, func(t *testing.T, b *bubble) {
					r := b.call(t.Context(), op)
					switch {
					case op == OpOpen && status == http.StatusOK:
						want(t, "reason", r.failure(t).Reason, ErrTooLarge)
					case op == OpCheck, status == http.StatusOK:
						want(t, "error", r.err, nil)
					default:
						want(t, "reason", r.failure(t).Reason, ErrStatus)
					}
					synctest.Wait()
					if n := written.Load(); n > 2<<20 {
						t.Errorf("the client read %d bytes, want at most 2 MiB", n)
					}
				})
			})
		}
	}
}

// A request was not sent if writing it to a stale connection failed and no new
// connection was possible.
func TestStaleConnection(t *testing.T) {
	runInBubble(t, Config{}, nil, func(t *testing.T, b *bubble) {
		stale := &staleConn{}
		b.client.dialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if stale.Conn != nil {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			conn, err := b.listener.dial(ctx, network, addr)
			stale.Conn = conn
			return stale, err
		}
		if r := b.call(t.Context(), OpCheck); r.err != nil {
			t.Fatal(r.err)
		}
		stale.broken.Store(true)
		e := b.call(t.Context(), OpOpen).failure(t)
		want(t, "reason", e.Reason, ErrUnreachable)
		want(t, "lost a session", e.Lost > 0, false)
		want(t, "requests", len(b.received()), 1)
	})
}

// Nothing was sent either if writing to a new connection failed at once.
func TestBrokenNewConnection(t *testing.T) {
	runInBubble(t, Config{MaxRetries: 0}, nil, func(t *testing.T, b *bubble) {
		b.client.dialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := b.listener.dial(ctx, network, addr)
			broken := &staleConn{Conn: conn}
			broken.broken.Store(true)
			return broken, err
		}
		e := b.call(t.Context(), OpOpen).failure(t)
		want(t, "reason", e.Reason, ErrUnreachable)
		want(t, "lost sessions", e.Lost, 0)
	})
}

// If the first connection was dead, an interrupt ends a login that waits for a second one.
func TestCancelBetweenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		endpoint, err := ParseEndpoint("https://flame.example")
		if err != nil {
			t.Fatal(err)
		}
		reqCtx, wire, done := New(Config{}).follow(ctx, &call{op: OpOpen, endpoint: endpoint})
		defer done()
		trace := wire.trace(ctx)
		trace.GetConn("")
		trace.GotConn(httptrace.GotConnInfo{}) // over HTTP/2, written bytes say nothing
		cancel()
		synctest.Wait()
		if err := reqCtx.Err(); err != nil {
			t.Fatalf("a login that may have been sent was ended: %v", err)
		}
		trace.GetConn("")
		want(t, "the request's end", reqCtx.Err(), context.Canceled)
		want(t, "reason", wire.failure(ctx, context.Canceled).Reason, ErrInterrupted)
	})
}

// If another connection can be made instead, that is no attempt.
func TestStaleConnectionCostsNoRetry(t *testing.T) {
	runInBubble(t, Config{MaxRetries: 0}, nil, func(t *testing.T, b *bubble) {
		stale := &staleConn{}
		b.client.dialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := b.listener.dial(ctx, network, addr)
			if stale.Conn == nil {
				stale.Conn = conn
				return stale, err
			}
			return conn, err
		}
		if r := b.call(t.Context(), OpCheck); r.err != nil {
			t.Fatal(r.err)
		}
		stale.broken.Store(true)
		if r := b.call(t.Context(), OpOpen); r.err != nil {
			t.Error(r.err)
		}
		want(t, "attempts", len(b.observed()), 2)
	})
}

// staleConn fails to write once it is broken.
type staleConn struct {
	net.Conn
	broken atomic.Bool
}

func (c *staleConn) Write(b []byte) (int, error) {
	if c.broken.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// Through an https proxy, the TLS connection to the server is inside another.
func TestBytesAreCountedThroughTLSProxy(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	counted := &countedConn{Conn: client}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	want(t, "the counted connection", http1Conn(tls.Client(tls.Client(counted, config), config)), counted)
}
