// SPDX-License-Identifier: MPL-2.0

package servertest

import (
	"context"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The user and the password that squid accepts, if its rules ask for them, and the host
// for which it goes to the loopback address: no proxy is asked for that itself.
const (
	SquidUser     = "proxy-user"
	SquidPassword = "proxy-s3cret"
	SquidHost     = "flame.example.com"
)

// Squid is a running squid, a forward proxy.
type Squid struct {
	Address string // host and port

	t   testing.TB
	log logFile
}

const squidConfig = `
http_port ADDRESS
pid_filename none
cache deny all
pinger_enable off
shutdown_lifetime 0 seconds
hosts_file DIR/hosts
cache_log /dev/null
logformat json {"method":"%rm","url":"%ru","status":"%>Hs"}
access_log stdio:DIR/access.log logformat=json
auth_param basic program /bin/sh DIR/check-password
acl users proxy_auth REQUIRED
RULES
`

const checkPassword = `while read -r user password; do
	if [ "$user $password" = "` + SquidUser + " " + SquidPassword + `" ]; then echo OK; else echo ERR; fi
done
`

// StartSquid starts squid with these rules (http_access). The ACL users is whoever has
// the user and the password.
func StartSquid(t testing.TB, rules string) *Squid {
	t.Helper()
	need(t)
	dir := scratch(t)
	s := &Squid{Address: "127.0.0.1:" + reservePort(t), t: t, log: logFile{t: t, path: filepath.Join(dir, "access.log")}}
	write(t, dir, "hosts", "127.0.0.1 "+SquidHost+"\n")
	write(t, dir, "check-password", checkPassword)
	write(t, dir, "squid.conf", strings.NewReplacer("ADDRESS", s.Address, "DIR", dir, "RULES", rules).Replace(squidConfig))
	run(t, dir, nil, nil, "squid", "-N", "-d", "1", "-f", "squid.conf")
	s.await()
	return s
}

// reservePort returns a port that only a server with SO_REUSEADDR, as squid is, can
// have until the test ends: Linux lets two such sockets have one port while at most one
// of them listens (socket(7)).
func reservePort(t testing.TB) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	syscall.CloseOnExec(socket)
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(address.(*syscall.SockaddrInet4).Port)
}

// await returns when squid answers.
func (s *Squid) await() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for err := s.ask(ctx); err != nil; err = s.ask(ctx) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.t.Fatalf("squid does not start: %v", err)
		}
	}
}

// ask asks squid for something that is not on its log.
func (s *Squid) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+mark, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Requests returns the requests that squid has answered since the last call.
func (s *Squid) Requests() Requests {
	s.t.Helper()
	// squid logs a request after it has answered it, but before it turns to the next.
	if err := s.ask(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return s.log.requests()
}
