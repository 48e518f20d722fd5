// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// proxies are the proxies that the environment names. The zero value is none.
//
// Unlike [http.ProxyFromEnvironment], they never send a request around a proxy whose
// variable cannot be used.
type proxies struct {
	byScheme map[string]proxy // by the scheme of the requested URL
	// applies returns nil for a URL that needs no proxy: NO_PROXY, or the loopback.
	applies func(*url.URL) (*url.URL, error)
}

// proxy is what one variable of the environment says.
type proxy struct {
	variable string // its name
	url      *url.URL
	err      error // why it cannot be used: a variableError
}

func proxiesFromEnvironment() proxies {
	env := httpproxy.FromEnvironment()
	cgi := env.CGI
	// Only NO_PROXY decides then, not whether the variables can be parsed.
	env.HTTPProxy, env.HTTPSProxy, env.CGI = "proxy", "proxy", false
	p := proxies{byScheme: map[string]proxy{}, applies: env.ProxyFunc()}
	for scheme, names := range map[string][2]string{
		"http":  {"http_proxy", "HTTP_PROXY"}, // the first that is set, as in httpproxy
		"https": {"https_proxy", "HTTPS_PROXY"},
	} {
		for _, name := range names {
			if value := os.Getenv(name); value != "" {
				p.byScheme[scheme] = parseProxy(name, value)
				break
			}
		}
	}
	// A client of a CGI program sets HTTP_PROXY with a header: https://go.dev/s/cgihttpproxy.
	if http, ok := p.byScheme["http"]; cgi && ok {
		p.byScheme["http"] = proxy{variable: http.variable, err: variableError(http.variable + " cannot be trusted while REQUEST_METHOD is set")}
	}
	return p
}

// parseProxy parses the value of a variable: a URL, or host and port of an http
// proxy. An error never repeats the value, which may hold a password.
func parseProxy(variable, value string) proxy {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	fault := ""
	switch {
	case err != nil:
		fault = "is not a URL"
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		fault = "has a scheme other than http, https, socks5 and socks5h"
	case u.Hostname() == "":
		fault = "has no host name"
	case !portUsable(u):
		fault = "has an unusable port"
	default:
		return proxy{variable: variable, url: u}
	}
	return proxy{variable: variable, err: variableError(variable + " " + fault)}
}

// portUsable reports whether a URL has a port that exists, or leaves it to the scheme.
func portUsable(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	_, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil
}

// lookup returns the proxy for a URL; the zero value if there is none.
func (p proxies) lookup(u *url.URL) proxy {
	found, ok := p.byScheme[u.Scheme]
	if !ok {
		return proxy{}
	}
	if applies, _ := p.applies(u); applies == nil {
		return proxy{}
	}
	return found
}

// proxyFor is for http.Transport.Proxy.
func (c *Client) proxyFor(request *http.Request) (*url.URL, error) {
	found := c.proxies.lookup(request.URL)
	return found.url, found.err
}

// variableError says which variable cannot be used as a proxy, and why.
type variableError string

func (e variableError) Error() string { return string(e) }

// connectRefusal is the status with which a proxy refused a CONNECT.
type connectRefusal int

func (e connectRefusal) Error() string { return "the proxy answered " + HTTPStatusMeaning(int(e)) }

// checkConnect is for http.Transport.OnProxyConnectResponse. The transport itself
// would keep only the text of the status.
func checkConnect(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return connectRefusal(response.StatusCode)
	}
	return nil
}

// refusedByProxy returns the error of an attempt that a proxy answered itself.
func (w *wire) refusedByProxy(status int) *Error {
	e := w.call.error(ErrProxy)
	e.Proxy, e.ProxyStatus = w.proxy, status
	return e
}

// blameProxy sets the reason of an attempt that got no connection, if it failed at
// the proxy that the variable names, and reports whether it did.
func (e *Error) blameProxy(variable string, err error, handshakeFailed bool) bool {
	detail, reason := proxyReason(err, handshakeFailed)
	if reason == nil {
		return false
	}
	e.Proxy, e.Detail, e.Reason = variable, detail, reason
	var refusal connectRefusal
	if errors.As(err, &refusal) {
		e.ProxyStatus = int(refusal)
	}
	return true
}

// proxyReason is transportReason for an attempt that got no connection through a
// proxy. It returns nil if the proxy let it through, and it failed behind it.
func proxyReason(err error, handshakeFailed bool) (detail string, reason error) {
	var (
		variable variableError
		refusal  connectRefusal
		op       *net.OpError
	)
	step := "" // the names are those of net/http: Transport.dialConn, socksCommand.String
	if errors.As(err, &op) {
		step = op.Op
	}
	switch {
	case errors.As(err, &variable):
		return string(variable), ErrProxyVariable
	case errors.As(err, &refusal):
		return "", ErrProxy
	case step == "proxyconnect":
		return reachReason(err, handshakeFailed)
	case timedOut(err):
		return "connecting through the proxy took too long", ErrUnreachable
	case step == "socks connect":
		return socksReason(op.Err)
	case handshakeFailed:
		return "", nil
	}
	return "the proxy gave no valid answer", ErrUnreachable
}

// reachReason returns why no connection to a proxy was made.
func reachReason(err error, handshakeFailed bool) (detail string, reason error) {
	var record tls.RecordHeaderError
	fault := certificateFault(err)
	switch {
	case errors.As(err, &record):
		return "the proxy did not answer in TLS; is it a plain http proxy?", ErrTLS
	case fault != "":
		return "the proxy's certificate " + fault, ErrTLS
	case handshakeFailed && timedOut(err):
		return "the TLS handshake with the proxy took too long", ErrUnreachable
	case handshakeFailed:
		return "the TLS handshake with the proxy failed; TLS 1.2 or later is needed", ErrTLS
	}
	return "the proxy could not be reached", ErrUnreachable
}

// socksReason returns why a SOCKS proxy made no connection. net/http tells that in
// the error's text alone (socksDialer.connect, socksReply.String).
func socksReason(err error) (detail string, reason error) {
	switch text := err.Error(); {
	case text == "no acceptable authentication methods", strings.Contains(text, "username/password"):
		return "it does not accept the user and password", ErrProxy
	case strings.HasSuffix(text, "not allowed by ruleset"):
		return "its rules do not allow the connection", ErrProxy
	case strings.HasPrefix(text, "unknown error"):
		return "the proxy could not connect to the endpoint", ErrUnreachable
	}
	return "the proxy gave no valid answer", ErrUnreachable
}
