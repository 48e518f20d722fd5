package flametest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Operation is one of the calls that the API knows.
type Operation string

// The operations. A known path with another method is OpOther too.
const (
	OpOpen   Operation = "POST sessions"
	OpRevoke Operation = "DELETE sessions"
	OpCheck  Operation = "GET organizations"
	OpOther  Operation = "other"
)

// String gives the method and the path, such as "POST sessions".
func (o Operation) String() string { return string(o) }

// Request is one request in the journal: what came, and what became of it.
type Request struct {
	Op       Operation
	Method   string
	Path     string
	RawQuery string
	Header   http.Header
	Body     []byte
	Token    string // from the header Authorization: Token token=…; empty where there is none
	Status   int    // as answered; 0 as long as there is no answer, and for good where the request was dropped or the client left
	Conn     int    // which connection it came on, counted from 1
	Proto    string // such as "HTTP/1.1"
	Arrived  time.Time
	Faulted  bool // a Fault was used on it
}

// Journal gives a copy of the requests that have arrived since the start or the
// last Reset, in order of arrival. A request arrives when its body is there.
func (s *Server) Journal() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.journal))
	for i, r := range s.journal {
		all[i] = r.clone()
	}
	return all
}

// Count says how many requests of op have arrived since the start or the last Reset.
func (s *Server) Count(op Operation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countLocked(op)
}

func (s *Server) countLocked(op Operation) int {
	n := 0
	for _, r := range s.journal {
		if r.Op == op {
			n++
		}
	}
	return n
}

// Await returns when n requests of op have arrived since the start or the last
// Reset, answered or not. What arrives is carried out at once, unless a Fault
// says otherwise: Live, Opened and Revoked know of it. Await fails where ctx ends or the server closes first.
func (s *Server) Await(ctx context.Context, op Operation, n int) error {
	for {
		s.mu.Lock()
		count, arrived := s.countLocked(op), s.arrived
		s.mu.Unlock()
		if count >= n {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return fmt.Errorf("flametest: %d of %d requests %q have arrived: %w", count, n, op, ctx.Err())
		case <-s.closed:
			return fmt.Errorf("flametest: %d of %d requests %q had arrived when the server closed", count, n, op)
		}
	}
}

// Reset forgets the journal, the counts, the scripts and the standing faults.
// Tokens stay alive, hung requests stay hung.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = nil
	clear(s.scripts)
	clear(s.always)
	s.sessions.resetCounts()
}

// exchange is a request on its way to its answer.
type exchange struct {
	req     *Request // as in the journal; Status is guarded by Server.mu
	fault   *Fault   // what is to befall it; nil: nothing
	release <-chan struct{}
	resp    response // not yet there where the request hangs before it is carried out
}

// receive records a request, finds its fault and carries it out, unless it is to
// hang first. All in one step: whoever has awaited a request finds it carried
// out, and can release it.
func (s *Server) receive(r *http.Request, body []byte) *exchange {
	connection, _ := r.Context().Value(connectionKey{}).(int)
	req := &Request{
		Op:       s.operation(r.Method, r.URL.Path),
		Method:   r.Method,
		Path:     r.URL.Path,
		RawQuery: r.URL.RawQuery,
		Header:   r.Header.Clone(),
		Body:     body,
		Conn:     connection,
		Proto:    r.Proto,
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token token="); ok {
		req.Token = token
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &exchange{req: req, fault: s.nextFaultLocked(req.Op), release: s.release}
	req.Arrived, req.Faulted = time.Now(), x.fault != nil
	switch {
	case x.fault == nil:
		x.resp = s.performLimited(req)
	case x.fault.CarryOut || !x.fault.Hang:
		x.resp = s.perform(req, x.fault.carriesOut())
	}
	s.journal = append(s.journal, req)
	close(s.arrived)
	s.arrived = make(chan struct{})
	return x
}

// recordStatus records what becomes of a request and tells the observer.
func (s *Server) recordStatus(req *Request, status int) {
	s.mu.Lock()
	req.Status = status
	s.mu.Unlock()
	if s.cfg.Observe != nil {
		s.observeMu.Lock()
		defer s.observeMu.Unlock()
		s.cfg.Observe(req.clone(), s.sessions.size())
	}
}

func (r *Request) clone() Request {
	c := *r
	c.Header = r.Header.Clone()
	c.Body = bytes.Clone(r.Body)
	return c
}
