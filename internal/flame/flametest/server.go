// Package flametest is a fake of the Flame Analytics sessions API, for tests
// and demonstrations. It is to the API client what net/http/httptest is to
// net/http: [Start] gives a server on a port of its own, which plays the API in
// one of its possible readings ([Config]), fails on demand ([Fault]) and keeps
// a record of what it was sent ([Request]).
//
// It shares no types with the client, so that a slip on one side is caught by
// the other, and it is strict: what a real API could refuse, it refuses.
package flametest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// User is a login that works where [Config.Users] is nil.
	User = "ada@example.com"
	// Password is the password of every user where [Config.Users] is nil.
	Password = "correct horse battery staple"
)

// Config says how the fake behaves. The zero value is version 1 of the API,
// one token per session, 200 for success, plain HTTP on a free port.
type Config struct {
	Addr string // host:port to listen on; default "127.0.0.1:0"

	Users        map[string]string // login → password; nil: any non-empty user with Password
	SharedTokens bool              // one token per user: every POST of a user gives the same one, one DELETE ends it for all

	Version  int  // 1 (default): base path /api/v1, id an integer; 2: base path /v2, id a UUID, with full_name and photo_url
	SampleID bool // print "id": , in the answer, as the vendor's sample does: not JSON

	RequireAccessToken bool // DELETE wants {"access_token": token} in its body, besides the header
	AccessTokenStatus  int  // the answer where it is missing or wrong: 400 (default) or 422

	OpenStatus  int // success of POST, 2xx; default 200. A 204 has no body
	CloseStatus int // success of DELETE, 2xx; default 200. A 204 has no body

	// Latency passes before each answer, after the work is done: a client that
	// leaves meanwhile has opened its session all the same. It then ends early.
	Latency   time.Duration
	RateLimit RateLimit

	TLS           bool   // HTTPS with a CA of its own, HTTP/2 offered
	TLSMaxVersion uint16 // highest version of TLS to speak, such as tls.VersionTLS11; 0: the newest

	// Observe is told of each request once its answer is settled and before it
	// is sent, with the number of live tokens. Calls do not overlap.
	Observe func(r Request, live int)
}

// withDefaults fills in what is zero and refuses what makes no sense.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Addr, "127.0.0.1:0")
	setDefault(&c.Version, 1)
	setDefault(&c.AccessTokenStatus, http.StatusBadRequest)
	setDefault(&c.OpenStatus, http.StatusOK)
	setDefault(&c.CloseStatus, http.StatusOK)
	switch {
	case c.Version != 1 && c.Version != 2:
		return c, fmt.Errorf("flametest: version %d of the API is unknown", c.Version)
	case c.AccessTokenStatus != http.StatusBadRequest && c.AccessTokenStatus != http.StatusUnprocessableEntity:
		return c, fmt.Errorf("flametest: AccessTokenStatus %d is neither 400 nor 422", c.AccessTokenStatus)
	case c.OpenStatus/100 != 2 || c.CloseStatus/100 != 2:
		return c, errors.New("flametest: OpenStatus and CloseStatus must be 2xx")
	case c.RateLimit.PerSecond < 0 || c.RateLimit.Burst < 0 || c.Latency < 0:
		return c, errors.New("flametest: a rate, a burst or a latency below zero")
	}
	return c, nil
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// Server is a running fake. Its methods may be called from any goroutine.
type Server struct {
	cfg      Config
	basePath string
	url      string
	caPEM    string

	sessions *sessions
	limiter  *limiter // nil: no limit

	http      *http.Server
	served    chan struct{}  // closed when the accept loop has ended
	openConns sync.WaitGroup // open connections
	handlers  sync.WaitGroup // requests at work
	closed    chan struct{}  // closed by Close

	observeMu sync.Mutex // one call of Config.Observe at a time

	mu       sync.Mutex // guards what follows; a request is recorded, given its fault and carried out in one step
	closing  bool
	accepted int
	journal  []*Request
	arrived  chan struct{} // closed and renewed at every arrival
	scripts  map[Operation][]Fault
	always   map[Operation]*Fault
	release  chan struct{} // closed and renewed by Release
}

// Start runs a fake until its Close. It fails on a Config that makes no sense
// and where the address cannot be listened on.
func Start(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		basePath: "/api/v1",
		sessions: newSessions(cfg.SharedTokens),
		limiter:  newLimiter(cfg.RateLimit, time.Now()),
		served:   make(chan struct{}),
		closed:   make(chan struct{}),
		arrived:  make(chan struct{}),
		scripts:  make(map[Operation][]Fault),
		always:   make(map[Operation]*Fault),
		release:  make(chan struct{}),
	}
	if cfg.Version == 2 {
		s.basePath = "/v2"
	}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ErrorLog:          log.New(io.Discard, "", 0), // failed handshakes are part of the tests
		ReadHeaderTimeout: time.Minute,
		ConnContext:       s.numberConnection,
		ConnState:         s.trackConnection,
	}
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
		if err := s.configureTLS(); err != nil {
			return nil, fmt.Errorf("flametest: %w", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("flametest: %w", err)
	}
	s.url = scheme + "://" + listener.Addr().String() + s.basePath
	go func() {
		defer close(s.served)
		// Both return only once the server is closed: there is no one to tell.
		if cfg.TLS {
			_ = s.http.ServeTLS(listener, "", "")
		} else {
			_ = s.http.Serve(listener)
		}
	}()
	return s, nil
}

// Close ends hung requests without an answer, closes every connection and
// waits until no handler is left. More than one call does no harm.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.closed)
	}
	s.mu.Unlock()
	_ = s.http.Close()
	<-s.served
	_ = s.http.Close() // once more, for a connection accepted during the first
	s.openConns.Wait()
	s.handlers.Wait()
}

// URL is the base URL, path included, without a slash at its end.
func (s *Server) URL() string { return s.url }

// CACertificate is the PEM of the CA to trust; empty without TLS.
func (s *Server) CACertificate() string { return s.caPEM }

// Connections says how many connections were accepted so far, those included
// whose TLS handshake failed.
func (s *Server) Connections() (total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Live gives the tokens that work, sorted.
func (s *Server) Live() []string { return s.sessions.list() }

// Opened says how many sessions were opened: POSTs carried out, whether their
// answer arrived or not, since the start or the last Reset.
func (s *Server) Opened() int { opened, _ := s.sessions.counts(); return opened }

// Revoked says how many tokens were ended, by DELETE, Revoke or RevokeAll,
// since the start or the last Reset.
func (s *Server) Revoked() int { _, revoked := s.sessions.counts(); return revoked }

// Revoke ends a token behind everybody's back; false where it was not alive.
func (s *Server) Revoke(token string) bool { return s.sessions.revoke(token) }

// RevokeAll ends every live token behind everybody's back.
func (s *Server) RevokeAll() { s.sessions.revokeAll() }

type connectionKey struct{}

func (s *Server) numberConnection(ctx context.Context, _ net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	return context.WithValue(ctx, connectionKey{}, s.accepted)
}

func (s *Server) trackConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.openConns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.openConns.Done()
	}
}

// serve takes one request from its arrival to its answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.handlers.Done()

	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client left before it had sent everything
	}
	x := s.receive(r, body)
	if !s.applyFault(r.Context(), x) || !s.pause(r.Context()) {
		s.recordStatus(x.req, 0)
		panic(http.ErrAbortHandler) // closes the connection (HTTP/1) or resets the stream (HTTP/2)
	}
	s.recordStatus(x.req, x.resp.status) // before the answer, so that who has the answer finds it in the journal
	x.resp.send(w, r)
}

// begin counts a request in, unless the server is closing.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.handlers.Add(1)
	}
	return !s.closing
}

// pause lets Latency pass; false where the client has left or the server closes.
func (s *Server) pause(ctx context.Context) bool {
	if s.cfg.Latency == 0 {
		return true
	}
	timer := time.NewTimer(s.cfg.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}

// configureTLS makes the CA and a certificate for the loopback names.
func (s *Server) configureTLS() error {
	certificate, caPEM, err := newCertificate(time.Now())
	if err != nil {
		return err
	}
	s.caPEM = caPEM
	s.http.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		MaxVersion:   s.cfg.TLSMaxVersion,
	}
	if highest := s.cfg.TLSMaxVersion; highest != 0 && highest < tls.VersionTLS12 {
		s.http.TLSConfig.MinVersion = tls.VersionTLS10
		s.http.Protocols = new(http.Protocols)
		s.http.Protocols.SetHTTP1(true) // HTTP/2 forbids the old versions
	}
	return nil
}
