package flame

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// Session is what Flame answers when a session is opened. A member that the
// answer did not give, or gave in a shape that cannot be shown as text, is "".
type Session struct {
	Token    string // the auth_token; secret
	UserID   string // the id of the user: an integer in version 1 of the API, a UUID in version 2
	Email    string
	FullName string

	// Lost counts the earlier tries of the same call whose answer never
	// arrived, although the request may have: each may have opened a session
	// that nobody holds the token of.
	Lost int
}

// SessionID tells sessions apart without revealing anything of the token: the
// first 16 hex digits of the token's SHA-256.
func SessionID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// CheckToken reports why a text cannot be used as a token in a header, or nil.
// Visible ASCII without quotes and backslashes passes: whatever else a token
// may hold, it must not be able to end the header or the parameter it stands in.
// The error does not repeat the token.
func CheckToken(token string) error {
	if token == "" {
		return errors.New("it is empty")
	}
	for _, c := range []byte(token) {
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

// parseSession reads the answer to POST sessions. Members are found by their
// exact names; of members given twice the last counts, as in most JSON readers.
// An error is one of the sentinels; with ErrTokenUnusable the session holds the
// token that was read, so that it can be revoked where a header can carry it.
func parseSession(body []byte) (Session, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil && json.Unmarshal(fillMissingValues(body), &members) != nil ||
		members == nil {
		return Session{}, ErrNotJSON
	}
	token, isText := text(members["auth_token"])
	session := Session{Token: token, UserID: scalar(members["id"])}
	session.Email, _ = text(members["email"])
	session.FullName, _ = text(members["full_name"])
	switch {
	case !isText || token == "":
		return Session{}, ErrNoToken
	// The JSON reader puts U+FFFD where it finds no UTF-8, so CheckToken sees that too.
	case CheckToken(token) != nil:
		return session, ErrTokenUnusable
	}
	return session, nil
}

// text reads a JSON string; null, other types and nothing at all are not ok.
func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// scalar reads a JSON string or number as text. A number keeps its digits as
// written: an id beyond 2^53 must not be rounded.
func scalar(raw json.RawMessage) string {
	if s, ok := text(raw); ok {
		return s
	}
	var n json.Number
	if len(raw) == 0 || json.Unmarshal(raw, &n) != nil {
		return ""
	}
	return n.String()
}

// fillMissingValues writes null where an object's member has no value: the
// sample answer on the vendor's page is printed with `"id": ,`.
func fillMissingValues(body []byte) []byte {
	if !utf8.Valid(body) {
		return body
	}
	var (
		out             bytes.Buffer
		inString, colon bool
	)
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case inString && c == '\\' && i+1 < len(body):
			out.WriteByte(c)
			i++
			c = body[i]
		case c == '"':
			inString, colon = !inString, false
		case inString:
		case c == ':':
			colon = true
		case c == ',' || c == '}':
			if colon {
				out.WriteString("null")
			}
			colon = false
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			colon = false
		}
		out.WriteByte(c)
	}
	return out.Bytes()
}
