// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// probed is a fake, and what the probe printed of it.
type probed struct {
	*testing.T
	fake   *flametest.Server
	output string
	err    error
}

// newProbed starts a fake. The password of its user is one that no help text has.
func newProbed(t *testing.T, cfg flametest.Config) *probed {
	t.Helper()
	cfg.Users = map[string]string{flametest.User: flametest.Password}
	fake, err := flametest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return &probed{T: t, fake: fake}
}

func (p *probed) run(ctx context.Context, password string) {
	p.Helper()
	var roots *x509.CertPool
	if p.fake.CACertificate() != "" {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(p.fake.CACertificate()))
	}
	p.runWith(ctx, password, roots)
}

func (p *probed) runWith(ctx context.Context, password string, roots *x509.CertPool) {
	p.Helper()
	var out bytes.Buffer
	p.err = run(ctx, environment(p.fake.URL(), password), true, roots, strings.NewReader(""), &out)
	p.output = out.String()
	printed := p.output + fmt.Sprint(p.err)
	for _, r := range p.fake.Journal() {
		for _, secret := range []string{r.Token, r.Opened, password, flametest.User} {
			if secret != "" && strings.Contains(printed, secret) {
				p.Errorf("a secret was printed:\n%s", printed)
			}
		}
	}
}

func environment(endpoint, password string) func(string) string {
	variables := map[string]string{"FLAME_ENDPOINT": endpoint, "FLAME_USER": flametest.User, "FLAME_PASSWORD": password}
	return func(name string) string { return variables[name] }
}

// wantClean checks that the fake saw these logins, and that no session is alive.
func (p *probed) wantClean(logins int) {
	p.Helper()
	if got := p.fake.Count(flametest.OpOpen); got != logins {
		p.Errorf("%d logins were sent, want %d", got, logins)
	}
	if live := len(p.fake.Live()); live != 0 {
		p.Errorf("%d sessions are alive", live)
	}
	if p.Failed() {
		p.Logf("error: %v\n%s", p.err, p.output)
	}
}

// want checks that a line of the output matches each pattern.
func (p *probed) want(patterns ...string) {
	p.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(p.output) {
			p.Errorf("no line matches %s\nerror: %v\n%s", pattern, p.err, p.output)
		}
	}
}

func TestModes(t *testing.T) {
	const (
		independent = `kind +independent: .*`
		notWanted   = `access_token on DELETE +not wanted.*`
		wanted      = `access_token on DELETE +wanted.*`
	)
	tests := []struct {
		name string
		cfg  flametest.Config
		want []string
	}{
		{"independent", flametest.Config{}, []string{
			independent, notWanted,
			`POST sessions, first login +200 +HTTP/1\.1 +application/json +- +\{auth_token: string, email: string, id: number\}`,
			`GET organizations, first token +200 .* array of \{id: number, name: string\}`,
			`DELETE sessions, first token +200 .* \{\}`,
			`dead token on GET +401, WWW-Authenticate: none, body: \{error: string\}`,
			`dead token on DELETE +401, WWW-Authenticate: none, body: \{error: string\}`,
			`request ID headers +X-Request-Id`, `rate limit headers +none`,
			`sessions +opened 2, left alive 0, .*`,
			`what DELETE does to other tokens +settled .*`, `expiry +open .*`,
		}},
		{"shared", flametest.Config{Kind: flametest.Shared}, []string{
			`kind +shared: .*hides.*sweeping.*`, notWanted, `dead token on DELETE +401, .*`,
			`what a login does to an earlier token +settled +returns it again`, `what DELETE does to other tokens +open .*`,
		}},
		{"superseding", flametest.Config{Kind: flametest.Superseding}, []string{
			`kind +superseding: .*hides.*sweeping.*`, notWanted, `dead token on DELETE +401, .*`,
			`GET organizations, first token after the second login +401 .*`, `what DELETE does to other tokens +open .*`,
		}},
		{"sweeping", flametest.Config{Kind: flametest.Sweeping}, []string{
			`kind +sweeping: .*`, notWanted, `what DELETE does to other tokens +settled +ends them all`, `what a login does to an earlier token +settled +nothing`,
		}},
		{"one token", flametest.Config{MaxTokens: 1}, []string{`kind +superseding: .*`}},
		{"two tokens", flametest.Config{MaxTokens: 2}, []string{independent, `a limit of live tokens.* +open .*`}},
		{"version 2", flametest.Config{Version: 2}, []string{independent, `POST .*first login.* \{.*full_name: string, id: string, photo_url: string\}`}},
		{"access_token, 400", flametest.Config{RequireAccessToken: true}, []string{independent, wanted, `DELETE sessions, first token +400 .*`, `DELETE sessions, first token, with access_token +200 .*`}},
		{"access_token, 422", flametest.Config{RequireAccessToken: true, AccessTokenStatus: 422, Kind: flametest.Sweeping}, []string{`kind +sweeping: .*`, wanted, `DELETE sessions, first token +422 .*`}},
		{"access_token, shared", flametest.Config{RequireAccessToken: true, Kind: flametest.Shared}, []string{`kind +shared: .*`, wanted}},
		{"access_token, superseding", flametest.Config{RequireAccessToken: true, Kind: flametest.Superseding}, []string{`kind +superseding: .*`, wanted}},
		{"sample id", flametest.Config{SampleID: true}, []string{independent, `POST .*first login.* id: null\}, a null .* not JSON`}},
		{"statuses", flametest.Config{OpenStatus: 201, RevokeStatus: 204}, []string{independent, `DELETE sessions, first token +204 .* empty`, `status of success +settled +DELETE 204, GET 200, POST 201`}},
		{"TLS", flametest.Config{TLS: true}, []string{independent, `HTTP version +HTTP/2\.0`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProbed(t, test.cfg)
			p.run(t.Context(), flametest.Password)
			if p.err != nil {
				t.Errorf("error: %v", p.err)
			}
			p.want(test.want...)
			p.wantClean(2)
		})
	}
}

// What a rate limit refuses is sent again, logins too: nothing was carried out.
func TestRateLimit(t *testing.T) {
	p := newProbed(t, flametest.Config{RateLimit: flametest.RateLimit{PerSecond: 20, Burst: 1}, Kind: flametest.Sweeping})
	p.run(t.Context(), flametest.Password)
	p.want(`kind +sweeping: .*`, `GET organizations, first token +429 .*`, `sessions +opened 2, left alive 0, .*`)
	p.wantClean(p.fake.Count(flametest.OpOpen))
	if opened := p.fake.Opened(); p.err != nil || opened != 2 {
		t.Errorf("opened %d, error %v", opened, p.err)
	}
}

func TestWrongPassword(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.run(t.Context(), "not the right one")
	if p.err == nil || !strings.Contains(p.err.Error(), "401") {
		t.Errorf("error %v, want one with 401", p.err)
	}
	p.want(`kind +not told: .*`, `POST sessions, first login +401 .*`)
	p.wantClean(1)
}

// A second login that is refused is not repeated, and the first session is closed.
func TestSecondLoginRefused(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.fake.Script(flametest.OpOpen, flametest.Fault{}, flametest.Fault{Status: http.StatusConflict})
	p.run(t.Context(), flametest.Password)
	if p.err == nil {
		t.Error("no error")
	}
	p.want(`kind +not told: .*`, `dead token on GET +401.*`)
	p.wantClean(2)
}

// Each request that gets no answer ends the probe, and its sessions are closed.
func TestNoAnswer(t *testing.T) {
	tests := []struct {
		op     flametest.Operation
		before int // answered requests of op
	}{
		{flametest.OpOpen, 1},
		{flametest.OpCheck, 0},
		{flametest.OpCheck, 1},
		{flametest.OpCheck, 2},
		{flametest.OpRevoke, 0},
		{flametest.OpRevoke, 1},
		{flametest.OpCheck, 3},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.op, " ", test.before), func(t *testing.T) {
			p := newProbed(t, flametest.Config{})
			faults := make([]flametest.Fault, test.before, test.before+1)
			p.fake.Script(test.op, append(faults, flametest.Fault{Drop: true})...)
			p.run(t.Context(), flametest.Password)
			if p.err == nil {
				t.Error("no error")
			}
			p.want(`.* no complete answer arrived`)
			p.wantClean(p.fake.Count(flametest.OpOpen))
		})
	}
}

// A DELETE that fails for the moment leaves no session alive, and the kind open.
func TestDeleteFails(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.fake.Script(flametest.OpRevoke, flametest.Fault{Status: http.StatusServiceUnavailable}, flametest.Fault{Status: http.StatusServiceUnavailable})
	p.run(t.Context(), flametest.Password)
	p.want(`kind +independent or sweeping: .*`, `access_token on DELETE +not wanted.*`, `sessions +opened 2, left alive 0, .*`)
	p.wantClean(2)
}

// A session that cannot be closed is named.
func TestLeftAlive(t *testing.T) {
	p := newProbed(t, flametest.Config{Kind: flametest.Shared})
	p.fake.Always(flametest.OpRevoke, &flametest.Fault{Status: http.StatusConflict})
	p.run(t.Context(), flametest.Password)
	if p.err == nil || !strings.Contains(p.err.Error(), "may still be alive") {
		t.Errorf("error %v", p.err)
	}
	p.want(`sessions +opened 2, left alive 1, .*`)
}

func TestHeaders(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.fake.Always(flametest.OpRevoke, &flametest.Fault{Header: http.Header{
		"Www-Authenticate": {`Token realm="Application"`}, "X-Ratelimit-Remaining": {"7"}, "Retry-After": {"1"},
	}})
	p.run(t.Context(), flametest.Password)
	p.want(`dead token on DELETE +401, WWW-Authenticate: Token, .*`, `dead token on GET +401, WWW-Authenticate: none, .*`,
		`rate limit headers +Retry-After, X-Ratelimit-Remaining`, `Retry-After +settled .*`)
	p.wantClean(2)
}

// A page of HTML with 401 is a gateway's, and does not make a token dead.
func TestGateway(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.fake.Script(flametest.OpCheck, flametest.Fault{}, flametest.Fault{Status: http.StatusUnauthorized, Body: "<html>"})
	p.run(t.Context(), flametest.Password)
	p.want(`kind +not told: .*`)
	p.wantClean(2)
}

// A login whose answer is lost may have opened a session that nobody can close.
func TestLostLogin(t *testing.T) {
	p := newProbed(t, flametest.Config{})
	p.fake.Script(flametest.OpOpen, flametest.Fault{}, flametest.Fault{Drop: true, CarryOut: true})
	p.run(t.Context(), flametest.Password)
	if p.err == nil || !strings.Contains(p.err.Error(), "1 session(s) may be open") {
		t.Errorf("error %v", p.err)
	}
	p.want(`sessions +opened 1, left alive 0, without a token that arrived 1`)
	if live := len(p.fake.Live()); live != 1 {
		t.Errorf("%d sessions are alive, want the lost one", live)
	}
}

// An interrupt while a login is under way waits for its token, and closes it.
func TestInterrupt(t *testing.T) {
	for _, op := range []flametest.Operation{flametest.OpOpen, flametest.OpCheck, flametest.OpRevoke} {
		t.Run(op.String(), func(t *testing.T) {
			p := newProbed(t, flametest.Config{})
			p.fake.Script(op, flametest.Fault{Hang: true})
			ctx, interrupt := context.WithCancel(t.Context())
			go func() {
				_ = p.fake.Await(t.Context(), op, 1)
				interrupt()
				p.fake.Release()
			}()
			p.run(ctx, flametest.Password)
			if p.err == nil || !strings.Contains(p.err.Error(), "interrupted") {
				t.Errorf("error %v", p.err)
			}
			p.wantClean(p.fake.Count(flametest.OpOpen))
			if p.fake.Opened() == 0 || p.fake.Opened() != p.fake.Revoked() {
				t.Errorf("opened %d, revoked %d", p.fake.Opened(), p.fake.Revoked())
			}
		})
	}
}

// A server that repeats what it was sent does not bring a secret into the report.
func TestEcho(t *testing.T) {
	var token string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", flametest.Password+token)
		w.Header().Set("Content-Type", "x/"+token)
		if r.Method == http.MethodPost {
			token = "ULzr7GuYA6iyo9EyiFrf"
			w.Header().Set("X-Request-Id-"+token, "1")
			_, _ = fmt.Fprintf(w, `{"auth_token": %q, %q: 1, "x%s": [{%q: 1}]}`, token, flametest.Password, token, flametest.User)
			return
		}
		if r.Method == http.MethodDelete {
			token = ""
		}
		if r.Header.Get("Authorization") != "Token token="+token {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = fmt.Fprintf(w, `{%q: "", %q: ""}`, r.Header.Get("Authorization"), strings.TrimPrefix(r.Header.Get("Authorization"), "Token token="))
	}))
	defer server.Close()
	var out bytes.Buffer
	err := run(t.Context(), environment(server.URL, flametest.Password), true, nil, nil, &out)
	if err != nil || !strings.Contains(out.String(), "(hidden)") {
		t.Errorf("error %v\n%s", err, out.String())
	}
	for _, secret := range []string{"ulzr7guya6iyo9eyifrf", flametest.Password, flametest.User} {
		if strings.Contains(strings.ToLower(out.String()), secret) {
			t.Errorf("a secret was printed:\n%s", out.String())
		}
	}
}

func TestUntrustedCertificate(t *testing.T) {
	p := newProbed(t, flametest.Config{TLS: true})
	p.runWith(t.Context(), flametest.Password, nil)
	if p.err == nil || !strings.Contains(p.err.Error(), "not trusted") {
		t.Errorf("error %v", p.err)
	}
	p.wantClean(0)
}

func TestRefusedConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	var out bytes.Buffer
	err = run(t.Context(), environment("http://"+listener.Addr().String()+"/api/v1", flametest.Password), true, nil, nil, &out)
	if err == nil || !strings.Contains(err.Error(), "no connection could be made") || strings.Contains(err.Error(), "may be open") {
		t.Errorf("error %v\n%s", err, out.String())
	}
}

// Without a yes, nothing is sent.
func TestConfirm(t *testing.T) {
	for answer, logins := range map[string]int{"": 0, "no\n": 0, "yes\n": 2} {
		p := newProbed(t, flametest.Config{})
		var out bytes.Buffer
		err := run(t.Context(), environment(p.fake.URL(), flametest.Password), false, nil, strings.NewReader(answer), &out)
		if (err == nil) != (logins > 0) || !strings.Contains(out.String(), "may end") {
			t.Errorf("answer %q: error %v\n%s", answer, err, out.String())
		}
		p.wantClean(logins)
	}
}

func TestEnvironment(t *testing.T) {
	for _, getenv := range []func(string) string{environment("ftp://x", "secret"), environment("", ""), func(string) string { return "" }} {
		var out bytes.Buffer
		if err := run(t.Context(), getenv, true, nil, nil, &out); err == nil || out.Len() > 0 {
			t.Errorf("error %v, printed %q", err, out.String())
		}
	}
}
