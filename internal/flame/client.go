package flame

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// DefaultRequestTimeout bounds one try, from connecting to the last byte.
	DefaultRequestTimeout = 30 * time.Second
	// DefaultMaxRetries is the number of tries after the first.
	DefaultMaxRetries = 5

	maxBody = 1 << 20
	// cleanUpTime bounds the revocation of a token that cannot be kept.
	cleanUpTime = 30 * time.Second
)

// Config says how a [Client] sends its requests.
type Config struct {
	UserAgent          string
	RequestTimeout     time.Duration // of one try; 0: DefaultRequestTimeout
	MaxRetries         int           // tries after the first, not counting those that a 429 answered
	RequestsPerSecond  float64       // a ceiling over all calls; 0: none
	RootCAs            *x509.CertPool
	InsecureSkipVerify bool
	// BackoffCap is the longest first wait between two tries; 0: half a second.
	BackoffCap time.Duration
	// Observe is called after each try, also from several goroutines at once.
	Observe func(context.Context, Attempt)
}

// Attempt is one try of a call, for logging. It holds nothing secret.
type Attempt struct {
	Method    string
	Host      string
	Path      string
	Number    int // of the try, from 1
	Status    int // 0 where no answer arrived
	RequestID string
	SessionID string // of the session that was opened, checked or revoked; "" where none was
	Duration  time.Duration
	Err       error // what went wrong; nil on success
}

// Client calls one or more Flame APIs. All its calls share one pool of
// connections, one request rate and one pause after a Retry-After. It is
// safe for use by several goroutines.
type Client struct {
	config    Config
	transport *http.Transport
	throttle  throttle

	mu    sync.Mutex
	gates map[string]*gate // by scheme and host

	// tokenInBody has the endpoints that have shown that they want the token in
	// the body of DELETE too.
	tokenInBody sync.Map
}

// New makes a client with connections of its own.
func New(config Config) *Client {
	if config.RequestTimeout == 0 {
		config.RequestTimeout = DefaultRequestTimeout
	}
	if config.BackoffCap == 0 {
		config.BackoffCap = 500 * time.Millisecond
	}
	c := &Client{
		config: config,
		transport: &http.Transport{
			Proxy:       http.ProxyFromEnvironment,
			DialContext: dialer(),
			TLSClientConfig: &tls.Config{
				MinVersion:         tls.VersionTLS12,
				RootCAs:            config.RootCAs,
				InsecureSkipVerify: config.InsecureSkipVerify, //nolint:gosec // the user says so, and is warned
			},
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    1024, // as many as there were calls at once: the gate bounds them
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			// A connection that has died is given up, not used again and again.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		},
		gates: map[string]*gate{},
	}
	if config.RequestsPerSecond > 0 {
		c.throttle.ceiling = rate.NewLimiter(rate.Limit(config.RequestsPerSecond), 1)
	}
	return c
}

// CloseIdleConnections closes the connections that no call is using.
func (c *Client) CloseIdleConnections() { c.transport.CloseIdleConnections() }

// Operation is a call of the API.
type Operation int

// The calls, as in the vendor's reference.
const (
	OpOpen   Operation = iota // POST sessions
	OpCheck                   // GET organizations, the cheapest read that needs a token
	OpRevoke                  // DELETE sessions
)

func (o Operation) method() string {
	return [...]string{http.MethodPost, http.MethodGet, http.MethodDelete}[o]
}

// Open opens a session. Once its request is on the wire, cancelling ctx no
// longer ends it, so that no token gets lost; the deadline of ctx and the
// request timeout still do. An error is an [*Error].
func (c *Client) Open(ctx context.Context, endpoint Endpoint, user, password string) (Session, error) {
	body, err := json.Marshal(map[string]string{"user": user, "password": password})
	if err != nil {
		return Session{}, err
	}
	lost := 0
	answer, failed := c.do(ctx, call{
		op: OpOpen, endpoint: endpoint, body: body, secrets: []string{password}, lost: &lost,
	})
	if failed == nil {
		answer.session.Lost = lost
		return answer.session, nil
	}
	failed.MaybeOpened = lost > 0 || answer != nil
	if errors.Is(failed, ErrTokenUnusable) && sendable(answer.session.Token) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		gone, err := c.revoke(ctx, endpoint, answer.session.Token)
		// "No such session" may mean here that the token arrived garbled.
		failed.TokenRevoked = err == nil && !gone
		failed.MaybeOpened = lost > 0 || !failed.TokenRevoked
	}
	return Session{}, failed
}

// Check asks whether the token still works. alive is false only where Flame
// says so (401); 403 is a working token without the right to read. An error,
// an [*Error], means that neither could be learned.
func (c *Client) Check(ctx context.Context, endpoint Endpoint, token string) (alive bool, err error) {
	if CheckToken(token) != nil {
		return false, (&call{op: OpCheck, endpoint: endpoint}).error(ErrTokenUnusable)
	}
	_, failed := c.do(ctx, call{op: OpCheck, endpoint: endpoint, token: token, secrets: []string{token}})
	switch {
	case failed == nil, failed.Status == http.StatusForbidden:
		return true, nil
	case errors.Is(failed, ErrUnauthorized):
		return false, nil
	}
	return false, failed
}

// Revoke ends the session that the token belongs to. gone means that Flame
// knew no such session any more (401, 404 or 410). An error is an [*Error].
func (c *Client) Revoke(ctx context.Context, endpoint Endpoint, token string) (gone bool, err error) {
	if CheckToken(token) != nil {
		return false, (&call{op: OpRevoke, endpoint: endpoint}).error(ErrTokenUnusable)
	}
	return c.revoke(ctx, endpoint, token)
}

func (c *Client) revoke(ctx context.Context, endpoint Endpoint, token string) (gone bool, err error) {
	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		return false, err
	}
	revoke := call{op: OpRevoke, endpoint: endpoint, token: token, secrets: []string{token}}
	_, inBody := c.tokenInBody.Load(endpoint.String())
	if inBody {
		revoke.body = body
	}
	_, failed := c.do(ctx, revoke)
	// The vendor's table of parameters wants an access_token that its samples do not send.
	if failed != nil && !inBody && (failed.Status == http.StatusBadRequest || failed.Status == http.StatusUnprocessableEntity) {
		revoke.body = body
		if _, failed = c.do(ctx, revoke); failed == nil {
			c.tokenInBody.Store(endpoint.String(), nil)
		}
	}
	if failed == nil {
		return false, nil
	}
	switch failed.Status {
	case http.StatusUnauthorized, http.StatusNotFound, http.StatusGone:
		return true, nil
	}
	return false, failed
}

// sendable reports whether a header can carry the token at all.
func sendable(token string) bool {
	for _, c := range []byte(token) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	// U+FFFD stands for bytes that were lost in reading.
	return token == strings.TrimSpace(token) && !strings.ContainsRune(token, '\uFFFD')
}

// call is what is to be sent, unchanged from try to try.
type call struct {
	op       Operation
	endpoint Endpoint
	token    string
	body     []byte
	secrets  []string // texts of which nothing that is kept of an answer may hold any
	lost     *int     // where to count the tries whose answer was lost; may be nil
}

func (c *call) error(reason error) *Error {
	e := &Error{Op: c.op, Reason: reason}
	if base := c.endpoint.base; base != nil {
		e.Host, e.Path = base.Host, base.Path+c.path()
	}
	return e
}

func (c *call) path() string {
	if c.op == OpCheck {
		return "/organizations"
	}
	return "/sessions"
}

// answer is a 2xx answer.
type answer struct {
	status    int
	requestID string
	session   Session // of OpOpen; with ErrTokenUnusable, it holds the token all the same
}

// do tries a call until it succeeds, may not be tried again, or ctx ends. A
// failure comes with an answer where Flame reported success with a body that
// is of no use.
func (c *Client) do(ctx context.Context, call call) (*answer, *Error) {
	var (
		last    *Error
		counted int // failures against MaxRetries
		waits   = newBackoff(c.config.BackoffCap)
	)
	if call.endpoint.IsZero() {
		return nil, call.error(ErrNoEndpoint)
	}
	for number := 1; ; number++ {
		if err := c.throttle.wait(ctx); err != nil {
			return nil, c.gaveUp(ctx, &call, last, err)
		}
		started := time.Now()
		answer, failed := c.try(ctx, &call)
		if failed != nil {
			failed.Tries = number
		}
		c.observe(ctx, &call, number, time.Since(started), answer, failed)
		c.learn(failed)
		if failed == nil {
			return answer, nil
		}
		if call.lost != nil && failed.answerLost() {
			*call.lost++
		}
		if failed.Status != http.StatusTooManyRequests {
			counted++
		}
		if !failed.mayRetry() || counted > c.config.MaxRetries {
			return answer, failed
		}
		last = failed
		if err := sleep(ctx, waits.NextBackOff()); err != nil {
			return nil, c.gaveUp(ctx, &call, last, err)
		}
	}
}

// learn tells the throttle how a try ended.
func (c *Client) learn(failed *Error) {
	switch {
	case failed == nil:
		c.throttle.succeeded()
	case failed.Status == http.StatusTooManyRequests:
		c.throttle.limited(failed.retryAfter)
		c.throttle.pauseFor(failed.retryAfter)
	case failed.Status != 0:
		c.throttle.succeeded()
		if failed.mayRetry() { // otherwise no retry needs the pause
			c.throttle.pauseFor(failed.retryAfter)
		}
	}
}

// gaveUp is the error of a call that ctx ended before its request was sent or
// between two tries: the last try's, with the reason why none followed.
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
	last.Expired = !interrupted
	last.cause = context.DeadlineExceeded
	if interrupted {
		last.cause = context.Canceled
	}
	return last
}

// try sends one request and reads its answer.
func (c *Client) try(ctx context.Context, call *call) (*answer, *Error) {
	// The request has a context of its own: what ends it depends on whether it
	// is on the wire.
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.RequestTimeout)
	defer cancel()
	deadline, limited := ctx.Deadline()
	if limited {
		var stop context.CancelFunc
		own, stop = context.WithDeadline(own, deadline)
		defer stop()
	}
	var (
		mu                    sync.Mutex
		sent, handshakeFailed bool
	)
	unhook := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(ctx.Err(), context.Canceled) && (!sent || call.op != OpOpen) {
			cancel()
		}
	})
	defer unhook()
	own, leave := c.gate(call.endpoint).enter(own)
	defer leave()
	own = httptrace.WithClientTrace(own, &httptrace.ClientTrace{
		// A POST asks for a second connection only where nothing of it was
		// written to the first, which was dead.
		GetConn: func(string) {
			mu.Lock()
			defer mu.Unlock()
			sent = false
			if errors.Is(ctx.Err(), context.Canceled) {
				cancel()
			}
		},
		// From here on, the request may be carried out.
		GotConn: func(httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			sent = true
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			mu.Lock()
			defer mu.Unlock()
			handshakeFailed = err != nil
		},
	})

	broken := func(err error) *Error {
		mu.Lock()
		defer mu.Unlock()
		e := call.error(nil)
		e.Detail, e.Reason = describe(err, sent, handshakeFailed)
		e.sent, e.cause = sent, ctx.Err()
		if limited && !time.Now().Before(deadline) {
			e.Expired, e.cause = true, context.DeadlineExceeded
		}
		if errors.Is(e.cause, context.Canceled) && (call.op != OpOpen || !sent) {
			e.Reason, e.Detail = ErrInterrupted, ""
		}
		return e
	}

	request, err := call.request(own, c.config.UserAgent)
	if err != nil {
		return nil, broken(err)
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, broken(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing can be lost: the body was only read
	// Also the body of a refusal is read, so that its connection can serve again.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	success := response.StatusCode/100 == 2
	if err != nil && success && call.op == OpOpen {
		return nil, broken(err)
	}

	a := &answer{status: response.StatusCode}
	secrets := call.secrets
	var reason error
	switch {
	case success && call.op == OpOpen && len(body) > maxBody:
		reason = ErrTooLarge
	case success && call.op == OpOpen:
		a.session, reason = parseSession(body)
		secrets = append(secrets, a.session.Token)
	case success && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		reason = ErrNotJSON // a proxy's page, say: Flame has done nothing
	case success:
	case response.StatusCode/100 == 3:
		reason = ErrRedirect
	case response.StatusCode == http.StatusUnauthorized:
		reason = ErrUnauthorized
	default:
		reason = ErrStatus
	}
	a.requestID = requestID(response.Header, secrets...)
	if reason == nil {
		return a, nil
	}
	e := call.error(reason)
	e.Status, e.RequestID, e.sent = a.status, a.requestID, true
	if success {
		return a, e
	}
	e.retryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	if errors.Is(reason, ErrRedirect) {
		e.Target = redirectTarget(response.Header.Get("Location"), secrets...)
	}
	return nil, e
}

func (c *call) request(ctx context.Context, userAgent string) (*http.Request, error) {
	target := c.endpoint.sessions
	if c.op == OpCheck {
		target = c.endpoint.organizations
	}
	var body io.Reader
	if c.body != nil {
		body = strings.NewReader(string(c.body))
	}
	request, err := http.NewRequestWithContext(ctx, c.op.method(), target, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", AuthorizationHeader(c.token))
	}
	return request, nil
}

// AuthorizationHeader gives the value of the Authorization header for a token,
// without quotes, as in the vendor's samples.
func AuthorizationHeader(token string) string { return "Token token=" + token }

func (c *Client) gate(endpoint Endpoint) *gate {
	c.mu.Lock()
	defer c.mu.Unlock()
	origin := endpoint.base.Scheme + "://" + endpoint.base.Host
	g := c.gates[origin]
	if g == nil {
		g = newGate()
		c.gates[origin] = g
	}
	return g
}

func (c *Client) observe(ctx context.Context, call *call, number int, took time.Duration, a *answer, failed *Error) {
	if c.config.Observe == nil {
		return
	}
	attempt := Attempt{
		Method: call.op.method(), Host: call.endpoint.base.Host, Path: call.endpoint.base.Path + call.path(),
		Number: number, Duration: took,
	}
	if call.token != "" {
		attempt.SessionID = SessionID(call.token)
	}
	switch {
	case failed != nil:
		err := *failed // what is observed stays as it is
		attempt.Status, attempt.RequestID, attempt.Err = failed.Status, failed.RequestID, &err
	default:
		attempt.Status, attempt.RequestID = a.status, a.requestID
		if call.op == OpOpen {
			attempt.SessionID = SessionID(a.session.Token)
		}
	}
	c.config.Observe(ctx, attempt)
}
