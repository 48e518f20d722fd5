// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"errors"
	"sync"
	"time"
)

const (
	// An origin is down after so many failures in a row, in so much time: by then the
	// calls in flight have tried twice. A shorter failure is left to the retries.
	outageFailures = 3
	outageSpan     = 500 * time.Millisecond
	// probeTime is how long one call goes on trying while others are turned away.
	probeTime = time.Minute
)

// outage decides which calls may be sent to an origin that is down. Only one call goes
// on trying, so that a run of a thousand sessions learns of the outage once. This is a
// circuit breaker, see https://martinfowler.com/bliki/CircuitBreaker.html.
type outage struct {
	mu         sync.Mutex
	failures   int       // in a row
	since      time.Time // the first of them was sent
	last       *Error    // the last of them
	down       bool
	probe      *call // the call that goes on trying; nil: none
	turnedAway bool  // calls were, in this outage
	spent      bool  // a call has made all its attempts, so the next ones make one
}

// admit returns nil if the call may be sent, and otherwise the failure that another
// call has met. The caller must call leave when the call has ended.
func (o *outage) admit(call *call, number int) *Error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down {
		return nil
	}
	if o.probe == nil {
		o.probe = call
	}
	switch {
	case o.probe != call:
		o.turnedAway = true
		return o.last
	case number > 1 && (o.spent || o.turnedAway && time.Since(o.since) > probeTime):
		return o.last
	}
	return nil
}

// leave lets another call try, if this one was trying.
func (o *outage) leave(call *call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.probe == call {
		o.probe, o.spent = nil, o.down
	}
}

// learn takes in how an attempt of a call has ended that began at started. Any answer
// ends an outage, also one that refuses the request.
func (o *outage) learn(call *call, started time.Time, apiErr *Error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case apiErr == nil || apiErr.Status != 0:
		o.failures, o.down, o.turnedAway, o.spent = 0, false, false, false
	case errors.Is(apiErr, ErrInterrupted):
	default:
		if o.failures == 0 {
			o.since = started
		}
		o.failures++
		snapshot := *apiErr // do goes on to change its own
		o.last = &snapshot
		if !o.down && o.failures >= outageFailures && time.Since(o.since) >= outageSpan {
			o.down, o.probe = true, call
		}
	}
}
