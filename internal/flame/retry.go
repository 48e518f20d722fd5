package flame

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// newBackoff gives the waits between tries: uniform between nothing and a cap
// that doubles from 0.5 s to 30 s (full jitter). The library spreads a wait
// evenly around its interval, so the interval is half the cap.
func newBackoff(firstCap time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     firstCap / 2,
		RandomizationFactor: 1,
		Multiplier:          2,
		MaxInterval:         30 * firstCap,
	}
}

// sleep waits for d. It returns at once where ctx would end first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// retryAfter reads a Retry-After header: seconds, or an HTTP date relative to
// now. Anything else, and a moment that has passed, is 0. A day is the most: it
// is longer than any run waits.
func retryAfter(value string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		d = most
		if seconds < uint64(most/time.Second) {
			d = time.Duration(seconds) * time.Second
		}
	} else if errors.Is(err, strconv.ErrRange) {
		d = most
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), most)
}

// mayRetry reports whether a failed try may be followed by another. The rest
// is never tried again: a wrong password must not lock an account.
func (e *Error) mayRetry() bool {
	switch {
	case errors.Is(e, ErrUnreachable), errors.Is(e, ErrTLS), errors.Is(e, ErrLost), errors.Is(e, ErrTimeout):
		return true
	case errors.Is(e, ErrStatus):
		switch e.Status {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
	}
	return false
}

// answerLost reports whether the request may have been carried out although no
// answer of Flame's own arrived: the connection was lost, or a gateway
// answered in Flame's place because it had lost it.
func (e *Error) answerLost() bool {
	return e.sent && (errors.Is(e, ErrLost) || errors.Is(e, ErrTimeout)) ||
		e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout
}
