// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxBody is how much of a response is read, in bytes.
const maxBody = 1 << 20

// call is a request to send, the same in each attempt.
type call struct {
	op       Operation
	endpoint Endpoint
	token    Token    // zero: none
	body     []byte   // nil: none
	secrets  []string // besides the token: must not appear in anything kept from the response
	login    *login   // of OpOpen
}

// request returns the HTTP request of one attempt. It has a body that cannot be
// read twice: otherwise the transport itself would repeat it, over HTTP/2 after a
// stream was reset and over HTTP/1 after a stale connection (net/http:
// http2shouldRetryRequest, persistConn.shouldRetryRequest).
func (c *call) request(ctx context.Context, userAgent string) (*http.Request, error) {
	body := io.NopCloser(bytes.NewReader(c.body))
	request, err := http.NewRequestWithContext(ctx, c.op.Method(), c.op.URL(c.endpoint).String(), body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = int64(len(c.body))
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !c.token.IsZero() {
		request.Header.Set("Authorization", AuthorizationHeader(c.token))
	}
	return request, nil
}

// AuthorizationHeader returns the value of the Authorization header for a token,
// without quotes, as in the samples on the vendor's page on authentication.
func AuthorizationHeader(token Token) string { return "Token token=" + token.Reveal() }

// send makes one attempt: one request on the wire, and its whole response.
func (c *Client) send(ctx context.Context, call *call) (*answer, *Error) {
	for {
		answer, apiErr, stale := c.sendOnce(ctx, call)
		if !stale || ctx.Err() != nil {
			return answer, apiErr
		}
	}
}

// sendOnce is send, but may find that the connection was stale before anything was
// written to it.
func (c *Client) sendOnce(ctx context.Context, call *call) (_ *answer, _ *Error, stale bool) {
	reqCtx, wire, cancel := c.follow(ctx, call)
	defer cancel()
	request, err := call.request(reqCtx, c.config.UserAgent)
	if err != nil {
		return nil, wire.failure(ctx, err), false
	}
	response, err := c.sender.RoundTrip(request)
	if err != nil {
		stale := wire.reused && wire.unwritten() && reqCtx.Err() == nil
		return nil, wire.failure(ctx, err), stale
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if response.StatusCode == http.StatusProxyAuthRequired {
		// No server but a proxy may answer this (RFC 9110, 15.5.8).
		return nil, wire.refusedByProxy(response.StatusCode), false
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		// The body is the connection, and does not end.
		answer, apiErr := call.interpret(response, nil, c.hasAccepted(call.endpoint))
		return answer, apiErr, false
	}
	// Read every body, refusals too: only then can the connection be reused.
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil && call.op == OpOpen && response.StatusCode/100 == 2 {
		return nil, wire.failure(ctx, err), false
	}
	answer, apiErr := call.interpret(response, body, c.hasAccepted(call.endpoint))
	return answer, apiErr, false
}

// wire follows one request on its way. A POST that may have reached Flame must
// not be aborted: its response may bring a token.
type wire struct {
	call  *call
	proxy string // the variable that names the proxy for the request; "" if it needs none
	abort context.CancelFunc

	mu              sync.Mutex
	sent            bool         // the request may have reached Flame
	reused          bool         // the request got a connection that had served another
	conn            *countedConn // that got the request; nil over HTTP/2
	written         int64        // bytes that had been written to conn before
	handshakeFailed bool
}

// countedConn counts the bytes that are written to it.
type countedConn struct {
	net.Conn
	written atomic.Int64
}

// Write implements net.Conn. It counts before it writes: the response may arrive
// before Write returns.
func (c *countedConn) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n - len(b)))
	return n, err
}

// dial makes the connections of the transport.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn}, nil
}

// follow returns the context to send a request of call with, which ends by
// itself after the request timeout, and what will be known of the request. The
// caller must call cancel.
func (c *Client) follow(ctx context.Context, call *call) (reqCtx context.Context, w *wire, cancel context.CancelFunc) {
	end := time.Now().Add(c.config.RequestTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	reqCtx, abort := context.WithDeadline(context.WithoutCancel(ctx), end)
	w = &wire{call: call, proxy: c.proxies.lookup(call.op.URL(call.endpoint)).variable, abort: abort}
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if errors.Is(ctx.Err(), context.Canceled) && (!w.sent || call.op != OpOpen) {
			abort()
		}
	})
	return httptrace.WithClientTrace(reqCtx, w.trace(ctx)), w, func() { stop(); abort() }
}

// trace returns the hooks that tell how far the request has come.
func (w *wire) trace(ctx context.Context) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		// The transport asks for a second connection only if it wrote nothing of
		// the request to the first, which was dead.
		GetConn: func(string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent = false
			if errors.Is(ctx.Err(), context.Canceled) {
				w.abort()
			}
		},
		// From here on, the request may reach Flame.
		GotConn: func(info httptrace.GotConnInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent = true
			w.reused = info.Reused
			if w.conn = http1Conn(info.Conn); w.conn != nil {
				w.written = w.conn.written.Load()
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.handshakeFailed = err != nil
		},
	}
}

// unwritten reports whether no byte of the request was written. It is always false
// over HTTP/2, whose connections other requests share.
func (w *wire) unwritten() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn != nil && w.conn.written.Load() == w.written
}

// http1Conn returns the connection below one that speaks HTTP/1, or nil.
func http1Conn(conn net.Conn) *countedConn {
	for {
		encrypted, ok := conn.(*tls.Conn) // through an https proxy, there is one in another
		if !ok {
			break
		}
		if encrypted.ConnectionState().NegotiatedProtocol == "h2" {
			return nil
		}
		conn = encrypted.NetConn()
	}
	counted, _ := conn.(*countedConn)
	return counted
}

// refusedUnprocessed reports whether the server refused a request's stream or was going
// away, so that it did nothing (RFC 9113, 8.7). net/http tells that in the error's text
// alone. A request that the server did not count as refused when it went away may have
// been carried out; net/http mentions GOAWAY then too.
func refusedUnprocessed(err error) bool {
	text := err.Error()
	if strings.Contains(text, "server sent GOAWAY and closed the connection") {
		return false
	}
	return strings.Contains(text, "REFUSED_STREAM") || strings.Contains(text, "GOAWAY")
}

// failure returns the error of an attempt that got no whole response.
func (w *wire) failure(ctx context.Context, err error) *Error {
	unwritten, refused := w.unwritten(), refusedUnprocessed(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	connected := w.sent
	w.sent = connected && !unwritten && !refused // whether it may have been carried out
	e := w.call.error(nil)
	e.sent, e.untrusted, e.cause = w.sent, certificateFault(err) != "", ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		e.DeadlineExceeded, e.cause = true, context.DeadlineExceeded
	}
	switch {
	case errors.Is(e.cause, context.Canceled) && (w.call.op != OpOpen || !w.sent):
		e.Reason = ErrInterrupted
	case connected && refused:
		e.Detail, e.Reason = "the server refused the request unprocessed", ErrLost
	case !connected && w.proxy != "" && e.blameProxy(w.proxy, err, w.handshakeFailed):
	default:
		e.Detail, e.Reason = transportReason(err, w.sent, w.handshakeFailed)
	}
	return e
}

// Attempt describes one attempt of a call, for logging. It holds nothing secret.
type Attempt struct {
	Method    string
	Host      string
	Path      string
	Number    int // from 1
	Status    int // 0 if no response arrived
	RequestID string
	SessionID string // of the session that was opened, checked or revoked; may be empty
	Duration  time.Duration
	Err       error // nil on success
}

// observe tells the caller's Observe how an attempt ended.
func (c *Client) observe(ctx context.Context, call *call, number int, duration time.Duration, answer *answer, apiErr *Error) {
	if c.config.Observe == nil {
		return
	}
	url := call.op.URL(call.endpoint)
	attempt := Attempt{Method: call.op.Method(), Host: url.Host, Path: url.Path, Number: number, Duration: duration}
	if !call.token.IsZero() {
		attempt.SessionID = call.token.SessionID()
	}
	if apiErr != nil {
		snapshot := *apiErr // do goes on to change its own
		attempt.Status, attempt.RequestID, attempt.Err = apiErr.Status, apiErr.RequestID, &snapshot
	} else {
		attempt.Status, attempt.RequestID = answer.status, answer.requestID
		if call.op == OpOpen {
			attempt.SessionID = answer.session.Token.SessionID()
		}
	}
	c.config.Observe(ctx, attempt)
}
