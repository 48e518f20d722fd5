// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// exchange is a request and its pending response.
type exchange struct {
	req     *Request // also in the journal; Server.mu guards its Status
	fault   *Fault   // nil: none
	release <-chan struct{}
	resp    response // set by applyFault if the request hangs before it is carried out
}

// serve handles one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.handlers.Done()

	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client left before it sent the whole body
	}
	req := s.newRequest(r, body)
	if s.cfg.Admit != nil {
		s.cfg.Admit(req.clone())
	}
	x := s.receive(req)
	if !s.applyFault(r.Context(), x) || !s.pause(r.Context()) {
		s.recordStatus(x.req, 0)
		abort(r, x.resp.resetCode)
	}
	s.recordStatus(x.req, x.resp.status)
	x.resp.send(w, r, s.closed)
}

// begin adds an in-flight request. It reports false if the server is closing.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.handlers.Add(1)
	}
	return !s.closing
}

// receive records a request, takes its fault and carries the request out,
// unless the fault holds it. It holds mu throughout: a caller of Await that
// sees the request also sees its effect and can release it.
func (s *Server) receive(req *Request) *exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &exchange{req: req, fault: s.nextFaultLocked(req.Op), release: s.release}
	req.Arrived, req.Faulted = time.Now(), x.fault != nil
	switch {
	case x.fault == nil:
		x.resp = s.handleLimited(req)
	case x.fault.CarryOut || !x.fault.Hang:
		x.resp = s.handle(req, x.fault.carriesOut())
	}
	s.journal = append(s.journal, req)
	close(s.arrived)
	s.arrived = make(chan struct{})
	return x
}

func (s *Server) newRequest(r *http.Request, body []byte) *Request {
	conn, _ := r.Context().Value(connectionKey{}).(connection)
	req := &Request{
		Op:       s.operation(r.Method, r.URL.Path),
		Method:   r.Method,
		Path:     r.URL.Path,
		RawQuery: r.URL.RawQuery,
		Header:   r.Header.Clone(),
		Body:     body,
		Conn:     conn.number,
		Proto:    r.Proto,
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token token="); ok {
		req.Token = token
	}
	return req
}

// pause waits for Config.Latency. It reports false if the client leaves or the
// server closes first.
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

// recordStatus records the outcome of a request, before its response is sent:
// a client that has the response finds the status in the journal.
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
