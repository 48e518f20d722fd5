// SPDX-License-Identifier: MPL-2.0

package servertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// NginxConfig configures [StartNginx].
type NginxConfig struct {
	TLS bool // with HTTP/2, and a certificate for the loopback address and example.com
	// Server is what the server block holds. Paths in it begin in nginx's folder.
	Server string
}

// Nginx is a running nginx.
type Nginx struct {
	URL           string // scheme, host and port
	CACertificate string // PEM, to be trusted by clients; empty without TLS
	Stop          func() // ends it before the test does: connections are refused

	t        testing.TB
	dir      string
	switched string
	log      logFile
}

// One worker handles events in their order, which Requests relies on.
const nginxConfig = `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {}
http {
	client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; scgi_temp_path temp; uwsgi_temp_path temp;
	log_format json escape=json '{"method":"$request_method","url":"$uri","status":"$status","proto":"$server_protocol"}';
	access_log access.log json;
	lingering_close off; # it would put off the log
	server {
		listen 127.0.0.1:PORT TLS;
		ssl_certificate certificate.pem;
		ssl_certificate_key key.pem;
		SERVER
	}
}
`

// StartNginx starts nginx.
func StartNginx(t testing.TB, config NginxConfig) *Nginx {
	t.Helper()
	need(t)
	n := &Nginx{t: t, dir: scratch(t)}
	n.log = logFile{t: t, path: filepath.Join(n.dir, "access.log")}
	socket, port := listen(t)
	scheme, options := "http", ""
	certificate, key := lentCertificate(t)
	if config.TLS {
		scheme, options, n.CACertificate = "https", "ssl http2", certificate
	}
	n.URL = scheme + "://127.0.0.1:" + port
	write(t, n.dir, "certificate.pem", certificate)
	write(t, n.dir, "key.pem", key)
	write(t, n.dir, "nginx.conf", strings.NewReplacer("PORT", port, "TLS", options, "SERVER", config.Server).Replace(nginxConfig))
	// https://nginx.org/en/docs/control.html#upgrade: so a new nginx inherits the sockets of the old.
	n.Stop = run(t, n.dir, socket, []string{"NGINX=3;"}, "nginx", "-p", n.dir, "-c", "nginx.conf")
	return n
}

// lentCertificate returns the certificate of package httptest and its key.
func lentCertificate(t testing.TB) (certificatePEM, keyPEM string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", server.Certificate().Raw), encode("PRIVATE KEY", key)
}

// Switch creates an empty file in nginx's folder, for which the configuration can ask
// with `if (-f name)`, and removes the one before. With "", it creates none.
func (n *Nginx) Switch(name string) {
	n.t.Helper()
	if n.switched != "" {
		if err := os.Remove(filepath.Join(n.dir, n.switched)); err != nil {
			n.t.Fatal(err)
		}
	}
	if n.switched = name; name != "" {
		write(n.t, n.dir, name, "")
	}
}

// Requests returns the requests that nginx has answered, or given up, since the last
// call.
func (n *Nginx) Requests() Requests {
	n.t.Helper()
	// nginx logs a request after it has answered it, but before it turns to the next.
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing is sent
	}
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.URL+mark, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if response, err := transport.RoundTrip(request); err == nil { // no answer is one too
		_ = response.Body.Close()
	}
	return n.log.requests()
}
