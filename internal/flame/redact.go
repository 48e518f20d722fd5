// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// requestID returns a response's X-Request-Id, or "" if it has not the form of
// one or repeats a secret.
func requestID(header http.Header, secrets []string) string {
	id := header.Get("X-Request-Id")
	if !requestIDForm.MatchString(id) || containsSecret(id, secrets) {
		return ""
	}
	return id
}

var requestIDForm = regexp.MustCompile(`^[0-9A-Za-z._-]{1,64}$`)

// redirectTarget returns scheme and host of a Location, or "" if they might repeat
// a secret.
func redirectTarget(location string, secrets []string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || !redirectHostForm.MatchString(u.Host) || containsSecret(u.Host, secrets) {
		return ""
	}
	switch scheme := strings.ToLower(u.Scheme); scheme {
	case "http", "https":
		return scheme + "://" + u.Host
	case "":
		return "//" + u.Host
	}
	return ""
}

var redirectHostForm = regexp.MustCompile(`^[0-9A-Za-z._:\[\]-]{1,255}$`)

// containsSecret reports whether s contains one of the secrets, in upper or lower case.
// What it is asked of has no percent sign, so nothing in it is encoded.
func containsSecret(s string, secrets []string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc(secrets, func(secret string) bool {
		return secret != "" && strings.Contains(s, strings.ToLower(secret))
	})
}
