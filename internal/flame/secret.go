// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// Token is the auth_token of a session. Anyone who has it can use the API as
// the user, so it prints as [Redacted] wherever it ends up: in a format string,
// in a struct that is printed whole, in a log record, in JSON. Tokens compare
// with ==. The zero value is no token.
type Token struct{ secret }

// NewToken returns the token with this text. It does not judge it; see
// [Token.Validate].
func NewToken(text string) Token { return Token{newSecret(text)} }

// Password is the password of a user. It prints as [Redacted], like a [Token].
type Password struct{ secret }

// NewPassword returns the password with this text.
func NewPassword(text string) Password { return Password{newSecret(text)} }

// Redacted is what a [Token] or a [Password] prints as.
const Redacted = "REDACTED"

// secret holds its text behind a pointer, because fmt ignores the methods of
// unexported struct fields and would print a string there.
type secret struct{ handle unique.Handle[string] }

func newSecret(text string) secret {
	if text == "" {
		return secret{}
	}
	return secret{unique.Make(text)}
}

// IsZero reports whether there is no text.
func (s secret) IsZero() bool { return s == secret{} }

// Reveal returns the text itself. Nothing that people read may hold it.
func (s secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.handle.Value()
}

// String returns [Redacted].
func (secret) String() string { return Redacted }

// Format writes [Redacted], whatever the verb.
func (secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, Redacted) }

// LogValue returns [Redacted].
func (secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns [Redacted]; encoding/json uses it too.
func (secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
