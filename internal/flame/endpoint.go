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

// Endpoint is the base URL of a Flame API, path included. Spellings that differ
// in the case of scheme and host, in a default port or in slashes at the end give
// equal strings. The zero value is no endpoint; make one with [ParseEndpoint].
type Endpoint struct {
	base          *url.URL
	sessions      string
	organizations string
}

// ParseEndpoint reads an absolute http or https URL without user info, query
// or fragment. Its errors say what is wrong without repeating the value, which
// may hold a password.
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

	u.Scheme = strings.ToLower(u.Scheme)
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	u = u.JoinPath() // resolves dot segments
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")

	organizations := u.JoinPath("organizations")
	organizations.RawQuery = "page=1&per_page=1"
	return Endpoint{
		base:          u,
		sessions:      u.JoinPath("sessions").String(),
		organizations: organizations.String(),
	}, nil
}

// String gives the URL in its one normal spelling: scheme and host in lower
// case, no default port, no slash at the end.
func (e Endpoint) String() string {
	if e.base == nil {
		return ""
	}
	return e.base.String()
}

// IsZero reports whether e is no endpoint at all.
func (e Endpoint) IsZero() bool { return e.base == nil }

// Exposed reports whether passwords and tokens cross a network unencrypted on
// their way to e: plain http to anything but this machine.
func (e Endpoint) Exposed() bool {
	if e.base == nil || e.base.Scheme == "https" {
		return false
	}
	host := e.base.Hostname()
	if ip := net.ParseIP(host); ip != nil {
		return !ip.IsLoopback()
	}
	return host != "localhost" && !strings.HasSuffix(host, ".localhost")
}
