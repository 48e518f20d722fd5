// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http2"
)

// Fault changes the outcome of a request. The package documentation has the
// rules.
type Fault struct {
	Status   int         // replaces the status; the body is then Body, or empty. 101 needs HTTP/1, and leaves the connection open
	Header   http.Header // added to the response; replaces headers of the same name
	Body     string      // replaces the body; without Status, the genuine status remains
	Reason   string      // replaces the reason phrase; HTTP/1 only, and closes the connection
	CarryOut bool        // carry the request out on arrival, whatever the response
	Stray    string      // follows the whole response, even that of a 204; HTTP/1 only, and leaves the connection open
	Drop     bool        // close the connection without a response; HTTP/2: reset the stream
	Cut      bool        // announce the full length, send half of the body, close the connection
	Hang     bool        // hold the request until Release; abandoned if the client leaves first

	// ResetCode is the code with which Drop and Cut reset a stream over HTTP/2; default
	// INTERNAL_ERROR. Streams of one connection must not be reset at the same time with
	// different codes.
	ResetCode http2.ErrCode

	// Members replaces id, email and full_name in the response to a login. In it,
	// {token} and {password} stand for the token and the password of the login.
	Members string

	// Echo repeats the request's Authorization header and body in every part of
	// the response: in its body, a header X-Echo, the reason phrase and, if the
	// status is 3xx, the query of Location. X-Echo and the reason phrase have
	// control characters percent-encoded.
	Echo bool
}

// Script queues faults for requests of op. Each applies to one request, in
// order of arrival.
func (s *Server) Script(op Operation, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripts[op] = append(s.scripts[op], faults...)
}

// Always applies a copy of f to every request of op that has no scripted fault.
// A nil f stops it.
func (s *Server) Always(op Operation, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.always, op)
	if f != nil {
		fault := *f
		s.always[op] = &fault
	}
}

// Release resumes all hung requests. Each gets the rest of its fault or, without
// any, its genuine response.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.release)
	s.release = make(chan struct{})
}

// nextFaultLocked returns the next scripted fault, else that of Always, else nil.
func (s *Server) nextFaultLocked(op Operation) *Fault {
	if script := s.scripts[op]; len(script) > 0 {
		s.scripts[op] = script[1:]
		return &script[0]
	}
	return s.always[op]
}

// carriesOut reports whether a request with this fault is carried out.
func (f *Fault) carriesOut() bool {
	return f.CarryOut || f.Status == 0 && f.Body == "" && !f.Drop && !f.Cut
}

// applyFault alters the response as the fault demands. It reports false if there
// must be no response.
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
			s.mu.Lock()
			x.resp = s.handle(x.req, f.carriesOut())
			s.mu.Unlock()
		}
	}
	s.alter(&x.resp, x.req, f)
	return !f.Drop
}

// alter turns the genuine response into the faulty one.
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
	resp.reason, resp.stray, resp.cut, resp.resetCode = f.Reason, f.Stray, f.Cut, f.ResetCode
	if f.Members != "" && req.Op == OpOpen {
		fillMembers(resp, req, f.Members)
	}
	if f.Echo {
		s.echo(resp, req)
	}
}

// fillMembers puts a text with the secrets of a login into the members of its
// response.
func fillMembers(resp *response, req *Request, text string) {
	var login struct{ Password string }
	var session map[string]any
	if json.Unmarshal(req.Body, &login) != nil || json.Unmarshal(resp.body, &session) != nil {
		return
	}
	token, _ := session["auth_token"].(string)
	text = strings.NewReplacer("{token}", token, "{password}", login.Password).Replace(text)
	session["id"], session["email"], session["full_name"] = text, text, text
	resp.body, _ = json.Marshal(session) // it was JSON before
}

// echo adds the request's secrets to the response, for tests that the client
// repeats none.
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

// encodeControls percent-encodes control characters, which a header cannot hold.
// The rest stays verbatim, so that a leak test finds the secrets.
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
