// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultRequestTimeout bounds one attempt, from connecting to the last byte.
	DefaultRequestTimeout = 30 * time.Second
	// DefaultMaxRetries is the number of retries after the first attempt.
	DefaultMaxRetries = 5

	// cleanUpTimeout bounds the revocation of a token that cannot be kept.
	cleanUpTimeout = 30 * time.Second
)

// Config configures a [Client].
type Config struct {
	UserAgent          string
	RequestTimeout     time.Duration // of one attempt; 0 means DefaultRequestTimeout
	MaxRetries         int           // retries after the first attempt; those after a 429 do not count
	RequestsPerSecond  float64       // limit across all calls; 0 means none
	RootCAs            *x509.CertPool
	InsecureSkipVerify bool
	// FirstBackoff is the longest wait before the first retry; 0 means half a
	// second. Later waits double, up to 60 times as much.
	FirstBackoff time.Duration
	// Jitter returns which part of the longest wait to wait, from 0 to 1; nil means
	// [rand.Float64].
	Jitter func() float64
	// Observe is called after each attempt, concurrently.
	Observe func(context.Context, Attempt)
	// DialContext makes connections; nil means that of a [net.Dialer].
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Watch returns what sends the requests over a transport; nil means the transport itself.
	Watch func(http.RoundTripper) http.RoundTripper
}

// Credentials are what a session is opened with.
type Credentials struct {
	User     string // the login, not secret
	Password Password
}

// Client calls Flame APIs. All its calls share one pool of connections, and those to
// one origin what its answers have taught: how long to pause, how fast to go on, and
// whether it is down. It is safe for concurrent use.
type Client struct {
	config    Config
	transport *http.Transport
	sender    http.RoundTripper // transport, or what watches it
	proxies   proxies
	ceiling   *rate.Limiter // Config.RequestsPerSecond, for all origins; nil: none
	origins   sync.Map      // of string, such as https://flame.example → *origin
	logins    sync.Map      // of loginKey → *login

	dialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// accepted has the endpoints that have accepted a token or a login: no gateway with
	// a password of its own stands in between.
	accepted sync.Map

	// tokenInBody has the endpoints that have shown that they want
	// access_token in the body of DELETE.
	tokenInBody sync.Map
}

// New returns a client with connections of its own. Its proxies are those that the
// environment names now.
func New(config Config) *Client {
	if config.RequestTimeout == 0 {
		config.RequestTimeout = DefaultRequestTimeout
	}
	if config.FirstBackoff == 0 {
		config.FirstBackoff = 500 * time.Millisecond
	}
	if config.Jitter == nil {
		config.Jitter = rand.Float64
	}
	if config.DialContext == nil {
		config.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	c := &Client{config: config, proxies: proxiesFromEnvironment(), dialContext: config.DialContext}
	c.transport = newTransport(config, c.dial)
	c.transport.Proxy = c.proxyFor
	c.sender = c.transport
	if config.Watch != nil {
		c.sender = config.Watch(c.transport)
	}
	if config.RequestsPerSecond > 0 {
		c.ceiling = rate.NewLimiter(rate.Limit(config.RequestsPerSecond), 1)
	}
	return c
}

func newTransport(config Config, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		OnProxyConnectResponse: checkConnect,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            config.RootCAs,
			InsecureSkipVerify: config.InsecureSkipVerify, //nolint:gosec // the user asks for it, and is warned
		},
		DialContext:            dial,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1024, // the default of 2 would close most connections after each request
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// Without pings, requests would go on using a connection that has died.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// CloseIdleConnections closes the connections that no call is using.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Open opens a session. Once its request is on the wire, cancelling ctx no
// longer aborts it, so that no token is lost; the deadline of ctx and the
// request timeout still do. An error is an [*Error].
func (c *Client) Open(ctx context.Context, endpoint Endpoint, credentials Credentials) (Session, error) {
	password := credentials.Password.Reveal()
	body, err := json.Marshal(map[string]string{"user": credentials.User, "password": password})
	if err != nil {
		return Session{}, err
	}
	answer, lost, apiErr := c.do(ctx, call{
		op: OpOpen, endpoint: endpoint, body: body, secrets: []string{password}, login: c.login(endpoint, credentials),
	})
	if apiErr == nil {
		session := answer.session.withoutEchoes(credentials.Password)
		session.Lost = lost
		return session, nil
	}
	apiErr.Lost = lost
	if answer != nil { // a success that is of no use
		apiErr.Lost++
	}
	if errors.Is(apiErr, ErrTokenUnusable) && fitsHeader(answer.session.Token) {
		ctx, cancel := CleanUpContext(ctx)
		defer cancel()
		alreadyGone, _, err := c.revoke(ctx, endpoint, answer.session.Token)
		// Here, "no such session" may mean that the token arrived garbled.
		if err == nil && !alreadyGone {
			apiErr.TokenRevoked = true
			apiErr.Lost--
		}
	}
	return Session{}, apiErr
}

// Check asks Flame whether a token still works. It returns false only if Flame
// says so (401); 403 is a working token without the right to read. An error, an
// [*Error], means that neither was learned.
func (c *Client) Check(ctx context.Context, endpoint Endpoint, token Token) (alive bool, err error) {
	call := call{op: OpCheck, endpoint: endpoint, token: token}
	// A token in a state may be older than the rules for new ones.
	if !fitsHeader(token) {
		return false, call.error(ErrTokenUnusable)
	}
	_, _, apiErr := c.do(ctx, call)
	switch {
	case apiErr == nil, apiErr.Status == http.StatusForbidden && !errors.Is(apiErr, ErrForeign):
		return true, nil
	case errors.Is(apiErr, ErrUnauthorized):
		return false, nil
	}
	return false, apiErr
}

// Revoke ends the session that a token belongs to. It returns true if there was no
// such session any more: Flame answered 401, or 404 or 410 and then 401 to a check. After
// an attempt whose answer was lost, it returns false instead: that attempt may have ended
// the session. An error is an [*Error].
func (c *Client) Revoke(ctx context.Context, endpoint Endpoint, token Token) (alreadyGone bool, err error) {
	if !fitsHeader(token) {
		call := call{op: OpRevoke, endpoint: endpoint}
		return false, call.error(ErrTokenUnusable)
	}
	alreadyGone, lost, err := c.revoke(ctx, endpoint, token)
	return alreadyGone && lost == 0, err
}

// revoke is Revoke without judging the token. It also returns how many attempts may have
// been carried out although no response arrived.
func (c *Client) revoke(ctx context.Context, endpoint Endpoint, token Token) (alreadyGone bool, lost int, err error) {
	body, err := json.Marshal(map[string]string{"access_token": token.Reveal()})
	if err != nil {
		return false, 0, err
	}
	call := call{op: OpRevoke, endpoint: endpoint, token: token}
	_, wantsBody := c.tokenInBody.Load(endpoint)
	if wantsBody {
		call.body = body
	}
	_, lost, apiErr := c.do(ctx, call)
	// The vendor's parameter table requires an access_token that its samples do
	// not send, so it is sent only to a server that misses it.
	if apiErr != nil && !wantsBody && (apiErr.Status == http.StatusBadRequest || apiErr.Status == http.StatusUnprocessableEntity) {
		call.body = body
		var lostToo int
		if _, lostToo, apiErr = c.do(ctx, call); apiErr == nil {
			c.tokenInBody.Store(endpoint, nil)
		}
		lost += lostToo
	}
	if apiErr == nil {
		return false, lost, nil
	}
	apiErr.MayBeDone = lost > 0
	switch {
	case errors.Is(apiErr, ErrUnauthorized):
		return true, lost, nil
	case apiErr.Status == http.StatusNotFound, apiErr.Status == http.StatusGone:
		// A wrong path gets these too, so they prove nothing by themselves.
		alive, err := c.Check(ctx, endpoint, token)
		if err == nil && !alive {
			return true, lost, nil
		}
		apiErr.StillAlive = alive
	}
	return false, lost, apiErr
}

// hasAccepted reports whether the endpoint has accepted a token or a login.
func (c *Client) hasAccepted(endpoint Endpoint) bool {
	_, accepted := c.accepted.Load(endpoint)
	return accepted
}

// CleanUpContext returns a context for a revocation that must happen whatever
// became of ctx. It has 30 seconds of its own, and the values of ctx.
func CleanUpContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
}
