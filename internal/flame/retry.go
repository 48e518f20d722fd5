// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// do retries until success, a permanent failure, or the end of ctx. It returns
// how many attempts may have been carried out although no response arrived. An
// error comes with an answer if Flame reported success with a body of no use.
func (c *Client) do(ctx context.Context, call call) (answer *answer, lost int, apiErr *Error) {
	if call.endpoint.IsZero() {
		return nil, 0, call.error(ErrNoEndpoint)
	}
	counted := 0 // failures that count against MaxRetries
	waits := newBackoff(c.config.FirstBackoff)
	for number := 1; ; number++ {
		if err := c.throttle.wait(ctx); err != nil {
			return nil, lost, c.gaveUp(ctx, &call, apiErr, err)
		}
		started := time.Now()
		answer, apiErr = c.send(ctx, &call)
		if apiErr != nil {
			apiErr.Attempts = number
		}
		c.observe(ctx, &call, number, time.Since(started), answer, apiErr)
		c.throttle.learn(apiErr)
		if apiErr == nil {
			c.accepted.Store(call.endpoint, nil)
			return answer, lost, nil
		}
		if apiErr.answerLost() {
			lost++
		}
		if apiErr.Status != http.StatusTooManyRequests {
			counted++
		}
		if !apiErr.retryable() || counted > c.config.MaxRetries {
			return answer, lost, apiErr
		}
		if err := sleep(ctx, waits.NextBackOff()); err != nil {
			return nil, lost, c.gaveUp(ctx, &call, apiErr, err)
		}
	}
}

// gaveUp returns the error of a call that ended with ctx, before its request was
// sent or between two attempts: the last attempt's, and why none followed.
func (c *Client) gaveUp(ctx context.Context, call *call, last *Error, err error) *Error {
	interrupted := errors.Is(err, context.Canceled)
	if last == nil {
		last = call.error(ErrTimeout)
		if interrupted {
			last.Reason = ErrInterrupted
		} else {
			last.Detail = "the time limit ended before the request could be sent"
		}
	}
	if deadline, ok := ctx.Deadline(); ok && c.throttle.paused() > time.Until(deadline) {
		last.Wait = c.throttle.paused()
	}
	last.DeadlineExceeded = !interrupted
	last.cause = context.DeadlineExceeded
	if interrupted {
		last.cause = context.Canceled
	}
	return last
}

// newBackoff returns the waits between attempts: uniform between 0 and a limit
// that doubles from first, up to 60 times as much ("full jitter", see
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The
// library spreads a wait evenly around its interval, so the interval is half the
// limit.
func newBackoff(first time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     first / 2,
		RandomizationFactor: 1,
		Multiplier:          2,
		MaxInterval:         30 * first,
	}
}

// sleep waits for d. It fails at once if ctx would end first.
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

// retryAfter parses a Retry-After header: seconds, or an HTTP date relative to
// now. It returns 0 for anything else and for the past, and 24 hours at most,
// which is longer than any run waits.
func retryAfter(value string, now time.Time) time.Duration {
	const limit = 24 * time.Hour
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		d = limit
		if seconds < uint64(limit/time.Second) {
			d = time.Duration(seconds) * time.Second
		}
	} else if errors.Is(err, strconv.ErrRange) {
		d = limit
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), limit)
}

// retryable reports whether another attempt may follow. Refusals are final: a
// wrong password that is sent again may lock an account.
func (e *Error) retryable() bool {
	switch {
	case e.untrusted:
		return false
	case errors.Is(e, ErrUnreachable), errors.Is(e, ErrTLS), errors.Is(e, ErrLost), errors.Is(e, ErrTimeout):
		return true
	case errors.Is(e, ErrProxy):
		return e.ProxyStatus == http.StatusTooManyRequests || serverFailed(e.ProxyStatus)
	case errors.Is(e, ErrStatus):
		return e.Status == http.StatusTooManyRequests || serverFailed(e.Status)
	}
	return false
}

// serverFailed reports whether a status says that a server or a gateway failed to
// serve a request that it might serve later. 520 to 524 are those of Cloudflare, see
// https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/.
func serverFailed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return 520 <= status && status <= 524
}

// answerLost reports whether Flame may have carried out the request although its own
// response never arrived: the connection was lost, Flame failed after it had done its
// work, or a gateway had lost Flame. A 503 with a Retry-After refuses a request before
// anything is done.
func (e *Error) answerLost() bool {
	return e.sent && (errors.Is(e, ErrLost) || errors.Is(e, ErrTimeout)) ||
		serverFailed(e.Status) && (e.Status != http.StatusServiceUnavailable || !e.asksToWait)
}
