// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"sync/atomic"
	"time"
)

// origin is what a client has learned of one scheme, host and port. What one origin
// says, or does not say, holds back no request to another.
type origin struct {
	throttle throttle
	outage   outage
	served   atomic.Bool // a request has succeeded
}

// origin returns what the client has learned of the endpoint's origin.
func (c *Client) origin(endpoint Endpoint) *origin {
	learned, ok := c.origins.Load(endpoint.Origin())
	if !ok {
		learned, _ = c.origins.LoadOrStore(endpoint.Origin(), &origin{throttle: throttle{ceiling: c.ceiling}})
	}
	return learned.(*origin)
}

// learn takes in how an attempt of a call has ended that began at started. apiErr is
// nil if it succeeded.
func (o *origin) learn(call *call, started time.Time, apiErr *Error) {
	if apiErr == nil {
		o.served.Store(true)
	}
	o.throttle.learn(apiErr)
	o.outage.learn(call, started, apiErr)
}
