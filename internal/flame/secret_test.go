// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// However a struct with secrets is printed, they must not appear.
func TestSecretsPrintRedacted(t *testing.T) {
	const text = "s3cret"
	type inner struct {
		Exported Token
		hidden   Token
		password Password
	}
	value := struct {
		Session Session
		Inner   inner
		pointer *inner
		list    []Token
		keys    map[Token]Password
	}{
		Session: Session{Token: NewToken(text)},
		Inner:   inner{NewToken(text), NewToken(text), NewPassword(text)},
		pointer: &inner{NewToken(text), NewToken(text), NewPassword(text)},
		list:    []Token{NewToken(text)},
		keys:    map[Token]Password{NewToken(text): NewPassword(text)},
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", value)
		fmt.Fprintf(&out, verb+"\n", value.Session.Token)
		fmt.Fprintf(&out, verb+"\n", &value.Inner.password)
	}
	fmt.Fprintln(&out, value.Session.Token.String(), NewPassword(text).String())
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("", "token", value.Session.Token, "value", value)
	}
	if err := json.NewEncoder(&out).Encode(value.Session); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{text, fmt.Sprintf("%x", text), fmt.Sprintf("%X", text)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the output contains %q:\n%s", form, out.String())
		}
	}
	if n := strings.Count(out.String(), Redacted); n < 20 {
		t.Errorf("the output contains %q only %d times:\n%s", Redacted, n, out.String())
	}
	if value.Session.Token.Reveal() != text || value.Inner.password.Reveal() != text {
		t.Error("Reveal does not return the text")
	}
}

func TestSecretsCompare(t *testing.T) {
	a, sameText, otherText := NewToken("a"), NewToken("a"), NewToken("b")
	if a != sameText || a == otherText {
		t.Error("tokens do not compare by text")
	}
	if NewToken("") != (Token{}) || !NewToken("").IsZero() || NewToken("").Reveal() != "" || NewToken("a").IsZero() {
		t.Error("only the token without text must be zero")
	}
}
