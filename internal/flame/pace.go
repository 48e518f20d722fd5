package flame

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace decides when a request may go out. One pace is shared by all calls of a
// client: a limit that one of them runs into concerns them all.
//
// What Flame's limit is, nobody is told. So the pace learns it: after a 429 the
// requests go out a little more slowly than Flame has let them through, and
// then faster again, slowly where the last 429 came from. Without that, a
// thousand sessions would each run into the limit, and spend their time on
// waits that are longer than they need be.
type throttle struct {
	ceiling *rate.Limiter // the user's; nil: none

	mu      sync.Mutex
	until   time.Time     // nothing goes out before
	learned *rate.Limiter // nil: no 429 yet
	refused float64       // requests a second that were too many
	slowed  time.Time     // when, or until when requests are held back
	sent    recent
	passed  recent // let through, whatever the answer was
}

// enough is how many requests in a second tell something of a rate.
const enough = 20

// recent holds the moments of the last second.
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

// within counts the moments in the last d, which is a second at most.
func (r recent) within(d time.Duration, now time.Time) (n float64) {
	for _, t := range r {
		if now.Sub(t) < d {
			n++
		}
	}
	return n
}

// wait returns when a request may go out, or with an error as soon as ctx ends
// or is sure to end before.
func (p *throttle) wait(ctx context.Context) error {
	for {
		if err := sleep(ctx, p.held()); err != nil {
			return err
		}
		for _, limiter := range []*rate.Limiter{p.ceiling, p.limit()} {
			if limiter == nil {
				continue
			}
			if err := limiter.Wait(ctx); err != nil {
				return errors.Join(context.DeadlineExceeded, ctx.Err())
			}
		}
		if p.held() == 0 { // still
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent.add(time.Now())
	return ctx.Err()
}

// held tells how much longer requests are held back.
func (p *throttle) held() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, time.Until(p.until))
}

func (p *throttle) limit() *rate.Limiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.learned
}

// hold keeps every request back for d.
func (p *throttle) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.until = until
	}
}

// faster records that a request was let through.
func (p *throttle) faster() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passed.add(time.Now())
	if p.learned == nil {
		return
	}
	// Per second: one request more, a tenth of that around where it was too many
	// before, and a quarter of them all where that is left behind.
	now, step := float64(p.learned.Limit()), 1.
	switch {
	case now > 1.1*p.refused:
		step = now / 4
	case now > 0.9*p.refused:
		step = 0.1
	}
	p.learned.SetLimit(rate.Limit(now + step/now))
}

// slower records a 429 that asked for a wait. Several that come together, as
// the requests under way get theirs, count as one.
func (p *throttle) slower(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.slowed) < 200*time.Millisecond {
		return
	}
	p.slowed = now.Add(wait)
	if p.learned == nil {
		p.refused = 10 * p.sent.within(100*time.Millisecond, now)
		if p.refused < enough {
			return // so few requests tell nothing of a rate
		}
		p.learned = rate.NewLimiter(rate.Inf, 1)
	} else {
		p.refused = float64(p.learned.Limit())
	}
	passed := p.passed.within(time.Second, now)
	limit := 0.97 * passed
	// What got through in a second tells the limit where there was a second's
	// worth, as in fixed windows; else it tells no more than a burst, and half
	// the rate is the better guess. A wait leaves no time to find out.
	if wait == 0 || passed < enough {
		limit = max(limit, p.refused/2)
	}
	p.learned.SetLimit(rate.Limit(max(1, min(limit, 0.97*p.refused))))
}

// tmp until merge
func (p *throttle) paused() time.Duration { return p.held() }

func (p *throttle) learn(apiErr *Error) {
	switch {
	case apiErr == nil:
		p.faster()
	case apiErr.Status == 429:
		p.slower(apiErr.retryAfter)
		p.hold(apiErr.retryAfter)
	case apiErr.Status != 0:
		p.faster()
		if apiErr.retryable() { // otherwise nobody waits for anything
			p.hold(apiErr.retryAfter)
		}
	}
}
