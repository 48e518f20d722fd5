// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// newRailsWorkspace returns a workspace whose endpoint is an API on Rails.
func newRailsWorkspace(t *testing.T, config servertest.RailsConfig, configuration string) (*workspace, *servertest.Rails) {
	t.Helper()
	w := newWorkspace(t, nil, configuration)
	rails := servertest.StartRails(t, config)
	w.setenv(envEndpoint, rails.URL)
	w.setenv(envPassword, servertest.RailsPassword)
	return w, rails
}

// railsSaw fails the test where Rails got other numbers of requests since the last
// call, or not all of them succeeded.
func railsSaw(t *testing.T, rails *servertest.Rails, opened, revoked, checked, live int) {
	t.Helper()
	seen := rails.Requests()
	got := [...]int{seen.Count(http.MethodPost), seen.Count(http.MethodDelete), seen.Count(http.MethodGet), len(seen)}
	if want := [...]int{opened, revoked, checked, opened + revoked + checked}; got != want {
		t.Errorf("POST, DELETE, GET and all: got %v, want %v", got, want)
	}
	if n := len(seen); n > 0 && seen[n-1].Live != live {
		t.Errorf("%d tokens are alive, want %d", seen[n-1].Live, live)
	}
	for _, r := range seen {
		if !strings.HasPrefix(r.Status, "2") {
			t.Errorf("%s %s was answered %s", r.Method, r.URL, r.Status)
		}
	}
}

// The life of a session with an API that authenticates as Rails does.
func TestRailsLife(t *testing.T) {
	w, rails := newRailsWorkspace(t, servertest.RailsConfig{}, oneSession)
	w.apply()
	railsSaw(t, rails, 1, 0, 0, 1)
	w.quiet()
	railsSaw(t, rails, 0, 0, 1, 1)

	first := w.sessions()["this"].text("id")
	w.write("main.tf", requireFlame+sessionBlock("this", `rotate_after = "1ns"`))
	w.apply().says(t, "1 added, 0 changed, 1 destroyed")
	railsSaw(t, rails, 1, 1, 1, 1)
	if second := w.sessions()["this"].text("id"); second == first {
		t.Error("the session was not rotated")
	}

	w.write("main.tf", requireFlame+oneSession)
	w.apply().says(t, "0 added, 1 changed, 0 destroyed")
	railsSaw(t, rails, 0, 0, 1, 1)
	w.destroy()
	railsSaw(t, rails, 0, 1, 1, 0)
	if n := len(w.sessions()); n != 0 {
		t.Errorf("%d sessions are left in the state", n)
	}
}

// Rails' own 401 asks for the scheme Token: it proves that a token is dead.
func TestRailsTokenEndedElsewhere(t *testing.T) {
	w, rails := newRailsWorkspace(t, servertest.RailsConfig{}, oneSession)
	w.apply()
	session := w.sessions()["this"]
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, rails.URL+"/sessions", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", flame.AuthorizationHeader(flame.NewToken(session.text("auth_token"))))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	w.must("plan", "-input=false").says(t, "The Flame session has ended elsewhere: session "+session.text("id"), "1 to add")
	w.destroy("-refresh=false")
	seen := rails.Requests()
	if last := seen[len(seen)-1]; last.Method != http.MethodDelete || last.Status != "401" || len(w.sessions()) != 0 {
		t.Errorf("the last of %v is no DELETE of a dead token, or the state still has it", seen)
	}
}

// Each session that Rails opens before it fails is in the text.
func TestRailsFailsAfterCommit(t *testing.T) {
	w, rails := newRailsWorkspace(t, servertest.RailsConfig{FailsAfterCommit: true}, oneSession+providerBlock("max_retries = 2"))
	w.fails([]string{"was tried 3 times; the last result: Flame answered 500 (server error)", "Flame may have opened 3 sessions, but their tokens never arrived"},
		"apply", "-auto-approve", "-input=false")
	seen := rails.Requests()
	if len(seen) != 3 || seen[2].Live != 3 {
		t.Errorf("Rails got %v, want 3 requests that leave 3 tokens alive", seen)
	}
}

// Rails cuts a token at a comma and a semicolon, so it can be neither used nor revoked.
func TestRailsCutsTokens(t *testing.T) {
	for _, suffix := range []string{",x", ";x"} {
		t.Run(suffix, func(t *testing.T) {
			w, rails := newRailsWorkspace(t, servertest.RailsConfig{TokenSuffix: suffix}, oneSession)
			w.fails([]string{"the auth_token holds characters that a header cannot carry safely", "Flame may have opened a session, but its token never arrived"},
				"apply", "-auto-approve", "-input=false")
			seen := rails.Requests()
			if seen.Count(http.MethodPost) != 1 || seen.Count(http.MethodDelete) != 1 || seen[1].Status != "401" || seen[1].Live != 1 {
				t.Errorf("Rails got %v, want a POST and a DELETE that it does not understand", seen)
			}
			if n := len(w.sessions()); n != 0 {
				t.Errorf("%d sessions are in the state", n)
			}
		})
	}
}

// What follows an answer on its connection reaches no log.
func TestRailsLogsNoStrayBytes(t *testing.T) {
	const canary = "stray-canary"
	w, _ := newRailsWorkspace(t, servertest.RailsConfig{StrayBytes: fmt.Sprintf(`{"auth_token":%q}`, canary)}, oneSession)
	w.setenv("TF_LOG", "DEBUG")
	w.setenv("TF_LOG_PROVIDER", "DEBUG")
	for _, args := range [][]string{{"apply", "-auto-approve", "-input=false"}, {"plan", "-input=false"}, {"destroy", "-auto-approve", "-input=false"}} {
		r := w.must(args...)
		r.says(t, "Flame request succeeded")
		r.doesNotSay(t, "what followed an answer", canary)
	}
}
