// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// DefaultEndpoint is the base URL of version 1 of the API, from the vendor's
// page on authentication.
const DefaultEndpoint = "https://pull.flameanalytics.com/api/v1"

// Endpoint is the base URL of a Flame API, path included, as [ParseEndpoint]
// normalizes it. Endpoints compare with ==. The zero value is no endpoint.
type Endpoint struct{ scheme, host, path, rawPath string }

// ParseEndpoint parses an absolute http or https URL without user info, query or
// fragment. It normalizes the case of scheme and host, default ports, dot segments
// and trailing slashes. An error says what is wrong without repeating the value,
// which may hold a password.
func ParseEndpoint(s string) (Endpoint, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || s == "":
		return Endpoint{}, errors.New("it is not a URL")
	case u.User != nil:
		return Endpoint{}, errors.New("it holds a user name or password before the host name; set user and password instead")
	case u.Scheme == "":
		return Endpoint{}, errors.New("it has no scheme; begin it with https://")
	case !strings.EqualFold(u.Scheme, "https") && !strings.EqualFold(u.Scheme, "http"):
		return Endpoint{}, errors.New("its scheme is neither https nor http")
	case u.Hostname() == "":
		return Endpoint{}, errors.New("it has no host name")
	case u.RawQuery != "" || u.ForceQuery:
		return Endpoint{}, errors.New("it has a query (the part after the question mark)")
	case strings.Contains(s, "#"):
		return Endpoint{}, errors.New("it has a fragment (the part after the number sign)")
	}

	u = u.JoinPath() // removes dot segments
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return Endpoint{
		scheme: u.Scheme, host: u.Host,
		path: strings.TrimRight(u.Path, "/"), rawPath: strings.TrimRight(u.RawPath, "/"),
	}, nil
}

func (e Endpoint) url() *url.URL {
	return &url.URL{Scheme: e.scheme, Host: e.host, Path: e.path, RawPath: e.rawPath}
}

// String returns the normalized URL, or "" for the zero value.
func (e Endpoint) String() string { return e.url().String() }

// Origin returns scheme, host and port, such as "https://flame.example".
func (e Endpoint) Origin() string { return (&url.URL{Scheme: e.scheme, Host: e.host}).String() }

// IsZero reports whether e is the zero value.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// Plaintext reports whether passwords and tokens would cross a network
// unencrypted: plain http to anything but the loopback.
func (e Endpoint) Plaintext() bool {
	if e.scheme != "http" {
		return false
	}
	host := e.url().Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return !ip.IsLoopback()
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
