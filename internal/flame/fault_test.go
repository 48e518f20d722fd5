// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func TestLostOpen(t *testing.T) {
	for _, test := range []lostOpen{
		{"dropped before", flametest.Fault{Drop: true}, 0, true},
		{"dropped after", flametest.Fault{Drop: true, CarryOut: true}, 1, true},
		{"cut", flametest.Fault{Cut: true, CarryOut: true}, 1, true},
		{"cut, not carried out", flametest.Fault{Cut: true}, 0, true},
		{"502 after", flametest.Fault{Status: 502, CarryOut: true}, 1, true},
		{"504 after", flametest.Fault{Status: 504, CarryOut: true}, 1, true},
		{"500", flametest.Fault{Status: 500}, 0, true},
		{"524", flametest.Fault{Status: 524}, 0, true},
		{"503", flametest.Fault{Status: 503}, 0, true},
		{"503 with Retry-After", flametest.Fault{Status: 503, Header: http.Header{"Retry-After": {"0"}}}, 0, false},
		{"503, cut", flametest.Fault{Status: 503, Body: "maintenance", Cut: true}, 0, true},
		{"429", flametest.Fault{Status: 429}, 0, false},
	} {
		for _, encrypted := range []bool{false, true} {
			name := test.name
			if encrypted {
				name += ", HTTP/2"
			}
			t.Run(name, func(t *testing.T) {
				h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 2})
				test.thenSuccess(t, h)
				if test.fault.Status != 429 { // a client retries that without limit
					test.always(t, h)
					test.thenRefusal(t, h)
				}
			})
		}
	}
}

// lostOpen is a fault after which the client may not know of a session.
type lostOpen struct {
	name  string
	fault flametest.Fault
	live  int  // sessions that a failed attempt leaves
	lost  bool // an attempt counts as a lost session
}

func (test *lostOpen) thenSuccess(t *testing.T, h *harness) {
	t.Helper()
	h.Script(flametest.OpOpen, test.fault, test.fault)
	session := h.open()
	lost := 0
	if test.lost {
		lost = 2
	}
	if session.Lost != lost {
		t.Errorf("%d lost sessions, want %d", session.Lost, lost)
	}
	if n := len(h.Live()); n != 2*test.live+1 {
		t.Errorf("%d tokens are live, want %d", n, 2*test.live+1)
	}
	h.wantCount(flame.OpOpen, 3)
	if next := h.open(); next.Lost != 0 {
		t.Errorf("%d lost sessions in the next call, want 0", next.Lost)
	}
}

func (test *lostOpen) always(t *testing.T, h *harness) {
	t.Helper()
	h.Reset()
	h.Always(flametest.OpOpen, &test.fault)
	e := asError(t, h.call(t.Context(), flame.OpOpen, ""))
	if (e.Lost > 0) != test.lost || e.Attempts != 3 {
		t.Errorf("got %+v", *e)
	}
	if test.fault.Status == 0 && (!errors.Is(e, flame.ErrLost) || e.Status != 0) {
		t.Errorf("got %+v, want %v", *e, flame.ErrLost)
	}
	h.wantCount(flame.OpOpen, 3)
}

// thenRefusal shows that a refused retry does not hide the lost session.
func (test *lostOpen) thenRefusal(t *testing.T, h *harness) {
	t.Helper()
	h.Reset()
	h.Script(flametest.OpOpen, test.fault, flametest.Fault{Status: 401})
	e := asError(t, h.call(t.Context(), flame.OpOpen, ""))
	if (e.Lost > 0) != test.lost || e.Status != 401 {
		t.Errorf("got %+v", *e)
	}
}

// Lost GET and DELETE requests are retried.
func TestLostCheckAndRevoke(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		for _, test := range []struct {
			name  string
			fault flametest.Fault
		}{
			{"dropped before", flametest.Fault{Drop: true}},
			{"dropped after", flametest.Fault{Drop: true, CarryOut: true}},
			{"503", flametest.Fault{Status: 503}},
			{"502 after", flametest.Fault{Status: 502, CarryOut: true}},
			{"503, cut", flametest.Fault{Status: 503, Body: "maintenance", Cut: true}},
		} {
			t.Run(fmt.Sprintf("%s, TLS %v", test.name, encrypted), func(t *testing.T) {
				h := start(t, flametest.Config{TLS: encrypted}, flame.Config{MaxRetries: 1})
				token := h.open().Token.Reveal()
				h.Script(flametest.OpCheck, test.fault)
				h.Script(flametest.OpRevoke, test.fault)
				if alive, err := h.client.Check(t.Context(), h.endpoint, flame.NewToken(token)); !alive || err != nil {
					t.Errorf("check: alive is %v, error %v", alive, err)
				}
				// If the retry gets 401, the lost request may have ended the session.
				if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, flame.NewToken(token)); alreadyGone || err != nil {
					t.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
				}
				h.wantLive()
			})
		}
		t.Run(fmt.Sprintf("cut, TLS %v", encrypted), func(t *testing.T) {
			// The status has arrived, and the body does not matter.
			h := start(t, flametest.Config{TLS: encrypted}, flame.Config{})
			token := h.open().Token.Reveal()
			h.Always(flametest.OpCheck, &flametest.Fault{Cut: true, CarryOut: true})
			h.Always(flametest.OpRevoke, &flametest.Fault{Cut: true, CarryOut: true})
			if alive, err := h.client.Check(t.Context(), h.endpoint, flame.NewToken(token)); !alive || err != nil {
				t.Errorf("check: alive is %v, error %v", alive, err)
			}
			if alreadyGone, err := h.client.Revoke(t.Context(), h.endpoint, flame.NewToken(token)); alreadyGone || err != nil {
				t.Errorf("revoke: alreadyGone is %v, error %v", alreadyGone, err)
			}
			h.wantLive()
		})
	}
}

// A failed connection is retried, and loses no session.
func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	plain := start(t, flametest.Config{}, flame.Config{}).URL()
	encrypted := start(t, flametest.Config{TLS: true}, flame.Config{})
	old := start(t, flametest.Config{TLS: true, TLSMaxVersion: tls.VersionTLS11}, flame.Config{})
	trust := func(h *harness) *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(h.CACertificate()))
		return pool
	}
	for _, test := range []struct {
		name   string
		url    string
		config flame.Config
		reason error
		detail string
		want   int // attempts
	}{
		{"refused", refused, flame.Config{}, flame.ErrUnreachable, "connection refused", 3},
		{"untrusted", encrypted.URL(), flame.Config{}, flame.ErrTLS, "not trusted", 1},
		{"another CA is trusted", encrypted.URL(), flame.Config{RootCAs: trust(old)}, flame.ErrTLS, "not trusted", 1},
		{"TLS 1.1", old.URL(), flame.Config{RootCAs: trust(old)}, flame.ErrTLS, "TLS 1.2", 3},
		{"TLS 1.1, no verification", old.URL(), flame.Config{InsecureSkipVerify: true}, flame.ErrTLS, "TLS 1.2", 3},
		{"plain server", strings.Replace(plain, "http:", "https:", 1), flame.Config{}, flame.ErrTLS, "plain http", 3},
	} {
		for _, op := range allOperations {
			t.Run(methods[op]+" "+test.name, func(t *testing.T) {
				test.config.MaxRetries = 2
				client, observed := newClient(t, test.config)
				h := &harness{T: t, client: client, endpoint: parse(t, test.url)}
				e := asError(t, h.call(t.Context(), op, "tok"))
				if !errors.Is(e, test.reason) || !strings.Contains(e.Detail, test.detail) || e.Status != 0 || e.Lost > 0 || e.DeadlineExceeded {
					t.Errorf("got %+v", *e)
				}
				if n := len(observed.list()); e.Attempts != test.want || n != test.want {
					t.Errorf("%d attempts, %d observed; want %d", e.Attempts, n, test.want)
				}
			})
		}
	}
	if n := len(encrypted.Journal()) + len(old.Journal()); n != 0 {
		t.Errorf("%d requests arrived without trusted TLS", n)
	}
}

func TestTLS(t *testing.T) {
	for name, config := range map[string]flame.Config{
		"trusted":         {},
		"no verification": {InsecureSkipVerify: true, RootCAs: x509.NewCertPool()},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, flametest.Config{TLS: true}, config)
			h.wantLive(h.open().Token.Reveal())
			if proto := h.Journal()[0].Proto; proto != "HTTP/2.0" {
				t.Errorf("the request used %s, want HTTP/2.0", proto)
			}
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		h := start(t, flametest.Config{TLS: true, TLSMaxVersion: tls.VersionTLS12}, flame.Config{})
		h.wantLive(h.open().Token.Reveal())
	})
}

// The client does not follow redirects. Its error has only scheme and host of the target.
func TestRedirects(t *testing.T) {
	elsewhere := start(t, flametest.Config{}, flame.Config{})
	host := strings.TrimSuffix(strings.TrimPrefix(elsewhere.URL(), "http://"), "/api/v1")
	const secret = "Secret-Token"
	for _, test := range []struct{ location, want string }{
		{elsewhere.URL() + "/sessions", "http://" + host},
		{"http://" + host + "/a?token=" + secret + "#" + secret, "http://" + host},
		{"http://ada:" + secret + "@" + host + "/", "http://" + host},
		{"HTTPS://Other.example:8443/x", "https://Other.example:8443"},
		{"//other.example/x", "//other.example"},
		{"https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443"},
		{"/sessions?x=" + secret, ""},
		{"?" + secret, ""},
		{"", ""},
		{"ftp://other.example/", ""},
		{"javascript:alert(1)", ""},
		{"https://" + secret + ".example/", ""},
		{"https://x." + strings.ToLower(secret) + "/", ""},
		{"https://sp%20ace.example/", ""},
		{"https://\u00e9.example/", ""},
		{"https://" + strings.Repeat("x", 300) + "/", ""},
		{"https://other.example:" + secret, ""},
		{"%zz", ""},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 5})
			for _, op := range allOperations {
				h.Always(fakeOp[op], &flametest.Fault{Status: status, Header: http.Header{"Location": {test.location}}})
				var err error
				switch op {
				case flame.OpOpen:
					_, err = h.client.Open(t.Context(), h.endpoint, flame.Credentials{User: flametest.User, Password: flame.NewPassword(secret)})
				default:
					err = h.call(t.Context(), op, secret)
				}
				e := asError(t, err)
				if !errors.Is(err, flame.ErrRedirect) || e.Status != status || e.Target != test.want {
					t.Errorf("%s, %d to %q: got %+v, want target %q", methods[op], status, test.location, *e, test.want)
				}
				h.wantCount(op, 1)
			}
		}
	}
	if n := len(elsewhere.Journal()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// A response that is not HTTP counts as lost.
func TestResponseIsNotHTTP(t *testing.T) {
	for _, response := range []string{
		"220 mail.example ESMTP\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nbroken header\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 1000)+"\r\n", 100) + "\r\n",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(response))
				_ = conn.Close()
			}
		}()
		client, _ := newClient(t, flame.Config{MaxRetries: 1})
		endpoint := parse(t, "http://"+listener.Addr().String())
		_, err = client.Open(t.Context(), endpoint, credentials)
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		<-done
		e := asError(t, err)
		if !errors.Is(err, flame.ErrLost) || e.Lost == 0 || e.Attempts != 2 {
			t.Errorf("%.30q: got %+v", response, *e)
		}
	}
}
