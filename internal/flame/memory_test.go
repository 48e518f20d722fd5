package flame

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a server and a client that are joined in memory, for tests in a
// synctest bubble: there, time passes only while everything waits, so that
// moments and waits are exact.
type memory struct {
	*testing.T
	client   *Client
	endpoint Endpoint
	started  time.Time

	conns  chan net.Conn
	closed chan struct{}

	mu       sync.Mutex
	arrivals []arrival
	attempts []Attempt
}

// arrival is a request that reached the server.
type arrival struct {
	method string
	path   string
	body   string
	after  time.Duration // since the start of the test
}

const token = "ULzr7GuYA6iyo9EyiFrf"

// inMemory runs test in a bubble. answer is told the request's number, from 1;
// where it is nil, or gives false, the request is answered with success.
func inMemory(t *testing.T, config Config, answer func(n int, w http.ResponseWriter, r *http.Request) bool, test func(*testing.T, *memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		endpoint, err := ParseEndpoint("http://flame.example/api/v1")
		if err != nil {
			t.Fatal(err)
		}
		m := &memory{T: t, endpoint: endpoint, started: time.Now(), conns: make(chan net.Conn), closed: make(chan struct{})}
		config.Observe = func(_ context.Context, a Attempt) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.attempts = append(m.attempts, a)
		}
		m.client = New(config)
		m.client.transport.Proxy = nil
		m.client.dialContext = m.dial
		server := &http.Server{
			ErrorLog: log.New(io.Discard, "", 0),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := m.arrive(r)
				if answer != nil && answer(n, w, r) {
					return
				}
				_, _ = io.WriteString(w, `{"auth_token":"`+token+`"}`)
			}),
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(m)
		}()
		t.Cleanup(func() {
			m.client.CloseIdleConnections()
			_ = server.Close()
			<-served
		})
		test(t, m)
	})
}

func (m *memory) arrive(r *http.Request) int {
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.arrivals = append(m.arrivals, arrival{r.Method, r.URL.Path, string(body), time.Since(m.started)})
	return len(m.arrivals)
}

// The server's listener.

func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	close(m.closed)
	return nil
}

func (m *memory) Addr() net.Addr { return &net.IPAddr{} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// seen gives the requests so far.
func (m *memory) seen() []arrival {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]arrival(nil), m.arrivals...)
}

func (m *memory) tries() []Attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Attempt(nil), m.attempts...)
}

// now is the time since the start of the test.
func (m *memory) now() time.Duration { return time.Since(m.started) }

func (m *memory) open(ctx context.Context) (Session, error) {
	return m.client.Open(ctx, m.endpoint, Credentials{User: "ada", Password: NewPassword("password")})
}

// result is the end of a call.
type result struct {
	session Session
	err     *Error // nil: success
	at      time.Duration
}

// failed gives the error of a call that must have one.
func (r result) failed(t *testing.T) *Error {
	t.Helper()
	if r.err == nil {
		t.Fatal("no error")
	}
	return r.err
}

// call makes a call of op.
func (m *memory) call(ctx context.Context, op Operation) result {
	var (
		r   result
		err error
	)
	switch op {
	case OpOpen:
		r.session, err = m.open(ctx)
	case OpCheck:
		_, err = m.client.Check(ctx, m.endpoint, NewToken(token))
	case OpRevoke:
		_, err = m.client.Revoke(ctx, m.endpoint, NewToken(token))
	}
	r.at = m.now()
	if err != nil {
		r.err = err.(*Error)
	}
	return r
}

// begin makes a call in the background.
func (m *memory) begin(ctx context.Context, op Operation) <-chan result {
	ended := make(chan result, 1)
	go func() { ended <- m.call(ctx, op) }()
	return ended
}

// status answers with a status and headers, given as "Name: value".
func status(w http.ResponseWriter, code int, headers ...string) bool {
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		w.Header().Set(name, value)
	}
	w.WriteHeader(code)
	return true
}

// hang gives no answer for as long as the client stays.
func hang(r *http.Request) bool {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var everyOperation = []Operation{OpOpen, OpCheck, OpRevoke}

func name(op Operation, more ...any) string {
	return strings.Join(strings.Fields(fmt.Sprintln(append([]any{op.Method()}, more...)...)), " ")
}
