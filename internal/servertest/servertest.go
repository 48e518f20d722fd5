// SPDX-License-Identifier: MPL-2.0

// Package servertest starts real servers for tests: nginx, squid, and Rails on puma.
// Each listens on a free port of the loopback interface, keeps its files in a folder of
// its own, and ends with the test that started it:
//
//	nginx := servertest.StartNginx(t, servertest.NginxConfig{Server: "location / { return 404; }"})
//	// ... point the client at nginx.URL ...
//	if n := nginx.Requests().Count("POST"); n != 1 {
//		t.Errorf("nginx got %d POSTs, want 1", n)
//	}
//
// Tests that need a server are skipped unless the environment variable FLAME_SERVERS is
// set, as in `make test-servers`.
package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// need skips the test unless real servers are wanted.
func need(t testing.TB) {
	t.Helper()
	if os.Getenv("FLAME_SERVERS") == "" {
		t.Skip("it needs nginx, squid and Rails; run `make test-servers`")
	}
}

// scratch returns a folder for a server's files. Servers that root starts change their
// user, so everybody may use it.
func scratch(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for folder, mode := range map[string]os.FileMode{dir: 0o777, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// listen returns a socket for a server to inherit, and its port. Connections that come
// before the server is ready wait in the socket's queue.
func listen(t testing.TB) (socket *os.File, port string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // the socket remains
	tcp := listener.Addr().(*net.TCPAddr)
	socket, err = listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return socket, strconv.Itoa(tcp.Port)
}

// untilEOF runs a command until its standard input ends: then the test has ended, or its
// process has died. Only the command keeps the inherited socket.
const untilEOF = `"$@" & exec 3<&-; read -r _; kill $!; wait`

// run runs a server in dir until the test ends, or stop is called. The server inherits
// socket, if there is one, as file descriptor 3.
func run(t testing.TB, dir string, socket *os.File, environ []string, command ...string) (stop func()) {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Fatal(err)
	}
	// The test's own context would kill the shell alone.
	cmd := exec.CommandContext(context.Background(), "sh", append([]string{"-c", untilEOF, "sh"}, command...)...)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, environ...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if socket != nil {
		cmd.ExtraFiles = []*os.File{socket}
		defer socket.Close() //nolint:errcheck // the server has its own
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // the exit code is that of a command that was terminated
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", command[0], output.String())
		}
	})
	return stop
}

// Request is a request in a server's log.
type Request struct {
	Method string
	URL    string // nginx: the path; squid: what the client asked for; Rails: the path
	Status string
	Proto  string // nginx only, such as "HTTP/2.0"
	Live   int    // Rails only: how many tokens were alive afterwards
}

// Requests are requests in the order of the log, which is that of their ends.
type Requests []Request

// Count returns the number of requests with a method.
func (r Requests) Count(method string) int {
	n := 0
	for _, request := range r {
		if request.Method == method {
			n++
		}
	}
	return n
}

// logFile is a server's log, with a line of JSON for each request.
type logFile struct {
	t    testing.TB
	path string
	read int // bytes that requests has returned
}

// mark is the path of requests that only bring a log up to date.
const mark = "/mark"

// requests returns the requests since the last call, without those for mark.
func (l *logFile) requests() (all Requests) {
	l.t.Helper()
	content, err := os.ReadFile(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range bytes.Lines(content[l.read:]) {
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			l.t.Fatalf("%s has the line %q: %v", filepath.Base(l.path), line, err)
		}
		if r.URL != mark {
			all = append(all, r)
		}
	}
	l.read = len(content)
	return all
}
