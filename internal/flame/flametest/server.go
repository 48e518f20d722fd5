// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a running fake. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	basePath string
	url      string
	caPEM    string

	sessions *sessions
	limiter  *limiter // nil: no limit

	tls       *tls.Config // nil: plain HTTP
	http      *http.Server
	served    chan struct{}  // closed when the accept loop has ended
	openConns sync.WaitGroup // the connections in conns
	handlers  sync.WaitGroup // in-flight requests
	closed    chan struct{}  // closed by Close

	observeMu sync.Mutex // serializes calls of Config.Observe

	// mu guards the fields below. It is held while a request is recorded,
	// matched with its fault and carried out, so that tests see one step.
	mu       sync.Mutex
	closing  bool
	accepted int                   // connections so far
	conns    map[net.Conn]struct{} // open connections, not those that a handler has taken over
	journal  []*Request
	arrived  chan struct{} // closed and replaced at each arrival
	scripts  map[Operation][]Fault
	always   map[Operation]*Fault
	release  chan struct{} // closed and replaced by Release
}

// Start starts a fake. The caller must call Close when finished. Start returns
// an error if cfg is invalid or its address is unavailable.
func Start(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := newServer(cfg)
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
		if err := s.configureTLS(); err != nil {
			return nil, fmt.Errorf("flametest: %w", err)
		}
	}
	listener := cfg.Listener
	if listener == nil {
		if listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("flametest: %w", err)
		}
	}
	s.url = scheme + "://" + listener.Addr().String() + s.basePath
	go s.acceptLoop(listener)
	return s, nil
}

func newServer(cfg Config) *Server {
	s := &Server{
		cfg:      cfg,
		basePath: "/api/v1",
		sessions: newSessions(cfg.Kind, cfg.MaxTokens),
		limiter:  newLimiter(cfg.RateLimit, time.Now()),
		served:   make(chan struct{}),
		closed:   make(chan struct{}),
		conns:    make(map[net.Conn]struct{}),
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
		ErrorLog:          log.New(io.Discard, "", 0), // tests provoke failed handshakes
		ReadHeaderTimeout: time.Minute,
		ConnContext:       s.numberConnection,
		ConnState:         s.trackConnection,
	}
	return s
}

func (s *Server) acceptLoop(listener net.Listener) {
	defer close(s.served)
	if s.tls != nil {
		listener = resetListener{tls.NewListener(listener, s.tls)}
	}
	_ = s.http.Serve(listener) // always returns an error; after Close nobody needs it
}

// Close aborts hung requests, closes all connections and waits for the request
// handlers to return. It is safe to call Close more than once.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.closed)
	}
	for conn := range s.conns {
		resetOnClose(conn)
	}
	s.mu.Unlock()
	_ = s.http.Close()
	<-s.served
	_ = s.http.Close() // again, for a connection accepted during the first call
	s.openConns.Wait()
	s.handlers.Wait()
}

// URL returns the base URL, including the base path, without a trailing slash.
func (s *Server) URL() string { return s.url }

// CACertificate returns the CA certificate that clients must trust, as PEM. It
// is empty without TLS.
func (s *Server) CACertificate() string { return s.caPEM }

// Connections returns the number of connections accepted since Start, including
// those whose TLS handshake failed.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Live returns the live tokens, sorted.
func (s *Server) Live() []string { return s.sessions.list() }

// Opened returns the number of logins carried out since Start or the last Reset,
// including those whose response was lost, and those of Open.
func (s *Server) Opened() int {
	opened, _ := s.sessions.counts()
	return opened
}

// Revoked returns the number of tokens that ended since Start or the last Reset:
// by DELETE, by Revoke or RevokeAll, or by a login that ended an earlier token.
func (s *Server) Revoked() int {
	_, revoked := s.sessions.counts()
	return revoked
}

// Open opens a session of a user without the client's knowledge, as a login
// elsewhere does: it may end other tokens of the user. It returns the token.
func (s *Server) Open(user string) (token string) {
	token, _ = s.sessions.open(user, true)
	return token
}

// Revoke revokes one token without the client's knowledge, whatever the kind of
// account. It reports whether the token was live.
func (s *Server) Revoke(token string) bool { return s.sessions.end(token) }

// RevokeAll revokes every live token without the client's knowledge.
func (s *Server) RevokeAll() { s.sessions.endAll() }

// connection is what a request knows of its connection.
type connection struct {
	number int
	reset  *resetConn // nil: plain HTTP
}

// connectionKey is the context key of a connection.
type connectionKey struct{}

func (s *Server) numberConnection(ctx context.Context, conn net.Conn) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted++
	reset, _ := conn.(*resetConn)
	return context.WithValue(ctx, connectionKey{}, connection{s.accepted, reset})
}

func (s *Server) trackConnection(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.openConns.Add(1)
		s.conns[conn] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, conn)
		s.openConns.Done()
	}
}

// resetOnClose has a connection close without waiting for stray packets. Otherwise
// its port stays in use for a minute, and after thousands of fakes the system looks
// for a free one longer than everything else takes.
func resetOnClose(conn net.Conn) {
	if encrypted, ok := conn.(*resetConn); ok {
		conn = encrypted.Conn.(*tls.Conn).NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok { // and not in memory
		_ = tcp.SetLinger(0)
	}
}
