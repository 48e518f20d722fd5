// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"net/http"
	"net/url"
	"strconv"
)

// operation returns the call of the API that a method and a path denote.
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

// handle checks a request, carries it out, records in r what that did, and returns
// the response. With carryOut false it returns the same response but changes no
// session. The caller holds mu.
func (s *Server) handle(r *Request, carryOut bool) response {
	switch {
	case s.urlHasCredential(r):
		return errorResponse(http.StatusBadRequest, "a token in the URL")
	case !acceptsJSON(r.Header.Values("Accept")):
		return errorResponse(http.StatusNotAcceptable, "the format is not JSON")
	}
	switch r.Op {
	case OpOpen:
		return s.handleOpen(r, carryOut)
	case OpRevoke:
		return s.handleRevoke(r, carryOut)
	case OpCheck:
		return s.handleCheck(r)
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

func (s *Server) handleOpen(r *Request, carryOut bool) response {
	if r.RawQuery != "" {
		return errorResponse(http.StatusBadRequest, "no query expected")
	}
	if len(r.Header.Values("Authorization")) > 0 {
		return errorResponse(http.StatusBadRequest, "no Authorization expected")
	}
	login, problem := stringMembers(r, "user", "password")
	if problem != "" {
		return errorResponse(http.StatusBadRequest, problem)
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
	token, ended := s.sessions.open(login["user"], carryOut)
	if carryOut {
		r.Opened, r.Ended = token, ended
	}
	return jsonResponse(s.cfg.OpenStatus, s.sessionJSON(login["user"], token))
}

func (s *Server) handleRevoke(r *Request, carryOut bool) response {
	if r.RawQuery != "" {
		return errorResponse(http.StatusBadRequest, "no query expected")
	}
	if resp, ok := s.authenticate(r); !ok {
		return resp
	}
	switch members, problem := stringMembers(r, "access_token"); {
	case len(r.Body) == 0 && s.cfg.RequireAccessToken:
		return errorResponse(s.cfg.AccessTokenStatus, "access_token is missing")
	case len(r.Body) == 0:
	case problem != "":
		return errorResponse(http.StatusBadRequest, problem)
	case members["access_token"] != r.Token:
		return errorResponse(s.cfg.AccessTokenStatus, "access_token is not that of the header")
	}
	if carryOut {
		r.Ended = s.sessions.revoke(r.Token)
		if len(r.Ended) == 0 { // by Revoke, since authenticate
			return errorResponse(http.StatusUnauthorized, "no such session")
		}
	}
	return jsonResponse(s.cfg.RevokeStatus, []byte("{}"))
}

func (s *Server) handleCheck(r *Request) response {
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

// authenticate reports whether the request has a live token. If not, it also
// returns the response.
func (s *Server) authenticate(r *Request) (response, bool) {
	switch {
	case len(r.Header.Values("Authorization")) > 1:
		return errorResponse(http.StatusBadRequest, "more than one Authorization"), false
	case !s.sessions.isLive(r.Token):
		return errorResponse(http.StatusUnauthorized, "wrong key or no session"), false
	}
	return response{}, true
}
