package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const oneSession = `
resource "flame_session" "this" {}
`

func TestSessionLife(t *testing.T) {
	for name, config := range map[string]flametest.Config{
		"version 1":              {},
		"version 2":              {Version: 2},
		"one token per user":     {SharedTokens: true},
		"id without a value":     {SampleID: true},
		"201 and 204":            {OpenStatus: 201, RevokeStatus: 204},
		"access token in body":   {RequireAccessToken: true},
		"access token, 422":      {RequireAccessToken: true, AccessTokenStatus: 422},
		"TLS":                    {TLS: true},
		"TLS, token in the body": {TLS: true, RequireAccessToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, config)
			w := newWorkspace(t, fake, oneSession+fmt.Sprintf("\nprovider \"flame\" {\n  ca_certificate = %s\n}\n", hclString(fake.CACertificate())))
			deletes := 1
			if config.RequireAccessToken {
				deletes = 2
			}

			w.apply()
			saw(t, fake, 1, 0, 0)
			session := w.sessions()["this"]
			token := session.text("auth_token")
			if token != fake.Live()[0] {
				t.Error("the state holds another token than the one alive")
			}
			for attribute, want := range map[string]any{
				"id": flame.NewToken(token).SessionID(), "user": flametest.User, "endpoint": fake.URL(), "email": flametest.User,
				"revoke_on_destroy": true, "rotate_at": nil, "password": nil, "password_wo": nil, "timeouts": nil,
			} {
				if got := session.Attributes[attribute]; got != want {
					t.Errorf("%s: got %v, want %v", attribute, got, want)
				}
			}
			if id := session.Attributes["user_id"]; (id == nil) != config.SampleID {
				t.Errorf("user_id is %v", id)
			}
			if full := session.Attributes["full_name"]; (full == nil) != (config.Version != 2) {
				t.Errorf("full_name is %v", full)
			}

			w.quiet()
			saw(t, fake, 1, 0, 1)

			w.destroy()
			saw(t, fake, 1, deletes, 2) // destroy refreshes first
			for _, request := range fake.Journal() {
				if request.Op == flametest.OpRevoke && request.Token != token {
					t.Error("a DELETE bears another token than the session's")
				}
			}
			w.agrees()
			if len(fake.Live()) != 0 {
				t.Error("a session is left alive")
			}
		})
	}
}

// hclString gives a quoted string, or null for none.
func hclString(s string) string {
	if s == "" {
		return "null"
	}
	return strings.ReplaceAll(fmt.Sprintf("%q", s), "${", "$${")
}

// The errors of opening a session: what the server saw, what the user reads,
// and that nothing is stored.
func TestSessionOpenErrors(t *testing.T) {
	html := "<html><title>Sign in</title></html>"
	for name, test := range map[string]struct {
		fault    *flametest.Fault
		endpoint func(fake *flametest.Server) string
		password string
		posts    int
		texts    []string
	}{
		"wrong password": {
			password: "wrong-secret", posts: 1,
			texts: []string{"Could not open a Flame session", "Flame answered 401", "Check user and password", "not tried again"},
		},
		"unreachable": {
			endpoint: func(*flametest.Server) string { return "http://127.0.0.1:1/api/v1" },
			texts:    []string{"Could not open a Flame session", "connection refused", "Check the endpoint, the network"},
		},
		"unknown host": {
			endpoint: func(*flametest.Server) string { return "https://flame.invalid/api/v1" },
			texts:    []string{"Could not open a Flame session", "the host name", "Check the endpoint"},
		},
		"no URL": {
			endpoint: func(*flametest.Server) string { return "pull.flameanalytics.com" },
			texts:    []string{"The Flame endpoint is not usable", "it has no scheme", "https://pull.flameanalytics.com/api/v1"},
		},
		"wrong path": {
			endpoint: func(fake *flametest.Server) string { return strings.TrimSuffix(fake.URL(), "/v1") },
			texts:    []string{"404 (not found)", "The endpoint may lack a part of its path"},
		},
		"HTML": {
			fault: &flametest.Fault{Status: 200, Body: html}, posts: 1,
			texts: []string{"the answer is not a JSON object", "a proxy's or a login page", "Flame may have opened a session"},
		},
		"no token": {
			fault: &flametest.Fault{Status: 200, Body: `{"id":1}`}, posts: 1,
			texts: []string{"the answer holds no auth_token", "Check the endpoint"},
		},
		"redirect": {
			fault: &flametest.Fault{Status: 302, Header: map[string][]string{"Location": {"https://elsewhere.example/login?next=secret"}}}, posts: 1,
			texts: []string{"a redirect to https://elsewhere.example", "Set the endpoint to where the API really is"},
		},
		"administrators only": {
			fault: &flametest.Fault{Status: 403}, posts: 1,
			texts: []string{"403 (administrators only)", "administrator"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, oneSession+"\nprovider \"flame\" {\n  max_retries = 0\n}\n")
			fake.Always(flametest.OpOpen, test.fault)
			if test.endpoint != nil {
				w.setenv(envEndpoint, test.endpoint(fake))
			}
			if test.password != "" {
				w.setenv(envPassword, test.password)
			}
			r := w.fails(test.texts, "apply", "-auto-approve", "-input=false")
			if lines := strings.Count(r.Stderr, "\n"); lines > 40 {
				t.Errorf("the error takes %d lines: %v", lines, r)
			}
			for _, secret := range []string{html, "wrong-secret", flametest.Password, "next=secret"} {
				if strings.Contains(r.Stdout+r.Stderr, secret) {
					t.Errorf("%q is printed", secret)
				}
			}
			if got := fake.Count(flametest.OpOpen); got != test.posts {
				t.Errorf("%d POSTs, want %d", got, test.posts)
			}
			if len(w.sessions()) != 0 || len(fake.Live()) != 0 {
				t.Error("a session is in the state, or alive")
			}
		})
	}
}

// What the user reads when revoking fails, and that the state keeps the session.
func TestSessionRevokeErrors(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession+"\nprovider \"flame\" {\n  max_retries = 0\n}\n")
	w.apply()
	for status, texts := range map[int][]string{
		500: {"Could not revoke the Flame session", "500 (server error)", "Run again later"},
		403: {"403 (administrators only)"},
		302: {"a redirect"},
	} {
		fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status})
		w.fails(texts, "destroy", "-auto-approve", "-input=false")
		w.agrees()
	}
	for _, status := range []int{401, 404, 410} {
		fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status, CarryOut: true})
		w.destroy()
		w.agrees()
		w.apply()
	}
	fake.Always(flametest.OpRevoke, nil)
	w.destroy()
	w.agrees()
}

func TestManySessions(t *testing.T) {
	const count, parallelism = 200, 10 // Terraform's default
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n}\n", count))
	w.detectRaces()
	w.apply()
	saw(t, fake, count, 0, 0)
	if got := len(w.sessions()); got != count {
		t.Errorf("%d sessions in the state", got)
	}
	w.agrees()
	if got := fake.Connections(); got > parallelism {
		t.Errorf("apply made %d connections", got)
	}
	before := fake.Connections()
	w.destroy("-refresh=false")
	saw(t, fake, count, count, 0)
	if got := fake.Connections() - before; got > parallelism {
		t.Errorf("destroy made %d connections", got)
	}
	if len(fake.Live()) != 0 {
		t.Errorf("%d sessions are left alive", len(fake.Live()))
	}
}
