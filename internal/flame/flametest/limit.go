// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RateLimit limits the requests per second. The others get a 429. A request with
// a [Fault] is neither counted nor limited.
type RateLimit struct {
	PerSecond  int        // 0: no limit
	Window     bool       // count per fixed window of one second, instead of a token bucket
	Burst      int        // size of the bucket; default PerSecond/10, at least 1
	RetryAfter RetryAfter // header of a 429
}

// RetryAfter is the form of a Retry-After header. Its time is rounded up to
// whole seconds, so a client that waits that long is never too early.
type RetryAfter int

// The forms of Retry-After.
const (
	NoRetryAfter      RetryAfter = iota // no header
	RetryAfterSeconds                   // a number of seconds
	RetryAfterDate                      // an HTTP date
)

// limiter implements RateLimit. Callers pass the time, so tests need no clock.
type limiter struct {
	perSecond int
	start     time.Time

	mu     sync.Mutex
	bucket *rate.Limiter // nil: fixed windows
	window int64         // current window, in seconds since start
	used   int           // requests admitted in it
}

func newLimiter(cfg RateLimit, start time.Time) *limiter {
	if cfg.PerSecond == 0 {
		return nil
	}
	l := &limiter{perSecond: cfg.PerSecond, start: start}
	if !cfg.Window {
		setDefault(&cfg.Burst, max(1, cfg.PerSecond/10))
		l.bucket = rate.NewLimiter(rate.Limit(cfg.PerSecond), cfg.Burst)
	}
	return l
}

// reserve admits a request and returns 0, or returns the time until the next one
// can be admitted.
func (l *limiter) reserve(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket != nil {
		// The lock hides a reservation that is canceled at once.
		reservation := l.bucket.ReserveN(now, 1)
		delay := reservation.DelayFrom(now)
		if delay > 0 {
			reservation.CancelAt(now)
		}
		return delay
	}
	since := now.Sub(l.start)
	if window := int64(since / time.Second); window > l.window {
		l.window, l.used = window, 0
	}
	if l.used < l.perSecond {
		l.used++
		return 0
	}
	return time.Duration(l.window+1)*time.Second - since
}

// handleLimited handles a request, or refuses it with a 429 if it exceeds the rate
// limit.
func (s *Server) handleLimited(req *Request) response {
	if s.limiter == nil {
		return s.handle(req, true)
	}
	wait := s.limiter.reserve(req.Arrived)
	if wait == 0 {
		return s.handle(req, true)
	}
	resp := errorResponse(http.StatusTooManyRequests, "too many requests")
	if value := s.cfg.RateLimit.RetryAfter.format(req.Arrived, wait); value != "" {
		resp.header.Set("Retry-After", value)
	}
	return resp
}

// format returns the header value, or "" for no header.
func (f RetryAfter) format(now time.Time, wait time.Duration) string {
	roundUp := time.Second - time.Nanosecond
	switch f {
	case RetryAfterSeconds:
		return strconv.Itoa(int((wait + roundUp) / time.Second))
	case RetryAfterDate:
		return now.Add(wait + roundUp).UTC().Format(http.TimeFormat) // Format truncates to seconds
	default:
		return ""
	}
}
