// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// decreaseFactor is the factor for the rate after a 429, as in TCP CUBIC (RFC 9438).
	decreaseFactor = 0.7
	// increasePerSecond is how much the rate grows in a second of successes. In
	// TestThrottleFits, less loses time below the limit, and more runs into it
	// too often.
	increasePerSecond rate.Limit = 2 // requests per second
	// minRate is a floor: repeated 429s must not stop a run.
	minRate rate.Limit = 1 // request per second
	// settleTime is how long after a decrease (and its Retry-After) another 429
	// does not count: it answers a request that was sent at the old rate.
	settleTime = 200 * time.Millisecond
	// rateWindow is how far back to look for the rate at the first 429.
	rateWindow = time.Second
	// minRateWindow is the least time to divide by: a few requests sent at once
	// do not mean thousands per second.
	minRateWindow = 100 * time.Millisecond
)

// throttle decides when a request may be sent. All calls of a client share one
// throttle, because Flame's rate limit applies to all of them.
//
// Flame does not publish its limit, so the throttle searches for it with AIMD,
// as TCP does: each 429 multiplies the rate by a factor, and each success adds
// a little. Until the first 429 there is no limit. See
// https://en.wikipedia.org/wiki/Additive_increase/multiplicative_decrease.
// Obeying Retry-After alone is slow: each pause lets only one burst through.
type throttle struct {
	ceiling *rate.Limiter // the user's own limit; nil: none

	mu          sync.Mutex
	pausedUntil time.Time
	learned     *rate.Limiter // nil: no 429 yet
	sent        []time.Time   // requests within rateWindow, while nothing is learned
	ignoreUntil time.Time     // a 429 before this belongs to the one that counted
}

// wait returns nil when a request may be sent. It returns an error as soon as
// ctx ends, or is sure to end before that.
func (t *throttle) wait(ctx context.Context) error {
	for {
		if err := sleep(ctx, t.paused()); err != nil {
			return err
		}
		for _, limiter := range []*rate.Limiter{t.ceiling, t.limit()} {
			if limiter == nil {
				continue
			}
			if err := limiter.Wait(ctx); err != nil {
				return errors.Join(context.DeadlineExceeded, ctx.Err())
			}
		}
		if t.paused() == 0 { // a pause may have begun meanwhile
			break
		}
	}
	t.recordSent()
	return ctx.Err()
}

// pauseFor stops all requests for d.
func (t *throttle) pauseFor(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.pausedUntil) {
		t.pausedUntil = until
	}
}

// paused returns how much longer all requests must wait.
func (t *throttle) paused() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.pausedUntil))
}

// succeeded records a request that Flame did not answer with a 429.
func (t *throttle) succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.learned != nil {
		perSecond := t.learned.Limit() // so each success adds its share of increasePerSecond
		t.learned.SetLimit(perSecond + increasePerSecond/perSecond)
	}
}

// limited records a 429 that asked for a pause of retryAfter. It only slows
// down: pauseFor pauses.
func (t *throttle) limited(retryAfter time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Before(t.ignoreUntil) {
		return
	}
	t.ignoreUntil = now.Add(retryAfter + settleTime)
	if t.learned != nil {
		t.learned.SetLimit(max(minRate, decreaseFactor*t.learned.Limit()))
		return
	}
	t.forgetSent(now)
	if len(t.sent) < 2 {
		return // a single request has no rate
	}
	took := max(minRateWindow, now.Sub(t.sent[0]))
	sentRate := rate.Limit(float64(len(t.sent)) / took.Seconds())
	t.learned = rate.NewLimiter(max(minRate, decreaseFactor*sentRate), 1)
	t.sent = nil
}

func (t *throttle) limit() *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learned
}

func (t *throttle) recordSent() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.learned == nil {
		now := time.Now()
		t.forgetSent(now)
		t.sent = append(t.sent, now)
	}
}

func (t *throttle) forgetSent(now time.Time) {
	t.sent = slices.DeleteFunc(t.sent, func(sent time.Time) bool { return now.Sub(sent) >= rateWindow })
}

// learn takes in how an attempt ended. apiErr is nil if it succeeded.
func (t *throttle) learn(apiErr *Error) {
	switch {
	case apiErr == nil:
		t.succeeded()
	case apiErr.Status == http.StatusTooManyRequests:
		t.limited(apiErr.retryAfter)
		t.pauseFor(apiErr.retryAfter)
	case apiErr.Status != 0:
		t.succeeded()
		if apiErr.retryable() { // otherwise nobody waits for anything
			t.pauseFor(apiErr.retryAfter)
		}
	}
}
