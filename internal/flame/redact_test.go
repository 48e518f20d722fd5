// SPDX-License-Identifier: MPL-2.0

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

// forms returns the encodings in which a secret could leak.
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

// leaks returns the names of the forms of secrets that a text contains.
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

// printed returns all that can be printed of an error and of attempts.
func printed(err error, attempts []flame.Attempt) string {
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
	for _, attempt := range attempts {
		fmt.Fprintf(&b, "%+v %#v\n", attempt, attempt)
		show(attempt.Err)
	}
	return b.String()
}

var secrets = []string{
	"Simple-Secret_1.x", `p&ss w+rd/"quoted"\%2F<tag>`, "p\u00e4ssw\u00f6rd\U0001f525", "line\nbreak\ttab",
}

// The scan must find leaks, or the other tests prove nothing.
func TestScanFindsLeaks(t *testing.T) {
	for _, secret := range secrets {
		for name, form := range forms(secret) {
			for place, text := range map[string]string{
				"request ID": printed(nil, []flame.Attempt{{RequestID: "x" + form + "y"}}),
				"error":      printed(&flame.Error{Reason: flame.ErrStatus, Detail: form}, nil),
				"wrapped":    printed(fmt.Errorf("wrapped: %w", &flame.Error{Reason: flame.ErrStatus, Target: form}), nil),
				"attempt":    printed(nil, []flame.Attempt{{Err: errors.New("Post " + form)}}),
			} {
				if len(leaks(text, secret)) == 0 {
					t.Errorf("%q in %s, as %s: not found", secret, place, name)
				}
			}
		}
	}
}

// A server may repeat in its response everything that it was sent.
func TestEchoedSecretsAreNotKept(t *testing.T) {
	statuses := []int{
		0, 200, 201, 204, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 409, 410, 418, 422, 429,
		500, 502, 503, 504, 599,
	}
	for _, status := range statuses {
		t.Run(fmt.Sprintf("%d, TLS false", status), func(t *testing.T) {
			t.Parallel()
			for _, password := range secrets {
				testEcho(t, flametest.Config{}, status, password)
			}
		})
		t.Run(fmt.Sprintf("%d, TLS true", status), func(t *testing.T) {
			t.Parallel()
			testEcho(t, flametest.Config{TLS: true}, status, secrets[0]) // one password is enough: redaction does not depend on TLS
		})
	}
}

func testEcho(t *testing.T, fake flametest.Config, status int, password string) {
	t.Helper()
	fake.Users = map[string]string{"ada": password}
	h := start(t, fake, flame.Config{MaxRetries: 1})
	credentials := flame.Credentials{User: "ada", Password: flame.NewPassword(password)}
	session, err := h.client.Open(t.Context(), h.endpoint, credentials)
	if err != nil {
		t.Fatal(err)
	}
	fault := flametest.Fault{Status: status, Echo: true}
	for _, op := range allOperations {
		h.Script(fakeOp[op], fault)
		if status != 429 { // the client retries that without limit
			h.Always(fakeOp[op], &fault)
		}
		if op == flame.OpOpen {
			_, err = h.client.Open(t.Context(), h.endpoint, credentials)
		} else {
			err = h.call(t.Context(), op, session.Token.Reveal())
		}
		if found := leaks(printed(err, h.attempts.list()), password, session.Token.Reveal()); found != nil {
			t.Errorf("%s leaks the secret in the forms %q", methods[op], found)
		}
	}
}

// A request ID is kept if it has the form of one and repeats no secret.
func TestRequestID(t *testing.T) {
	const secret = "Simple-Secret_1.x"
	for _, test := range []struct {
		name, id string
		kept     bool
	}{
		{"usual", "8b4e7a34-0b8e-4c9e-9f0a-0123456789ab", true},
		{"all allowed kinds of characters", "aZ09._-", true},
		{"longest", strings.Repeat("x", 64), true},
		{"too long", strings.Repeat("x", 65), false},
		{"space", "a b", false},
		{"encoded line break", "a%0A", false},
		{"tag", "<script>", false},
		{"outside ASCII", "\u00e9", false},
		{"part of a secret", strings.TrimSuffix(secret, "x"), true},
		{"the secret", secret, false},
		{"the secret in upper case", strings.ToUpper(secret), false},
		{"the secret inside", "id-" + secret + "_1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := ""
			if test.kept {
				want = test.id
			}
			testRequestID(t, test.id, secret, want)
		})
	}
}

// testRequestID sends the secret as password and as token, and receives it as a
// new token, while each response has the request ID.
func testRequestID(t *testing.T, id, secret, want string) {
	t.Helper()
	h := start(t, flametest.Config{}, flame.Config{})
	header := http.Header{"X-Request-Id": {id}}
	check := func(secretIs string, err error) {
		t.Helper()
		attempts := h.attempts.list()
		got := attempts[len(attempts)-1].RequestID
		var e *flame.Error
		if got != want || errors.As(err, &e) && e.RequestID != want {
			t.Errorf("the secret is %s: kept %q, want %q", secretIs, got, want)
		}
	}

	h.Script(flametest.OpOpen, flametest.Fault{Status: 403, Header: header})
	_, err := h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: "ada", Password: flame.NewPassword(secret)})
	check("the refused password", err)

	h.Script(flametest.OpOpen, flametest.Fault{Body: `{"auth_token":"` + secret + `"}`, Header: header})
	_, err = h.client.Open(t.Context(), h.endpoint, credentials)
	check("the new token in the same response", err)

	for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
		for _, status := range []int{200, 403, 500} {
			h.Always(fakeOp[op], &flametest.Fault{Status: status, Header: header})
			check(fmt.Sprint("the token, status ", status), h.call(t.Context(), op, secret))
		}
	}
}
