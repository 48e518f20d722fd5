// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for value, want := range map[string]time.Duration{
		"":                                     0,
		"0":                                    0,
		"1":                                    time.Second,
		"120":                                  2 * time.Minute,
		"0120":                                 2 * time.Minute,
		"86399":                                day - time.Second,
		"86400":                                day,
		"86401":                                day,
		"9223372037":                           day, // more nanoseconds than an int64 holds
		strconv.FormatUint(math.MaxUint64, 10): day,
		"99999999999999999999999999":           day,
		"-1":                                   0,
		"-99999999999999999999999999":          0,
		"+5":                                   0,
		"1.5":                                  0,
		"1e3":                                  0,
		"0x10":                                 0,
		"1_000":                                0,
		"5s":                                   0,
		"5, 6":                                 0,
		" 5":                                   0, // net/http trims spaces
		"soon":                                 0,
		"Sun, 01 Mar 2026 12:00:00 GMT":        0,
		"Sun, 01 Mar 2026 12:02:00 GMT":        2 * time.Minute,
		"Sunday, 01-Mar-26 12:02:00 GMT":       2 * time.Minute, // the two obsolete forms
		"Sun Mar  1 12:02:00 2026":             2 * time.Minute,
		"Sun, 01 Mar 2026 11:59:59 GMT":        0,
		"Thu, 01 Jan 1970 00:00:00 GMT":        0,
		"Mon, 02 Mar 2026 11:59:59 GMT":        day - time.Second,
		"Mon, 02 Mar 2026 12:00:01 GMT":        day,
		"Fri, 31 Dec 9999 23:59:59 GMT":        day,
		"Sun, 01 Mar 2026 12:02:00 +0100":      0,
		"2026-03-01T12:02:00Z":                 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "120", "-1", "18446744073709551615", "18446744073709551616", "1.5", "soon",
		"Sun, 01 Mar 2026 12:02:00 GMT", "Sunday, 01-Mar-26 12:02:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
	} {
		f.Add(seed, int64(1772366400))
	}
	f.Add("120", int64(math.MinInt64))
	f.Add("Thu, 01 Jan 1970 00:00:00 GMT", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, value string, now int64) {
		if d := retryAfter(value, time.Unix(now, 0)); d < 0 || d > 24*time.Hour {
			t.Errorf("%q: %v", value, d)
		}
	})
}

// maxBackoffs are the longest waits before each retry.
var maxBackoffs = []time.Duration{
	time.Second / 2, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second,
	30 * time.Second, 30 * time.Second, 30 * time.Second,
}

func TestBackoffIsFullJitter(t *testing.T) {
	const samples = 2000
	waits := make([][]time.Duration, len(maxBackoffs))
	for range samples {
		backoff := newBackoff(time.Second/2, rand.Float64)
		for i := range waits {
			waits[i] = append(waits[i], backoff.NextBackOff())
		}
	}
	for i, all := range waits {
		limit := maxBackoffs[i]
		slices.Sort(all)
		shortest, median, longest := all[0], all[samples/2], all[samples-1]
		if shortest < 0 || longest > limit {
			t.Errorf("wait %d: from %v to %v, want at most %v", i+1, shortest, longest, limit)
		}
		if shortest > limit/20 || longest < limit*19/20 || median < limit*2/5 || median > limit*3/5 {
			t.Errorf("wait %d: shortest %v, median %v, longest %v; want a uniform spread up to %v", i+1, shortest, median, longest, limit)
		}
	}
}

func TestBackoffBetweenAttempts(t *testing.T) {
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			var total time.Duration
			config := Config{MaxRetries: len(maxBackoffs)}
			runInBubble(t, config, always(http.StatusServiceUnavailable), func(t *testing.T, b *bubble) {
				e := b.call(t.Context(), op).failure(t)
				want(t, "attempts", e.Attempts, len(maxBackoffs)+1)
				requests := b.received()
				want(t, "requests", len(requests), len(maxBackoffs)+1)
				for i := range min(len(maxBackoffs), len(requests)-1) {
					if wait := requests[i+1].after - requests[i].after; wait > maxBackoffs[i] {
						t.Errorf("wait %d: %v, want at most %v", i+1, wait, maxBackoffs[i])
					}
				}
				want(t, "duration, without a wait after the last attempt", b.elapsed(), requests[len(requests)-1].after)
				total = b.elapsed()
			})
			if total == 0 {
				t.Error("the client did not wait")
			}
		})
	}
}

func TestRetryAfterDelaysRetry(t *testing.T) {
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	text := func(s string) func() string { return func() string { return s } }
	const backoff = time.Second / 2 // the longest wait before the first retry
	for _, test := range []struct {
		name     string
		value    func() string
		from, to time.Duration // when the retry arrives
	}{
		{"seconds", text("120"), 2 * time.Minute, 2 * time.Minute},
		{"one second", text("1"), time.Second, time.Second},
		{"date", date(2 * time.Minute), 2 * time.Minute, 2 * time.Minute},
		{"huge", text("99999999999999999999"), 24 * time.Hour, 24 * time.Hour},
		{"distant date", date(10000 * time.Hour), 24 * time.Hour, 24 * time.Hour},
		{"zero", text("0"), 0, backoff},
		{"past date", date(-time.Hour), 0, backoff},
		{"negative", text("-120"), 0, backoff},
		{"garbage", text("two minutes"), 0, backoff},
		{"none", text(""), 0, backoff},
	} {
		for _, op := range allOperations {
			for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				t.Run(testName(op, code, test.name), func(t *testing.T) {
					// The value may depend on the bubble's clock, so it is made in the responder.
					respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
						return n == 1 && writeStatus(w, code, "Retry-After: "+test.value())
					}
					runInBubble(t, Config{MaxRetries: 1}, respond, func(t *testing.T, b *bubble) {
						if r := b.call(t.Context(), op); r.err != nil {
							t.Fatal(r.err)
						}
						requests := b.received()
						if len(requests) != 2 {
							t.Fatalf("%d requests, want 2", len(requests))
						}
						if after := requests[1].after; after < test.from || after > test.to {
							t.Errorf("the retry came after %v, want %v to %v", after, test.from, test.to)
						}
					})
				})
			}
		}
	}
}

func TestRetryAfterPausesAllCalls(t *testing.T) {
	const pause = 2 * time.Minute
	respond := firstRequests(1, http.StatusTooManyRequests, "Retry-After: 120")
	runInBubble(t, Config{MaxRetries: 1}, respond, func(t *testing.T, b *bubble) {
		calls := []<-chan result{b.callAsync(t.Context(), OpOpen)}
		synctest.Wait()
		for range 3 {
			for _, op := range allOperations {
				calls = append(calls, b.callAsync(t.Context(), op))
			}
			time.Sleep(30 * time.Second)
		}
		wantSuccess(t, calls)
		requests := b.received()
		want(t, "requests", len(requests), 1+len(calls))
		for _, request := range requests[1:] {
			want(t, "arrival of "+request.method, request.after, pause)
		}

		if r := b.call(t.Context(), OpCheck); r.err != nil || r.after != pause {
			t.Errorf("a call after the pause: %v after %v", r.err, r.after)
		}
	})
}

// A pause applies to later calls even if the call that caused it is not retried.
func TestPauseOutlivesItsCall(t *testing.T) {
	respond := firstRequests(1, http.StatusServiceUnavailable, "Retry-After: 120")
	runInBubble(t, Config{MaxRetries: 0}, respond, func(t *testing.T, b *bubble) {
		first := b.call(t.Context(), OpOpen)
		want(t, "end of the first call", first.after, 0)
		want(t, "status of the first call", first.failure(t).Status, http.StatusServiceUnavailable)
		second := b.call(t.Context(), OpOpen)
		want(t, "end of the second call", second.after, 2*time.Minute)
	})
}

// A pause also stops calls that were already waiting for RequestsPerSecond.
func TestPauseOverridesRequestsPerSecond(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		time.Sleep(time.Second / 2) // until the other calls wait
		return writeStatus(w, http.StatusTooManyRequests, "Retry-After: 120")
	}
	runInBubble(t, Config{RequestsPerSecond: 1}, respond, func(t *testing.T, b *bubble) {
		var calls []<-chan result
		for range 4 {
			calls = append(calls, b.callAsync(t.Context(), OpCheck))
		}
		wantSuccess(t, calls)
		requests := b.received()
		want(t, "requests", len(requests), 5)
		last := requests[0].after - time.Second
		for i, request := range requests {
			if i > 0 && request.after < 2*time.Minute {
				t.Errorf("request %d came after %v, want at least 2m0s", i+1, request.after)
			}
			if gap := request.after - last; gap < time.Second-time.Microsecond {
				t.Errorf("request %d came %v after the previous one, want at least 1s", i+1, gap)
			}
			last = request.after
		}
	})
}

// Error.Wait reports a Retry-After, not the backoff between attempts.
func TestWaitIgnoresBackoff(t *testing.T) {
	respond := always(http.StatusTooManyRequests, "Retry-After: 1")
	runInBubble(t, Config{FirstBackoff: 1000000 * time.Hour}, respond, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e := b.call(ctx, OpOpen).failure(t)
		want(t, "wait", e.Wait, 0)
		want(t, "deadline exceeded", e.DeadlineExceeded, true)
	})
}

func TestShorterPauseDoesNotEndLongerOne(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 1:
			time.Sleep(time.Second) // let the second request out before the pause begins
			return writeStatus(w, http.StatusTooManyRequests, "Retry-After: 100")
		case 2:
			time.Sleep(2 * time.Second)
			return writeStatus(w, http.StatusTooManyRequests, "Retry-After: 5")
		}
		return false
	}
	runInBubble(t, Config{}, respond, func(t *testing.T, b *bubble) {
		first := b.callAsync(t.Context(), OpCheck)
		synctest.Wait()
		second := b.callAsync(t.Context(), OpCheck)
		want(t, "end of the first call", (<-first).after, 101*time.Second)
		want(t, "end of the second call", (<-second).after, 101*time.Second)
	})
}

func TestTooManyRequestsDoesNotCountAsRetry(t *testing.T) {
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch {
		case n <= 20, n > 21 && n <= 40:
			return writeStatus(w, http.StatusTooManyRequests)
		case n == 21: // its retry is the only one that counts
			return writeStatus(w, http.StatusServiceUnavailable)
		}
		return false
	}
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: 1}, respond, func(t *testing.T, b *bubble) {
				if r := b.call(t.Context(), op); r.err != nil {
					t.Error(r.err)
				}
				want(t, "requests", len(b.received()), 41)
				for i, attempt := range b.observed() {
					want(t, "attempt number", attempt.Number, i+1)
				}
			})
		})
	}
	t.Run("no retries allowed", func(t *testing.T) {
		runInBubble(t, Config{}, firstRequests(5, http.StatusTooManyRequests), func(t *testing.T, b *bubble) {
			if r := b.call(t.Context(), OpOpen); r.err != nil {
				t.Error(r.err)
			}
			want(t, "requests", len(b.received()), 6)
		})
	})
	t.Run("until the deadline", func(t *testing.T) {
		respond := always(http.StatusTooManyRequests, "Retry-After: 7")
		runInBubble(t, Config{}, respond, func(t *testing.T, b *bubble) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := b.call(ctx, OpOpen)
			e := r.failure(t)
			want(t, "status", e.Status, http.StatusTooManyRequests)
			want(t, "deadline exceeded", e.DeadlineExceeded, true)
			want(t, "lost a session", e.Lost > 0, false)
			want(t, "is context.DeadlineExceeded", errors.Is(e, context.DeadlineExceeded), true)
			if r.after > time.Minute || len(b.received()) < 3 {
				t.Errorf("%d requests in %v", len(b.received()), r.after)
			}
		})
	})
}

func TestRequestsPerSecond(t *testing.T) {
	for _, test := range []struct {
		name string
		rate float64
		want []time.Duration
	}{
		{"two", 2, []time.Duration{0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2 * time.Second, 2500 * time.Millisecond}},
		{"a quarter", 0.25, []time.Duration{0, 4 * time.Second, 8 * time.Second, 12 * time.Second, 16 * time.Second, 20 * time.Second}},
		{"no limit", 0, make([]time.Duration, 6)},
	} {
		t.Run(test.name, func(t *testing.T) {
			runInBubble(t, Config{RequestsPerSecond: test.rate}, nil, func(t *testing.T, b *bubble) {
				var calls []<-chan result
				for range 2 {
					for _, op := range allOperations {
						calls = append(calls, b.callAsync(t.Context(), op))
					}
				}
				wantSuccess(t, calls)
				var got []time.Duration
				for _, request := range b.received() {
					got = append(got, request.after)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("requests came after %v, want %v", got, test.want)
				}
			})
		})
	}
	t.Run("includes retries", func(t *testing.T) {
		config := Config{RequestsPerSecond: 0.125, MaxRetries: 3}
		runInBubble(t, config, firstRequests(3, http.StatusInternalServerError), func(t *testing.T, b *bubble) {
			r := b.call(t.Context(), OpCheck)
			want(t, "duration", r.after.Round(time.Microsecond), 24*time.Second)
		})
	})
	t.Run("wait longer than the deadline", func(t *testing.T) {
		runInBubble(t, Config{RequestsPerSecond: 0.1}, nil, func(t *testing.T, b *bubble) {
			b.call(t.Context(), OpCheck)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			r := b.call(ctx, OpOpen)
			want(t, "duration", r.after, 0)
			want(t, "is ErrTimeout", errors.Is(r.err, ErrTimeout), true)
			want(t, "deadline exceeded", r.failure(t).DeadlineExceeded, true)
			want(t, "lost a session", r.err.Lost > 0, false)
			want(t, "requests", len(b.received()), 1)
		})
	})
}

func TestCancelDuringWait(t *testing.T) {
	const cancelledAt = 7 * time.Second
	unavailable := always(http.StatusServiceUnavailable)
	unavailableFor2Minutes := always(http.StatusServiceUnavailable, "Retry-After: 120")
	for _, test := range []struct {
		name       string
		config     Config
		respond    responder
		afterOther bool // another call comes first
		requests   int
		reason     error
	}{
		{"Retry-After", Config{MaxRetries: 5}, unavailableFor2Minutes, false, 1, ErrStatus},
		{"Retry-After of another call", Config{MaxRetries: 5}, unavailableFor2Minutes, true, 1, ErrInterrupted},
		{"backoff", Config{MaxRetries: 5, FirstBackoff: 100000 * time.Hour}, unavailable, false, 1, ErrStatus},
		{"RequestsPerSecond", Config{RequestsPerSecond: 0.01}, nil, true, 1, ErrInterrupted},
	} {
		for _, op := range allOperations {
			t.Run(testName(op, test.name), func(t *testing.T) {
				runInBubble(t, test.config, test.respond, func(t *testing.T, b *bubble) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if test.afterOther {
						other := b.callAsync(ctx, OpCheck)
						defer func() { cancel(); <-other }()
						synctest.Wait()
					}
					r := b.callAndCancel(ctx, op, cancelledAt)
					e := r.failure(t)
					want(t, "duration", r.after, cancelledAt)
					want(t, "reason", e.Reason, test.reason)
					want(t, "is context.Canceled", errors.Is(e, context.Canceled), true)
					want(t, "deadline exceeded", e.DeadlineExceeded, false)
					want(t, "lost a session", e.Lost > 0, op == OpOpen && test.name == "backoff") // of a 503 without Retry-After
					want(t, "requests", len(b.received()), test.requests)
				})
			})
		}
	}
}

// A call fails at once if its deadline comes before the end of a Retry-After.
func TestDeadlineBeforeRetryAfter(t *testing.T) {
	respond := always(http.StatusTooManyRequests, "Retry-After: 120")
	for _, op := range allOperations {
		t.Run(testName(op), func(t *testing.T) {
			runInBubble(t, Config{MaxRetries: 5}, respond, func(t *testing.T, b *bubble) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r := b.call(ctx, op)
				e := r.failure(t)
				if r.after > time.Second/2 {
					t.Errorf("the call took %v", r.after)
				}
				want(t, "wait", e.Wait, 2*time.Minute-r.after)
				want(t, "deadline exceeded", e.DeadlineExceeded, true)
				want(t, "status", e.Status, http.StatusTooManyRequests)
				want(t, "is context.DeadlineExceeded", errors.Is(e, context.DeadlineExceeded), true)
				want(t, "requests", len(b.received()), 1)

				next := b.call(ctx, op).failure(t)
				want(t, "reason of the next call", next.Reason, ErrTimeout)
				want(t, "deadline of the next call exceeded", next.DeadlineExceeded, true)
				want(t, "lost a session in the next call", next.Lost > 0, false)
				want(t, "requests after the next call", len(b.received()), 1)
			})
		})
	}
}

func wantSuccess(t *testing.T, calls []<-chan result) {
	t.Helper()
	for _, call := range calls {
		if r := <-call; r.err != nil {
			t.Error(r.err)
		}
	}
}
