// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var (
	integer = regexp.MustCompile(`^[1-9][0-9]*$`)
	uuid    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	empty   = regexp.MustCompile(`^$`)
)

// A session is opened, checked and revoked, against each variant of the API.
func TestSession(t *testing.T) {
	for _, test := range []struct {
		name     string
		fake     flametest.Config
		userID   *regexp.Regexp
		fullName string
		requests int // to revoke the first token
	}{
		{"version 1", flametest.Config{}, integer, "", 1},
		{"version 2", flametest.Config{Version: 2}, uuid, "Ada", 1},
		{"no value for id", flametest.Config{SampleID: true}, empty, "", 1},
		{"version 2, no value for id", flametest.Config{Version: 2, SampleID: true}, empty, "Ada", 1},
		{"TLS", flametest.Config{TLS: true}, integer, "", 1},
		{"shared tokens", flametest.Config{Kind: flametest.Shared}, integer, "", 1},
		{"201", flametest.Config{OpenStatus: 201, RevokeStatus: 201}, integer, "", 1},
		{"202 and 204", flametest.Config{OpenStatus: 202, RevokeStatus: 204}, integer, "", 1},
		{"access_token, 400", flametest.Config{RequireAccessToken: true}, integer, "", 2},
		{"access_token, 422", flametest.Config{RequireAccessToken: true, AccessTokenStatus: 422, RevokeStatus: 204}, integer, "", 2},
		{"access_token, TLS", flametest.Config{RequireAccessToken: true, TLS: true}, integer, "", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, test.fake, flame.Config{})
			session := h.open()
			h.wantLive(session.Token.Reveal())
			if !test.userID.MatchString(session.UserID) {
				t.Errorf("user ID %q does not match %s", session.UserID, test.userID)
			}
			if session.Email != flametest.User || session.FullName != test.fullName || session.Lost != 0 {
				t.Errorf("got %+v", session)
			}

			for range 2 {
				if alive, err := h.client.Check(t.Context(), h.endpoint, session.Token); !alive || err != nil {
					t.Errorf("check: alive is %v, error %v", alive, err)
				}
			}
			h.wantLive(session.Token.Reveal())

			if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, session.Token); alreadyGone || err != nil {
				t.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
			}
			h.wantLive()
			h.wantCount(flame.OpOpen, 1)
			h.wantCount(flame.OpCheck, 2)
			h.wantCount(flame.OpRevoke, test.requests)

			if alive, err := h.client.Check(t.Context(), h.endpoint, session.Token); alive || err != nil {
				t.Errorf("check of a revoked token: alive is %v, error %v", alive, err)
			}
			if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, session.Token); !alreadyGone || err != nil {
				t.Errorf("revoke of a revoked token: alreadyGone is %v, error %v", alreadyGone, err)
			}
		})
	}
}

func TestSharedToken(t *testing.T) {
	h := start(t, flametest.Config{Kind: flametest.Shared}, flame.Config{})
	first, second := h.open(), h.open()
	if first.Token != second.Token {
		t.Fatal("the sessions have different tokens")
	}
	if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, first.Token); alreadyGone || err != nil {
		t.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
	}
	if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, second.Token); !alreadyGone || err != nil {
		t.Errorf("second revoke: alreadyGone is %v, error %v", alreadyGone, err)
	}
	h.wantLive()
}

// Credentials arrive unchanged, whatever characters they contain.
func TestOpenCredentials(t *testing.T) {
	for _, password := range []string{
		"plain", ` spaces "quotes" \backslash `, "<&>'", "p\u00e4ss\u2028w\u00f6rd \U0001f525", "new\nline\x00\x7f", "%20+%zz",
	} {
		user := "user-" + password
		h := start(t, flametest.Config{Users: map[string]string{user: password}}, flame.Config{})
		session, err := h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: user, Password: flame.NewPassword(password)})
		if err != nil {
			t.Errorf("%q: %v", password, err)
		}
		h.wantLive(session.Token.Reveal())
		if session.Email != "" {
			t.Errorf("%q: email %q", password, session.Email)
		}
		_, err = h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: user, Password: flame.NewPassword(password + "x")})
		if !errors.Is(err, flame.ErrUnauthorized) {
			t.Errorf("%q: a wrong password: %v", password, err)
		}
		h.wantCount(flame.OpOpen, 2)
	}
}

// The status decides whether the client retries, and which error it returns.
func TestStatuses(t *testing.T) {
	for _, status := range []int{
		300, 301, 302, 303, 304, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 415, 418, 421, 422, 423, 425, 426, 451, 499,
		500, 501, 502, 503, 504, 505, 507, 511, 519, 520, 522, 524, 525, 599, 999,
	} {
		for _, op := range allOperations {
			for _, maxRetries := range []int{0, 3} {
				t.Run(fmt.Sprintf("%s %d with %d retries", methods[op], status, maxRetries), func(t *testing.T) {
					t.Parallel()
					testStatus(t, op, status, maxRetries)
				})
			}
		}
	}
}

// testStatus makes a call to which the fake always responds with status.
func testStatus(t *testing.T, op flame.Operation, status, maxRetries int) {
	h := start(t, flametest.Config{}, flame.Config{MaxRetries: maxRetries})
	token := h.open().Token.Reveal()
	h.Reset()
	h.attempts.reset()
	h.Always(fakeOp[op], &flametest.Fault{Status: status, Body: `{"error":"no"}`, Header: http.Header{"X-Request-Id": {"req-1"}}})
	err := h.call(t.Context(), op, token)

	requests := 1
	switch {
	case status == 500 || 502 <= status && status <= 504 || 520 <= status && status <= 524:
		requests += maxRetries
	case op == flame.OpRevoke && (status == 400 || status == 422):
		requests++ // once more, with the token in the body
	}
	h.wantCount(op, requests)
	checks := 0
	if op == flame.OpRevoke && (status == 404 || status == 410) {
		checks = 1 // these prove nothing by themselves
	}
	if n := len(h.Journal()); n != requests+checks {
		t.Errorf("%d requests in total, want %d", n, requests+checks)
	}
	attempts := h.attempts.list()
	attempts = attempts[:len(attempts)-checks]
	if len(attempts) != requests {
		t.Errorf("%d attempts observed, want %d", len(attempts), requests)
	}
	for _, attempt := range attempts {
		if attempt.Status != status || attempt.RequestID != "req-1" || attempt.Err == nil {
			t.Errorf("observed the attempt %+v", attempt)
		}
	}

	switch {
	case op == flame.OpCheck && (status == 401 || status == 403),
		op == flame.OpRevoke && status == 401:
		if err != nil {
			t.Errorf("got %v, want no error", err)
		}
	default:
		wantStatusError(t, err, op, status)
	}
}

func wantStatusError(t *testing.T, err error, op flame.Operation, status int) {
	t.Helper()
	reason := flame.ErrStatus
	switch {
	case status < 400:
		reason = flame.ErrRedirect
	case status == 401:
		reason = flame.ErrUnauthorized
	}
	e := asError(t, err)
	if e.Op != op || !errors.Is(err, reason) || e.Status != status || e.RequestID != "req-1" || e.DeadlineExceeded || e.Wait != 0 {
		t.Errorf("got %+v", *e)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v wraps a context error", err)
	}
	// An error of the server or a gateway does not show whether Flame opened the session.
	if lost := op == flame.OpOpen && (status == 500 || 502 <= status && status <= 504 || 520 <= status && status <= 524); (e.Lost > 0) != lost {
		t.Errorf("%d lost sessions, want some: %v", e.Lost, lost)
	}
}

// 401, 403, 404 and 410 show whether the token works.
func TestTokenStatuses(t *testing.T) {
	for _, test := range []struct {
		op     flame.Operation
		status int
		want   bool // Check: alive; Revoke: already gone
		fails  bool
	}{
		{flame.OpCheck, 200, true, false},
		{flame.OpCheck, 204, true, false},
		{flame.OpCheck, 403, true, false},
		{flame.OpCheck, 401, false, false},
		{flame.OpCheck, 404, false, true},
		{flame.OpCheck, 405, false, true},
		{flame.OpCheck, 410, false, true},
		{flame.OpCheck, 500, false, true},
		{flame.OpCheck, 302, false, true},
		{flame.OpRevoke, 200, false, false},
		{flame.OpRevoke, 202, false, false},
		{flame.OpRevoke, 204, false, false},
		{flame.OpRevoke, 401, true, false},
		{flame.OpRevoke, 404, true, false}, // a check then finds that it is dead
		{flame.OpRevoke, 410, true, false},
		{flame.OpRevoke, 400, false, true},
		{flame.OpRevoke, 403, false, true},
		{flame.OpRevoke, 405, false, true},
		{flame.OpRevoke, 500, false, true},
		{flame.OpRevoke, 302, false, true},
	} {
		t.Run(fmt.Sprintf("%s %d", methods[test.op], test.status), func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{})
			h.Always(fakeOp[test.op], &flametest.Fault{Status: test.status, Body: "whatever"})
			call := h.client.Check
			if test.op == flame.OpRevoke {
				call = h.client.Revoke
			}
			got, err := call(t.Context(), h.endpoint, flame.NewToken("tok"))
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %v, %v; want %v, an error: %v", got, err, test.want, test.fails)
			}
		})
	}
}

// Only Flame itself proves that a token is dead: a 2xx or its own 401. Gateways,
// wrong paths and maintenance pages answer 401, 403, 404 and 410 too.
func TestProofOfDeath(t *testing.T) {
	challenge := func(values ...string) http.Header { return http.Header{"Www-Authenticate": values} }
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for _, test := range []struct {
		name     string
		fault    flametest.Fault
		accepted bool // the client has had a login accepted there
		proves   bool
	}{
		{"plain 401", flametest.Fault{Status: 401, Body: "no"}, false, true},
		{"JSON", flametest.Fault{Status: 401, Body: `{"error":"no"}`}, false, true},
		{"empty", flametest.Fault{Status: 401}, false, true},
		{"Rails", flametest.Fault{Status: 401, Body: "HTTP Token: Access denied.\n", Header: challenge(`Token realm="Application"`)}, false, true},
		{"token, any case", flametest.Fault{Status: 401, Header: challenge("token")}, false, true},
		{"one of several schemes", flametest.Fault{Status: 401, Header: challenge("Basic", `Token realm="x"`)}, false, true},
		{"Basic", flametest.Fault{Status: 401, Body: "no", Header: challenge(`Basic realm="gateway"`)}, false, false},
		{"Bearer", flametest.Fault{Status: 401, Header: challenge("Bearer")}, false, false},
		{"Negotiate", flametest.Fault{Status: 401, Header: challenge("Negotiate")}, false, false},
		{"Basic, and a login was accepted", flametest.Fault{Status: 401, Body: `{"error":"no"}`, Header: challenge(`Basic realm="Application"`)}, true, true},
		{"HTML", flametest.Fault{Status: 401, Body: "<html>"}, false, false},
		{"HTML, and a login was accepted", flametest.Fault{Status: 401, Body: "<html>"}, true, false},
		{"HTML after a byte order mark", flametest.Fault{Status: 401, Body: "\ufeff <!doctype html>"}, false, false},
		{"HTML by its type alone", flametest.Fault{Status: 401, Body: "Please sign in <b>here</b>", Header: html}, false, false},
		{"HTML by its type, in capitals", flametest.Fault{Status: 401, Body: "Please sign in", Header: http.Header{"Content-Type": {"TEXT/HTML ; charset=utf-8"}}}, false, false},
		{"XHTML by its type", flametest.Fault{Status: 401, Body: "Please sign in", Header: http.Header{"Content-Type": {"application/xhtml+xml"}}}, false, false},
		{"empty, of the type HTML", flametest.Fault{Status: 401, Header: html}, false, true},
		{"200 of HTML after a byte order mark", flametest.Fault{Status: 200, Body: "\ufeff<html>"}, false, false},
		{"200 of HTML by its type alone", flametest.Fault{Status: 200, Body: "Sorry <b>", Header: html}, false, false},
		{"403", flametest.Fault{Status: 403, Body: "no"}, false, false},
		{"403 of HTML", flametest.Fault{Status: 403, Body: "<html>"}, false, false},
		{"404, and the token works", flametest.Fault{Status: 404, Body: "no"}, false, false},
		{"404 of HTML, and the token works", flametest.Fault{Status: 404, Body: "<html>"}, false, false},
		{"404 of a gateway, and the token works", flametest.Fault{Status: 404, Body: "no", Header: challenge("Basic")}, false, false},
		{"410, and the token works", flametest.Fault{Status: 410, Body: "no"}, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{})
			token := h.open().Token
			if !test.accepted {
				h.client, h.attempts = newClient(t, flame.Config{})
			}
			h.Always(flametest.OpRevoke, &test.fault)
			alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, token)
			if alreadyGone != test.proves || (err == nil) != test.proves {
				t.Errorf("DELETE: already gone %v, %v; want a proof: %v", alreadyGone, err, test.proves)
			}
			h.wantLive(token.Reveal())
			var e *flame.Error
			if still := test.fault.Status == 404 || test.fault.Status == 410; errors.As(err, &e) && (e.StillAlive != still || still && errors.Is(e, flame.ErrForeign)) {
				t.Errorf("still alive: %v, want %v: %v", e.StillAlive, still, e)
			}

			h.Always(flametest.OpCheck, &test.fault)
			alive, err := h.client.Check(t.Context(), h.endpoint, token)
			if test.fault.Status == 401 && (err == nil) != test.proves || alive && test.name != "403" {
				t.Errorf("GET: alive %v, %v; want a proof: %v", alive, err, test.proves)
			}
		})
	}
}

// A login that Flame refuses may ask for another scheme, as some frameworks do.
func TestRefusedLoginWithChallenge(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	h.Script(flametest.OpOpen, flametest.Fault{Status: 401, Body: "no", Header: http.Header{"Www-Authenticate": {`Basic realm="Application"`}}})
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrUnauthorized) {
		t.Errorf("got %v, want %v", err, flame.ErrUnauthorized)
	}
}

// 404 and 410 are checked once. A check that says nothing either leaves it unknown.
func TestNotFoundIsChecked(t *testing.T) {
	for _, test := range []struct {
		name        string
		check       *flametest.Fault
		dead        bool // at the fake
		alreadyGone bool
	}{
		{"dead", nil, true, true},
		{"alive", nil, false, false},
		{"not found either", &flametest.Fault{Status: 404, Body: "no"}, true, false},
		{"a gateway's 401", &flametest.Fault{Status: 401, Body: "<html>"}, true, false},
		{"no answer", &flametest.Fault{Drop: true}, true, false},
	} {
		for _, status := range []int{404, 410} {
			t.Run(fmt.Sprintf("%d, %s", status, test.name), func(t *testing.T) {
				h := start(t, flametest.Config{}, flame.Config{})
				token := h.open().Token
				if test.dead {
					h.RevokeAll()
				}
				h.Reset()
				h.Always(flametest.OpRevoke, &flametest.Fault{Status: status, Body: "no"})
				h.Always(flametest.OpCheck, test.check)
				alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, token)
				if alreadyGone != test.alreadyGone || (err == nil) != test.alreadyGone {
					t.Errorf("already gone: %v, %v", alreadyGone, err)
				}
				h.wantCount(flame.OpRevoke, 1)
				h.wantCount(flame.OpCheck, 1)
			})
		}
	}
}

// The client keeps sending the token in the body only if that made a request succeed.
func TestAccessTokenWithoutEffect(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	first, second := h.open(), h.open()
	h.Script(flametest.OpRevoke, flametest.Fault{Status: 400}, flametest.Fault{Status: 400})
	if err := h.call(t.Context(), flame.OpRevoke, first.Token.Reveal()); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("got %v, want %v", err, flame.ErrStatus)
	}
	if err := h.call(t.Context(), flame.OpRevoke, second.Token.Reveal()); err != nil {
		t.Error(err)
	}
	h.wantLive(first.Token.Reveal())
	var bodies []string
	for _, request := range h.Journal() {
		if request.Op == flametest.OpRevoke {
			bodies = append(bodies, string(request.Body))
		}
	}
	if got, want := fmt.Sprintf("%q", bodies), fmt.Sprintf("%q", []string{"", `{"access_token":"` + first.Token.Reveal() + `"}`, ""}); got != want {
		t.Errorf("bodies %s, want %s", got, want)
	}
}

func TestAccessTokenIsLearnedPerEndpoint(t *testing.T) {
	requiring := start(t, flametest.Config{RequireAccessToken: true}, flame.Config{})
	other := start(t, flametest.Config{}, flame.Config{})
	other.client = requiring.client
	for _, h := range []*harness{requiring, other, requiring} {
		token := h.open().Token.Reveal()
		if err := h.call(t.Context(), flame.OpRevoke, token); err != nil {
			t.Error(err)
		}
	}
	requiring.wantCount(flame.OpRevoke, 3)
	other.wantCount(flame.OpRevoke, 1)
	for _, request := range other.Journal() {
		if request.Op == flametest.OpRevoke && len(request.Body) != 0 {
			t.Errorf("DELETE has the body %q", request.Body)
		}
	}
}

// A success without a token counts as a lost session, and is not retried.
func TestOpenWithoutToken(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  flametest.Fault
		reason error
	}{
		{"HTML", flametest.Fault{Body: "<html>auth_token</html>", CarryOut: true}, flame.ErrNotJSON},
		{"a list", flametest.Fault{Body: `["auth_token"]`, CarryOut: true}, flame.ErrNotJSON},
		{"empty", flametest.Fault{Status: 200, CarryOut: true}, flame.ErrNotJSON},
		{"204", flametest.Fault{Status: 204, CarryOut: true}, flame.ErrNotJSON},
		{"no token", flametest.Fault{Body: `{"id":1}`, CarryOut: true}, flame.ErrNoToken},
		{"a number", flametest.Fault{Body: `{"auth_token":1}`, CarryOut: true}, flame.ErrNoToken},
		{"too large", flametest.Fault{Body: `{"auth_token":"tok","x":"` + strings.Repeat("x", 1<<20) + `"}`, CarryOut: true}, flame.ErrTooLarge},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 5})
			h.Script(flametest.OpOpen, test.fault)
			session, err := h.client.Open(t.Context(), h.endpoint, credentials)
			e := asError(t, err)
			if !errors.Is(err, test.reason) || session != (flame.Session{}) {
				t.Fatalf("got %v, want %v", err, test.reason)
			}
			if e.Lost == 0 || e.TokenRevoked || e.Status/100 != 2 || e.RequestID == "" {
				t.Errorf("got %+v", *e)
			}
			h.wantCount(flame.OpOpen, 1)
			h.wantCount(flame.OpRevoke, 0)
		})
	}
}

// The client reads at most 1 MiB of a body.
func TestLargeBody(t *testing.T) {
	body := func(size int) string {
		const start, end = `{"auth_token":"tok","x":"`, `"}`
		return start + strings.Repeat("x", size-len(start)-len(end)) + end
	}
	h := start(t, flametest.Config{}, flame.Config{})
	h.Script(flametest.OpOpen, flametest.Fault{Body: body(1 << 20)}, flametest.Fault{Body: body(1<<20 + 1)})
	if session := h.open(); session.Token.Reveal() != "tok" {
		t.Errorf("got %+v", session)
	}
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, flame.ErrTooLarge)
	}
	// Other responses need no body, so its size does not matter.
	for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
		h.Always(fakeOp[op], &flametest.Fault{Status: 200, Body: body(3 << 20)})
		if err := h.call(t.Context(), op, "tok"); err != nil {
			t.Error(err)
		}
	}
	h.Always(flametest.OpOpen, &flametest.Fault{Status: 403, Body: body(3 << 20)})
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("got %v, want %v", err, flame.ErrStatus)
	}
}

// The client revokes a token that it refuses to use, if a header can carry it.
func TestUnusableToken(t *testing.T) {
	for _, test := range []struct {
		name     string
		mark     string // makes the token unusable
		status   int    // of DELETE; 0: no fault
		requests int    // to revoke the token
		revoked  bool
	}{
		{"space", " ", 0, 1, true},
		{"quote", `"`, 0, 1, true},
		{"outside ASCII", "\u00e9", 0, 1, true},
		{"line break", "\n", 0, 0, false},
		{"replacement character", "\ufffd", 0, 0, false},
		{"unauthorized", " ", 401, 1, false},
		{"not found", " ", 404, 1, false},
		{"forbidden", " ", 403, 1, false},
		{"server error", " ", 500, 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
			if test.status != 0 {
				h.Always(flametest.OpRevoke, &flametest.Fault{Status: test.status})
			}
			h.endpoint = startMarkingProxy(t, h.URL(), test.mark)
			session, err := h.client.Open(t.Context(), h.endpoint, credentials)
			e := asError(t, err)
			if !errors.Is(err, flame.ErrTokenUnusable) || session != (flame.Session{}) {
				t.Fatalf("got %v, want %v", err, flame.ErrTokenUnusable)
			}
			if e.TokenRevoked != test.revoked || (e.Lost > 0) == test.revoked {
				t.Errorf("got %+v", *e)
			}
			live := 1
			if test.revoked {
				live = 0
			}
			if n := len(h.Live()); n != live {
				t.Errorf("%d tokens are live, want %d", n, live)
			}
			h.wantCount(flame.OpOpen, 1)
			h.wantCount(flame.OpRevoke, test.requests)
		})
	}
	t.Run("after a lost session", func(t *testing.T) {
		h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
		h.Script(flametest.OpOpen, flametest.Fault{Status: 502, CarryOut: true})
		h.endpoint = startMarkingProxy(t, h.URL(), " ")
		e := asError(t, h.call(t.Context(), flame.OpOpen, ""))
		if !e.TokenRevoked || e.Lost == 0 {
			t.Errorf("got %+v", *e)
		}
	})
}

// startMarkingProxy starts a proxy that inserts a mark into the tokens that the
// fake issues, and removes it from those that the client sends.
func startMarkingProxy(t *testing.T, url, mark string) flame.Endpoint {
	t.Helper()
	firstHalf := regexp.MustCompile(`"auth_token": "(.{10})`)
	escaped, err := json.Marshal(mark)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), r.Method, url+r.URL.Path, r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = r.Header.Clone()
		if marked, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Token token="); ok {
			before, after, found := strings.Cut(marked, mark)
			if !found {
				t.Error("the client sent the token without its mark")
			}
			request.Header.Set("Authorization", "Token token="+before+after)
		}
		request.Header.Del("Accept-Encoding")
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Error(err)
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		w.WriteHeader(response.StatusCode)
		_, _ = w.Write(firstHalf.ReplaceAll(body, []byte(`"auth_token": "${1}`+string(escaped[1:len(escaped)-1]))))
	}))
	t.Cleanup(server.Close)
	return parse(t, server.URL)
}

// The client does not send a token that a header cannot carry.
func TestInvalidTokenIsNotSent(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	for _, token := range []string{"", " s3cret", "s3cret\n", "s3\r\nX-Evil: cret", "s3\x00cret", "s3\ufffdcret"} {
		for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
			err := h.call(t.Context(), op, token)
			if !errors.Is(err, flame.ErrTokenUnusable) {
				t.Errorf("%s %q: got %v, want %v", methods[op], token, err, flame.ErrTokenUnusable)
			}
			if e := asError(t, err); e.Op != op || e.Host == "" {
				t.Errorf("%s %q: the error names another call: %v", methods[op], token, err)
			}
			if err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), "s3") {
				t.Errorf("%s %q: the error repeats the token: %v", methods[op], token, err)
			}
		}
	}
	if n := len(h.Journal()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// Rules for new tokens do not concern one that a state already holds.
func TestOldTokenIsSentAsItIs(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	for _, token := range []string{"s3 cret", `s3"cret`, "s3,cret;", "s3cr\u00e9t", strings.Repeat("x", 5000)} {
		for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
			h.Reset()
			if err := h.call(t.Context(), op, token); err != nil {
				t.Errorf("%s %q: %v", methods[op], token, err)
			}
			if journal := h.Journal(); len(journal) != 1 || journal[0].Header.Get("Authorization") != "Token token="+token {
				t.Errorf("%s %q: it was not sent as it is", methods[op], token)
			}
		}
	}
}

// Once the POST was sent, cancelling must not lose the token in its response.
func TestCancelledOpenReturnsItsToken(t *testing.T) {
	for _, fake := range []flametest.Config{{}, {TLS: true}} {
		for _, carryOut := range []bool{false, true} {
			h := start(t, fake, flame.Config{})
			h.Script(flametest.OpOpen, flametest.Fault{Hang: true, CarryOut: carryOut})
			ctx, cancel := context.WithCancel(t.Context())
			type result struct {
				session flame.Session
				err     error
			}
			ended := make(chan result)
			go func() {
				session, err := h.client.Open(ctx, h.endpoint, credentials)
				ended <- result{session, err}
			}()
			if err := h.Await(t.Context(), flametest.OpOpen, 1); err != nil {
				t.Fatal(err)
			}
			cancel()
			h.Release()
			r := <-ended
			if r.err != nil {
				t.Errorf("TLS %v, carried out %v: %v", fake.TLS, carryOut, r.err)
			}
			h.wantLive(r.session.Token.Reveal())
		}
	}
}

func TestCancelAbortsOtherRequests(t *testing.T) {
	for _, fake := range []flametest.Config{{}, {TLS: true}} {
		for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
			h := start(t, fake, flame.Config{MaxRetries: 5})
			token := h.open().Token.Reveal()
			h.Always(fakeOp[op], &flametest.Fault{Hang: true})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- h.call(ctx, op, token) }()
			if err := h.Await(t.Context(), fakeOp[op], 1); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; !errors.Is(err, flame.ErrInterrupted) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want %v", methods[op], err, flame.ErrInterrupted)
			}
			h.wantCount(op, 1)
		}
	}
}
