// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
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

// SessionID returns the first 16 hex digits of the token's SHA-256. It tells
// sessions apart and reveals nothing.
func (t Token) SessionID() string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// Validate reports why the text cannot be sent as a token in a header, without
// repeating it, or returns nil. It accepts visible ASCII without quotes and
// backslashes: nothing else can end the header or its token parameter.
func (t Token) Validate() error {
	if t.IsZero() {
		return errors.New("it is empty")
	}
	for _, c := range []byte(t.Reveal()) {
		switch {
		case c < ' ' || c == 0x7f:
			return errors.New("it holds a control character, such as a line break")
		case c == ' ':
			return errors.New("it holds a space")
		case c == '"' || c == '\'' || c == '\\' || c == '`':
			return errors.New("it holds a quote or a backslash")
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
	return text == strings.TrimSpace(text) && !strings.ContainsRune(text, '\uFFFD') &&
		!strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// parseSession parses the body of a response to POST sessions. Member names are
// case-sensitive, and the last of several equal ones counts. An error is one of
// the reasons of [Error]; with ErrTokenUnusable the session has the token, which
// must be revoked.
func parseSession(body []byte) (Session, error) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(body, &members)
	if err != nil {
		err = json.Unmarshal(fillMissingValues(body), &members)
	}
	if err != nil || members == nil { // nil: the body was null
		return Session{}, ErrNotJSON
	}
	session := Session{
		Token:    NewToken(jsonString(members["auth_token"])),
		UserID:   jsonScalar(members["id"]),
		Email:    jsonString(members["email"]),
		FullName: jsonString(members["full_name"]),
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

// jsonScalar returns a JSON string or number as text, or "". A number keeps its
// digits: an id beyond 2^53 must not be rounded.
func jsonScalar(raw json.RawMessage) string {
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil {
		return jsonString(raw)
	}
	return n.String()
}

// fillMissingValues puts null where an object member has no value: the sample
// response on the vendor's page is printed with `"id": ,`.
func fillMissingValues(body []byte) []byte {
	return stringOrMissingValue.ReplaceAllFunc(body, func(match []byte) []byte {
		if match[0] == '"' {
			return match
		}
		return append([]byte(":null"), match[1:]...)
	})
}

// Strings match too, so that what is inside them is left alone.
var stringOrMissingValue = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|:\s*[,}]`)
