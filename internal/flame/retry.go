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
	origin := c.origin(call.endpoint)
	defer origin.outage.leave(&call)
	counted := 0 // failures that count against MaxRetries
	waits := newBackoff(c.config.FirstBackoff, c.config.Jitter)
	for number := 1; ; number++ {
		last := apiErr
		var err error
		answer, apiErr, err = c.attempt(ctx, origin, &call, number)
		if err != nil {
			return nil, lost, gaveUp(ctx, origin, &call, last, err)
		}
		if apiErr == nil {
			return answer, lost, nil
		}
		apiErr.OthersServed = origin.served.Load()
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
			return nil, lost, gaveUp(ctx, origin, &call, apiErr, err)
		}
	}
}

// attempt waits until a request of the call may be sent, and sends it. It returns err
// if ctx ended first. If another call has learned that it is no use, nothing is sent,
// and the error is that of the other call.
func (c *Client) attempt(ctx context.Context, origin *origin, call *call, number int) (answer *answer, apiErr *Error, err error) {
	release, refusal, err := call.login.wait(ctx)
	if err != nil {
		return nil, nil, err
	}
	if refusal != nil {
		return nil, call.notSent(refusal, number), nil
	}
	defer release()
	if err := origin.throttle.wait(ctx); err != nil {
		return nil, nil, err
	}
	if outage := origin.outage.admit(call, number); outage != nil {
		return nil, call.notSent(outage, number), nil
	}
	started := time.Now()
	answer, apiErr = c.send(ctx, call)
	if apiErr != nil {
		apiErr.Attempts = number
	}
	c.observe(ctx, call, number, time.Since(started), answer, apiErr)
	origin.learn(call, started, apiErr)
	call.login.learn(apiErr)
	if apiErr == nil {
		c.accepted.Store(call.endpoint, nil)
	}
	return answer, apiErr, nil
}

// notSent returns the error of a call whose attempt with this number is not made,
// because of the failure of another call.
func (c *call) notSent(other *Error, number int) *Error {
	e := c.error(other.Reason)
	e.Detail, e.Status, e.RequestID = other.Detail, other.Status, other.RequestID
	e.Proxy, e.ProxyStatus = other.Proxy, other.ProxyStatus
	e.Attempts, e.NotSent = number-1, true
	return e
}

// gaveUp returns the error of a call that ended with ctx, before its request was
// sent or between two attempts: the last attempt's, and why none followed.
func gaveUp(ctx context.Context, origin *origin, call *call, last *Error, err error) *Error {
	interrupted := errors.Is(err, context.Canceled)
	if last == nil {
		last = call.error(ErrTimeout)
		if interrupted {
			last.Reason = ErrInterrupted
		} else {
			last.Detail = "the time limit ended before the request could be sent"
		}
	}
	if deadline, ok := ctx.Deadline(); ok && origin.throttle.paused() > time.Until(deadline) {
		last.Wait = origin.throttle.paused()
	}
	last.DeadlineExceeded = !interrupted
	last.cause = context.DeadlineExceeded
	if interrupted {
		last.cause = context.Canceled
	}
	return last
}

// fullJitter makes the waits between attempts: uniform between 0 and a limit that
// doubles, see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
// The library's own jitter cannot be replayed.
type fullJitter struct {
	limits *backoff.ExponentialBackOff
	jitter func() float64
}

// newBackoff returns waits whose limit doubles from first, up to 60 times as much.
func newBackoff(first time.Duration, jitter func() float64) fullJitter {
	return fullJitter{&backoff.ExponentialBackOff{InitialInterval: first, Multiplier: 2, MaxInterval: 60 * first}, jitter}
}

// NextBackOff returns the next wait.
func (f fullJitter) NextBackOff() time.Duration {
	return time.Duration(f.jitter() * float64(f.limits.NextBackOff()))
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

// serverTime returns when a response was sent, by the clock of the server: a date in
// its Retry-After is by that clock too.
func serverTime(header http.Header) time.Time {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Now()
	}
	return date
}

// retryable reports whether another attempt may follow. Refusals are final: a
// wrong password that is sent again may lock an account.
func (e *Error) retryable() bool {
	switch {
	case e.untrusted, e.NotSent:
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
// response never arrived: the connection was lost, an interrupt aborted the request
// (never a login, see follow), Flame failed after it had done its
// work, or a gateway had lost Flame. A 503 with a Retry-After refuses a request before
// anything is done.
func (e *Error) answerLost() bool {
	return e.sent && (errors.Is(e, ErrLost) || errors.Is(e, ErrTimeout) || errors.Is(e, ErrInterrupted)) ||
		serverFailed(e.Status) && (e.Status != http.StatusServiceUnavailable || !e.asksToWait)
}
