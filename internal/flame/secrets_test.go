package flame_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// forms are the spellings in which a secret could get out.
func forms(secret string) map[string]string {
	quoted, _ := json.Marshal(secret)
	return map[string]string{
		"raw":            secret,
		"upper case":     strings.ToUpper(secret),
		"JSON":           strings.Trim(string(quoted), `"`),
		"path":           url.PathEscape(secret),
		"query":          url.QueryEscape(secret),
		"base64":         base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64, in URL": base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"hex":            fmt.Sprintf("%x", secret),
	}
}

// leaks names the forms of the secrets that a text holds.
func leaks(text string, secrets ...string) (found []string) {
	for _, secret := range secrets {
		for name, form := range forms(secret) {
			if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
				found = append(found, name)
			}
		}
	}
	return found
}

// printed is all that can be seen of errors and attempts.
func printed(err error, tries []flame.Attempt) string {
	var b strings.Builder
	show := func(err error) {
		fmt.Fprintf(&b, "%v %+v %#v %q\n", err, err, err, err)
		var e *flame.Error
		if errors.As(err, &e) {
			fmt.Fprintf(&b, "%+v %#v\n", *e, *e)
			for _, inner := range e.Unwrap() {
				fmt.Fprintf(&b, "%+v\n", inner)
			}
		}
	}
	show(err)
	for _, try := range tries {
		fmt.Fprintf(&b, "%+v %#v\n", try, try)
		show(try.Err)
	}
	return b.String()
}

var secrets = []string{
	"Simple-Secret_1.x", `p&ss w+rd/"quoted"\%2F<tag>`, "p\u00e4ssw\u00f6rd\U0001f525", "line\nbreak\ttab",
}

// The scan finds what leaks; else the other tests would prove nothing.
func TestScanFindsLeaks(t *testing.T) {
	for _, secret := range secrets {
		for name, form := range forms(secret) {
			for what, text := range map[string]string{
				"request id": printed(nil, []flame.Attempt{{RequestID: "x" + form + "y"}}),
				"error":      printed(&flame.Error{Reason: flame.ErrStatus, Detail: form}, nil),
				"wrapped":    printed(fmt.Errorf("wrapped: %w", &flame.Error{Reason: flame.ErrStatus, Target: form}), nil),
				"tried":      printed(nil, []flame.Attempt{{Err: errors.New("Post " + form)}}),
			} {
				if len(leaks(text, secret)) == 0 {
					t.Errorf("%q in %s, %s: not found", secret, what, name)
				}
			}
		}
	}
}

// Whatever a server repeats of what it was sent, nobody gets to see it.
func TestEchoIsNotRepeated(t *testing.T) {
	statuses := []int{
		0, 200, 201, 204, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 418, 422, 429,
		500, 502, 503, 504, 599,
	}
	for _, encrypted := range []bool{false, true} {
		for _, status := range statuses {
			t.Run(fmt.Sprintf("%d, TLS %v", status, encrypted), func(t *testing.T) {
				t.Parallel()
				for i, password := range secrets {
					if encrypted && i > 0 {
						break // what is kept does not depend on HTTP/2 and password together
					}
					h := start(t, flametest.Config{TLS: encrypted, Users: map[string]string{"ada": password}}, flame.Config{MaxRetries: 1})
					session, err := h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: "ada", Password: flame.NewPassword(password)})
					if err != nil {
						t.Fatal(err)
					}
					fault := flametest.Fault{Status: status, Echo: true}
					for _, op := range operations {
						h.Script(fakeOp[op], fault)
						if status != 429 { // that is tried again for ever
							h.Always(fakeOp[op], &fault)
						}
						switch op {
						case flame.OpOpen:
							_, err = h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: "ada", Password: flame.NewPassword(password)})
						default:
							err = h.call(t.Context(), op, session.Token.Reveal())
						}
						if found := leaks(printed(err, h.attempts.list()), password, session.Token.Reveal()); found != nil {
							t.Errorf("%s gives the secret away, in the form %q", methods[op], found)
						}
					}
				}
			})
		}
	}
}

// A request ID is kept where it has the form of one and repeats no secret.
func TestRequestID(t *testing.T) {
	const secret = "Simple-Secret_1.x"
	type test struct {
		id   string
		kept bool
	}
	tests := map[string]test{
		"usual":              {"8b4e7a34-0b8e-4c9e-9f0a-0123456789ab", true},
		"all it may hold":    {"aZ09._-", true},
		"longest":            {strings.Repeat("x", 64), true},
		"too long":           {strings.Repeat("x", 65), false},
		"a space":            {"a b", false},
		"a line's end":       {"a%0A", false},
		"a tag":              {"<script>", false},
		"outside ASCII":      {"\u00e9", false},
		"not quite a secret": {strings.TrimSuffix(secret, "x"), true},
	}
	for name, form := range map[string]string{
		"as it is": secret, "in upper case": strings.ToUpper(secret), "inside": "id-" + secret + "_1",
	} {
		tests["the secret "+name] = test{form, false}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{})
			header := http.Header{"X-Request-Id": {test.id}}
			check := func(what string, err error) {
				t.Helper()
				tries := h.attempts.list()
				id := tries[len(tries)-1].RequestID
				want := ""
				if test.kept {
					want = test.id
				}
				var e *flame.Error
				if id != want || errors.As(err, &e) && e.RequestID != want {
					t.Errorf("%s: kept %q, want %q", what, id, want)
				}
			}

			h.Script(flametest.OpOpen, flametest.Fault{Status: 403, Header: header})
			_, err := h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: "ada", Password: flame.NewPassword(secret)})
			check("the password, refused", err)

			// The token has not been sent before: it has just come with the answer.
			h.Script(flametest.OpOpen, flametest.Fault{Body: `{"auth_token":"` + secret + `"}`, Header: header})
			_, err = h.client.Open(t.Context(), h.endpoint, credentials)
			check("the new token", err)

			for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
				for _, status := range []int{200, 403, 500} {
					h.Always(fakeOp[op], &flametest.Fault{Status: status, Header: header})
					check(fmt.Sprint("the token, ", status), h.call(t.Context(), op, secret))
				}
			}
		})
	}
}
