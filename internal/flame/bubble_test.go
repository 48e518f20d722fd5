// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bubble is a client and a server in a synctest bubble, connected by pipes. Time
// advances only while all goroutines wait, so every duration is exact.
type bubble struct {
	client   *Client
	endpoint Endpoint
	listener *pipeListener
	started  time.Time

	mu       sync.Mutex
	requests []request
	attempts []Attempt
}

// request is a request that reached the server.
type request struct {
	method string
	after  time.Duration // since the start of the test
}

const token = "ULzr7GuYA6iyo9EyiFrf"

// responder writes the response to the nth request, from 1. If it is nil or
// returns false, the server responds with success.
type responder func(n int, w http.ResponseWriter, r *http.Request) bool

// runInBubble runs a test in a bubble.
func runInBubble(t *testing.T, config Config, respond responder, test func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		endpoint, err := ParseEndpoint("http://flame.example/api/v1")
		if err != nil {
			t.Fatal(err)
		}
		b := &bubble{
			endpoint: endpoint,
			listener: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})},
			started:  time.Now(),
		}
		config.Observe = b.observe
		b.client = New(config)
		b.client.proxies = proxies{}
		b.client.dialContext = b.listener.dial
		b.serve(t, respond)
		test(t, b)
	})
}

// serve runs the server until the test ends.
func (b *bubble) serve(t *testing.T, respond responder) {
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := b.record(r)
			if respond != nil && respond(n, w, r) {
				return
			}
			_, _ = io.WriteString(w, `{"auth_token":"`+token+`"}`)
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(b.listener)
	}()
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
}

// record adds a request and returns its number.
func (b *bubble) record(r *http.Request) int {
	_, _ = io.Copy(io.Discard, r.Body) // the server notices that a client left only after it read the body
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = append(b.requests, request{r.Method, b.elapsed()})
	return len(b.requests)
}

func (b *bubble) observe(_ context.Context, attempt Attempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts = append(b.attempts, attempt)
}

// received returns the requests that reached the server so far.
func (b *bubble) received() []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests)
}

// observed returns the attempts that the client reported so far.
func (b *bubble) observed() []Attempt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.attempts)
}

// elapsed returns the time since the start of the test.
func (b *bubble) elapsed() time.Duration { return time.Since(b.started) }

// result is the outcome of a call.
type result struct {
	session Session
	err     *Error        // nil on success
	after   time.Duration // since the start of the test
}

// failure returns the error of a call that must fail.
func (r result) failure(t *testing.T) *Error {
	t.Helper()
	if r.err == nil {
		t.Fatal("the call succeeded")
	}
	return r.err
}

func (b *bubble) call(ctx context.Context, op Operation) result {
	var (
		r   result
		err error
	)
	switch op {
	case OpOpen:
		r.session, err = b.client.Open(ctx, b.endpoint, Credentials{User: "ada", Password: NewPassword("password")})
	case OpCheck:
		_, err = b.client.Check(ctx, b.endpoint, NewToken(token))
	case OpRevoke:
		_, err = b.client.Revoke(ctx, b.endpoint, NewToken(token))
	}
	r.after = b.elapsed()
	if err != nil {
		r.err = err.(*Error)
	}
	return r
}

// callAsync makes a call in the background.
func (b *bubble) callAsync(ctx context.Context, op Operation) <-chan result {
	ended := make(chan result, 1)
	go func() { ended <- b.call(ctx, op) }()
	return ended
}

// callAndCancel makes a call and cancels its context after a delay.
func (b *bubble) callAndCancel(ctx context.Context, op Operation, delay time.Duration) result {
	ctx, cancel := context.WithCancel(ctx)
	call := b.callAsync(ctx, op)
	time.Sleep(delay)
	cancel()
	return <-call
}

// hangDial makes the client hang while it connects.
func (b *bubble) hangDial() {
	b.client.dialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case <-ctx.Done():
		case <-b.listener.closed:
		}
		return nil, net.ErrClosed
	}
}

// pipeListener accepts the connections that its dial makes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.IPAddr{} }

// always responds to every request with a status and with headers, each in the
// form "Name: value".
func always(code int, headers ...string) responder {
	return firstRequests(math.MaxInt, code, headers...)
}

// firstRequests responds to the first requests like always, and to later ones
// with success.
func firstRequests(count, code int, headers ...string) responder {
	return func(n int, w http.ResponseWriter, _ *http.Request) bool {
		return n <= count && writeStatus(w, code, headers...)
	}
}

// writeStatus writes a response without a body. It returns true, as a responder does.
func writeStatus(w http.ResponseWriter, code int, headers ...string) bool {
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		w.Header().Set(name, value)
	}
	w.WriteHeader(code)
	return true
}

// hang is a responder that waits until the client gives up.
func hang(_ int, _ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// writePartialSession sends the first half of a response's body.
func writePartialSession(w http.ResponseWriter) {
	_, _ = io.WriteString(w, `{"auth_token":`)
	_ = http.NewResponseController(w).Flush()
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var allOperations = []Operation{OpOpen, OpCheck, OpRevoke}

// testName joins the method of op and the details with spaces.
func testName(op Operation, details ...any) string {
	return strings.TrimSpace(fmt.Sprintln(append([]any{op.Method()}, details...)...))
}
