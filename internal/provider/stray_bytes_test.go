// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// net/http logs the bytes that follow a whole response, through the standard logger
// of Go, which nothing masks.
func TestStrayBytesAreNotLogged(t *testing.T) {
	const canary, body = "stray-canary", `{"auth_token":"ULzr7GuYA6iyo9EyiFrf"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, buffer, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(buffer, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s{%q}", len(body), body, canary)
		_ = buffer.Flush()
		_, _ = io.Copy(io.Discard, conn) // until the client hangs up
	}))
	t.Cleanup(server.Close)
	for name, environ := range map[string][2]string{
		"stray bytes":    {"TF_LOG", "TRACE"},
		"HTTP/2 debug":   {"GODEBUG", "http2debug=2"},
		"provider's log": {"TF_LOG_PROVIDER", "DEBUG"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t, nil, oneSession)
			w.setenv(envEndpoint, server.URL)
			w.setenv("TF_LOG", "TRACE")
			w.setenv(environ[0], environ[1])
			for _, args := range [][]string{{"apply", "-auto-approve", "-input=false"}, {"plan", "-input=false"}, {"destroy", "-auto-approve", "-input=false"}} {
				r := w.must(args...)
				if all := r.Stdout + r.Stderr; strings.Contains(all, canary) || strings.Contains(all, "Unsolicited response") {
					t.Errorf("%s: the log has what followed a response", args[0])
				}
			}
		})
	}
}
