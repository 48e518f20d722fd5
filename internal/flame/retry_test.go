package flame

import (
	"context"
	"errors"
	"math"
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
		" 5":                                   0, // HTTP has cut spaces off before
		"soon":                                 0,
		"Sun, 01 Mar 2026 12:00:00 GMT":        0,
		"Sun, 01 Mar 2026 12:02:00 GMT":        2 * time.Minute,
		"Sunday, 01-Mar-26 12:02:00 GMT":       2 * time.Minute, // the two old forms
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

// caps are the longest waits between tries.
var caps = []time.Duration{
	time.Second / 2, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second,
	30 * time.Second, 30 * time.Second, 30 * time.Second,
}

func TestBackoffIsFullJitter(t *testing.T) {
	const samples = 2000
	waits := make([][]time.Duration, len(caps))
	for range samples {
		backoff := newBackoff(time.Second / 2)
		for i := range waits {
			waits[i] = append(waits[i], backoff.NextBackOff())
		}
	}
	for i, all := range waits {
		slices.Sort(all)
		shortest, median, longest := all[0], all[samples/2], all[samples-1]
		if shortest < 0 || longest > caps[i] {
			t.Errorf("wait %d: from %v to %v, want at most %v", i+1, shortest, longest, caps[i])
		}
		if shortest > caps[i]/20 || longest < caps[i]*19/20 || median < caps[i]*2/5 || median > caps[i]*3/5 {
			t.Errorf("wait %d: %v, %v, %v are not evenly spread up to %v", i+1, shortest, median, longest, caps[i])
		}
	}
}

func TestBackoffBetweenTries(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			var total time.Duration
			inMemory(t, Config{MaxRetries: len(caps)}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				return status(w, http.StatusServiceUnavailable)
			}, func(t *testing.T, m *memory) {
				r := m.call(m.Context(), op)
				want(t, "tries", r.failed(t).Attempts, len(caps)+1)
				seen := m.seen()
				want(t, "requests", len(seen), len(caps)+1)
				for i := range min(len(caps), len(seen)-1) {
					if wait := seen[i+1].after - seen[i].after; wait > caps[i] {
						t.Errorf("wait %d: %v, want at most %v", i+1, wait, caps[i])
					}
				}
				want(t, "the end, right after the last try", m.now(), seen[len(seen)-1].after)
				total = m.now()
			})
			if total == 0 {
				t.Error("no wait at all")
			}
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	text := func(s string) func() string { return func() string { return s } }
	const backoff = time.Second / 2 // the most before a second try
	for _, test := range []struct {
		name     string
		value    func() string
		from, to time.Duration // when the second try arrives
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
		for _, op := range everyOperation {
			for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				t.Run(name(op, code, test.name), func(t *testing.T) {
					inMemory(t, Config{MaxRetries: 1}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
						return n == 1 && status(w, code, "Retry-After: "+test.value())
					}, func(t *testing.T, m *memory) {
						if r := m.call(m.Context(), op); r.err != nil {
							t.Fatal(r.err)
						}
						seen := m.seen()
						if len(seen) != 2 {
							t.Fatalf("%d requests, want 2", len(seen))
						}
						if at := seen[1].after; at < test.from || at > test.to {
							t.Errorf("the second try came after %v, want %v to %v", at, test.from, test.to)
						}
					})
				})
			}
		}
	}
}

func TestHoldBackIsShared(t *testing.T) {
	const asked = 2 * time.Minute
	inMemory(t, Config{MaxRetries: 1}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		return n == 1 && status(w, http.StatusTooManyRequests, "Retry-After: 120")
	}, func(t *testing.T, m *memory) {
		var calls []<-chan result
		calls = append(calls, m.begin(m.Context(), OpOpen))
		synctest.Wait()
		for range 3 {
			for _, op := range everyOperation {
				calls = append(calls, m.begin(m.Context(), op))
			}
			time.Sleep(30 * time.Second)
		}
		for _, call := range calls {
			if r := <-call; r.err != nil {
				t.Error(r.err)
			}
		}
		seen := m.seen()
		want(t, "requests", len(seen), 1+len(calls))
		for _, request := range seen[1:] {
			want(t, "when "+request.method+" arrived", request.after, asked)
		}

		// Once it is over, nothing is held back.
		if r := m.call(m.Context(), OpCheck); r.err != nil || r.at != asked {
			t.Errorf("a later call: %v after %v", r.err, r.at)
		}
	})
}

// It also holds when the call that it was told to is not tried again.
func TestHoldBackOutlivesItsCall(t *testing.T) {
	inMemory(t, Config{MaxRetries: 0}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		return n == 1 && status(w, http.StatusServiceUnavailable, "Retry-After: 120")
	}, func(t *testing.T, m *memory) {
		r := m.call(m.Context(), OpOpen)
		want(t, "the end of the first", r.at, 0)
		want(t, "status of the first", r.failed(t).Status, http.StatusServiceUnavailable)
		r = m.call(m.Context(), OpOpen)
		want(t, "the end of the second", r.at, 2*time.Minute)
	})
}

// It holds those back too that were waiting for the request rate when it came.
func TestHoldBackBeatsRequestsPerSecond(t *testing.T) {
	inMemory(t, Config{RequestsPerSecond: 1}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		if n > 1 {
			return false
		}
		time.Sleep(time.Second / 2) // by now the others wait
		return status(w, http.StatusTooManyRequests, "Retry-After: 120")
	}, func(t *testing.T, m *memory) {
		var calls []<-chan result
		for range 4 {
			calls = append(calls, m.begin(m.Context(), OpCheck))
		}
		for _, call := range calls {
			if r := <-call; r.err != nil {
				t.Error(r.err)
			}
		}
		seen := m.seen()
		want(t, "requests", len(seen), 5)
		last := seen[0].after - time.Second
		for i, request := range seen {
			if i > 0 && request.after < 2*time.Minute {
				t.Errorf("request %d came after %v, want 2m0s at least", i+1, request.after)
			}
			if gap := request.after - last; gap < time.Second-time.Microsecond {
				t.Errorf("request %d came %v after the one before", i+1, gap)
			}
			last = request.after
		}
	})
}

// Wait is for what Flame asked for, not for the time between tries.
func TestWaitOnlyWhereFlameAskedTooMuch(t *testing.T) {
	inMemory(t, Config{FirstBackoff: 1000000 * time.Hour}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		return status(w, http.StatusTooManyRequests, "Retry-After: 1")
	}, func(t *testing.T, m *memory) {
		ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
		defer cancel()
		r := m.call(ctx, OpOpen)
		want(t, "wait", r.failed(t).Wait, 0)
		want(t, "expired", r.failed(t).DeadlineExceeded, true)
	})
}

func TestShorterHoldDoesNotEndLonger(t *testing.T) {
	inMemory(t, Config{}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
		switch n {
		case 1:
			time.Sleep(time.Second) // so that the second request is not held back yet
			return status(w, http.StatusTooManyRequests, "Retry-After: 100")
		case 2:
			time.Sleep(2 * time.Second)
			return status(w, http.StatusTooManyRequests, "Retry-After: 5")
		}
		return false
	}, func(t *testing.T, m *memory) {
		first := m.begin(m.Context(), OpCheck)
		synctest.Wait()
		second := m.begin(m.Context(), OpCheck)
		want(t, "end of the first", (<-first).at, 101*time.Second)
		want(t, "end of the second", (<-second).at, 101*time.Second)
	})
}

func TestTooManyRequestsIsNotCounted(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 1}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
				switch {
				case n <= 20, n > 21 && n <= 40:
					return status(w, http.StatusTooManyRequests)
				case n == 21: // the one that may be retried
					return status(w, http.StatusServiceUnavailable)
				}
				return false
			}, func(t *testing.T, m *memory) {
				r := m.call(m.Context(), op)
				if r.err != nil {
					t.Error(r.err)
				}
				want(t, "requests", len(m.seen()), 41)
				for i, try := range m.tries() {
					want(t, "number of try", try.Number, i+1)
				}
			})
		})
	}
	t.Run("with no retries allowed", func(t *testing.T) {
		inMemory(t, Config{}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
			return n <= 5 && status(w, http.StatusTooManyRequests)
		}, func(t *testing.T, m *memory) {
			if r := m.call(m.Context(), OpOpen); r.err != nil {
				t.Error(r.err)
			}
			want(t, "requests", len(m.seen()), 6)
		})
	})
	t.Run("until the deadline", func(t *testing.T) {
		inMemory(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			return status(w, http.StatusTooManyRequests, "Retry-After: 7")
		}, func(t *testing.T, m *memory) {
			ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
			defer cancel()
			r := m.call(ctx, OpOpen)
			want(t, "status", r.failed(t).Status, http.StatusTooManyRequests)
			want(t, "expired", r.failed(t).DeadlineExceeded, true)
			want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
			want(t, "context.DeadlineExceeded", errors.Is(r.err, context.DeadlineExceeded), true)
			if r.at > time.Minute || len(m.seen()) < 3 {
				t.Errorf("%d requests in %v", len(m.seen()), r.at)
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
		{"no ceiling", 0, make([]time.Duration, 6)},
	} {
		t.Run(test.name, func(t *testing.T) {
			inMemory(t, Config{RequestsPerSecond: test.rate}, nil, func(t *testing.T, m *memory) {
				var calls []<-chan result
				for range 2 {
					for _, op := range everyOperation {
						calls = append(calls, m.begin(m.Context(), op))
					}
				}
				for _, call := range calls {
					if r := <-call; r.err != nil {
						t.Error(r.err)
					}
				}
				var got []time.Duration
				for _, request := range m.seen() {
					got = append(got, request.after)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("arrived after %v, want %v", got, test.want)
				}
			})
		})
	}
	t.Run("counts retries", func(t *testing.T) {
		inMemory(t, Config{RequestsPerSecond: 0.125, MaxRetries: 3}, func(n int, w http.ResponseWriter, _ *http.Request) bool {
			return n <= 3 && status(w, http.StatusInternalServerError)
		}, func(t *testing.T, m *memory) {
			want(t, "the end", m.call(m.Context(), OpCheck).at.Round(time.Microsecond), 24*time.Second)
		})
	})
	t.Run("cannot be met in time", func(t *testing.T) {
		inMemory(t, Config{RequestsPerSecond: 0.1}, nil, func(t *testing.T, m *memory) {
			m.call(m.Context(), OpCheck)
			ctx, cancel := context.WithTimeout(m.Context(), 5*time.Second)
			defer cancel()
			r := m.call(ctx, OpOpen)
			want(t, "the end, without waiting for nothing", r.at, 0)
			want(t, "ErrTimeout", errors.Is(r.err, ErrTimeout), true)
			want(t, "expired", r.failed(t).DeadlineExceeded, true)
			want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
			want(t, "requests", len(m.seen()), 1)
		})
	})
}

// A wait ends in the moment in which the caller cancels.
func TestCancelWhileWaiting(t *testing.T) {
	const when = 7 * time.Second
	unavailable := func(headers ...string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(n int, w http.ResponseWriter, _ *http.Request) bool {
			return status(w, http.StatusServiceUnavailable, headers...)
		}
	}
	for _, test := range []struct {
		name     string
		config   Config
		answer   func(int, http.ResponseWriter, *http.Request) bool
		before   bool // another call comes first
		requests int
		reason   error
	}{
		{"for Retry-After", Config{MaxRetries: 5}, unavailable("Retry-After: 120"), false, 1, ErrStatus},
		{"for another's Retry-After", Config{MaxRetries: 5}, unavailable("Retry-After: 120"), true, 1, ErrInterrupted},
		{"between tries", Config{MaxRetries: 5, FirstBackoff: 100000 * time.Hour}, unavailable(), false, 1, ErrStatus},
		{"for the rate", Config{RequestsPerSecond: 0.01}, nil, true, 1, ErrInterrupted},
	} {
		for _, op := range everyOperation {
			t.Run(name(op, test.name), func(t *testing.T) {
				inMemory(t, test.config, test.answer, func(t *testing.T, m *memory) {
					var other <-chan result
					ctx, cancel := context.WithCancel(m.Context())
					if test.before {
						other = m.begin(ctx, OpCheck)
						synctest.Wait()
					}
					call := m.begin(ctx, op)
					time.Sleep(when)
					cancel()
					r := <-call
					want(t, "the end", r.at, when)
					want(t, "reason", r.failed(t).Reason, test.reason)
					want(t, "context.Canceled", errors.Is(r.err, context.Canceled), true)
					want(t, "expired", r.failed(t).DeadlineExceeded, false)
					want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
					want(t, "requests", len(m.seen()), test.requests)
					if other != nil {
						<-other
					}
				})
			})
		}
	}
}

// Where the wait would outlast the deadline, the call ends without waiting.
func TestDeadlineBeforeRetryAfter(t *testing.T) {
	for _, op := range everyOperation {
		t.Run(name(op), func(t *testing.T) {
			inMemory(t, Config{MaxRetries: 5}, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				return status(w, http.StatusTooManyRequests, "Retry-After: 120")
			}, func(t *testing.T, m *memory) {
				ctx, cancel := context.WithTimeout(m.Context(), time.Minute)
				defer cancel()
				r := m.call(ctx, op)
				if r.at > time.Second/2 {
					t.Errorf("ended after %v", r.at)
				}
				want(t, "how long Flame asked to wait", r.failed(t).Wait, 2*time.Minute-r.at)
				want(t, "expired", r.failed(t).DeadlineExceeded, true)
				want(t, "status", r.failed(t).Status, http.StatusTooManyRequests)
				want(t, "context.DeadlineExceeded", errors.Is(r.err, context.DeadlineExceeded), true)
				want(t, "requests", len(m.seen()), 1)

				// The next call finds that it is held back too long before it has sent anything.
				r = m.call(ctx, op)
				want(t, "reason of the next", r.failed(t).Reason, ErrTimeout)
				want(t, "expired, the next", r.failed(t).DeadlineExceeded, true)
				want(t, "may have opened a session", (r.failed(t).Lost > 0), false)
				want(t, "requests", len(m.seen()), 1)
			})
		})
	}
}
