// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"net/http"
	"testing"
	"time"
)

func TestRateLimit(t *testing.T) {
	for name, test := range map[string]struct {
		limit    RateLimit
		admitted int
	}{
		"bucket": {RateLimit{PerSecond: 1, Burst: 3, RetryAfter: RetryAfterSeconds}, 3},
		"window": {RateLimit{PerSecond: 2, Window: true, RetryAfter: RetryAfterDate}, 2},
		"silent": {RateLimit{PerSecond: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Config{RateLimit: test.limit})
			r := h.post()
			for ; r.status == http.StatusOK; r = h.post() {
			}
			h.want(r, http.StatusTooManyRequests)
			if h.Opened() < test.admitted || h.Opened() != h.Count(OpOpen)-1 {
				t.Errorf("%d of %d admitted, want %d", h.Opened(), h.Count(OpOpen), test.admitted)
			}
			value := r.header.Get("Retry-After")
			switch at, err := http.ParseTime(value); {
			case test.limit.RetryAfter == RetryAfterSeconds && value != "1",
				test.limit.RetryAfter == RetryAfterDate && (err != nil || at.Before(h.last().Arrived)),
				test.limit.RetryAfter == NoRetryAfter && value != "":
				t.Errorf("Retry-After %q", value)
			}
			h.Script(OpOpen, Fault{Header: http.Header{"X": {"y"}}})
			h.want(h.post(), http.StatusOK) // a faulted request is not limited
		})
	}
}

func TestLimiter(t *testing.T) {
	begin := time.Now()
	bucket := newLimiter(RateLimit{PerSecond: 20}, begin)
	window := newLimiter(RateLimit{PerSecond: 2, Window: true}, begin)
	for _, test := range []struct {
		l         *limiter
		at, wants time.Duration
	}{
		{bucket, 0, 0},
		{bucket, 0, 0}, // the burst is 2
		{bucket, 0, 50 * time.Millisecond},
		{bucket, 20 * time.Millisecond, 30 * time.Millisecond}, // the refused request used nothing
		{bucket, 50 * time.Millisecond, 0},
		{window, 300 * time.Millisecond, 0},
		{window, 400 * time.Millisecond, 0},
		{window, 900 * time.Millisecond, 100 * time.Millisecond},
		{window, time.Second, 0},
		{window, time.Second, 0},
		{window, time.Second, time.Second},
		{window, 5 * time.Second, 0},
	} {
		if got := test.l.reserve(begin.Add(test.at)); (got - test.wants).Abs() > time.Microsecond {
			t.Errorf("at %v: wait %v, want %v", test.at, got, test.wants)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 1, time.UTC)
	if v := RetryAfterSeconds.format(at, 1001*time.Millisecond); v != "2" {
		t.Errorf("Retry-After %q", v)
	}
	if v := RetryAfterDate.format(at, time.Second); v != "Fri, 02 Jan 2026 03:04:07 GMT" {
		t.Errorf("Retry-After %q", v)
	}
}
