package flame

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle decides when a request may be sent. All calls of a client share one
// throttle, because Flame's rate limit applies to all of them.
//
// Flame does not publish its limit, so the throttle learns it. After a 429 it
// sends a little more slowly than Flame accepted requests, then gradually
// speeds up again, most slowly near the rate of the last 429. Without that,
// each of a thousand sessions would run into the limit and wait too long.
type throttle struct {
	ceiling *rate.Limiter // the user's own limit; nil: none

	mu      sync.Mutex
	until   time.Time     // the end of the pause
	learned *rate.Limiter // nil: no 429 yet
	refused float64       // requests per second that were too many
	slowed  time.Time     // the last decrease, or the end of the pause it came with
	sent    recent
	passed  recent // answered with anything but a 429
}

// enough is how many requests in a second allow an estimate of the rate.
const enough = 20

// recent holds the times of events in the last second.
type recent []time.Time

func (r *recent) add(now time.Time) {
	kept := (*r)[:0]
	for _, t := range *r {
		if now.Sub(t) < time.Second {
			kept = append(kept, t)
		}
	}
	*r = append(kept, now)
}

// within counts the events in the last d, at most a second.
func (r recent) within(d time.Duration, now time.Time) (n float64) {
	for _, t := range r {
		if now.Sub(t) < d {
			n++
		}
	}
	return n
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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent.add(time.Now())
	return ctx.Err()
}

// paused returns how much longer all requests must wait.
func (t *throttle) paused() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.until))
}

func (t *throttle) limit() *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learned
}

// pauseFor stops all requests for d.
func (t *throttle) pauseFor(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.until) {
		t.until = until
	}
}

// succeeded records a request that Flame did not answer with a 429.
func (t *throttle) succeeded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed.add(time.Now())
	if t.learned == nil {
		return
	}
	// Each second adds 1 request per second, or 0.1 near the rate that was too
	// high before, or a quarter of the rate once that is left behind.
	now, step := float64(t.learned.Limit()), 1.
	switch {
	case now > 1.1*t.refused:
		step = now / 4
	case now > 0.9*t.refused:
		step = 0.1
	}
	t.learned.SetLimit(rate.Limit(now + step/now))
}

// limited records a 429 and its Retry-After. Several that come together count
// as one, because they answer requests that were in flight at the same time.
func (t *throttle) limited(wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if now.Sub(t.slowed) < 200*time.Millisecond {
		return
	}
	t.slowed = now.Add(wait)
	if t.learned == nil {
		t.refused = 10 * t.sent.within(100*time.Millisecond, now)
		if t.refused < enough {
			return // too few requests to estimate a rate
		}
		t.learned = rate.NewLimiter(rate.Inf, 1)
	} else {
		t.refused = float64(t.learned.Limit())
	}
	passed := t.passed.within(time.Second, now)
	limit := 0.97 * passed
	// Flame's limit is what it accepted in the last second, if that was a whole
	// second's worth, as with fixed windows. If it was only a burst, half the
	// rate is a better guess. With a Retry-After there is no second to look at.
	if wait == 0 || passed < enough {
		limit = max(limit, t.refused/2)
	}
	t.learned.SetLimit(rate.Limit(max(1, min(limit, 0.97*t.refused))))
}
