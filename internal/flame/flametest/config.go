// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// User is a login name that works if [Config.Users] is nil.
	User = "ada@example.com"
	// Password is the password of every user if [Config.Users] is nil.
	Password = "correct horse battery staple"
)

// Config configures a [Server]. The zero value is version 1 of the API over
// plain HTTP, with independent tokens and 200 for success.
type Config struct {
	Addr     string       // host:port to listen on; default "127.0.0.1:0", any free port
	Listener net.Listener // to serve instead of Addr, such as one in memory

	Users map[string]string // passwords by login name; nil: any non-empty name, with Password

	Kind      Kind // of every account; default Independent
	MaxTokens int  // live tokens per user: a login that would exceed it ends the user's oldest; 0: no limit

	Version  int  // 1 (default): base path /api/v1, integer ids; 2: /v2, UUIDs, full_name and photo_url
	SampleID bool // send "id": without a value, as in the vendor's sample: no user id, and not valid JSON

	RequireAccessToken bool // DELETE needs the body {"access_token": token} besides the header
	AccessTokenStatus  int  // response to a missing or wrong access_token: 400 (default) or 422

	OpenStatus   int // response to a successful POST, 2xx; default 200. 204 has no body
	RevokeStatus int // response to a successful DELETE, 2xx; default 200. 204 has no body

	// Latency delays each response. The request is carried out first, so a
	// client that gives up during the delay has opened its session.
	Latency   time.Duration
	RateLimit RateLimit // default: no limit

	TLS           bool   // serve HTTPS with a certificate from a new CA, and offer HTTP/2
	TLSMaxVersion uint16 // highest TLS version, such as tls.VersionTLS11; 0: the newest

	// Admit is called for each request, concurrently, before it is carried out. The
	// request waits until Admit returns.
	Admit func(r Request)

	// Observe is called for each request when its outcome is known, before the
	// response is sent. live is the number of live tokens. Calls do not overlap.
	Observe func(r Request, live int)
}

// withDefaults returns c with defaults for zero fields, or an error if a field
// is invalid.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Addr, "127.0.0.1:0")
	setDefault(&c.Version, 1)
	setDefault(&c.AccessTokenStatus, http.StatusBadRequest)
	setDefault(&c.OpenStatus, http.StatusOK)
	setDefault(&c.RevokeStatus, http.StatusOK)
	switch {
	case !c.Kind.valid():
		return c, fmt.Errorf("flametest: unknown kind of account %d", c.Kind)
	case c.MaxTokens < 0:
		return c, errors.New("flametest: MaxTokens must not be negative")
	case c.Version != 1 && c.Version != 2:
		return c, fmt.Errorf("flametest: unknown API version %d", c.Version)
	case c.AccessTokenStatus != http.StatusBadRequest && c.AccessTokenStatus != http.StatusUnprocessableEntity:
		return c, fmt.Errorf("flametest: AccessTokenStatus must be 400 or 422, not %d", c.AccessTokenStatus)
	case c.OpenStatus/100 != 2 || c.RevokeStatus/100 != 2:
		return c, errors.New("flametest: OpenStatus and RevokeStatus must be 2xx")
	case c.RateLimit.PerSecond < 0 || c.RateLimit.Burst < 0 || c.Latency < 0:
		return c, errors.New("flametest: PerSecond, Burst and Latency must not be negative")
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
