package flametest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Fault is something that goes wrong with one request. Unless CarryOut is set,
// a request with Status, Body, Drop or Cut is not carried out. One with only
// Header, Reason or Echo is: it gets its genuine answer, altered. Hang comes
// first and goes with any of the others.
type Fault struct {
	Status   int         // answer with this instead
	Header   http.Header // put into the answer, over what it has of the same names
	Body     string      // the answer's body instead of its own; without Status, under the genuine status
	Reason   string      // the reason phrase, verbatim; HTTP/1 only
	CarryOut bool        // do what was asked, before anything else happens
	Drop     bool        // no answer: the connection is lost (HTTP/2: the stream is reset)
	Cut      bool        // announce the whole answer, send half of its body, lose the connection
	Hang     bool        // no answer until Release; a client that leaves meanwhile gets nothing carried out without CarryOut

	// Echo repeats the request's Authorization header and body wherever an
	// answer can hold them: in the body (on a line at its end), in a header
	// X-Echo and the reason phrase (control characters percent-encoded), and,
	// where the status is 3xx, in the query of Location.
	Echo bool
}

// Script lines up faults for op. Each is used by one request, first come, first
// served.
func (s *Server) Script(op Operation, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[op] = append(s.scripts[op], faults...)
}

// Always lets f befall every request of op for which Script has nothing left;
// nil ends it.
func (s *Server) Always(op Operation, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.always, op)
	if f != nil {
		fault := *f
		s.always[op] = &fault
	}
}

// Release lets all requests that hang go on, to their genuine answer or to the
// rest of their fault.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.release)
	s.release = make(chan struct{})
}

func (s *Server) nextFaultLocked(op Operation) *Fault {
	if script := s.scripts[op]; len(script) > 0 {
		s.scripts[op] = script[1:]
		return &script[0]
	}
	return s.always[op]
}

// carriesOut says whether a request is carried out under the fault at all.
func (f *Fault) carriesOut() bool {
	return f.CarryOut || f.Status == 0 && f.Body == "" && !f.Drop && !f.Cut
}

// applyFault lets the fault of a request, if any, change its reply; false means
// that there is to be no answer.
func (s *Server) applyFault(ctx context.Context, x *exchange) bool {
	f := x.fault
	if f == nil {
		return true
	}
	if f.Hang {
		select {
		case <-x.release:
		case <-ctx.Done():
			return false
		case <-s.closed:
			return false
		}
		if !f.CarryOut {
			x.resp = s.perform(x.req, f.carriesOut())
		}
	}
	s.alter(&x.resp, x.req, f)
	return !f.Drop
}

// alter makes the answer of a fault out of the genuine one.
func (s *Server) alter(resp *response, req *Request, f *Fault) {
	if f.Status != 0 || f.Body != "" {
		resp.header, resp.body = make(http.Header), []byte(f.Body)
		if json.Valid(resp.body) {
			resp.header.Set("Content-Type", contentType)
		} else if f.Body != "" {
			resp.header.Set("Content-Type", http.DetectContentType(resp.body))
		}
	}
	if f.Status != 0 {
		resp.status = f.Status
	}
	for name, values := range f.Header {
		resp.header[http.CanonicalHeaderKey(name)] = values
	}
	resp.reason, resp.cut = f.Reason, f.Cut
	if f.Echo {
		s.echo(resp, req)
	}
}

// echo adds the request's secrets to an answer, to see whether a client repeats them.
func (s *Server) echo(resp *response, req *Request) {
	authorization := req.Header.Get("Authorization")
	secrets := strings.TrimSpace(authorization + " " + string(req.Body))
	if len(resp.body) > 0 {
		resp.body = append(resp.body, '\n')
	}
	resp.body = append(resp.body, secrets...)

	inline := encodeControls(secrets)
	resp.header.Set("X-Echo", inline)
	resp.reason = strings.TrimSpace(resp.reason + " " + inline)
	if resp.status/100 == 3 {
		target := resp.header.Get("Location")
		if target == "" {
			target = s.url + "/elsewhere"
		}
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		query := url.Values{"authorization": {authorization}, "body": {string(req.Body)}}
		resp.header.Set("Location", target+separator+query.Encode())
	}
}

// encodeControls percent-encodes what a header cannot hold, and nothing else:
// secrets stay as they are wherever they can.
func encodeControls(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
