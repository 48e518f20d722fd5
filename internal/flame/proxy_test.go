// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// startBehindProxy is start with an endpoint that requests reach through a proxy, and
// could reach without it. net/http uses no proxy for the loopback, but one for
// 0.0.0.0, which reaches it too.
func startBehindProxy(t *testing.T, fake flametest.Config, config flame.Config) *harness {
	t.Helper()
	h := start(t, fake, config)
	h.endpoint = parse(t, strings.Replace(h.URL(), "127.0.0.1", "0.0.0.0", 1))
	return h
}

// setProxies sets the variables that choose a proxy, each as "NAME=value", and clears
// the others.
func setProxies(t *testing.T, variables ...string) {
	t.Helper()
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	for _, variable := range variables {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

// testProxy is an HTTP proxy that counts what it is asked.
type testProxy struct {
	*httptest.Server
	refuse              func(n int) int // the status to refuse the nth request with; 0: it passes
	connects, forwarded atomic.Int64
	authorization       atomic.Value // the last Proxy-Authorization
	forward             *httputil.ReverseProxy
}

// startProxy starts a proxy that speaks http or https.
func startProxy(t *testing.T, scheme string, refuse func(n int) int) *testProxy {
	t.Helper()
	transport := &http.Transport{} // without a proxy
	p := &testProxy{refuse: refuse, forward: &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, Transport: transport}}
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	if scheme == "https" {
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(func() {
		p.Close()
		transport.CloseIdleConnections()
	})
	return p
}

func passAll(int) int { return 0 }

func refuseAll(status int) func(int) int { return func(int) int { return status } }

// address returns the proxy's host and port.
func (p *testProxy) address() string { return p.Listener.Addr().String() }

// asked returns how many requests the proxy has got.
func (p *testProxy) asked() int { return int(p.connects.Load() + p.forwarded.Load()) }

func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.authorization.Store(r.Header.Get("Proxy-Authorization"))
	count := &p.forwarded
	if r.Method == http.MethodConnect {
		count = &p.connects
	}
	switch status := p.refuse(int(count.Add(1))); {
	case status != 0:
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"auth_token":"not-flames"}`)
	case r.Method == http.MethodConnect:
		p.tunnel(w, r.Host)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

// tunnel connects the client with a host until either hangs up.
func (p *testProxy) tunnel(w http.ResponseWriter, host string) {
	server, err := net.Dial("tcp", host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = server.Close()
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	go pipe(server, client)
	go pipe(client, server)
}

// wantProxyError checks an error that a proxy has caused: it is not Flame's, no
// session was lost, and nothing of the variable's value is in it.
func (h *harness) wantProxyError(err error, reason error, variable, detail string) *flame.Error {
	h.Helper()
	e := asError(h.T, err)
	if !errors.Is(e, reason) || e.Proxy != variable || !strings.Contains(e.Detail, detail) {
		h.Errorf("got %v of %q, want %v of %q with %q", err, e.Proxy, reason, variable, detail)
	}
	if errors.Is(e, flame.ErrUnauthorized) || e.Status != 0 || e.Lost != 0 {
		h.Errorf("got %+v, which is not the proxy's alone", e)
	}
	if text := fmt.Sprintf("%v %+v %v", err, *e, e.LogValue()); strings.Contains(text, "s3cret") || strings.Contains(text, "not-flames") {
		h.Errorf("a secret is in %s", text)
	}
	if n := len(h.Journal()); n != 0 {
		h.Errorf("Flame got %d requests", n)
	}
	return e
}

// Requests go through each kind of proxy, with its user and password.
func TestProxy(t *testing.T) {
	for _, tls := range []bool{false, true} {
		for _, scheme := range []string{"http", "https", ""} {
			t.Run(fmt.Sprintf("TLS %t, proxy %q", tls, scheme), func(t *testing.T) {
				proxy := startProxy(t, scheme, passAll)
				value := "ada:s3cret@" + proxy.address()
				if scheme != "" {
					value = scheme + "://" + value
				}
				setProxies(t, "HTTP_PROXY="+value, "HTTPS_PROXY="+value)
				h := startBehindProxy(t, flametest.Config{TLS: tls}, flame.Config{InsecureSkipVerify: true})
				token := h.open().Token
				for _, op := range []flame.Operation{flame.OpCheck, flame.OpRevoke} {
					if err := h.call(t.Context(), op, token.Reveal()); err != nil {
						t.Error(err)
					}
				}
				h.wantLive()
				connects, forwarded := proxy.connects.Load(), proxy.forwarded.Load()
				if tls && (connects != 1 || forwarded != 0) || !tls && (connects != 0 || forwarded != 3) {
					t.Errorf("the proxy got %d CONNECTs and %d other requests", connects, forwarded)
				}
				if got := proxy.authorization.Load(); got != "Basic YWRhOnMzY3JldA==" {
					t.Errorf("the proxy got the Authorization %q", got)
				}
			})
		}
	}
}

// Whatever a CONNECT is answered with is the proxy's answer, and nothing was sent to
// Flame: no 401 is a wrong password, no 403 a live token and no 404 a dead one.
func TestProxyRefusesConnect(t *testing.T) {
	const retries = 2
	for status, attempts := range map[int]int{
		401: 1, 403: 1, 407: 1, 201: 1, 204: 1, 302: 1, 400: 1, 404: 1, 405: 1, 410: 1, 422: 1, 501: 1,
		429: retries + 1, 500: retries + 1, 502: retries + 1, 503: retries + 1, 504: retries + 1,
	} {
		for _, op := range allOperations {
			t.Run(fmt.Sprintf("%d, %s", status, methods[op]), func(t *testing.T) {
				proxy := startProxy(t, "http", refuseAll(status))
				setProxies(t, "HTTPS_PROXY=http://ada:s3cret@"+proxy.address())
				h := startBehindProxy(t, flametest.Config{TLS: true}, flame.Config{MaxRetries: retries})
				e := h.wantProxyError(h.call(t.Context(), op, "tok"), flame.ErrProxy, "HTTPS_PROXY", "")
				if e.ProxyStatus != status || !strings.Contains(e.Error(), "the proxy refused: "+flame.HTTPStatusMeaning(status)) {
					t.Errorf("got %v", e)
				}
				if n := proxy.asked(); n != attempts || e.Attempts != attempts || len(h.attempts.list()) != attempts {
					t.Errorf("%d requests to the proxy, %d attempts, want %d", n, e.Attempts, attempts)
				}
			})
		}
	}
}

// A session that is opened after a proxy's 503 was lost by nobody.
func TestProxyRecovers(t *testing.T) {
	proxy := startProxy(t, "http", func(n int) int {
		if n < 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	setProxies(t, "HTTPS_PROXY="+proxy.URL)
	h := startBehindProxy(t, flametest.Config{TLS: true}, flame.Config{MaxRetries: 2, InsecureSkipVerify: true})
	session := h.open()
	h.wantLive(session.Token.Reveal())
	h.wantCount(flame.OpOpen, 1)
	if n := proxy.connects.Load(); n != 3 || session.Lost != 0 {
		t.Errorf("%d CONNECTs, %d sessions lost; want 3 and none", n, session.Lost)
	}
}

// 407 is a proxy's, whether the environment names one or not.
func TestProxyAuthenticationOverPlainHTTP(t *testing.T) {
	for _, op := range allOperations {
		t.Run(methods[op], func(t *testing.T) {
			proxy := startProxy(t, "http", refuseAll(http.StatusProxyAuthRequired))
			setProxies(t, "http_proxy="+proxy.URL)
			h := startBehindProxy(t, flametest.Config{}, flame.Config{MaxRetries: 2})
			e := h.wantProxyError(h.call(t.Context(), op, "tok"), flame.ErrProxy, "http_proxy", "")
			if n := proxy.asked(); n != 1 || e.Attempts != 1 || e.ProxyStatus != http.StatusProxyAuthRequired {
				t.Errorf("%d requests to the proxy, %d attempts, status %d", n, e.Attempts, e.ProxyStatus)
			}

			setProxies(t)
			h.endpoint = parse(t, proxy.URL)
			h.wantProxyError(h.call(t.Context(), op, "tok"), flame.ErrProxy, "", "")
		})
	}
}

// A variable that names a proxy and cannot be used is an error: nothing goes around
// the proxy.
func TestProxyVariableUnusable(t *testing.T) {
	proxy := startProxy(t, "http", passAll)
	address := proxy.address()
	for name, test := range map[string]struct {
		value, detail string
	}{
		"escape":           {"http://ada:s3cret%@" + address, "is not a URL"},
		"no scheme":        {"ada:s3cret%zz@" + address, "is not a URL"},
		"number sign":      {"http://ada:s3cret#@" + address, "is not a URL"},
		"line break":       {"http://ada:s3cret@" + address + "\n", "is not a URL"},
		"space":            {" ", "is not a URL"},
		"port":             {"http://127.0.0.1:s3cret", "is not a URL"},
		"port too large":   {"127.0.0.1:99999", "has an unusable port"},
		"port left out":    {"http://127.0.0.1:", "has an unusable port"},
		"one slash":        {"http:/" + address, "has an unusable port"},
		"two slashes":      {"//" + address, "has no host name"},
		"only a scheme":    {"https://", "has no host name"},
		"another scheme":   {"ftp://ada:s3cret@" + address, "has a scheme other than"},
		"another protocol": {"socks4://" + address, "has a scheme other than"},
	} {
		for _, variable := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"} {
			t.Run(name+", "+variable, func(t *testing.T) {
				setProxies(t, variable+"="+test.value)
				overTLS := strings.HasPrefix(strings.ToLower(variable), "https")
				h := startBehindProxy(t, flametest.Config{TLS: overTLS}, flame.Config{InsecureSkipVerify: true, MaxRetries: 2})
				for _, op := range allOperations {
					e := h.wantProxyError(h.call(t.Context(), op, "tok"), flame.ErrProxyVariable, variable, variable+" "+test.detail)
					if e.Attempts != 1 {
						t.Errorf("%d attempts", e.Attempts)
					}
				}
			})
		}
	}
	t.Run("CGI", func(t *testing.T) {
		setProxies(t, "HTTP_PROXY="+proxy.URL, "REQUEST_METHOD=GET")
		h := startBehindProxy(t, flametest.Config{}, flame.Config{})
		h.wantProxyError(h.call(t.Context(), flame.OpOpen, ""), flame.ErrProxyVariable, "HTTP_PROXY", "REQUEST_METHOD")
	})
	if n := proxy.asked(); n != 0 {
		t.Errorf("the proxy got %d requests", n)
	}
}

// A variable that would not be used may say anything.
func TestProxyVariableUnused(t *testing.T) {
	const unusable = "http://ada:s3cret%@proxy"
	proxy := startProxy(t, "http", passAll)
	for name, test := range map[string]struct {
		variables []string
		loopback  bool
		forwarded int
	}{
		"NO_PROXY":                {variables: []string{"HTTP_PROXY=" + unusable, "NO_PROXY=other.example,0.0.0.0"}},
		"NO_PROXY for all":        {variables: []string{"HTTP_PROXY=" + unusable, "no_proxy=*"}},
		"loopback":                {variables: []string{"HTTP_PROXY=" + unusable}, loopback: true},
		"another scheme":          {variables: []string{"HTTPS_PROXY=" + unusable, "HTTP_PROXY=" + proxy.URL}, forwarded: 1},
		"lower case comes first":  {variables: []string{"HTTP_PROXY=" + unusable, "http_proxy=" + proxy.URL}, forwarded: 1},
		"REQUEST_METHOD, no HTTP": {variables: []string{"HTTPS_PROXY=" + unusable, "REQUEST_METHOD=GET"}},
	} {
		t.Run(name, func(t *testing.T) {
			setProxies(t, test.variables...)
			h := startBehindProxy(t, flametest.Config{}, flame.Config{})
			if test.loopback {
				h.endpoint = parse(t, h.URL())
			}
			before := proxy.asked()
			h.open()
			h.wantCount(flame.OpOpen, 1)
			if n := proxy.asked() - before; n != test.forwarded {
				t.Errorf("the proxy got %d requests, want %d", n, test.forwarded)
			}
		})
	}
}

// What fails on the way to the proxy is not blamed on the endpoint.
func TestProxyTLS(t *testing.T) {
	const retries = 2
	plain := startProxy(t, "http", passAll)
	untrusted := startProxy(t, "https", passAll)
	roots := x509.NewCertPool()
	roots.AddCert(untrusted.Certificate())
	for name, test := range map[string]struct {
		proxy    string
		roots    *x509.CertPool
		detail   string
		attempts int
	}{
		"plain":     {"https://ada:s3cret@" + plain.address(), nil, "the proxy did not answer in TLS", retries + 1},
		"untrusted": {untrusted.URL, nil, "the proxy's certificate is signed by an authority that is not trusted", 1},
		"misnamed":  {strings.Replace(untrusted.URL, "127.0.0.1", "localhost", 1), roots, "the proxy's certificate is for another host name", 1},
		"hangs up":  {"https://" + startScripted(t).address, nil, "the TLS handshake with the proxy failed", retries + 1},
	} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, tls), func(t *testing.T) {
				setProxies(t, "HTTP_PROXY="+test.proxy, "HTTPS_PROXY="+test.proxy)
				variable := map[bool]string{false: "HTTP_PROXY", true: "HTTPS_PROXY"}[tls]
				h := startBehindProxy(t, flametest.Config{TLS: tls}, flame.Config{MaxRetries: retries, RootCAs: test.roots})
				e := h.wantProxyError(h.call(t.Context(), flame.OpOpen, ""), flame.ErrTLS, variable, test.detail)
				if e.Attempts != test.attempts {
					t.Errorf("%d attempts, want %d", e.Attempts, test.attempts)
				}
			})
		}
	}
	if n := plain.asked() + untrusted.asked(); n != 0 {
		t.Errorf("the proxies got %d requests", n)
	}
}

// What fails behind the proxy is the endpoint's.
func TestProxyIsNotBlamed(t *testing.T) {
	for name, test := range map[string]struct {
		fake   flametest.Config
		detail string
	}{
		"certificate": {flametest.Config{TLS: true}, "the server's certificate is for another host name"},
		"plain":       {flametest.Config{}, "the server did not answer in TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startProxy(t, "http", passAll)
			setProxies(t, "HTTPS_PROXY="+proxy.URL)
			h := startBehindProxy(t, test.fake, flame.Config{})
			_, address, _ := strings.Cut(h.endpoint.String(), "//")
			h.endpoint = parse(t, "https://"+address)
			e := h.wantProxyError(h.call(t.Context(), flame.OpOpen, ""), flame.ErrTLS, "", test.detail)
			if n := int(proxy.connects.Load()); n != e.Attempts {
				t.Errorf("%d CONNECTs in %d attempts", n, e.Attempts)
			}
		})
	}
}

// What is lost after it went through the proxy is a lost answer, as without one.
func TestLostAnswerThroughProxy(t *testing.T) {
	proxy := startProxy(t, "http", passAll)
	setProxies(t, "HTTPS_PROXY="+proxy.URL)
	h := startBehindProxy(t, flametest.Config{TLS: true}, flame.Config{InsecureSkipVerify: true})
	h.Script(flametest.OpOpen, flametest.Fault{Drop: true, CarryOut: true})
	e := asError(t, h.call(t.Context(), flame.OpOpen, ""))
	if !errors.Is(e, flame.ErrLost) || e.Lost != 1 || e.Proxy != "" {
		t.Errorf("got %v of %q, %d lost; want a lost answer", e, e.Proxy, e.Lost)
	}
}

// A proxy that makes no connection: why, and whether it is asked again.
func TestProxyFails(t *testing.T) {
	const retries = 2
	refused := func(code string) []string { return []string{"\x05\x00", "\x05" + code + "\x00\x01"} }
	for name, test := range map[string]struct {
		scheme   string
		answers  []string // nil: it is not there
		reason   error
		detail   string
		attempts int
	}{
		"unreachable":             {"http", nil, flame.ErrUnreachable, "the proxy could not be reached", retries + 1},
		"unreachable, SOCKS":      {"socks5", nil, flame.ErrUnreachable, "the proxy could not be reached", retries + 1},
		"hangs up":                {"http", []string{}, flame.ErrUnreachable, "the proxy gave no valid answer", retries + 1},
		"not HTTP":                {"http", []string{"\x15\x03\x01\x00\x02\x02\x16"}, flame.ErrUnreachable, "the proxy gave no valid answer", retries + 1},
		"hangs up, SOCKS":         {"socks5", []string{}, flame.ErrUnreachable, "the proxy gave no valid answer", retries + 1},
		"not SOCKS":               {"socks5", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, flame.ErrUnreachable, "the proxy gave no valid answer", retries + 1},
		"SOCKS wants a password":  {"socks5", []string{"\x05\xff"}, flame.ErrProxy, "does not accept the user and password", 1},
		"SOCKS, wrong password":   {"socks5h", []string{"\x05\x02", "\x01\x01"}, flame.ErrProxy, "does not accept the user and password", 1},
		"SOCKS, not allowed":      {"socks5", refused("\x02"), flame.ErrProxy, "its rules do not allow", 1},
		"SOCKS, host unreachable": {"socks5h", refused("\x04"), flame.ErrUnreachable, "the proxy could not connect to the endpoint", retries + 1},
		"SOCKS, refused":          {"socks5", refused("\x05"), flame.ErrUnreachable, "the proxy could not connect to the endpoint", retries + 1},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startScripted(t, test.answers...)
			if test.answers == nil {
				proxy.close()
			}
			setProxies(t, "HTTPS_PROXY="+test.scheme+"://ada:s3cret@"+proxy.address)
			h := startBehindProxy(t, flametest.Config{TLS: true}, flame.Config{MaxRetries: retries})
			e := h.wantProxyError(h.call(t.Context(), flame.OpOpen, ""), test.reason, "HTTPS_PROXY", test.detail)
			if e.Attempts != test.attempts {
				t.Errorf("%d attempts, want %d", e.Attempts, test.attempts)
			}
			if n := int(proxy.accepted.Load()); test.answers != nil && n != test.attempts {
				t.Errorf("%d connections to the proxy, want %d", n, test.attempts)
			}
		})
	}
}

// A proxy that says nothing is the one that is slow.
func TestProxyIsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, scheme := range []string{"http", "https", "socks5"} {
		setProxies(t, "HTTPS_PROXY="+scheme+"://"+listener.Addr().String())
		h := startBehindProxy(t, flametest.Config{TLS: true}, flame.Config{RequestTimeout: 100 * time.Millisecond})
		h.wantProxyError(h.call(t.Context(), flame.OpOpen, ""), flame.ErrUnreachable, "HTTPS_PROXY", "through the proxy took too long")
	}
}

// scripted is a server that gives fixed answers on each connection, each after it has
// read something, and then hangs up.
type scripted struct {
	address  string
	accepted atomic.Int64
	close    func()
}

func startScripted(t *testing.T, answers ...string) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{address: listener.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			serving.Go(func() {
				defer conn.Close()
				buffer := make([]byte, 4096)
				for _, answer := range answers {
					if _, err := conn.Read(buffer); err != nil {
						return
					}
					_, _ = io.WriteString(conn, answer)
				}
			})
		}
	})
	s.close = sync.OnceFunc(func() {
		_ = listener.Close()
		serving.Wait()
	})
	t.Cleanup(s.close)
	return s
}
