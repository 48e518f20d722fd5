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
	"sync"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var (
	integer = regexp.MustCompile(`^[1-9][0-9]*$`)
	uuid    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	none    = regexp.MustCompile(`^$`)
)

// One session from its opening to its end, against each reading of the API.
func TestSession(t *testing.T) {
	for _, test := range []struct {
		name     string
		fake     flametest.Config
		userID   *regexp.Regexp
		fullName string
		deletes  int // what the first DELETE takes
	}{
		{"version 1", flametest.Config{}, integer, "", 1},
		{"version 2", flametest.Config{Version: 2}, uuid, "Ada", 1},
		{"the sample's id", flametest.Config{SampleID: true}, none, "", 1},
		{"version 2, the sample's id", flametest.Config{Version: 2, SampleID: true}, none, "Ada", 1},
		{"TLS", flametest.Config{TLS: true}, integer, "", 1},
		{"shared tokens", flametest.Config{SharedTokens: true}, integer, "", 1},
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
				t.Errorf("user id %q does not match %s", session.UserID, test.userID)
			}
			if session.Email != flametest.User || session.FullName != test.fullName || session.Lost != 0 {
				t.Errorf("got %+v", session)
			}

			for range 2 {
				if alive, err := h.client.Check(t.Context(), h.endpoint, session.Token); !alive || err != nil {
					t.Errorf("check: %v, %v", alive, err)
				}
			}
			h.wantLive(session.Token.Reveal())

			if gone, err := h.client.Revoke(t.Context(), h.endpoint, session.Token); gone || err != nil {
				t.Errorf("revoke: %v, %v", gone, err)
			}
			h.wantLive()
			h.wantCount(flame.OpOpen, 1)
			h.wantCount(flame.OpCheck, 2)
			h.wantCount(flame.OpRevoke, test.deletes)

			if alive, err := h.client.Check(t.Context(), h.endpoint, session.Token); alive || err != nil {
				t.Errorf("check of a dead token: %v, %v", alive, err)
			}
			if gone, err := h.client.Revoke(t.Context(), h.endpoint, session.Token); !gone || err != nil {
				t.Errorf("revoke of a dead token: %v, %v", gone, err)
			}
		})
	}
}

func TestSharedToken(t *testing.T) {
	h := start(t, flametest.Config{SharedTokens: true}, flame.Config{})
	first, second := h.open(), h.open()
	if first.Token != second.Token {
		t.Fatal("two tokens")
	}
	if gone, err := h.client.Revoke(t.Context(), h.endpoint, first.Token); gone || err != nil {
		t.Errorf("revoke: %v, %v", gone, err)
	}
	if gone, err := h.client.Revoke(t.Context(), h.endpoint, second.Token); !gone || err != nil {
		t.Errorf("second revoke: %v, %v", gone, err)
	}
	h.wantLive()
}

// What the requests look like.
func TestRequests(t *testing.T) {
	for _, fake := range []flametest.Config{
		{}, {TLS: true}, {Version: 2}, {RequireAccessToken: true}, {RequireAccessToken: true, AccessTokenStatus: 422},
	} {
		h := start(t, fake, flame.Config{})
		var tokens []string
		for range 2 {
			session := h.open()
			tokens = append(tokens, session.Token.Reveal(), session.Token.Reveal())
			if err := h.call(t.Context(), flame.OpCheck, session.Token.Reveal()); err != nil {
				t.Fatal(err)
			}
			if err := h.call(t.Context(), flame.OpRevoke, session.Token.Reveal()); err != nil {
				t.Fatal(err)
			}
		}
		base := "/api/v1"
		if fake.Version == 2 {
			base = "/v2"
		}
		deletes := 0
		for _, request := range h.Journal() {
			header := func(name, want string) {
				t.Helper()
				if got := strings.Join(request.Header.Values(name), "|"); got != want {
					t.Errorf("%s: %s is %q, want %q", request.Op, name, got, want)
				}
			}
			header("User-Agent", userAgent)
			header("Accept", "application/json")
			header("Accept-Encoding", "gzip") // the HTTP library's own
			for _, token := range tokens {
				if strings.Contains(request.Path+request.RawQuery, token) {
					t.Errorf("%s: the token is in the URL", request.Op)
				}
			}
			body, contentType := "", ""
			switch request.Op {
			case flametest.OpOpen:
				header("Authorization", "")
				body, contentType = `{"password":"`+flametest.Password+`","user":"`+flametest.User+`"}`, "application/json"
				if request.Path != base+"/sessions" || request.RawQuery != "" {
					t.Errorf("%s goes to %s?%s", request.Op, request.Path, request.RawQuery)
				}
			case flametest.OpCheck:
				header("Authorization", "Token token="+request.Token)
				if request.Path != base+"/organizations" || request.RawQuery != "page=1&per_page=1" {
					t.Errorf("%s goes to %s?%s", request.Op, request.Path, request.RawQuery)
				}
			case flametest.OpRevoke:
				header("Authorization", "Token token="+request.Token)
				if request.Path != base+"/sessions" || request.RawQuery != "" {
					t.Errorf("%s goes to %s?%s", request.Op, request.Path, request.RawQuery)
				}
				// The first DELETE comes without a body; once the API has
				// refused that, all others come with it at once.
				if deletes++; fake.RequireAccessToken && deletes > 1 {
					body, contentType = `{"access_token":"`+request.Token+`"}`, "application/json"
				}
			default:
				t.Errorf("an unknown request %s %s", request.Method, request.Path)
			}
			header("Content-Type", contentType)
			if string(request.Body) != body {
				t.Errorf("%s: body %q, want %q", request.Op, request.Body, body)
			}
		}
		want := 2
		if fake.RequireAccessToken {
			want = 3
		}
		if deletes != want {
			t.Errorf("%d requests DELETE, want %d", deletes, want)
		}
	}
}

// Users and passwords arrive as they are.
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
			t.Errorf("%q: a wrong password gives %v", password, err)
		}
		h.wantCount(flame.OpOpen, 2)
	}
}

// Which statuses are tried again, and how often.
func TestStatuses(t *testing.T) {
	retried := map[int]bool{500: true, 502: true, 503: true, 504: true}
	for _, status := range []int{
		300, 301, 302, 303, 304, 307, 308,
		400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 415, 418, 421, 422, 423, 425, 426, 451, 499,
		500, 501, 502, 503, 504, 505, 507, 511, 599, 999,
	} {
		for _, op := range operations {
			for _, retries := range []int{0, 3} {
				t.Run(fmt.Sprintf("%s %d with %d retries", methods[op], status, retries), func(t *testing.T) {
					t.Parallel()
					h := start(t, flametest.Config{}, flame.Config{MaxRetries: retries})
					token := h.open().Token.Reveal()
					h.Reset()
					h.attempts.reset()
					h.Always(fakeOp[op], &flametest.Fault{Status: status, Body: "<html>", Header: http.Header{"X-Request-Id": {"req-1"}}})
					err := h.call(t.Context(), op, token)

					requests := 1
					switch {
					case retried[status]:
						requests += retries
					case op == flame.OpRevoke && (status == 400 || status == 422):
						requests++ // once more, with the token in the body
					}
					h.wantCount(op, requests)
					if n := len(h.Journal()); n != requests {
						t.Errorf("%d requests in all, want %d", n, requests)
					}
					tries := h.attempts.list()
					if len(tries) != requests {
						t.Errorf("%d tries observed, want %d", len(tries), requests)
					}
					for _, try := range tries {
						if try.Status != status || try.RequestID != "req-1" || try.Err == nil {
							t.Errorf("observed %+v", try)
						}
					}

					switch {
					case op == flame.OpCheck && status == 403, op == flame.OpCheck && status == 401,
						op == flame.OpRevoke && (status == 401 || status == 404 || status == 410):
						if err != nil {
							t.Errorf("got %v", err)
						}
						return
					}
					reason := flame.ErrStatus
					switch {
					case status < 400:
						reason = flame.ErrRedirect
					case status == 401:
						reason = flame.ErrUnauthorized
					}
					var e *flame.Error
					if !errors.As(err, &e) {
						t.Fatalf("got %v, want an Error", err)
					}
					if e.Op != op || !errors.Is(err, reason) || e.Status != status || e.RequestID != "req-1" || e.DeadlineExceeded || e.Wait != 0 {
						t.Errorf("got %+v", *e)
					}
					if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%v blames the context", err)
					}
					// A gateway's error means that Flame may have worked all the same.
					if maybe := op == flame.OpOpen && (status == 502 || status == 504); (e.Lost > 0) != maybe {
						t.Errorf("may have opened a session: %v", (e.Lost > 0))
					}
				})
			}
		}
	}
}

// What 401, 403, 404 and 410 say of a token.
func TestTokenStatuses(t *testing.T) {
	for _, test := range []struct {
		op     flame.Operation
		status int
		want   bool // alive, or gone
		err    bool
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
		{flame.OpRevoke, 404, true, false},
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
			if got != test.want || (err != nil) != test.err {
				t.Errorf("got %v, %v; want %v, error: %v", got, err, test.want, test.err)
			}
		})
	}
}

// Only once the body has helped, it is sent at once.
func TestAccessTokenThatDoesNotHelp(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	first, second := h.open(), h.open()
	h.Script(flametest.OpRevoke, flametest.Fault{Status: 400}, flametest.Fault{Status: 400})
	if err := h.call(t.Context(), flame.OpRevoke, first.Token.Reveal()); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("got %v", err)
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

// That one API wants the token in the body says nothing of another.
func TestAccessTokenIsLearnedPerAPI(t *testing.T) {
	wants := start(t, flametest.Config{RequireAccessToken: true}, flame.Config{})
	other := start(t, flametest.Config{}, flame.Config{})
	other.client = wants.client
	for _, h := range []*harness{wants, other, wants} {
		token := h.open().Token.Reveal()
		if err := h.call(t.Context(), flame.OpRevoke, token); err != nil {
			t.Error(err)
		}
	}
	wants.wantCount(flame.OpRevoke, 3)
	other.wantCount(flame.OpRevoke, 1)
	for _, request := range other.Journal() {
		if request.Op == flametest.OpRevoke && len(request.Body) != 0 {
			t.Errorf("DELETE came with %q", request.Body)
		}
	}
}

// A session without a usable token is no session, and says what became of it.
func TestOpenWithoutSession(t *testing.T) {
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
			var e *flame.Error
			if !errors.As(err, &e) || !errors.Is(err, test.reason) || session != (flame.Session{}) {
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

// The largest body that is read: 1 MiB.
func TestBodyOfOneMiB(t *testing.T) {
	body := func(size int) string {
		const begin, end = `{"auth_token":"tok","x":"`, `"}`
		return begin + strings.Repeat("x", size-len(begin)-len(end)) + end
	}
	h := start(t, flametest.Config{}, flame.Config{})
	h.Script(flametest.OpOpen, flametest.Fault{Body: body(1 << 20)}, flametest.Fault{Body: body(1<<20 + 1)})
	if session := h.open(); session.Token.Reveal() != "tok" {
		t.Errorf("got %+v", session)
	}
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	// Of other answers, the status is all that matters.
	large := &flametest.Fault{Status: 200, Body: body(3 << 20)}
	for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
		h.Always(fakeOp[op], large)
		if err := h.call(t.Context(), op, "tok"); err != nil {
			t.Error(err)
		}
	}
	h.Always(flametest.OpOpen, &flametest.Fault{Status: 403, Body: body(3 << 20)})
	if err := h.call(t.Context(), flame.OpOpen, ""); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("got %v", err)
	}
}

// A token that cannot be kept is revoked, where a header can carry it.
func TestUnusableToken(t *testing.T) {
	for _, test := range []struct {
		name    string
		mark    string // what is put into the middle of the fake's token
		refused int    // the fake answers DELETE with this; 0: genuinely
		deletes int
		revoked bool
	}{
		{"space", " ", 0, 1, true},
		{"quote", `"`, 0, 1, true},
		{"outside ASCII", "\u00e9", 0, 1, true},
		{"line break", "\n", 0, 0, false},
		{"bytes that are lost", "\ufffd", 0, 0, false},
		{"nobody knows it", " ", 401, 1, false},
		{"not found", " ", 404, 1, false},
		{"forbidden", " ", 403, 1, false},
		{"server error", " ", 500, 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
			if test.refused != 0 {
				h.Always(flametest.OpRevoke, &flametest.Fault{Status: test.refused})
			}
			h.endpoint = parse(t, marking(t, h.URL(), test.mark))
			session, err := h.client.Open(t.Context(), h.endpoint, credentials)
			var e *flame.Error
			if !errors.As(err, &e) || !errors.Is(err, flame.ErrTokenUnusable) || session != (flame.Session{}) {
				t.Fatalf("got %v", err)
			}
			if e.TokenRevoked != test.revoked || (e.Lost > 0) == test.revoked {
				t.Errorf("got %+v", *e)
			}
			live := 1
			if test.revoked {
				live = 0
			}
			if n := len(h.Live()); n != live {
				t.Errorf("%d tokens live, want %d", n, live)
			}
			h.wantCount(flame.OpOpen, 1)
			h.wantCount(flame.OpRevoke, test.deletes)
		})
	}
	t.Run("after a lost session", func(t *testing.T) {
		h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
		h.Script(flametest.OpOpen, flametest.Fault{Status: 502, CarryOut: true})
		h.endpoint = parse(t, marking(t, h.URL(), " "))
		err := h.call(t.Context(), flame.OpOpen, "")
		var e *flame.Error
		if !errors.As(err, &e) || !e.TokenRevoked || e.Lost == 0 {
			t.Errorf("got %v", err)
		}
	})
}

// marking is a server before the fake that puts a mark into the middle of the
// tokens that the fake gives out, and takes it out again on their way back.
func marking(t *testing.T, url, mark string) string {
	t.Helper()
	half := regexp.MustCompile(`"auth_token": "(.{10})`)
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
				t.Error("the token came back without its mark")
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
		_, _ = w.Write(half.ReplaceAll(body, []byte(`"auth_token": "${1}`+string(escaped[1:len(escaped)-1]))))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// A token that could break out of a header is not sent at all.
func TestTokenThatCannotBeSent(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{})
	for _, token := range []string{"", "s3 cret", "s3\r\nX-Evil: cret", `s3"cret`, "s3cr\u00e9t"} {
		for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
			err := h.call(t.Context(), op, token)
			if !errors.Is(err, flame.ErrTokenUnusable) {
				t.Errorf("%s %q: %v", methods[op], token, err)
			}
			if err != nil && strings.Contains(fmt.Sprintf("%+v %#v", err, err), "s3") {
				t.Errorf("%s %q: the error repeats it: %v", methods[op], token, err)
			}
		}
	}
	if n := len(h.Journal()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Once the POST is on the wire, its token arrives although the run was cancelled.
func TestCancelledOpenDeliversItsToken(t *testing.T) {
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

func TestCancelEndsOtherRequestsAtOnce(t *testing.T) {
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
				t.Errorf("%s: %v", methods[op], err)
			}
			h.wantCount(op, 1)
		}
	}
}

// What is observed of a call.
func TestObserve(t *testing.T) {
	h := start(t, flametest.Config{}, flame.Config{MaxRetries: 2})
	named := func(id string) http.Header { return http.Header{"X-Request-Id": {id}} }
	h.Script(flametest.OpOpen, flametest.Fault{Status: 503, Header: named("a")}, flametest.Fault{Drop: true}, flametest.Fault{Header: named("b")})
	h.Script(flametest.OpCheck, flametest.Fault{Status: 403, Header: named("c")})
	h.Script(flametest.OpRevoke, flametest.Fault{Header: named("d")})
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
			t.Errorf("try %d took %v", i, attempt.Duration)
		}
		if !errors.Is(attempt.Err, want[i].Err) {
			t.Errorf("try %d: %v, want %v", i, attempt.Err, want[i].Err)
		}
		attempt.Duration, attempt.Err, want[i].Err = 0, nil, nil
		if attempt != want[i] {
			t.Errorf("try %d: got %+v, want %+v", i, attempt, want[i])
		}
	}
}

// What Observe was given is its own: the call goes on with another.
func TestObservedErrorDoesNotChange(t *testing.T) {
	server := start(t, flametest.Config{}, flame.Config{})
	server.Always(flametest.OpOpen, &flametest.Fault{Status: 502})
	var readers sync.WaitGroup
	client := flame.New(flame.Config{
		MaxRetries: 3, FirstBackoff: time.Nanosecond,
		Observe: func(_ context.Context, attempt flame.Attempt) {
			var e *flame.Error
			if !errors.As(attempt.Err, &e) || e.Attempts != attempt.Number {
				t.Errorf("observed %+v", attempt)
			}
			readers.Go(func() { _ = fmt.Sprintf("%+v", *e) }) // the race detector watches
		},
	})
	t.Cleanup(client.CloseIdleConnections)
	if _, err := client.Open(t.Context(), server.endpoint, credentials); err == nil {
		t.Error("no error")
	}
	readers.Wait()
}

func TestStatusMeaning(t *testing.T) {
	for status, want := range map[int]string{
		401: "401 (wrong credentials or no session)",
		403: "403 (administrators only)",
		406: "406 (the format is not JSON)",
		429: "429 (too many requests)",
		503: "503 (down for maintenance)",
		502: "502 (bad gateway)",
		799: "799 (a status that HTTP does not know)",
	} {
		if got := flame.StatusMeaning(status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		err  flame.Error
		want string
	}{
		{flame.Error{Op: flame.OpOpen, Host: "h:1", Path: "/v1/sessions", Reason: flame.ErrUnauthorized, Status: 401}, "POST h:1/v1/sessions: not authorized: 401 (wrong credentials or no session)"},
		{flame.Error{Op: flame.OpCheck, Host: "h", Path: "/organizations", Reason: flame.ErrUnreachable, Detail: "connection refused"}, "GET h/organizations: no connection could be made: connection refused"},
		{flame.Error{Op: flame.OpRevoke, Host: "h", Path: "/sessions", Reason: flame.ErrTimeout}, "DELETE h/sessions: no whole answer arrived in time"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	// As on the vendor's page.
	if got, want := flame.AuthorizationHeader(flame.NewToken("ULzr7GuYA6iyo9EyiFrf")), "Token token=ULzr7GuYA6iyo9EyiFrf"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
