// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"encoding/json"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// urlHasCredential reports whether the URL names a credential or contains an
// issued token. URLs end up in logs, so no credential belongs there.
func (s *Server) urlHasCredential(r *Request) bool {
	query, _ := url.ParseQuery(r.RawQuery)
	for name := range query {
		switch name {
		case "access_token", "auth_token", "token", "user", "password":
			return true
		}
	}
	isSeparator := func(c rune) bool {
		return c != '-' && c != '_' && (c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c))
	}
	for _, part := range strings.FieldsFunc(r.Path+"?"+r.RawQuery, isSeparator) {
		if s.sessions.wasIssued(part) {
			return true
		}
	}
	return false
}

// acceptsJSON reports whether an Accept header accepts JSON, by its most
// specific matching range (RFC 9110, section 12.5.1). No header accepts
// everything.
func acceptsJSON(values []string) bool {
	if len(values) == 0 {
		return true
	}
	specificity := map[string]int{"*/*": 1, "application/*": 2, "application/json": 3}
	best, accepted := 0, false
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		mediaRange, parameters, err := mime.ParseMediaType(item)
		if err != nil || specificity[mediaRange] <= best {
			continue
		}
		quality, err := strconv.ParseFloat(parameters["q"], 64)
		best = specificity[mediaRange]
		accepted = parameters["q"] == "" || err == nil && quality > 0
	}
	return accepted
}

// stringMembers parses a body that must be a JSON object with exactly the named
// members, all strings. Otherwise it returns the problem.
func stringMembers(r *Request, names ...string) (members map[string]string, problem string) {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, named := parameters["charset"]
	if err != nil || mediaType != "application/json" || named && !strings.EqualFold(charset, "utf-8") {
		return nil, "Content-Type must be application/json"
	}
	var object map[string]*string // pointers distinguish null from ""
	if !utf8.Valid(r.Body) || json.Unmarshal(r.Body, &object) != nil {
		return nil, "the body is not a JSON object of strings"
	}
	members = make(map[string]string)
	for _, name := range names {
		if value := object[name]; value != nil {
			members[name] = *value
		}
	}
	if len(members) != len(names) || len(object) != len(names) {
		return nil, "the body must have these members: " + strings.Join(names, ", ")
	}
	return members, ""
}
