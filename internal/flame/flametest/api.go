package flametest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// operation says which call of the API a method and a path are.
func (s *Server) operation(method, path string) Operation {
	switch method + " " + path {
	case "POST " + s.basePath + "/sessions":
		return OpOpen
	case "DELETE " + s.basePath + "/sessions":
		return OpRevoke
	case "GET " + s.basePath + "/organizations":
		return OpCheck
	default:
		return OpOther
	}
}

// perform does what a request asks, if it is in order, and gives the answer.
// Where carryOut is false, the answer is the same but no session is touched.
func (s *Server) perform(r *Request, carryOut bool) response {
	switch {
	case s.urlHasCredential(r):
		return errorResponse(http.StatusBadRequest, "a token in the URL")
	case !acceptsJSON(r.Header.Values("Accept")):
		return errorResponse(http.StatusNotAcceptable, "the format is not JSON")
	}
	switch r.Op {
	case OpOpen:
		return s.performOpen(r, carryOut)
	case OpRevoke:
		return s.performRevoke(r, carryOut)
	case OpCheck:
		return s.performCheck(r)
	}
	switch r.Path {
	case s.basePath + "/sessions":
		return methodNotAllowed("POST, DELETE")
	case s.basePath + "/organizations":
		return methodNotAllowed("GET")
	}
	return errorResponse(http.StatusNotFound, "not found")
}

func methodNotAllowed(allowed string) response {
	resp := errorResponse(http.StatusMethodNotAllowed, "wrong method")
	resp.header.Set("Allow", allowed)
	return resp
}

func (s *Server) performOpen(r *Request, carryOut bool) response {
	if r.RawQuery != "" {
		return errorResponse(http.StatusBadRequest, "no query expected")
	}
	if len(r.Header.Values("Authorization")) > 0 {
		return errorResponse(http.StatusBadRequest, "no Authorization expected")
	}
	login, why := stringMembers(r, "user", "password")
	if why != "" {
		return errorResponse(http.StatusBadRequest, why)
	}
	if login["user"] == "" || login["password"] == "" {
		return errorResponse(http.StatusBadRequest, "user and password must not be empty")
	}
	password, known := Password, true
	if s.cfg.Users != nil {
		password, known = s.cfg.Users[login["user"]]
	}
	if !known || login["password"] != password {
		return errorResponse(http.StatusUnauthorized, "wrong user or password")
	}
	token := s.sessions.open(login["user"], carryOut)
	return jsonResponse(s.cfg.OpenStatus, s.sessionJSON(login["user"], token))
}

func (s *Server) performRevoke(r *Request, carryOut bool) response {
	if r.RawQuery != "" {
		return errorResponse(http.StatusBadRequest, "no query expected")
	}
	if resp, ok := s.authenticate(r); !ok {
		return resp
	}
	switch members, why := stringMembers(r, "access_token"); {
	case len(r.Body) == 0 && s.cfg.RequireAccessToken:
		return errorResponse(s.cfg.AccessTokenStatus, "access_token is missing")
	case len(r.Body) == 0:
	case why != "":
		return errorResponse(http.StatusBadRequest, why)
	case members["access_token"] != r.Token:
		return errorResponse(s.cfg.AccessTokenStatus, "access_token is not that of the header")
	}
	// Of two requests that end a token at once, one comes too late.
	if carryOut && !s.sessions.revoke(r.Token) {
		return errorResponse(http.StatusUnauthorized, "no such session")
	}
	return jsonResponse(s.cfg.CloseStatus, []byte("{}"))
}

func (s *Server) performCheck(r *Request) response {
	if len(r.Body) > 0 {
		return errorResponse(http.StatusBadRequest, "no body expected")
	}
	query, err := url.ParseQuery(r.RawQuery)
	if err != nil {
		return errorResponse(http.StatusBadRequest, "the query is malformed")
	}
	for name, values := range query {
		n, err := strconv.Atoi(values[0])
		if name != "page" && name != "per_page" || len(values) != 1 || err != nil || n < 1 {
			return errorResponse(http.StatusBadRequest, "the query takes page and per_page, each once and from 1")
		}
	}
	if resp, ok := s.authenticate(r); !ok {
		return resp
	}
	return jsonResponse(http.StatusOK, []byte(`[{"id":1,"name":"Analytical Engines"}]`))
}

// authenticate gives a refusal, and false, unless the request has a live token.
func (s *Server) authenticate(r *Request) (response, bool) {
	switch {
	case len(r.Header.Values("Authorization")) > 1:
		return errorResponse(http.StatusBadRequest, "more than one Authorization"), false
	case !s.sessions.isLive(r.Token):
		return errorResponse(http.StatusUnauthorized, "wrong key or no session"), false
	}
	return response{}, true
}

// urlHasCredential says whether a URL names a credential or holds a token that was
// given out: URLs end up in logs.
func (s *Server) urlHasCredential(r *Request) bool {
	query, _ := url.ParseQuery(r.RawQuery)
	for name := range query {
		switch name {
		case "access_token", "auth_token", "token", "user", "password":
			return true
		}
	}
	outsideToken := func(c rune) bool {
		return c != '-' && c != '_' && (c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c))
	}
	for _, part := range strings.FieldsFunc(r.Path+"?"+r.RawQuery, outsideToken) {
		if s.sessions.wasIssued(part) {
			return true
		}
	}
	return false
}

// acceptsJSON judges an Accept header by its most specific range that fits
// JSON. No header at all accepts everything.
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

// stringMembers reads a body that must be a JSON object of exactly these
// members, all strings. Else it says why not.
func stringMembers(r *Request, names ...string) (members map[string]string, why string) {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, named := parameters["charset"]
	if err != nil || mediaType != "application/json" || named && !strings.EqualFold(charset, "utf-8") {
		return nil, "Content-Type must be application/json"
	}
	var object map[string]*string // pointers: a null must not pass for ""
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

// sessionJSON is the answer to a POST. Version 1 has the members of the
// vendor's page on authentication, in its layout; version 2 has two more.
func (s *Server) sessionJSON(user, token string) []byte {
	sum := sha256.Sum256([]byte(user)) // the same user always has the same id
	session := struct {
		AuthToken string  `json:"auth_token"`
		ID        any     `json:"id"`
		Email     *string `json:"email"`
		FullName  string  `json:"full_name,omitempty"`
		PhotoURL  string  `json:"photo_url,omitempty"`
	}{AuthToken: token, ID: binary.BigEndian.Uint32(sum[:])>>1 + 1} // 1 to 2^31
	if strings.Contains(user, "@") {
		session.Email = &user
	}
	if s.cfg.Version == 2 {
		id := uuid(sum)
		session.ID = id
		session.FullName = fullName(user)
		session.PhotoURL = "https://photos.example.com/" + id + ".png"
	}
	if s.cfg.SampleID {
		session.ID = nil
	}
	body, _ := json.MarshalIndent(session, "", " ") // nothing in it can fail
	if s.cfg.SampleID {
		body = bytes.Replace(body, []byte(`"id": null,`), []byte(`"id": ,`), 1)
	}
	return body
}

// uuid makes a UUID of version 8, the one for values of one's own.
func uuid(sum [sha256.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// fullName makes "Ada Lovelace" out of "ada.lovelace@example.com".
func fullName(user string) string {
	local, _, _ := strings.Cut(user, "@")
	words := strings.FieldsFunc(local, func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	for i, word := range words {
		first, size := utf8.DecodeRuneInString(word)
		words[i] = string(unicode.ToUpper(first)) + word[size:]
	}
	return strings.Join(words, " ")
}
