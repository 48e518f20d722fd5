// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Operation is a call of the API.
type Operation string

// The operations. OpOther is every other request, including a known path with
// an unexpected method.
const (
	OpOpen   Operation = "POST sessions"
	OpRevoke Operation = "DELETE sessions"
	OpCheck  Operation = "GET organizations"
	OpOther  Operation = "other"
)

// String returns the method and the path, such as "POST sessions".
func (o Operation) String() string { return string(o) }

// Request is a request in the journal, with its outcome.
type Request struct {
	Op       Operation
	Method   string
	Path     string
	RawQuery string
	Header   http.Header
	Body     []byte
	Token    string   // from the header Authorization: Token token=…; empty: none
	Opened   string   // token that this login opened or, if Shared, returned again; empty: none
	Ended    []string // tokens that this request ended, oldest first
	Status   int      // of the response; 0: none yet, dropped, or the client left first
	Conn     int      // number of the connection, from 1
	Proto    string   // such as "HTTP/1.1"
	Arrived  time.Time
	Faulted  bool // a Fault applied
}

func (r *Request) clone() Request {
	c := *r
	c.Header = r.Header.Clone()
	c.Body = bytes.Clone(r.Body)
	c.Ended = slices.Clone(r.Ended)
	return c
}

// Journal returns a copy of the requests that arrived since Start or the last
// Reset, in order of arrival. A request arrives when its body is complete.
func (s *Server) Journal() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, len(s.journal))
	for i, r := range s.journal {
		all[i] = r.clone()
	}
	return all
}

// Count returns the number of requests of op in the journal.
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

// Await waits until the journal holds n requests of op, answered or not. Live,
// Opened and Revoked then include them, except those that a Fault prevents or
// holds. Await returns an error if ctx ends or the server closes first.
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

// Reset clears the journal, the counts and the faults. Live tokens stay live,
// and hung requests keep hanging.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.journal = nil
	clear(s.scripts)
	clear(s.always)
	s.sessions.resetCounts()
}
