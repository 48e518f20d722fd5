// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func TestRequests(t *testing.T) {
	for _, fake := range []flametest.Config{
		{}, {TLS: true}, {Version: 2}, {RequireAccessToken: true}, {RequireAccessToken: true, AccessTokenStatus: 422},
	} {
		h := start(t, fake, flame.Config{})
		var tokens []string
		for range 2 {
			token := h.open().Token.Reveal()
			tokens = append(tokens, token)
			for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
				if err := h.call(t.Context(), op, token); err != nil {
					t.Fatal(err)
				}
			}
		}
		basePath := "/api/v1"
		if fake.Version == 2 {
			basePath = "/v2"
		}
		revocations := 0
		for _, request := range h.Journal() {
			if request.Op == flametest.OpRevoke {
				revocations++
			}
			// The first DELETE has no body. Once the API has refused that, all others have one.
			tokenInBody := fake.RequireAccessToken && revocations > 1
			wantRequest(t, request, expectedRequest(request, basePath, tokenInBody))
			for _, token := range tokens {
				if strings.Contains(request.Path+request.RawQuery, token) {
					t.Errorf("%s: the URL contains the token", request.Op)
				}
			}
		}
		want := 2
		if fake.RequireAccessToken {
			want = 3
		}
		if revocations != want {
			t.Errorf("%d DELETE requests, want %d", revocations, want)
		}
	}
}

type requestParts struct{ path, query, authorization, contentType, body string }

// expectedRequest returns the parts that a request like this must have.
func expectedRequest(request flametest.Request, basePath string, tokenInBody bool) requestParts {
	sessions, authorization := basePath+"/sessions", "Token token="+request.Token
	switch request.Op {
	case flametest.OpOpen:
		body := `{"password":"` + flametest.Password + `","user":"` + flametest.User + `"}`
		return requestParts{path: sessions, contentType: "application/json", body: body}
	case flametest.OpCheck:
		return requestParts{path: basePath + "/organizations", query: "page=1&per_page=1", authorization: authorization}
	case flametest.OpRevoke:
		if tokenInBody {
			body := `{"access_token":"` + request.Token + `"}`
			return requestParts{path: sessions, authorization: authorization, contentType: "application/json", body: body}
		}
		return requestParts{path: sessions, authorization: authorization}
	}
	return requestParts{path: "(the client must not send such a request)"}
}

func wantRequest(t *testing.T, request flametest.Request, want requestParts) {
	t.Helper()
	header := func(name string) string { return strings.Join(request.Header.Values(name), "|") }
	got := requestParts{request.Path, request.RawQuery, header("Authorization"), header("Content-Type"), string(request.Body)}
	if got != want {
		t.Errorf("%s %s: got %+v, want %+v", request.Method, request.Path, got, want)
	}
	for name, want := range map[string]string{
		"User-Agent": userAgent, "Accept": "application/json",
		"Accept-Encoding": "gzip", // from net/http
	} {
		if got := header(name); got != want {
			t.Errorf("%s %s: %s is %q, want %q", request.Method, request.Path, name, got, want)
		}
	}
}

func TestObserve(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
	requestID := func(id string) http.Header { return http.Header{"X-Request-Id": {id}} }
	h.Script(flametest.OpOpen, flametest.Fault{Status: 503, Header: requestID("a")}, flametest.Fault{Drop: true}, flametest.Fault{Header: requestID("b")})
	h.Script(flametest.OpCheck, flametest.Fault{Status: 403, Header: requestID("c")})
	h.Script(flametest.OpRevoke, flametest.Fault{Header: requestID("d")})
	token := h.open().Token.Reveal()
	for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
		if err := h.call(t.Context(), op, token); err != nil {
			t.Fatal(err)
		}
	}
	id := flame.NewToken(token).SessionID()
	host := strings.Split(h.URL(), "/")[2]
	want := []flame.Attempt{
		{Method: "POST", Host: host, Path: "/api/v1/sessions", Number: 1, Status: 503, RequestID: "a", Err: flame.ErrStatus},
		{Method: "POST", Host: host, Path: "/api/v1/sessions", Number: 2, Err: flame.ErrLost},
		{Method: "POST", Host: host, Path: "/api/v1/sessions", Number: 3, Status: 200, RequestID: "b", SessionID: id},
		{Method: "GET", Host: host, Path: "/api/v1/organizations", Number: 1, Status: 403, RequestID: "c", SessionID: id, Err: flame.ErrStatus},
		{Method: "DELETE", Host: host, Path: "/api/v1/sessions", Number: 1, Status: 200, RequestID: "d", SessionID: id},
	}
	got := h.attempts.list()
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, attempt := range got {
		if attempt.Duration <= 0 || attempt.Duration > time.Minute {
			t.Errorf("attempt %d took %v", i, attempt.Duration)
		}
		if !errors.Is(attempt.Err, want[i].Err) {
			t.Errorf("attempt %d: %v, want %v", i, attempt.Err, want[i].Err)
		}
		attempt.Duration, attempt.Err, want[i].Err = 0, nil, nil
		if attempt != want[i] {
			t.Errorf("attempt %d: got %+v, want %+v", i, attempt, want[i])
		}
	}
}

// Observe gets its own copy of the error, which may be read while the call goes on.
func TestObservedErrorDoesNotChange(t *testing.T) {
	fake := start(t, flametest.Config{}, flame.Config{})
	fake.Always(flametest.OpOpen, &flametest.Fault{Status: 502})
	var readers sync.WaitGroup
	client := flame.New(flame.Config{
		MaxRetries: 3, FirstBackoff: time.Nanosecond,
		Observe: func(_ context.Context, attempt flame.Attempt) {
			var e *flame.Error
			if !errors.As(attempt.Err, &e) || e.Attempts != attempt.Number {
				t.Errorf("observed the attempt %+v", attempt)
			}
			readers.Go(func() { _ = fmt.Sprintf("%+v", *e) }) // for the race detector
		},
	})
	t.Cleanup(client.CloseIdleConnections)
	if _, err := client.Open(t.Context(), fake.endpoint, credentials); err == nil {
		t.Error("Open succeeded")
	}
	readers.Wait()
}

func TestAuthorizationHeader(t *testing.T) {
	// The vendor's page has this example.
	if got, want := flame.AuthorizationHeader(flame.NewToken("ULzr7GuYA6iyo9EyiFrf")), "Token token=ULzr7GuYA6iyo9EyiFrf"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
