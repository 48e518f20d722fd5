// SPDX-License-Identifier: MPL-2.0

package flame_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// One attempt is one request on the wire, however a server ends its stream.
func TestResetStreamIsNotRepeated(t *testing.T) {
	for _, test := range []struct {
		code http2.ErrCode
		lost bool // the request may have been carried out
	}{
		{http2.ErrCodeRefusedStream, false},
		{http2.ErrCodeProtocol, true},
		{http2.ErrCodeInternal, true},
		{http2.ErrCodeCancel, true},
	} {
		for _, op := range allOperations {
			for _, retries := range []int{0, 2} {
				t.Run(fmt.Sprintf("%v, %s, %d retries", test.code, methods[op], retries), func(t *testing.T) {
					server := startResetting(t, test.code)
					client, attempts := newClient(t, flame.Config{InsecureSkipVerify: true, MaxRetries: retries})
					h := &harness{T: t, client: client, endpoint: parse(t, server.url), attempts: attempts}
					err := h.call(t.Context(), op, "tok")
					var e *flame.Error
					if !errors.As(err, &e) {
						t.Fatalf("got %v", err)
					}
					if n := int(server.requests.Load()); n != retries+1 || len(attempts.list()) != n || e.Attempts != n {
						t.Errorf("%d requests, %d attempts, %d in the error; want %d", n, len(attempts.list()), e.Attempts, retries+1)
					}
					want := 0
					if test.lost && op == flame.OpOpen {
						want = retries + 1
					}
					if e.Lost != want {
						t.Errorf("%d sessions lost, want %d", e.Lost, want)
					}
				})
			}
		}
	}
}

// resetting is an HTTP/2 server that resets every stream.
type resetting struct {
	url      string
	requests atomic.Int64
}

func startResetting(t *testing.T, code http2.ErrCode) *resetting {
	t.Helper()
	certificate := httptest.NewTLSServer(nil) // lends its certificate
	t.Cleanup(certificate.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificate.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	server := &resetting{url: "https://" + listener.Addr().String()}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.serve(conn, code)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	return server
}

func (s *resetting) serve(conn net.Conn, code http2.ErrCode) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			s.requests.Add(1)
			err = framer.WriteRSTStream(frame.StreamID, code)
		}
		if err != nil {
			return
		}
	}
}

// Over HTTP/1, a request that was written to a stale connection is not sent again
// below the client.
func TestStaleConnectionIsNotRepeated(t *testing.T) {
	for _, op := range allOperations {
		t.Run(methods[op], func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			var requests atomic.Int64
			go func() { // answers the first request, and hangs up on those that follow
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go func() {
						defer conn.Close()
						reader := bufio.NewReader(conn)
						for {
							request, err := http.ReadRequest(reader)
							if err != nil {
								return
							}
							_, _ = io.Copy(io.Discard, request.Body)
							if requests.Add(1) > 1 {
								return
							}
							body := `{"auth_token":"tok"}`
							_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
						}
					}()
				}
			}()
			client, attempts := newClient(t, flame.Config{MaxRetries: 0})
			h := &harness{T: t, client: client, endpoint: parse(t, "http://"+listener.Addr().String()), attempts: attempts}
			if err := h.call(t.Context(), op, "tok"); err != nil {
				t.Fatal(err)
			}
			if err := h.call(t.Context(), op, "tok"); !errors.Is(err, flame.ErrLost) {
				t.Errorf("got %v, want that the connection was lost", err)
			}
			if n := requests.Load(); n != 2 || len(attempts.list()) != 2 {
				t.Errorf("%d requests in %d attempts, want 2 in 2", n, len(attempts.list()))
			}
		})
	}
}

// 101 turns the connection into something that has no end.
func TestSwitchingProtocolsIsRefused(t *testing.T) {
	for _, op := range allOperations {
		t.Run(methods[op], func(t *testing.T) {
			h := start(t, flametest.Config{}, flame.Config{MaxRetries: 3})
			released := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, buffer, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = buffer.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: something\r\n\r\n")
				_ = buffer.Flush()
				<-released
			}))
			defer server.Close()
			defer close(released)
			h.endpoint = parse(t, server.URL)
			err := h.call(t.Context(), op, "tok")
			var e *flame.Error
			if !errors.As(err, &e) || !errors.Is(err, flame.ErrStatus) || e.Status != http.StatusSwitchingProtocols || e.Attempts != 1 {
				t.Errorf("got %v", err)
			}
		})
	}
}
