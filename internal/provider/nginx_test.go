// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// startNginx starts nginx in front of a fake, with its own answers first.
func startNginx(t *testing.T, fake *flametest.Server, encrypted bool, server string) *servertest.Nginx {
	t.Helper()
	pass := "proxy_pass " + strings.TrimSuffix(fake.URL(), "/api/v1") + ";"
	return servertest.StartNginx(t, servertest.NginxConfig{TLS: encrypted, Server: strings.ReplaceAll(server, "PASS", pass)})
}

// foreignAnswers has nginx answer in its own name.
const foreignAnswers = `
	set $realm off;
	if (-f password) { set $realm gateway; }
	auth_basic $realm;
	auth_basic_user_file nginx.conf; # lets nobody in
	if (-f not-found) { return 404; }
	if (-f gone) { return 410; }
	if (-f unauthorized) { return 401; }
	if (-f maintenance) { return 503; }
	error_page 503 @maintenance;
	location @maintenance { default_type text/html; return 503 "<h1>Back soon</h1>"; }
	default_type text/plain;
	location / {
		if (-f not-found-text) { return 404 "no such page"; }
		if (-f page) { return 200 "` + "\ufeff" + ` <html>Log in</html>"; }
		set $deletes "";
		if (-f not-found-delete) { set $deletes $request_method; }
		if ($deletes = DELETE) { return 404; }
		if (-f bearer) {
			add_header WWW-Authenticate "Bearer realm=gateway" always;
			return 401 '{"error":"log in"}';
		}
		PASS
	}
`

// Whatever a gateway says in its own name, no token is taken for dead: the state keeps
// the session, and the user reads what answered and how to let go.
func TestNginxProvesNothing(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	nginx := startNginx(t, fake, false, foreignAnswers)
	w := newWorkspace(t, fake, oneSession+providerBlock("max_retries = 1")+`
		variable "leaked" { sensitive = true }
		action "flame_session_revoke" "leaked" {
			config { auth_token = var.leaked }
		}
	`)
	w.setenv(envEndpoint, nginx.URL+"/api/v1")
	w.setenv("TF_VAR_leaked", "")
	w.apply()
	session := w.sessions()["this"]
	id := session.text("id")
	w.setenv("TF_VAR_leaked", session.text("auth_token"))
	for answer, test := range map[string]struct {
		says    string
		deletes int // of each attempt to revoke
	}{
		"not-found":        {"404 (not found)", 1},
		"not-found-text":   {"404 (not found)", 1},
		"not-found-delete": {"a check then found that Flame still accepts the token", 1},
		"gone":             {"410 (gone)", 1},
		"unauthorized":     {"401 (wrong credentials or no session), but it did not come from Flame (a page of HTML)", 1},
		"password":         {"401 (wrong credentials or no session), but it did not come from Flame (a page of HTML)", 1},
		"bearer":           {"401 (wrong credentials or no session), but it did not come from Flame (it asks for another authentication scheme than Flame's)", 1},
		"maintenance":      {"503 (down for maintenance)", 2},
		"page":             {"the answer is not a JSON object, although the status was 200 (ok)", 1},
	} {
		nginx.Switch(answer)
		plan := w.must("plan", "-input=false")
		if answer != "not-found-delete" {
			plan.says(t, "The Flame session could not be verified: session "+id, test.says)
		}
		revoke := map[string][]string{
			"destroy": {"destroy", "-auto-approve", "-input=false"},
			"action":  {"apply", "-invoke=action.flame_session_revoke.leaked", "-auto-approve", "-input=false"},
		}
		for by, args := range revoke {
			nginx.Requests()
			r := w.fails([]string{"Could not revoke the Flame session " + id, test.says}, args...)
			if by == "destroy" {
				r.says(t, "set revoke_on_destroy = false in the provider block")
			}
			if n := nginx.Requests().Count(http.MethodDelete); n != test.deletes {
				t.Errorf("%s, %s: nginx got %d DELETEs, want %d", answer, by, n, test.deletes)
			}
			w.agrees()
		}
	}
	nginx.Switch("")
	w.quiet()
	w.destroy()
	w.agrees()
}

// Each session that a gateway's answer loses is in the text.
func TestNginxLosesLogins(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	nginx := startNginx(t, fake, true, `
		error_page 418 = @impatient;
		location @impatient { proxy_read_timeout 50ms; PASS }
		location / {
			if (-f impatient) { return 418; }
			PASS
		}
	`)
	w := newWorkspace(t, fake, oneSession+providerBlock("max_retries = 2\nca_certificate = file(\"ca.pem\")"))
	w.write("ca.pem", nginx.CACertificate)
	w.setenv(envEndpoint, nginx.URL+"/api/v1")
	nginx.Switch("impatient")
	fake.Always(flametest.OpOpen, &flametest.Fault{Hang: true, CarryOut: true})
	w.fails([]string{"was tried 3 times; the last result: Flame answered 504 (gateway timeout)", "Flame may have opened 3 sessions, but their tokens never arrived"},
		"apply", "-auto-approve", "-input=false")
	if alive, seen := len(fake.Live()), nginx.Requests(); alive != 3 || seen.Count(http.MethodPost) != 3 || seen[0].Proto != "HTTP/2.0" {
		t.Errorf("%d sessions alive after %v, want 3 after 3 POSTs over HTTP/2", alive, seen)
	}
	nginx.Switch("")
	fake.Always(flametest.OpOpen, nil)
	fake.Script(flametest.OpOpen, flametest.Fault{Drop: true, CarryOut: true})
	fake.RevokeAll()
	w.apply().says(t, "but an answer to an earlier attempt never arrived")
	if alive := len(fake.Live()); alive != 2 {
		t.Errorf("%d sessions alive, want the one in the state and the lost one", alive)
	}
}

// Neither the password nor a token reaches a log that net/http's own debugging writes.
func TestNginxLogsNoBodies(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	nginx := startNginx(t, fake, true, "location / { PASS }")
	w := newWorkspace(t, fake, oneSession+providerBlock("ca_certificate = file(\"ca.pem\")"))
	w.write("ca.pem", nginx.CACertificate)
	w.setenv(envEndpoint, nginx.URL+"/api/v1")
	w.setenv("TF_LOG", "DEBUG")
	w.setenv("TF_LOG_PROVIDER", "DEBUG")
	w.setenv("GODEBUG", "http2debug=2")
	opened := w.apply()
	opened.says(t, "Flame request succeeded")
	token := w.sessions()["this"].text("auth_token")
	for _, r := range []result{opened, w.must("plan", "-input=false"), w.destroy()} {
		r.Stderr = withoutTerraformsFrames(r.Stderr)
		r.doesNotSay(t, "the password", flametest.Password)
		r.doesNotSay(t, "the token", token)
	}
	if seen := nginx.Requests(); seen.Count(http.MethodPost) != 1 || seen[0].Proto != "HTTP/2.0" {
		t.Errorf("nginx got %v, want a POST over HTTP/2", seen)
	}
	w.agrees()
}

// withoutTerraformsFrames returns a log without what Terraform itself (1.11 does) tells
// the provider, and is told, when HTTP/2 is debugged.
func withoutTerraformsFrames(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "http2: Framer") || strings.Contains(line, "provider.terraform-provider-flame") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
