// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestScript(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	always := Fault{Status: 502}
	h.Always(OpCheck, &always)
	always.Status = 200 // must not reach the copy in the fake
	h.Script(OpCheck, Fault{Status: 500}, Fault{Status: 501})
	h.Script(OpCheck, Fault{Status: 503})
	for _, status := range []int{500, 501, 503, 502, 502} {
		h.want(h.get(token), status)
	}
	h.Always(OpCheck, nil)
	h.want(h.get(token), http.StatusOK)
	h.Script(OpOther, Fault{Status: 418})
	h.want(h.send(t.Context(), "GET", "/elsewhere", ""), 418)
}

// TestFaultedResponses covers the faults with a complete response.
func TestFaultedResponses(t *testing.T) {
	header := http.Header{"Retry-After": {"7"}, "x-request-id": {"mine"}}
	for name, test := range map[string]struct {
		fault          Fault
		status, opened int
		reason, body   string // body is a regular expression
	}{
		"status":             {Fault{Status: 503, Header: header}, 503, 0, "Service Unavailable", `^$`},
		"status and body":    {Fault{Status: 500, Body: "<html>", Header: header}, 500, 0, "Internal Server Error", `^<html>$`},
		"status, carry out":  {Fault{Status: 500, CarryOut: true, Header: header}, 500, 1, "Internal Server Error", `^$`},
		"no content":         {Fault{Status: 204, Body: "x", Header: header}, 204, 0, "No Content", `^$`},
		"body":               {Fault{Body: `{"auth_token":""}`, Header: header}, 200, 0, "OK", `^{"auth_token":""}$`},
		"body, carry out":    {Fault{Body: `{}`, CarryOut: true, Header: header}, 200, 1, "OK", `^{}$`},
		"header":             {Fault{Header: header}, 200, 1, "OK", `"auth_token"`},
		"reason":             {Fault{Reason: "Fine by me", Header: header}, 200, 1, "Fine by me", `"auth_token"`},
		"status with reason": {Fault{Status: 500, Reason: "Oh no", Header: header}, 500, 0, "Oh no", `^$`},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Config{})
			h.Script(OpOpen, test.fault)
			r := h.post()
			h.want(r, test.status)
			if r.reason != test.reason || !regexp.MustCompile(test.body).MatchString(r.body) {
				t.Errorf("%q with %s", r.reason, r.body)
			}
			if r.header.Get("Retry-After") != "7" || !slices.Equal(r.header["X-Request-Id"], []string{"mine"}) {
				t.Errorf("header %v", r.header)
			}
			h.wantSessions(test.opened, 0, test.opened)
			if seen := h.last(); !seen.Faulted || seen.Status != test.status {
				t.Errorf("journal: faulted %v, status %d", seen.Faulted, seen.Status)
			}
			h.want(h.post(), http.StatusOK)
		})
	}
}

// TestLostConnections covers the faults without a complete response, over HTTP/1
// and HTTP/2.
func TestLostConnections(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := start(t, Config{TLS: secure})
		token := h.open()

		h.Script(OpRevoke, Fault{Drop: true}, Fault{Drop: true, CarryOut: true})
		h.wantLost(h.delete(token))
		h.wantSessions(1, 0, 1)
		h.wantLost(h.delete(token))
		h.wantSessions(1, 1, 0)
		if h.last().Status != 0 {
			t.Errorf("a dropped request has status %d", h.last().Status)
		}

		h.Reset()
		h.Script(OpOpen, Fault{Cut: true}, Fault{Cut: true, CarryOut: true}, Fault{Cut: true, Status: 500, Body: "abcd"})
		r := h.post()
		h.wantLost(r)
		if r.status != 200 || !strings.HasPrefix(r.body, "{\n \"auth_token\":") || strings.HasSuffix(r.body, "}") {
			t.Errorf("cut response: %d %q", r.status, r.body)
		}
		h.wantSessions(0, 0, 0)
		h.wantLost(h.post())
		h.wantSessions(1, 0, 1)
		if r = h.post(); r.status != 500 || r.body != "ab" || r.err == nil {
			t.Errorf("cut response: %d %q %v", r.status, r.body, r.err)
		}
		if h.last().Status != 500 {
			t.Errorf("a cut request has status %d", h.last().Status)
		}
		h.Script(OpOpen, Fault{Cut: true, Status: 500}, Fault{Cut: true, Reason: "No", Body: "abcd"})
		h.wantLost(h.post())
		h.wantLost(h.post())
	}
}

var hangTests = map[string]struct {
	fault          Fault
	hung, released int // sessions opened while the request hangs, and after Release
	status         int // of the response after Release
}{
	"before":     {Fault{Hang: true}, 0, 1, 200},
	"after":      {Fault{Hang: true, CarryOut: true}, 1, 1, 200},
	"and status": {Fault{Hang: true, Status: 503}, 0, 0, 503},
}

func TestHangUntilTheClientLeaves(t *testing.T) {
	for name, test := range hangTests {
		t.Run(name, func(t *testing.T) {
			observed := make(chan Request, 1)
			h := start(t, Config{Observe: func(r Request, _ int) { observed <- r }})
			h.Always(OpOpen, &test.fault)

			ctx, leave := context.WithCancel(t.Context())
			results := make(chan result)
			go func() { results <- h.send(ctx, "POST", "/sessions", credentials, jsonBody) }()
			h.await(OpOpen, 1)
			h.wantSessions(test.hung, 0, test.hung)
			leave()
			h.wantLost(<-results)
			if r := <-observed; r.Status != 0 {
				t.Errorf("status %d for a client that has left", r.Status)
			}
			h.wantSessions(test.hung, 0, test.hung)
		})
	}
}

func TestHangUntilRelease(t *testing.T) {
	for name, test := range hangTests {
		t.Run(name, func(t *testing.T) {
			h := start(t, Config{})
			h.Script(OpOpen, test.fault)

			results := make(chan result)
			go func() { results <- h.post() }()
			h.await(OpOpen, 1)
			h.wantSessions(test.hung, 0, test.hung)
			if !h.last().Faulted || h.last().Status != 0 {
				t.Error("the journal does not show a hung request")
			}
			h.Release()
			h.want(<-results, test.status)
			h.wantSessions(test.released, 0, test.released)
			if h.last().Status != test.status {
				t.Errorf("status %d in the journal", h.last().Status)
			}
		})
	}
}

func TestEcho(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := start(t, Config{TLS: secure})
		const body = "{\"access_token\":\n\"secret\"}"
		h.Script(OpRevoke, Fault{Echo: true, Status: 302, Body: "see"}, Fault{Echo: true})
		r := h.send(t.Context(), "DELETE", "/sessions", body, auth("t"), jsonBody)
		h.want(r, http.StatusFound)
		const inline = `Token token=t {"access_token":%0A"secret"}`
		if r.body != "see\nToken token=t "+body || r.header.Get("X-Echo") != inline {
			t.Errorf("body %q, X-Echo %q", r.body, r.header.Get("X-Echo"))
		}
		if want := map[bool]string{false: inline, true: "Found"}[secure]; r.reason != want {
			t.Errorf("reason %q, want %q", r.reason, want)
		}
		location, err := url.Parse(r.header.Get("Location"))
		if err != nil || location.Query().Get("body") != body || location.Query().Get("authorization") != "Token token=t" {
			t.Errorf("Location %q", r.header.Get("Location"))
		}
		r = h.delete("t")
		h.want(r, http.StatusUnauthorized)
		if !strings.HasPrefix(r.body, `{"error":`) || !strings.HasSuffix(r.body, "}\nToken token=t") {
			t.Errorf("body %q", r.body)
		}
	}
}

func TestMembers(t *testing.T) {
	for _, version := range []int{1, 2} {
		h := start(t, Config{Version: version})
		h.Script(OpOpen, Fault{Members: "{token} and {password}"}, Fault{Members: "x", Status: 500, Body: "not JSON"})
		r := h.post()
		h.want(r, http.StatusOK)
		var session map[string]any
		if err := json.Unmarshal([]byte(r.body), &session); err != nil {
			t.Fatal(err)
		}
		token := h.last().Opened
		for _, name := range []string{"id", "email", "full_name"} {
			if session[name] != token+" and "+Password {
				t.Errorf("version %d: %s is %q", version, name, session[name])
			}
		}
		if session["auth_token"] != token {
			t.Errorf("version %d: auth_token is %q", version, session["auth_token"])
		}
		h.want(h.post(), 500)
		h.wantSessions(1, 0, 1)
		h.Script(OpRevoke, Fault{Members: "x"})
		if r := h.send(t.Context(), "DELETE", "/sessions", `{"access_token":"`+token+`"}`, auth(token), jsonBody); r.body != "{}" {
			t.Errorf("version %d: DELETE got %s", version, r.body)
		}
	}
}

// TestOpenEnd covers the responses after which the connection stays open. It reads
// them from the connection: a client would hide what follows them.
func TestOpenEnd(t *testing.T) {
	for name, test := range map[string]struct {
		fault        Fault
		want         string // regular expression
		status, live int
	}{
		"stray bytes":         {Fault{Stray: "stray"}, `^HTTP/1.1 200 OK\r\n(?s).*\r\n\r\n{.*"auth_token".*}stray$`, 200, 1},
		"body of a 204":       {Fault{Status: 204, Body: "none", Stray: "stray"}, `^HTTP/1.1 204 No Content\r\n(?s).*\r\n\r\nstray$`, 204, 0},
		"switching protocols": {Fault{Status: 101, Body: "none"}, `^HTTP/1.1 101 Switching Protocols\r\n(?s).*Connection: Upgrade\r\n.*\r\n\r\n$`, 101, 0},
	} {
		for _, leaver := range []string{"client", "server"} {
			t.Run(name+", closed by the "+leaver, func(t *testing.T) {
				h := start(t, Config{})
				h.Script(OpOpen, test.fault)
				conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(h.URL(), "http://"), "/api/v1"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, _ = fmt.Fprintf(conn, "POST /api/v1/sessions HTTP/1.1\r\nHost: fake\r\n%s\r\nContent-Length: %d\r\n\r\n%s", jsonBody, len(credentials), credentials)
				if leaver == "client" {
					_ = conn.(*net.TCPConn).CloseWrite()
				} else {
					h.await(OpOpen, 1)
					defer h.Close()
				}
				var got []byte
				for buffer := make([]byte, 4096); !regexp.MustCompile(test.want).Match(got); {
					n, err := conn.Read(buffer)
					if got = append(got, buffer[:n]...); err != nil {
						t.Fatalf("%v after %q", err, got)
					}
				}
				if leaver == "server" {
					h.Close() // returns, although the client has not left
				}
				if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
					t.Errorf("then %q, error %v", rest, err)
				}
				h.wantSessions(test.live, 0, test.live)
				if seen := h.last(); seen.Status != test.status || !seen.Faulted {
					t.Errorf("journal: faulted %v, status %d", seen.Faulted, seen.Status)
				}
			})
		}
	}
}

func TestResetCode(t *testing.T) {
	h := start(t, Config{TLS: true})
	for _, code := range []http2.ErrCode{http2.ErrCodeCancel, http2.ErrCodeEnhanceYourCalm, http2.ErrCodeStreamClosed} {
		h.Script(OpOpen, Fault{Body: strings.Repeat("x", 1<<20)}, Fault{Cut: true, ResetCode: code}, Fault{Drop: true}, Fault{Drop: true, ResetCode: code})
		h.want(h.post(), http.StatusOK) // its frames are of all sizes
		for _, want := range []http2.ErrCode{code, http2.ErrCodeInternal, code} {
			r := h.post()
			h.wantLost(r)
			if !strings.Contains(r.err.Error(), want.String()) {
				t.Errorf("error %v, want %v", r.err, want)
			}
		}
	}
	h.wantSessions(0, 0, 0)
	if h.Connections() != 1 {
		t.Errorf("%d connections: a reset must close none", h.Connections())
	}

	// After these, net/http sends a request again.
	for _, code := range []http2.ErrCode{http2.ErrCodeRefusedStream, http2.ErrCodeProtocol} {
		h.Reset()
		h.Script(OpOpen, Fault{Drop: true, ResetCode: code})
		h.open()
		if journal := h.Journal(); len(journal) != 2 || journal[0].Status != 0 || journal[0].Opened != "" {
			t.Errorf("%v: %d requests", code, len(journal))
		}
	}
}
