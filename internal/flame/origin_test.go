// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// elsewhere returns an endpoint of another origin, at the same server.
func (b *bubble) elsewhere(t *testing.T) Endpoint {
	t.Helper()
	endpoint, err := ParseEndpoint("http://flame.example:8080/api/v1")
	if err != nil {
		t.Fatal(err)
	}
	return endpoint
}

// What one origin asks for holds back no request to another.
func TestPauseIsPerOrigin(t *testing.T) {
	respond := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		return r.Host == "flame.example" && writeStatus(w, http.StatusServiceUnavailable, "Retry-After: 600")
	}
	runInBubble(t, Config{MaxRetries: 1}, respond, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if e := b.call(ctx, OpRevoke).failure(t); e.Wait < 9*time.Minute {
			t.Errorf("Flame asked for a pause of %v, want 10m less the backoff", e.Wait)
		}
		b.endpoint = b.elsewhere(t)
		paused := b.elapsed()
		for range 12 {
			if r := b.call(ctx, OpOpen); r.err != nil || r.after != paused {
				t.Errorf("after %v: %v", r.after, r.err)
			}
		}
		want(t, "requests", len(b.received()), 13)
	})
}

// A date in Retry-After is by the server's clock, which may be wrong.
func TestRetryAfterByTheServersClock(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		ahead := time.Now().Add(10 * time.Minute).UTC()
		return n == 1 && writeStatus(w, http.StatusTooManyRequests,
			"Date: "+ahead.Format(http.TimeFormat), "Retry-After: "+ahead.Add(time.Second).Format(http.TimeFormat))
	}
	runInBubble(t, Config{FirstBackoff: time.Nanosecond}, respond, func(t *testing.T, b *bubble) {
		if r := b.call(t.Context(), OpCheck); r.err != nil || r.after != time.Second {
			t.Errorf("after %v: %v, want success after a second", r.after, r.err)
		}
	})
}

// refuse makes the client find that nobody listens, until it calls listen. It returns the
// number of connections that were refused.
func (b *bubble) refuse() (refused func() int, listen func()) {
	var (
		mu        sync.Mutex
		count     int
		listening bool
	)
	dial := b.client.dialContext
	b.client.dialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if listening {
			return dial(ctx, network, address)
		}
		count++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	refused = func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
	return refused, func() {
		mu.Lock()
		defer mu.Unlock()
		listening = true
	}
}

// callMany makes calls as Terraform does, ten at a time, and returns their results.
func (b *bubble) callMany(ctx context.Context, op Operation, calls int) []result {
	results := make([]result, calls)
	slots := make(chan struct{}, 10)
	var all sync.WaitGroup
	for i := range calls {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, operationTimeouts[op])
			defer cancel()
			results[i] = b.call(ctx, op)
		})
	}
	all.Wait()
	return results
}

// operationTimeouts are the defaults of the resource.
var operationTimeouts = map[Operation]time.Duration{OpOpen: 5 * time.Minute, OpCheck: time.Minute, OpRevoke: 5 * time.Minute}

// An origin that is down is learned once, not once per session.
func TestOutageIsLearnedOnce(t *testing.T) {
	for _, op := range allOperations {
		t.Run(testName(op, "refused"), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: DefaultMaxRetries}, nil, func(t *testing.T, b *bubble) {
				dials, _ := b.refuse()
				for i, r := range b.callMany(t.Context(), op, 1000) {
					if e := r.failure(t); !errors.Is(e, ErrUnreachable) || e.Detail != "connection refused" || e.Lost != 0 {
						t.Fatalf("call %d: %v, %d lost", i, e, e.Lost)
					}
				}
				if took := b.elapsed(); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if n := dials(); n < outageFailures || n > 100 {
					t.Errorf("%d connections were tried", n)
				}
				t.Logf("%v, %d connections", b.elapsed(), dials())
			})
		})
		t.Run(testName(op, "silent"), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: DefaultMaxRetries}, hang, func(t *testing.T, b *bubble) {
				lost := 0
				for i, r := range b.callMany(t.Context(), op, 1000) {
					e := r.failure(t)
					if !errors.Is(e, ErrTimeout) {
						t.Fatalf("call %d: %v", i, e)
					}
					lost += e.Lost
				}
				if took := b.elapsed(); took > 2*time.Minute+time.Second {
					t.Errorf("it took %v", took)
				}
				if op == OpOpen {
					want(t, "lost answers", lost, len(b.received()))
				}
				t.Logf("%v, %d requests", b.elapsed(), len(b.received()))
			})
		})
	}
}

// An origin is down after three failures in a row that took half a second. Until then,
// each call is sent.
func TestOutageBegins(t *testing.T) {
	for name, test := range map[string]struct {
		firstBackoff, after time.Duration // 0: half a second; after is when the other call is made
		failures            int
		sent                bool
	}{
		"two failures":              {0, time.Second, 2, true},                                  // at 0, 0.5
		"three failures":            {0, 2 * time.Second, 3, false},                             // and 1.5 s
		"three in less than half a": {100 * time.Millisecond, 400 * time.Millisecond, 3, true},  // at 0, 0.1, 0.3
		"and one more":              {100 * time.Millisecond, 800 * time.Millisecond, 4, false}, // and 0.7 s
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{MaxRetries: 20, FirstBackoff: test.firstBackoff, Jitter: func() float64 { return 1 }}
			runInBubble(t, config, nil, func(t *testing.T, b *bubble) {
				dials, listen := b.refuse()
				trying := b.callAsync(t.Context(), OpCheck)
				time.Sleep(test.after)
				want(t, "failures", dials(), test.failures)
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if e := b.call(ctx, OpCheck).failure(t); e.NotSent == test.sent {
					t.Errorf("the other call made %d attempts", e.Attempts)
				}
				listen()
				<-trying
			})
		})
	}
}

// Once one request gets through, all are sent again.
func TestOutageEnds(t *testing.T) {
	runInBubble(t, Config{MaxRetries: 20}, nil, func(t *testing.T, b *bubble) {
		dials, listen := b.refuse()
		trying := b.callAsync(t.Context(), OpCheck)
		time.Sleep(10 * time.Second)
		tried := dials()
		if e := b.call(t.Context(), OpCheck).failure(t); !e.NotSent || e.Attempts != 0 {
			t.Errorf("a second call was sent while the first was trying: %+v", e)
		}
		want(t, "connections tried", dials(), tried)
		listen()
		if r := <-trying; r.err != nil {
			t.Errorf("the call that went on trying: %v", r.err)
		}
		for _, r := range b.callMany(t.Context(), OpCheck, 20) {
			if r.err != nil {
				t.Error(r.err)
			}
		}
	})
}

// A call that is alone makes all its attempts, and an answer of any kind shows that the
// origin is up.
func TestOutageLeavesLoneCallsAlone(t *testing.T) {
	runInBubble(t, Config{MaxRetries: 20}, nil, func(t *testing.T, b *bubble) {
		dials, _ := b.refuse()
		e := b.call(t.Context(), OpRevoke).failure(t)
		want(t, "attempts", e.Attempts, 21)
		want(t, "connections tried", dials(), 21)
		// The next calls find out with one attempt each whether it is up again.
		for n := range 2 {
			want(t, "attempts", b.call(t.Context(), OpRevoke).failure(t).Attempts, 1)
			want(t, "connections tried", dials(), 22+n)
		}
	})
	runInBubble(t, Config{MaxRetries: 2}, always(http.StatusServiceUnavailable), func(t *testing.T, b *bubble) {
		for range 10 {
			want(t, "attempts", b.call(t.Context(), OpRevoke).failure(t).Attempts, 3)
		}
	})
}

// Another origin goes on while one is down.
func TestOutageIsPerOrigin(t *testing.T) {
	runInBubble(t, Config{MaxRetries: DefaultMaxRetries}, nil, func(t *testing.T, b *bubble) {
		works := b.client.dialContext
		b.refuse()
		refuses := b.client.dialContext
		b.client.dialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "flame.example:80" {
				return refuses(ctx, network, address)
			}
			return works(ctx, network, address)
		}
		for range 3 {
			b.call(t.Context(), OpCheck).failure(t)
		}
		b.endpoint = b.elsewhere(t)
		if r := b.call(t.Context(), OpCheck); r.err != nil {
			t.Error(r.err)
		}
	})
}

// The user learns that a 503 may be a rate limit if other requests succeed.
func TestOthersServed(t *testing.T) {
	respond := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodDelete && writeStatus(w, http.StatusServiceUnavailable)
	}
	runInBubble(t, Config{MaxRetries: 2}, respond, func(t *testing.T, b *bubble) {
		if b.call(t.Context(), OpRevoke).failure(t).OthersServed {
			t.Error("no other request was served")
		}
		b.call(t.Context(), OpCheck)
		if !b.call(t.Context(), OpRevoke).failure(t).OthersServed {
			t.Error("another request was served")
		}
	})
}
