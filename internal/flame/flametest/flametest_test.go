package flametest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// harness is a fake and a plain client that follows no redirects.
type harness struct {
	*testing.T
	*Server
	client *http.Client
}

func start(t *testing.T, cfg Config) *harness {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}
	if cfg.TLS && !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(s.CACertificate())) {
		t.Fatal("no CA certificate")
	}
	t.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
	})
	return &harness{T: t, Server: s, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is an answer as the client saw it; err may come with what was read.
type reply struct {
	status int
	reason string
	header http.Header
	body   string
	err    error
}

// send sends a request; headers come as "Name: value".
func (h *harness) send(ctx context.Context, method, path, body string, headers ...string) reply {
	req, err := http.NewRequestWithContext(ctx, method, h.URL()+path, strings.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	_, reason, _ := strings.Cut(resp.Status, " ")
	return reply{resp.StatusCode, reason, resp.Header, string(read), err}
}

const (
	jsonBody    = "Content-Type: application/json"
	credentials = `{"user": "` + User + `", "password": "` + Password + `"}`
)

func (h *harness) post() reply {
	return h.send(h.Context(), "POST", "/sessions", credentials, jsonBody, "Accept: application/json")
}

func (h *harness) delete(token string) reply {
	return h.send(h.Context(), "DELETE", "/sessions", "", auth(token))
}

func (h *harness) get(token string) reply {
	return h.send(h.Context(), "GET", "/organizations?page=1&per_page=1", "", auth(token))
}

func auth(token string) string { return "Authorization: Token token=" + token }

func (h *harness) open() (token string) {
	h.Helper()
	r := h.post()
	h.want(r, http.StatusOK)
	var session struct {
		AuthToken string `json:"auth_token"`
	}
	if err := json.Unmarshal([]byte(r.body), &session); err != nil {
		h.Fatalf("%v in %s", err, r.body)
	}
	return session.AuthToken
}

func (h *harness) want(r reply, status int) {
	h.Helper()
	if r.err != nil {
		h.Fatal(r.err)
	}
	if r.status != status {
		h.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	if r.header.Get("X-Request-Id") == "" {
		h.Error("no X-Request-Id")
	}
}

func (h *harness) wantLost(r reply) {
	h.Helper()
	if r.err == nil {
		h.Fatalf("got an answer, %d", r.status)
	}
}

func (h *harness) wantSessions(opened, revoked, live int) {
	h.Helper()
	if o, r, l := h.Opened(), h.Revoked(), len(h.Live()); o != opened || r != revoked || l != live {
		h.Fatalf("%d opened, %d revoked, %d live; want %d, %d, %d", o, r, l, opened, revoked, live)
	}
}

func (h *harness) await(op Operation, n int) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 10*time.Second)
	defer cancel()
	if err := h.Await(ctx, op, n); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) last() Request {
	journal := h.Journal()
	return journal[len(journal)-1]
}

func TestLifecycle(t *testing.T) {
	h := start(t, Config{})
	first, second := h.open(), h.open()
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{20}$`).MatchString(first) || first == second {
		t.Errorf("tokens %q and %q", first, second)
	}
	if live := h.Live(); !slices.IsSorted(live) || !slices.Contains(live, first) || !slices.Contains(live, second) {
		t.Errorf("live %q", live)
	}
	h.want(h.get(first), http.StatusOK)
	h.want(h.delete(first), http.StatusOK)
	h.want(h.delete(first), http.StatusUnauthorized)
	h.want(h.get(first), http.StatusUnauthorized)
	h.want(h.get(second), http.StatusOK)
	h.wantSessions(2, 1, 1)

	if h.Revoke(first) || !h.Revoke(second) {
		t.Error("Revoke must say whether the token was alive")
	}
	h.want(h.get(second), http.StatusUnauthorized)
	h.open()
	h.RevokeAll()
	h.wantSessions(3, 3, 0)
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		path string
		body string // pattern
	}{
		"version 1": {
			Config{},
			"/api/v1",
			`^{\n "auth_token": "[\w-]{20}",\n "id": [1-9]\d*,\n "email": "ada@example.com"\n}$`,
		},
		"version 2": {
			Config{Version: 2},
			"/v2",
			`"id": "[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",\n "email": "ada@example.com",\n "full_name": "Ada",\n "photo_url": "https:`,
		},
		"sample id": {
			Config{SampleID: true},
			"/api/v1",
			`^{\n "auth_token": "[\w-]{20}",\n "id": ,\n "email": "ada@example.com"\n}$`,
		},
		"sample id, version 2": {Config{SampleID: true, Version: 2}, "/v2", `\n "id": ,\n`},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, test.cfg)
			if !strings.HasPrefix(h.URL(), "http://127.0.0.1:") || !strings.HasSuffix(h.URL(), test.path) {
				t.Errorf("URL %s", h.URL())
			}
			r := h.post()
			h.want(r, http.StatusOK)
			if !regexp.MustCompile(test.body).MatchString(r.body) {
				t.Errorf("answer %s", r.body)
			}
			again := h.post()
			token := regexp.MustCompile(`"auth_token": "[^"]+"`)
			if token.ReplaceAllString(again.body, "") != token.ReplaceAllString(r.body, "") {
				t.Errorf("the same user got %s", again.body)
			}
		})
	}
	if name := fullName("grace.hopper_2@example.com"); name != "Grace Hopper 2" {
		t.Errorf("full name %q", name)
	}
}

func TestUsers(t *testing.T) {
	h := start(t, Config{Users: map[string]string{"grace": "cobol"}})
	r := h.send(t.Context(), "POST", "/sessions", `{"user":"grace","password":"cobol"}`, jsonBody)
	h.want(r, http.StatusOK)
	if !strings.Contains(r.body, `"email": null`) {
		t.Errorf("a login that is no address got %s", r.body)
	}
	h.want(h.post(), http.StatusUnauthorized)
}

func TestSharedTokens(t *testing.T) {
	h := start(t, Config{SharedTokens: true})
	token := h.open()
	if h.open() != token {
		t.Fatal("a second token for the same user")
	}
	other := h.send(t.Context(), "POST", "/sessions", `{"user":"grace","password":"`+Password+`"}`, jsonBody)
	if strings.Contains(other.body, token) {
		t.Fatal("the same token for another user")
	}
	h.wantSessions(3, 0, 2)
	h.want(h.delete(token), http.StatusOK)
	h.want(h.get(token), http.StatusUnauthorized)
	h.wantSessions(3, 1, 1)
	if h.open() == token {
		t.Error("a dead token was given again")
	}
}

func TestSuccessStatuses(t *testing.T) {
	h := start(t, Config{OpenStatus: http.StatusCreated, CloseStatus: http.StatusNoContent})
	h.want(h.post(), http.StatusCreated)
	r := h.delete(h.Live()[0])
	h.want(r, http.StatusNoContent)
	if r.body != "" {
		t.Errorf("204 with a body, %q", r.body)
	}
}

func TestAccessToken(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnprocessableEntity} {
		h := start(t, Config{RequireAccessToken: true, AccessTokenStatus: status})
		token := h.open()
		body := `{"access_token":"` + token + `"}`
		h.want(h.delete(token), status)
		h.want(h.send(t.Context(), "DELETE", "/sessions", `{"access_token":"x"}`, auth(token), jsonBody), status)
		h.want(h.send(t.Context(), "DELETE", "/sessions", body, jsonBody), http.StatusUnauthorized)
		h.want(h.send(t.Context(), "DELETE", "/sessions", body, auth(token)), http.StatusBadRequest)
		h.wantSessions(1, 0, 1)
		h.want(h.send(t.Context(), "DELETE", "/sessions", body, auth(token), jsonBody), http.StatusOK)
		h.wantSessions(1, 1, 0)
	}
}

func TestStrictness(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	const accept = "Accept: "
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
	}{
		{"no content type", "POST", "/sessions", credentials, nil, 400},
		{"form", "POST", "/sessions", "user=a&password=b", []string{"Content-Type: application/x-www-form-urlencoded"}, 400},
		{"latin 1", "POST", "/sessions", credentials, []string{jsonBody + "; charset=iso-8859-1"}, 400},
		{"not JSON", "POST", "/sessions", "{", []string{jsonBody}, 400},
		{"two documents", "POST", "/sessions", credentials + credentials, []string{jsonBody}, 400},
		{"not UTF-8", "POST", "/sessions", "{\"user\":\"\xff\",\"password\":\"x\"}", []string{jsonBody}, 400},
		{"null", "POST", "/sessions", "null", []string{jsonBody}, 400},
		{"null password", "POST", "/sessions", `{"user":"a","password":null}`, []string{jsonBody}, 400},
		{"no password", "POST", "/sessions", `{"user":"a"}`, []string{jsonBody}, 400},
		{"empty user", "POST", "/sessions", `{"user":"","password":"` + Password + `"}`, []string{jsonBody}, 400},
		{"other case", "POST", "/sessions", `{"User":"a","password":"b"}`, []string{jsonBody}, 400},
		{"one too many", "POST", "/sessions", `{"user":"a","password":"b","c":"d"}`, []string{jsonBody}, 400},
		{"wrong password", "POST", "/sessions", `{"user":"a","password":"b"}`, []string{jsonBody}, 401},
		{"query", "POST", "/sessions?a=b", credentials, []string{jsonBody}, 400},
		{"token on POST", "POST", "/sessions", credentials, []string{jsonBody, auth(token)}, 400},
		{"HTML wanted", "POST", "/sessions", credentials, []string{jsonBody, accept + "text/html"}, 406},
		{"JSON unwanted", "POST", "/sessions", credentials, []string{jsonBody, accept + "application/json;q=0, */*"}, 406},
		{"anything wanted", "POST", "/sessions", credentials, []string{jsonBody, accept + "text/html, */*;q=0.1"}, 200},
		{"the vendor's sample", "POST", "/sessions", credentials, []string{jsonBody, "Accept-Encoding: application/json"}, 200},
		{"body on GET", "GET", "/organizations", "{}", []string{auth(token), jsonBody}, 400},
		{"page 0", "GET", "/organizations?page=0", "", []string{auth(token)}, 400},
		{"no page", "GET", "/organizations", "", []string{auth(token)}, 200},
		{"unknown parameter", "GET", "/organizations?q=1", "", []string{auth(token)}, 400},
		{"token in query", "GET", "/organizations?access_token=" + token, "", nil, 400},
		{"token as page", "GET", "/organizations?page=" + token, "", []string{auth(token)}, 400},
		{"token in query of DELETE", "DELETE", "/sessions?access_token=" + token, "", []string{auth(token)}, 400},
		{"token in path", "DELETE", "/sessions/" + token, "", []string{auth(token)}, 400},
		{"no token", "GET", "/organizations", "", nil, 401},
		{"no token on DELETE", "DELETE", "/sessions", "", nil, 401},
		{"two tokens", "DELETE", "/sessions", "", []string{auth(token), auth(token)}, 400},
		{"bearer", "GET", "/organizations", "", []string{"Authorization: Bearer " + token}, 401},
		{"quoted token", "GET", "/organizations", "", []string{auth(`"` + token + `"`)}, 401},
		{"unknown path", "GET", "/elsewhere", "", []string{auth(token)}, 404},
		{"slash at the end", "POST", "/sessions/", credentials, []string{jsonBody}, 404},
		{"wrong method", "PUT", "/sessions", credentials, []string{jsonBody}, 405},
		{"wrong method for the list", "POST", "/organizations", "", nil, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &harness{T: t, Server: h.Server, client: h.client}
			r := h.send(t.Context(), test.method, test.path, test.body, test.headers...)
			h.want(r, test.status)
			if !json.Valid([]byte(r.body)) || strings.Contains(r.body, Password) {
				t.Errorf("answer %s", r.body)
			}
			path, query, _ := strings.Cut(test.path, "?")
			seen := h.last()
			if seen.Method != test.method || seen.Path != "/api/v1"+path || seen.RawQuery != query ||
				string(seen.Body) != test.body || seen.Status != test.status {
				t.Errorf("journal has %s %s?%s, %d", seen.Method, seen.Path, seen.RawQuery, seen.Status)
			}
		})
	}
	h.wantSessions(3, 0, 3) // the first, and the two that were in order
}

func TestJournal(t *testing.T) {
	var observed []Request
	var live []int
	h := start(t, Config{Observe: func(r Request, n int) {
		observed, live = append(observed, r), append(live, n) // no lock: calls do not overlap
	}})
	token := h.open()
	h.get(token)
	h.Script(OpRevoke, Fault{Drop: true})
	h.delete(token)
	h.send(t.Context(), "PUT", "/sessions", "")

	var got []string
	journal := h.Journal()
	for _, r := range journal {
		got = append(got, r.Op.String())
	}
	if want := []string{"POST sessions", "GET organizations", "DELETE sessions", "other"}; !slices.Equal(got, want) {
		t.Fatalf("journal %q", got)
	}
	if first := journal[0]; string(first.Body) != credentials || first.Header.Get("Content-Type") != "application/json" ||
		first.Status != 200 || first.Conn != 1 || first.Proto != "HTTP/1.1" || first.Arrived.IsZero() || first.Faulted || first.Token != "" {
		t.Errorf("first request: %+v", first)
	}
	if third := journal[2]; third.Token != token || third.Status != 0 || !third.Faulted || third.Arrived.Before(journal[1].Arrived) {
		t.Errorf("third request: %+v", third)
	}
	if journal[3].Conn != 2 || h.Connections() != 2 {
		t.Errorf("connection %d of %d, want 2 of 2", journal[3].Conn, h.Connections())
	}
	if len(observed) != 4 || observed[0].Status != 200 || !slices.Equal(live, []int{1, 1, 1, 1}) {
		t.Errorf("observed %d requests, live %d", len(observed), live)
	}

	journal[0].Header.Set("Content-Type", "changed")
	journal[0].Body[0] = 'x'
	if again := h.Journal()[0]; again.Header.Get("Content-Type") == "changed" || again.Body[0] == 'x' {
		t.Error("the journal is no copy")
	}

	h.Script(OpCheck, Fault{Status: 500})
	h.Always(OpCheck, &Fault{Status: 500})
	h.Reset()
	if len(h.Journal()) != 0 || h.Count(OpOpen) != 0 {
		t.Error("Reset left something in the journal")
	}
	h.wantSessions(0, 0, 1)
	h.want(h.get(token), http.StatusOK)
	if h.Count(OpCheck) != 1 {
		t.Errorf("count %d, want 1", h.Count(OpCheck))
	}
}

func TestScript(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	always := Fault{Status: 502}
	h.Always(OpCheck, &always)
	always.Status = 200 // the fake has its own copy
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

// TestFaultedAnswers has the faults that still give an answer.
func TestFaultedAnswers(t *testing.T) {
	header := http.Header{"Retry-After": {"7"}, "x-request-id": {"mine"}}
	for name, test := range map[string]struct {
		fault          Fault
		status, opened int
		reason, body   string // body is a pattern
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

// TestLostConnections has the faults that give no answer, or half of one, over
// both versions of HTTP.
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
			t.Errorf("cut answer: %d %q", r.status, r.body)
		}
		h.wantSessions(0, 0, 0)
		h.wantLost(h.post())
		h.wantSessions(1, 0, 1)
		if r = h.post(); r.status != 500 || r.body != "ab" || r.err == nil {
			t.Errorf("cut answer: %d %q %v", r.status, r.body, r.err)
		}
		if h.last().Status != 500 {
			t.Errorf("a cut request has status %d", h.last().Status)
		}
		h.Script(OpOpen, Fault{Cut: true, Status: 500}, Fault{Cut: true, Reason: "No", Body: "abcd"})
		h.wantLost(h.post())
		h.wantLost(h.post())
	}
}

func TestHang(t *testing.T) {
	for name, test := range map[string]struct {
		fault          Fault
		hung, released int // sessions opened while it hangs, and in the end
		status         int // of the answer, when released
	}{
		"before":     {Fault{Hang: true}, 0, 1, 200},
		"after":      {Fault{Hang: true, CarryOut: true}, 1, 1, 200},
		"and status": {Fault{Hang: true, Status: 503}, 0, 0, 503},
	} {
		t.Run(name, func(t *testing.T) {
			observed := make(chan Request, 2)
			h := start(t, Config{Observe: func(r Request, _ int) { observed <- r }})
			h.Always(OpOpen, &test.fault)

			ctx, leave := context.WithCancel(t.Context())
			replies := make(chan reply)
			go func() { replies <- h.send(ctx, "POST", "/sessions", credentials, jsonBody) }()
			h.await(OpOpen, 1)
			h.wantSessions(test.hung, 0, test.hung)
			leave()
			h.wantLost(<-replies)
			if r := <-observed; r.Status != 0 {
				t.Errorf("the client has left, status %d", r.Status)
			}
			h.wantSessions(test.hung, 0, test.hung)

			h.RevokeAll()
			h.Reset()
			h.Script(OpOpen, test.fault)
			go func() { replies <- h.post() }()
			h.await(OpOpen, 1)
			if !h.last().Faulted || h.last().Status != 0 {
				t.Error("the journal does not show a hung request")
			}
			h.Release()
			r := <-replies
			h.want(r, test.status)
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

func TestLatency(t *testing.T) {
	h := start(t, Config{Latency: 20 * time.Millisecond})
	begin := time.Now()
	token := h.open()
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	h.want(h.delete(token), http.StatusOK)

	observed := make(chan Request, 1)
	slow := start(t, Config{Latency: time.Hour, Observe: func(r Request, _ int) { observed <- r }})
	ctx, leave := context.WithCancel(t.Context())
	lost := make(chan reply)
	go func() { lost <- slow.send(ctx, "POST", "/sessions", credentials, jsonBody) }()
	slow.await(OpOpen, 1)
	slow.wantSessions(1, 0, 1) // the work comes first
	leave()
	slow.wantLost(<-lost)
	if r := <-observed; r.Status != 0 { // would take an hour
		t.Errorf("the client has left, status %d", r.Status)
	}

	go func() { lost <- slow.post() }()
	slow.await(OpOpen, 2)
	slow.Close() // so would this
	slow.wantLost(<-lost)
}

func TestRateLimit(t *testing.T) {
	for name, test := range map[string]struct {
		limit   RateLimit
		through int
	}{
		"bucket": {RateLimit{PerSecond: 1, Burst: 3, RetryAfter: RetryAfterSeconds}, 3},
		"window": {RateLimit{PerSecond: 2, Window: true, RetryAfter: RetryAfterDate}, 2},
		"silent": {RateLimit{PerSecond: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Config{RateLimit: test.limit})
			r := h.post()
			for ; r.status == http.StatusOK; r = h.post() {
			}
			h.want(r, http.StatusTooManyRequests)
			if h.Opened() < test.through || h.Opened() != h.Count(OpOpen)-1 {
				t.Errorf("%d of %d let through, want %d", h.Opened(), h.Count(OpOpen), test.through)
			}
			value := r.header.Get("Retry-After")
			switch at, err := http.ParseTime(value); {
			case test.limit.RetryAfter == RetryAfterSeconds && value != "1",
				test.limit.RetryAfter == RetryAfterDate && (err != nil || at.Before(h.last().Arrived)),
				test.limit.RetryAfter == NoRetryAfter && value != "":
				t.Errorf("Retry-After %q", value)
			}
			h.Script(OpOpen, Fault{Header: http.Header{"X": {"y"}}})
			h.want(h.post(), http.StatusOK) // faults pass by the limit
		})
	}
}

func TestLimiter(t *testing.T) {
	begin := time.Now()
	bucket := newLimiter(RateLimit{PerSecond: 20}, begin)
	window := newLimiter(RateLimit{PerSecond: 2, Window: true}, begin)
	for _, test := range []struct {
		l         *limiter
		at, wants time.Duration
	}{
		{bucket, 0, 0},
		{bucket, 0, 0}, // burst 2
		{bucket, 0, 50 * time.Millisecond},
		{bucket, 20 * time.Millisecond, 30 * time.Millisecond}, // the refused one took nothing
		{bucket, 50 * time.Millisecond, 0},
		{window, 300 * time.Millisecond, 0},
		{window, 400 * time.Millisecond, 0},
		{window, 900 * time.Millisecond, 100 * time.Millisecond},
		{window, time.Second, 0},
		{window, time.Second, 0},
		{window, time.Second, time.Second},
		{window, 5 * time.Second, 0},
	} {
		if got := test.l.reserve(begin.Add(test.at)); (got - test.wants).Abs() > time.Microsecond {
			t.Errorf("at %v: wait %v, want %v", test.at, got, test.wants)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 1, time.UTC)
	if v := RetryAfterSeconds.format(at, 1001*time.Millisecond); v != "2" {
		t.Errorf("Retry-After %q", v)
	}
	if v := RetryAfterDate.format(at, time.Second); v != "Fri, 02 Jan 2026 03:04:07 GMT" {
		t.Errorf("Retry-After %q", v)
	}
}

func TestTLS(t *testing.T) {
	h := start(t, Config{TLS: true})
	h.open()
	if !strings.HasPrefix(h.URL(), "https://") || h.last().Proto != "HTTP/2.0" || h.Connections() != 1 {
		t.Errorf("%s, %s", h.URL(), h.last().Proto)
	}
	if start(t, Config{}).CACertificate() != "" {
		t.Error("a CA without TLS")
	}

	old := start(t, Config{TLS: true, TLSMaxVersion: tls.VersionTLS11})
	if r := old.post(); r.err == nil || old.Count(OpOpen) != 0 || old.Connections() != 1 {
		t.Errorf("TLS 1.2 and above: error %v, %d connections", r.err, old.Connections())
	}
	old.client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.want(old.post(), http.StatusOK)
}

func TestConcurrency(t *testing.T) {
	const n = 200
	observed := 0
	h := start(t, Config{Observe: func(Request, int) { observed++ }}) // no lock: calls do not overlap
	transport := h.client.Transport.(*http.Transport)
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = 20, 20
	h.Script(OpRevoke, slices.Repeat([]Fault{{Status: 503}}, n/2)...)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var session map[string]any
			if r := h.post(); r.err != nil || json.Unmarshal([]byte(r.body), &session) != nil {
				t.Errorf("answer %d %q, %v", r.status, r.body, r.err)
				return
			}
			h.delete(session["auth_token"].(string))
		})
	}
	h.await(OpOpen, n)
	wg.Wait()
	h.await(OpRevoke, n)
	h.wantSessions(n, n/2, n/2)
	faulted := 0
	for i, r := range h.Journal() {
		if r.Op == OpRevoke && r.Faulted != (faulted < n/2) {
			t.Fatalf("request %d: faults are not used in order of arrival", i)
		}
		if r.Faulted {
			faulted++
		}
	}
	h.Close() // no more calls of Observe
	if observed != 2*n {
		t.Errorf("%d requests observed, want %d", observed, 2*n)
	}
	if total := h.Connections(); total < 1 || total > 20 {
		t.Errorf("%d connections", total)
	}
}

func TestAwaitFails(t *testing.T) {
	h := start(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Await(ctx, OpOpen, 1); err == nil {
		t.Error("no error where the context has ended")
	}
	h.Close()
	if err := h.Await(t.Context(), OpOpen, 1); err == nil {
		t.Error("no error where the server has closed")
	}
}

func TestClose(t *testing.T) {
	for _, secure := range []bool{false, true} {
		observed := 0
		h := start(t, Config{TLS: secure, Observe: func(Request, int) { observed++ }})
		h.Always(OpOpen, &Fault{Hang: true})
		h.Always(OpCheck, &Fault{Reason: "hijacked"})
		h.get("t")
		replies := make(chan reply)
		for range 5 {
			go func() { replies <- h.post() }()
		}
		h.await(OpOpen, 5)
		h.Close()
		h.Close()
		if observed != 6 {
			t.Errorf("Close did not wait: %d of 6 requests have ended", observed)
		}
		for range 5 {
			h.wantLost(<-replies)
		}
		h.wantSessions(0, 0, 0)
		h.wantLost(h.post())

		// The last instructions of a goroutine come after it was waited for.
		stacks := make([]byte, 1<<20)
		for deadline := time.Now().Add(2 * time.Second); ; runtime.Gosched() {
			left := stacks[:runtime.Stack(stacks, true)]
			if !bytes.Contains(left, []byte("flametest.(*Server)")) && !bytes.Contains(left, []byte("http.(*conn).serve")) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("left behind:\n%s", left)
			}
		}
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"version":             {Version: 3},
		"access token status": {AccessTokenStatus: 404},
		"open status":         {OpenStatus: 302},
		"rate":                {RateLimit: RateLimit{PerSecond: -1}},
		"address":             {Addr: "127.0.0.1:none"},
	} {
		if s, err := Start(cfg); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
