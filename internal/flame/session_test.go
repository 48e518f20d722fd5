// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// sample is the response on the vendor's page. It is not valid JSON: its id has no value.
const sample = `{
 "auth_token":"ULzr7GuYA6iyo9EyiFrf",
 "id": ,
 "email": "support@flameanalytics.com"
}`

func TestSessionID(t *testing.T) {
	// The values come from sha256sum.
	for token, want := range map[string]string{
		"":                     "e3b0c44298fc1c14",
		"ULzr7GuYA6iyo9EyiFrf": "beb4e100de27cf34",
	} {
		if got := NewToken(token).SessionID(); got != want {
			t.Errorf("%q: %s, want %s", token, got, want)
		}
	}
}

func TestTokenValidate(t *testing.T) {
	for token, want := range map[string]string{
		"ULzr7GuYA6iyo9EyiFrf":    "",
		"nugyUyuzq6nqvm_uiesD":    "",
		"a":                       "",
		"-_.~+/=!#$%&()*:<>?@[]":  "",
		strings.Repeat("x", 4096): "",
		strings.Repeat("x", 4097): "longer than 4 kB",
		"s3,cret":                 "comma",
		"s3cret;":                 "semicolon",
		"":                        "empty",
		"s3cret\n":                "control character",
		"s3cret\r\nX-Evil: 1":     "control character",
		"s3\x00cret":              "control character",
		"s3\x7fcret":              "control character",
		"s3\tcret":                "control character",
		" s3cret":                 "space",
		"s3 cret":                 "space",
		"s3cret ":                 "space",
		`"s3cret"`:                "quote",
		"s3'cret":                 "quote",
		"s3`cret":                 "quote",
		`s3\cret`:                 "backslash",
		"s3crét":                  "ASCII",
		"s3cret\u2028":            "ASCII",
		"s3cret\xff":              "ASCII",
		"s3cret\u00a0":            "ASCII",
	} {
		err := NewToken(token).Validate()
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", token, err)
		case want != "" && err == nil:
			t.Errorf("%q: no error", token)
		case want != "" && !strings.Contains(err.Error(), want):
			t.Errorf("%q: %q does not say %q", token, err, want)
		case err != nil && strings.Contains(err.Error(), "s3"):
			t.Errorf("%q: the error repeats the token: %q", token, err)
		}
	}
}

// onlyToken is a session with no other member than its token, "tok".
var onlyToken = Session{Token: NewToken("tok")}

type parseTest struct {
	name, body string
	want       Session
	err        error
}

func runParseTests(t *testing.T, tests []parseTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseSession([]byte(test.body))
			if got != test.want || err != test.err {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, test.want, test.err)
			}
		})
	}
}

func TestParseSession(t *testing.T) {
	runParseTests(t, []parseTest{
		{"the vendor's sample", sample, Session{Token: NewToken("ULzr7GuYA6iyo9EyiFrf"), Email: "support@flameanalytics.com"}, nil},
		{
			"version 2, empty id", `{"auth_token":"tok","id":"","email":"a@b.c","full_name":"Ada Lovelace","photo_url":"x"}`,
			Session{Token: NewToken("tok"), Email: "a@b.c", FullName: "Ada Lovelace"},
			nil,
		},
		{
			"version 2, UUID as id", `{"id":"8b4e7a34-0b8e-4c9e-9f0a-0123456789ab","auth_token":"tok"}`,
			Session{Token: NewToken("tok"), UserID: "8b4e7a34-0b8e-4c9e-9f0a-0123456789ab"},
			nil,
		},
		{"version 1", `{"auth_token":"tok","id":42,"email":"a@b.c"}`, Session{Token: NewToken("tok"), UserID: "42", Email: "a@b.c"}, nil},
		{"only the token", `{"auth_token":"tok"}`, onlyToken, nil},
		{"with white space", "\r\n\t {\n\"auth_token\" :\t\"tok\"\n}\n\n", onlyToken, nil},
		{"unknown members", `{"auth_token":"tok","x":{"auth_token":"other"},"y":[1,{"id":2}]}`, onlyToken, nil},
		{"escapes", `{"auth_token":"t\u006fk","email":"\u00e9\n\"\\"}`, Session{Token: NewToken("tok"), Email: "é\n\"\\"}, nil},
		{"an escaped name", `{"auth\u005ftoken":"tok"}`, onlyToken, nil},
	})
}

func TestParseSessionOtherTypes(t *testing.T) {
	runParseTests(t, []parseTest{
		{"id beyond 2^53", `{"auth_token":"tok","id":9007199254740993}`, Session{Token: NewToken("tok"), UserID: "9007199254740993"}, nil},
		{"id beyond 2^64", `{"auth_token":"tok","id":123456789012345678901234567890}`, Session{Token: NewToken("tok"), UserID: "123456789012345678901234567890"}, nil},
		{"id is null", `{"auth_token":"tok","id":null}`, onlyToken, nil},
		{"id is a list", `{"auth_token":"tok","id":[1]}`, onlyToken, nil},
		{"id is an object", `{"auth_token":"tok","id":{"id":1}}`, onlyToken, nil},
		{"id is a boolean", `{"auth_token":"tok","id":true}`, onlyToken, nil},
		{"other members are null", `{"auth_token":"tok","email":null,"full_name":null}`, onlyToken, nil},
		{"other members are not strings", `{"auth_token":"tok","email":7,"full_name":["Ada"]}`, onlyToken, nil},
	})
}

func TestParseSessionMemberNames(t *testing.T) {
	runParseTests(t, []parseTest{
		{"duplicate member", `{"auth_token":"first","auth_token":"tok"}`, onlyToken, nil},
		{"duplicate member, the last is null", `{"auth_token":"tok","auth_token":null}`, Session{}, ErrNoToken},
		{"names in other case are ignored", `{"AUTH_TOKEN":"no","Id":1,"EMAIL":"no"}`, Session{}, ErrNoToken},
		{"names in other case do not override", `{"auth_token":"tok","Auth_Token":"no","ID":1}`, onlyToken, nil},
		{"a long s in the name", `{"ſ":1,"auth_toKen":"no"}`, Session{}, ErrNoToken}, // they fold to s and k
	})
}

func TestParseSessionMissingValues(t *testing.T) {
	runParseTests(t, []parseTest{
		{"id missing at the end", `{"auth_token":"tok","id": }`, onlyToken, nil},
		{"token missing", `{"auth_token": ,"id":1}`, Session{}, ErrNoToken},
		{"all missing", `{"auth_token":,"id":,"email":}`, Session{}, ErrNoToken},
		{"nested values missing", `{"x":{"y":,"z":},"auth_token":"tok"}`, onlyToken, nil},
		{"a string like a missing value", `{"auth_token":"tok","email":"a: ,b:}","id": ,"full_name":": ,\": ,"}`, Session{Token: NewToken("tok"), Email: "a: ,b:}", FullName: `: ,": ,`}, nil},
		{"a backslash before the closing quote", `{"auth_token":"tok","email":"\\","id": ,"full_name":"\\\": ,"}`, Session{Token: NewToken("tok"), Email: `\`, FullName: `\": ,`}, nil},
		{"two colons", `{"auth_token":"tok","id":: ,}`, Session{}, ErrNotJSON},
		{"a missing element", `{"auth_token":"tok","x":[1,,2]}`, Session{}, ErrNotJSON},
		{"a missing name", `{"auth_token":"tok",:1}`, Session{}, ErrNotJSON},
		{"a trailing comma", `{"auth_token":"tok",}`, Session{}, ErrNotJSON},
		{"missing, and invalid UTF-8", "{\"auth_token\":\"tok\",\"id\": ,\"email\":\"\xff\"}", Session{Token: NewToken("tok")}, nil},
	})
}

func TestParseSessionNotJSON(t *testing.T) {
	runParseTests(t, []parseTest{
		{"empty", ``, Session{}, ErrNotJSON},
		{"blank", " \n", Session{}, ErrNotJSON},
		{"HTML", `<!DOCTYPE html><html><body>: , auth_token</body></html>`, Session{}, ErrNotJSON},
		{"a list", `[{"auth_token":"tok"}]`, Session{}, ErrNotJSON},
		{"an empty list", `[]`, Session{}, ErrNotJSON},
		{"null", `null`, Session{}, ErrNotJSON},
		{"a string", `"tok"`, Session{}, ErrNotJSON},
		{"a number", `1`, Session{}, ErrNotJSON},
		{"truncated", `{"auth_token":"tok"`, Session{}, ErrNotJSON},
		{"truncated in the token", `{"auth_token":"to`, Session{}, ErrNotJSON},
		{"truncated at an escape", `{"auth_token":"to\`, Session{}, ErrNotJSON},
		{"two objects", `{"auth_token":"tok"}{}`, Session{}, ErrNotJSON},
		{"two byte order marks", "\ufeff\ufeff" + `{"auth_token":"tok"}`, Session{}, ErrNotJSON},
		{"nested too deeply", `{"auth_token":"tok","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, Session{}, ErrNotJSON},
		{"never closed", strings.Repeat(`{"a":`, 100000), Session{}, ErrNotJSON},
		{"nested deeply", `{"auth_token":"tok","x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, onlyToken, nil},
	})
}

func TestParseSessionNoToken(t *testing.T) {
	runParseTests(t, []parseTest{
		{"an empty object", `{}`, Session{}, ErrNoToken},
		{"token is empty", `{"auth_token":""}`, Session{}, ErrNoToken},
		{"token is null", `{"auth_token":null}`, Session{}, ErrNoToken},
		{"token is a number", `{"auth_token":123}`, Session{}, ErrNoToken},
		{"token is an object", `{"auth_token":{"auth_token":"tok"}}`, Session{}, ErrNoToken},
		{"token is a list", `{"auth_token":["tok"]}`, Session{}, ErrNoToken},
		{"nested token", `{"session":{"auth_token":"tok"}}`, Session{}, ErrNoToken},
	})
}

func TestParseSessionUnusableToken(t *testing.T) {
	runParseTests(t, []parseTest{
		{"token with a space", `{"auth_token":"a b","id":1}`, Session{Token: NewToken("a b"), UserID: "1"}, ErrTokenUnusable},
		{"token with a line break", `{"auth_token":"a\r\nb"}`, Session{Token: NewToken("a\r\nb")}, ErrTokenUnusable},
		{"token with a quote", `{"auth_token":"a\"b"}`, Session{Token: NewToken(`a"b`)}, ErrTokenUnusable},
		{"token outside ASCII", `{"auth_token":"é"}`, Session{Token: NewToken("é")}, ErrTokenUnusable},
		{"token is invalid UTF-8", "{\"auth_token\":\"a\xffb\"}", Session{Token: NewToken("a\ufffdb")}, ErrTokenUnusable},
		{"token with half a surrogate pair", `{"auth_token":"a\ud800b"}`, Session{Token: NewToken("a\ufffdb")}, ErrTokenUnusable},
		{"texts are Latin-1", "{\"auth_token\":\"tok\",\"id\":\"\xe9\",\"email\":\"a@b.c\",\"full_name\":\"J\xf6rg\"}", Session{Token: NewToken("tok"), Email: "a@b.c"}, nil},
		{"a byte order mark", "\ufeff" + `{"auth_token":"tok","id":1}`, Session{Token: NewToken("tok"), UserID: "1"}, nil},
	})
}

func TestFitsHeader(t *testing.T) {
	for token, want := range map[string]bool{
		"tok":       true,
		"a b":       true, // unusable, but a header can carry it
		`a"b`:       true,
		"é":         true,
		" a":        false, // a header would lose the space
		"a ":        false,
		"a\nb":      false,
		"a\tb":      false,
		"a\x7fb":    false,
		"a\x00b":    false,
		"a\ufffdb":  false,
		"a\u00a0":   false,
		"a\u00a0b":  true,
		"\u2003a b": false,
	} {
		if got := fitsHeader(NewToken(token)); got != want {
			t.Errorf("%q: %v, want %v", token, got, want)
		}
	}
}

func FuzzParseSession(f *testing.F) {
	for _, seed := range []string{
		sample, `{"auth_token":"tok","id":42,"email":"a@b.c","full_name":"Ada"}`,
		`{"auth_token":"tok","id":"8b4e7a34-0b8e-4c9e-9f0a-0123456789ab"}`,
		`{"auth_token":"a\"b: ,","id":}`, `{"auth_token":"a","auth_token":null}`, `{"auth_token":{"x":[1e999,true]}}`,
		`{"Auth_Token":"no"}`, "{\"auth_token\":\"\xff\"}", `{"auth_token":"\ud800"}`, `{"auth\u005ftoken":"tok"}`,
		`null`, `[]`, ``, `<html>`, `{"a":"\`, `{"a":,"b":}`, `{`, `"`, `:,`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		session, err := parseSession(body)
		if err == nil && session.Token.Validate() != nil {
			t.Fatalf("the session has the token %q", session.Token.Reveal())
		}
		if err != nil && !errors.Is(err, ErrTokenUnusable) && session != (Session{}) {
			t.Fatalf("got a session with the error %v", err)
		}
		var plain map[string]any
		if json.Unmarshal(body, &plain) != nil || plain == nil {
			return
		}
		want, _ := plain["auth_token"].(string)
		switch {
		case want == "":
			if !errors.Is(err, ErrNoToken) {
				t.Fatalf("got %v, want %v: the body has no token", err, ErrNoToken)
			}
		case session.Token.Reveal() != want:
			t.Fatalf("the token %q was parsed as %q, %v", want, session.Token.Reveal(), err)
		case (NewToken(want).Validate() == nil) != (err == nil):
			t.Fatalf("the token %q: got the error %v", want, err)
		}
	})
}

// A member that repeats the token or the password would be stored and shown unmasked.
func TestSessionWithoutEchoes(t *testing.T) {
	const token, password = "ULzr7GuYA6iyo9EyiFrf", "correct horse"
	for _, test := range []struct{ member, token, password, want string }{
		{"ada@example.com", token, password, "ada@example.com"},
		{token, token, password, ""},
		{password, token, password, ""},
		{"id-" + token, token, password, ""},
		{"ada:" + password + "@example.com", token, password, ""},
		{"ada", token, "a", "ada"}, // by chance
		{"a", token, "a", ""},
		{"1234567", token, "234567", "1234567"},
		{"123456789", token, "12345678", ""},
		{"", token, "", ""},
		{"ada", "", "", "ada"},
	} {
		session := Session{Token: NewToken(test.token), UserID: test.member, Email: test.member, FullName: test.member, Lost: 1}
		want := Session{Token: NewToken(test.token), UserID: test.want, Email: test.want, FullName: test.want, Lost: 1}
		if got := session.withoutEchoes(NewPassword(test.password)); got != want {
			t.Errorf("%q with the token %q and the password %q: %+v", test.member, test.token, test.password, got)
		}
	}
}
