package flame

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestCancelWhilePostIsOnTheWire(t *testing.T) {
	const cancelled, answered = 3 * time.Second, 20 * time.Second
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request) bool // after 20 s; nil: success
		at     time.Duration
		reason error // nil: success
		maybe  bool
	}{
		{"answered", nil, answered, nil, false},
		{
			"refused", func(w http.ResponseWriter, _ *http.Request) bool {
				return status(w, http.StatusUnauthorized)
			}, answered, ErrUnauthorized, false,
		},
		{
			"unavailable: not tried again", func(w http.ResponseWriter, _ *http.Request) bool {
				return status(w, http.StatusServiceUnavailable)
			}, answered, ErrStatus, false,
		},
		{
			"lost: not tried again", func(http.ResponseWriter, *http.Request) bool {
				panic(http.ErrAbortHandler)
			}, answered, ErrLost, true,
		},
		{
			"never answered", func(_ http.ResponseWriter, r *http.Request) bool { return hang(r) },
			DefaultRequestTimeout, ErrTimeout, true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 5}, func(_ int, w http.ResponseWriter, r *http.Request) bool {
				time.Sleep(answered)
				return test.answer != nil && test.answer(w, r)
			}, func(t *testing.T, m *memory) {
				ctx, cancel := context.WithCancel(m.Context())
				call := m.begin(ctx, OpOpen)
				time.Sleep(cancelled)
				cancel()
				r := <-call
				want(t, "the end", r.at, test.at)
				want(t, "requests", len(m.seen()), 1)
				if test.reason == nil {
					if r.err != nil || r.session.Token.Reveal() != token {
						t.Errorf("the session did not arrive: %v", r.err)
					}
					return
				}
				want(t, "reason", r.failed(t).Reason, test.reason)
				want(t, "may have opened a session", (r.failed(t).Lost > 0), test.maybe)
				want(t, "expired", r.failed(t).DeadlineExceeded, false)
			})
		})
	}
}

// A token that cannot be kept is revoked also where the run was cancelled meanwhile.
func TestCleanUpOutlivesTheRun(t *testing.T) {
	inMemory(t, Config{}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		time.Sleep(20 * time.Second)
		_, _ = w.Write([]byte(`{"auth_token":"a b"}`))
		return true
	}, func(t *testing.T, m *memory) {
		ctx, cancel := context.WithCancel(m.Context())
		call := m.begin(ctx, OpOpen)
		time.Sleep(3 * time.Second)
		cancel()
		r := <-call
		want(t, "reason", r.failed(t).Reason, ErrTokenUnusable)
		want(t, "revoked", r.failed(t).TokenRevoked, true)
		want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
		want(t, "requests", len(m.seen()), 2)
	})
}

// An answer that has begun counts as on the wire too.
func TestCancelWhilePostIsAnswered(t *testing.T) {
	inMemory(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"auth_token":`))
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Second)
		_, _ = w.Write([]byte(`"` + token + `"}`))
		return true
	}, func(t *testing.T, m *memory) {
		ctx, cancel := context.WithTimeout(m.Context(), time.Hour)
		call := m.begin(ctx, OpOpen)
		time.Sleep(3 * time.Second)
		cancel()
		r := <-call
		if r.err != nil || r.session.Token.Reveal() != token || r.at != 20*time.Second {
			t.Errorf("the session did not arrive: %v after %v", r.err, r.at)
		}
	})
}

func TestCancelWhileOtherRequestIsOnTheWire(t *testing.T) {
	for _, op := range []Operation{OpCheck, OpRevoke} {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 5}, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
				return hang(r)
			}, func(t *testing.T, m *memory) {
				ctx, cancel := context.WithCancel(m.Context())
				call := m.begin(ctx, op)
				time.Sleep(3 * time.Second)
				cancel()
				r := <-call
				want(t, "the end", r.at, 3*time.Second)
				want(t, "reason", r.failed(t).Reason, ErrInterrupted)
				want(t, "context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "requests", len(m.seen()), 1)
			})
		})
	}
}

func TestCancelWhileDialing(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 5}, nil, func(t *testing.T, m *memory) {
				m.client.dialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					select { // no answer from the other side
					case <-ctx.Done():
					case <-m.closed:
					}
					return nil, net.ErrClosed
				}
				ctx, cancel := context.WithCancel(m.Context())
				call := m.begin(ctx, op)
				time.Sleep(3 * time.Second)
				cancel()
				r := <-call
				want(t, "the end", r.at, 3*time.Second)
				want(t, "reason", r.failed(t).Reason, ErrInterrupted)
				want(t, "context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
			})
		})
	}
}

func TestCancelledBefore(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{}, nil, func(t *testing.T, m *memory) {
				ctx, cancel := context.WithCancel(m.Context())
				cancel()
				r := m.call(ctx, op)
				want(t, "reason", r.failed(t).Reason, ErrInterrupted)
				want(t, "context.Canceled", errors.Is(r.err, context.Canceled), true)
				want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
				want(t, "requests", len(m.seen()), 0)
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	for _, test := range []struct {
		name     string
		timeout  time.Duration // of a request
		deadline time.Duration // of the operation
		retries  int
		at       time.Duration
		tries    int
		expired  bool
	}{
		{"of the request", 5 * time.Second, time.Hour, 0, 5 * time.Second, 1, false},
		{"of the request, by default", 0, time.Hour, 0, 30 * time.Second, 1, false},
		{"of the operation, sooner", 0, 10 * time.Second, 5, 10 * time.Second, 1, true},
		{"of the operation, with no retries allowed", 0, 10 * time.Second, 0, 10 * time.Second, 1, true},
		{"of the operation, on the second try", 6 * time.Second, 10 * time.Second, 5, 10 * time.Second, 2, true},
	} {
		for _, op := range everyOperation {
			t.Run(name(op, test.name), func(t *testing.T) {
				inMemory(t, Config{RequestTimeout: test.timeout, MaxRetries: test.retries}, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
					return hang(r)
				}, func(t *testing.T, m *memory) {
					ctx, cancel := context.WithTimeout(m.Context(), test.deadline)
					defer cancel()
					r := m.call(ctx, op)
					want(t, "the end", r.at, test.at)
					want(t, "reason", r.failed(t).Reason, ErrTimeout)
					want(t, "expired", r.failed(t).DeadlineExceeded, test.expired)
					want(t, "context.DeadlineExceeded", errors.Is(r.err, context.DeadlineExceeded), test.expired)
					want(t, "may have opened a session", (r.failed(t).Lost > 0), op == OpOpen)
					want(t, "tries", r.failed(t).Attempts, test.tries)
					want(t, "requests", len(m.seen()), test.tries)
				})
			})
		}
	}
}

// A try that timed out is lost, and the next may succeed.
func TestTimeoutThenSuccess(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 2, RequestTimeout: time.Minute}, func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 { // the answer begins and does not end
					_, _ = w.Write([]byte(`{"auth_token":`))
					_ = http.NewResponseController(w).Flush()
				}
				return n <= 2 && hang(r)
			}, func(t *testing.T, m *memory) {
				r := m.call(m.Context(), op)
				if r.err != nil {
					t.Fatal(r.err)
				}
				if op == OpOpen {
					want(t, "lost", r.session.Lost, 2)
					want(t, "requests", len(m.seen()), 3)
				}
			})
		})
	}
}

// A dial that takes too long ends with the request's time, and nothing was sent.
func TestTimeoutWhileDialing(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{RequestTimeout: 5 * time.Second}, nil, func(t *testing.T, m *memory) {
				m.client.dialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					select {
					case <-ctx.Done():
					case <-m.closed:
					}
					return nil, net.ErrClosed
				}
				r := m.call(m.Context(), op)
				want(t, "the end", r.at, 5*time.Second)
				want(t, "reason", r.failed(t).Reason, ErrUnreachable)
				want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
			})
		})
	}
}

func TestHangingTLSHandshake(t *testing.T) {
	inMemory(t, Config{RequestTimeout: 5 * time.Second}, nil, func(t *testing.T, m *memory) {
		endpoint, err := ParseEndpoint("https://flame.example/api/v1")
		if err != nil {
			t.Fatal(err)
		}
		m.endpoint = endpoint
		m.client.dialContext = func(context.Context, string, string) (net.Conn, error) {
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
		r := m.call(m.Context(), OpOpen)
		want(t, "the end", r.at, 5*time.Second)
		want(t, "reason", r.failed(t).Reason, ErrUnreachable)
		want(t, "detail", r.failed(t).Detail, "connecting took too long")
		want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
		synctest.Wait()
	})
}

// A body without end is not read to its end, whatever the status.
func TestEndlessBody(t *testing.T) {
	for _, code := range []int{http.StatusOK, http.StatusForbidden} {
		for _, op := range everyOperation {
			t.Run(name(op, code), func(t *testing.T) {
				var written atomic.Int64
				inMemory(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(code)
					for chunk := make([]byte, 64<<10); written.Load() < 16<<20; {
						n, err := w.Write(chunk)
						written.Add(int64(n))
						if err != nil {
							break
						}
					}
					return true
				}, func(t *testing.T, m *memory) {
					r := m.call(m.Context(), op)
					switch {
					case op == OpOpen && code == http.StatusOK:
						want(t, "reason", r.failed(t).Reason, ErrTooLarge)
					case op == OpCheck, code == http.StatusOK:
						want(t, "error", r.err, nil)
					default:
						want(t, "reason", r.failed(t).Reason, ErrStatus)
					}
					synctest.Wait()
					if n := written.Load(); n > 2<<20 {
						t.Errorf("%d bytes were read", n)
					}
				})
			})
		}
	}
}

// A request that could not be written to a stale connection, and found no
// other, was not sent.
func TestStaleConnection(t *testing.T) {
	inMemory(t, Config{}, nil, func(t *testing.T, m *memory) {
		stale := &staleConn{}
		m.client.dialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if stale.Conn != nil {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			conn, err := m.dial(ctx, network, addr)
			stale.Conn = conn
			return stale, err
		}
		if r := m.call(m.Context(), OpCheck); r.err != nil {
			t.Fatal(r.err)
		}
		stale.broken.Store(true)
		r := m.call(m.Context(), OpOpen)
		want(t, "reason", r.failed(t).Reason, ErrUnreachable)
		want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
		want(t, "requests", len(m.seen()), 1)
	})
}

// staleConn is a connection that its other side has given up, once it is broken.
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
