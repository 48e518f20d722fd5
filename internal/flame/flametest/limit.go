package flametest

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RateLimit says how many requests are let through; the others get a 429.
// Requests that a [Fault] befalls neither count nor are held up.
type RateLimit struct {
	PerSecond  int        // 0: no limit
	Window     bool       // false: a token bucket; true: fixed windows of one second
	Burst      int        // of the bucket; default PerSecond/10, at least 1
	RetryAfter RetryAfter // what a 429 says about when to come back
}

// RetryAfter is the form of a Retry-After header. The time it gives is rounded
// up to whole seconds, so that whoever obeys is let through.
type RetryAfter int

// The forms of Retry-After.
const (
	NoRetryAfter      RetryAfter = iota // no such header
	RetryAfterSeconds                   // a number of seconds
	RetryAfterDate                      // an HTTP date
)

// limiter decides who is let through. Time comes from outside.
type limiter struct {
	perSecond int
	start     time.Time

	mu     sync.Mutex
	bucket *rate.Limiter // nil: windows
	window int64         // number of the current window, counted from start
	used   int           // requests let through in it
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

// reserve gives 0 to a request that is let through, and else the time until one
// would be.
func (l *limiter) reserve(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket != nil {
		// The lock also keeps others from seeing a reservation that is given back.
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

// performLimited carries a request out, unless the limit stops it.
func (s *Server) performLimited(req *Request) response {
	if s.limiter == nil {
		return s.perform(req, true)
	}
	wait := s.limiter.reserve(req.Arrived)
	if wait == 0 {
		return s.perform(req, true)
	}
	resp := errorResponse(http.StatusTooManyRequests, "too many requests")
	if value := s.cfg.RateLimit.RetryAfter.format(req.Arrived, wait); value != "" {
		resp.header.Set("Retry-After", value)
	}
	return resp
}

func (f RetryAfter) format(now time.Time, wait time.Duration) string {
	roundUp := time.Second - time.Nanosecond
	switch f {
	case RetryAfterSeconds:
		return strconv.Itoa(int((wait + roundUp) / time.Second))
	case RetryAfterDate:
		return now.Add(wait + roundUp).UTC().Format(http.TimeFormat) // Format cuts the fraction off
	default:
		return ""
	}
}
