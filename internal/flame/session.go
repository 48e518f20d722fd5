// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Session is what Flame responds when it opens a session (vendor's page on
// authentication; full_name: its public reference). A member that is missing, or
// is neither text nor a number, is "".
type Session struct {
	Token    Token  // auth_token
	UserID   string // id of the user: an integer in version 1 of the API, a UUID in version 2
	Email    string
	FullName string // full_name

	// Lost counts earlier attempts of the same call that may have opened a
	// session whose token never arrived.
	Lost int
}

// withoutEchoes returns the session without members that repeat its token or the
// password: they are shown and stored unmasked. A short secret may be part of a
// member by chance, so it counts only if it is the whole member.
func (s Session) withoutEchoes(password Password) Session {
	for _, member := range []*string{&s.UserID, &s.Email, &s.FullName} {
		for _, secret := range []string{s.Token.Reveal(), password.Reveal()} {
			if *member == secret || len(secret) >= 8 && strings.Contains(*member, secret) {
				*member = ""
			}
		}
	}
	return s
}

// SessionID returns the first 16 hex digits of the token's SHA-256. It tells
// sessions apart and reveals nothing.
func (t Token) SessionID() string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// maxToken is the length of the longest token that is accepted, in bytes. Servers
// limit the size of a header, often to 8 kB.
const maxToken = 4 << 10

// Validate reports why the text is not accepted as a token, without repeating it, or
// returns nil. It accepts visible ASCII that can end neither the header nor its token
// parameter: Rails cuts an unquoted parameter at a comma and a semicolon
// (ActionController::HttpAuthentication::Token).
func (t Token) Validate() error {
	switch {
	case t.IsZero():
		return errors.New("it is empty")
	case len(t.Reveal()) > maxToken:
		return errors.New("it is longer than 4 kB")
	}
	for _, c := range []byte(t.Reveal()) {
		switch {
		case c < ' ' || c == 0x7f:
			return errors.New("it holds a control character, such as a line break")
		case c == ' ':
			return errors.New("it holds a space")
		case c == '"' || c == '\'' || c == '\\' || c == '`':
			return errors.New("it holds a quote or a backslash")
		case c == ',' || c == ';':
			return errors.New("it holds a comma or a semicolon")
		case c >= 0x80:
			return errors.New("it holds a character outside ASCII")
		}
	}
	return nil
}

// fitsHeader reports whether a header can carry the token at all. U+FFFD stands
// for bytes that were lost in decoding.
func fitsHeader(token Token) bool {
	text := token.Reveal()
	return text != "" && text == strings.TrimSpace(text) && !strings.ContainsRune(text, '\uFFFD') &&
		!strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// parseSession parses the body of a response to POST sessions. Member names are
// case-sensitive, and the last of several equal ones counts. An error is one of
// the reasons of [Error]; with ErrTokenUnusable the session has the token, which
// must be revoked.
func parseSession(body []byte) (Session, error) {
	var members map[string]json.RawMessage
	body = bytes.TrimPrefix(body, []byte("\ufeff")) // a byte order mark
	err := json.Unmarshal(body, &members)
	if err != nil {
		err = json.Unmarshal(FillMissingValues(body), &members)
	}
	if err != nil || members == nil { // nil: the body was null
		return Session{}, ErrNotJSON
	}
	session := Session{
		Token:    NewToken(jsonString(members["auth_token"])),
		UserID:   jsonScalar(members["id"]),
		Email:    jsonText(members["email"]),
		FullName: jsonText(members["full_name"]),
	}
	switch {
	case session.Token.IsZero():
		return Session{}, ErrNoToken
	// The decoder replaces what is not UTF-8 by U+FFFD, which is not ASCII either.
	case session.Token.Validate() != nil:
		return session, ErrTokenUnusable
	}
	return session, nil
}

// jsonString returns a JSON string, or "" for any other value and for none.
func jsonString(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// jsonText is jsonString, but returns "" for what is not UTF-8, such as Latin-1.
func jsonText(raw json.RawMessage) string {
	if !utf8.Valid(raw) {
		return ""
	}
	return jsonString(raw)
}

// jsonScalar returns a JSON string or number as text, or "". A number keeps its
// digits: an id beyond 2^53 must not be rounded.
func jsonScalar(raw json.RawMessage) string {
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil {
		return jsonText(raw)
	}
	return n.String()
}

// FillMissingValues puts null where an object member of JSON has no value: the sample
// response on the vendor's page is printed with `"id": ,`.
func FillMissingValues(body []byte) []byte {
	return stringOrMissingValue.ReplaceAllFunc(body, func(match []byte) []byte {
		if match[0] == '"' {
			return match
		}
		return append([]byte(":null"), match[1:]...)
	})
}

// Strings match too, so that what is inside them is left alone.
var stringOrMissingValue = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|:\s*[,}]`)
