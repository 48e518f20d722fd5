// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

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
		t.Error("Revoke must report whether the token was live")
	}
	h.want(h.get(second), http.StatusUnauthorized)
	h.open()
	h.RevokeAll()
	h.wantSessions(3, 3, 0)
}

func TestSessionJSON(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		path string
		body string // regular expression
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
				t.Errorf("body %s", r.body)
			}
			again := h.post()
			token := regexp.MustCompile(`"auth_token": "[^"]+"`)
			if token.ReplaceAllString(again.body, "") != token.ReplaceAllString(r.body, "") {
				t.Errorf("a second login of the same user got %s", again.body)
			}
		})
	}
}

func TestFullName(t *testing.T) {
	if name := fullName("grace.hopper_2@example.com"); name != "Grace Hopper 2" {
		t.Errorf("full name %q", name)
	}
}

func TestUsers(t *testing.T) {
	h := start(t, Config{Users: map[string]string{"grace": "cobol"}})
	r := h.send(t.Context(), "POST", "/sessions", `{"user":"grace","password":"cobol"}`, jsonBody)
	h.want(r, http.StatusOK)
	if !strings.Contains(r.body, `"email": null`) {
		t.Errorf("a login name without @ got %s", r.body)
	}
	h.want(h.post(), http.StatusUnauthorized)
}

func TestSuccessStatuses(t *testing.T) {
	h := start(t, Config{OpenStatus: http.StatusCreated, RevokeStatus: http.StatusNoContent})
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

// strictCase is a request, with headers as for harness.send, and the status that
// it must get.
type strictCase struct {
	name, method, path, body string
	headers                  []string
	status                   int
}

func TestStrictOpen(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	h.wantStatuses([]strictCase{
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
		{"HTML wanted", "POST", "/sessions", credentials, []string{jsonBody, "Accept: text/html"}, 406},
		{"JSON unwanted", "POST", "/sessions", credentials, []string{jsonBody, "Accept: application/json;q=0, */*"}, 406},
		{"anything wanted", "POST", "/sessions", credentials, []string{jsonBody, "Accept: text/html, */*;q=0.1"}, 200},
		{"the vendor's sample", "POST", "/sessions", credentials, []string{jsonBody, "Accept-Encoding: application/json"}, 200},
	})
	h.wantSessions(3, 0, 3) // the first, and the two cases with status 200
}

func TestStrictToken(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	h.wantStatuses([]strictCase{
		{"token in query", "GET", "/organizations?access_token=" + token, "", nil, 400},
		{"token as page", "GET", "/organizations?page=" + token, "", []string{auth(token)}, 400},
		{"token in query of DELETE", "DELETE", "/sessions?access_token=" + token, "", []string{auth(token)}, 400},
		{"token in path", "DELETE", "/sessions/" + token, "", []string{auth(token)}, 400},
		{"no token", "GET", "/organizations", "", nil, 401},
		{"no token on DELETE", "DELETE", "/sessions", "", nil, 401},
		{"two tokens", "DELETE", "/sessions", "", []string{auth(token), auth(token)}, 400},
		{"bearer", "GET", "/organizations", "", []string{"Authorization: Bearer " + token}, 401},
		{"quoted token", "GET", "/organizations", "", []string{auth(`"` + token + `"`)}, 401},
	})
	h.wantSessions(1, 0, 1)
}

func TestStrictRequest(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	h.wantStatuses([]strictCase{
		{"body on GET", "GET", "/organizations", "{}", []string{auth(token), jsonBody}, 400},
		{"page 0", "GET", "/organizations?page=0", "", []string{auth(token)}, 400},
		{"no page", "GET", "/organizations", "", []string{auth(token)}, 200},
		{"unknown parameter", "GET", "/organizations?q=1", "", []string{auth(token)}, 400},
		{"unknown path", "GET", "/elsewhere", "", []string{auth(token)}, 404},
		{"slash at the end", "POST", "/sessions/", credentials, []string{jsonBody}, 404},
		{"wrong method", "PUT", "/sessions", credentials, []string{jsonBody}, 405},
		{"wrong method for the list", "POST", "/organizations", "", nil, 405},
	})
	h.wantSessions(1, 0, 1)
}

// wantStatuses sends each request. It checks the response and the journal.
func (h *harness) wantStatuses(tests []strictCase) {
	for _, test := range tests {
		h.Run(test.name, func(t *testing.T) {
			h := &harness{T: t, Server: h.Server, client: h.client}
			r := h.send(t.Context(), test.method, test.path, test.body, test.headers...)
			h.want(r, test.status)
			if !json.Valid([]byte(r.body)) || strings.Contains(r.body, Password) {
				t.Errorf("body %s", r.body)
			}
			path, query, _ := strings.Cut(test.path, "?")
			seen := h.last()
			if seen.Method != test.method || seen.Path != "/api/v1"+path || seen.RawQuery != query ||
				string(seen.Body) != test.body || seen.Status != test.status {
				t.Errorf("journal has %s %s?%s, %d", seen.Method, seen.Path, seen.RawQuery, seen.Status)
			}
		})
	}
}
