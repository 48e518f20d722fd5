// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// fake is run in the background, with its output line by line.
type fake struct {
	*testing.T
	output  *bufio.Scanner
	printed []string
	stop    context.CancelFunc
	done    chan error
}

func start(t *testing.T, args ...string) *fake {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	output, stdout := io.Pipe()
	f := &fake{T: t, output: bufio.NewScanner(output), stop: stop, done: make(chan error, 1)}
	go func() {
		err := run(ctx, args, stdout, io.Discard)
		_ = stdout.CloseWithError(io.EOF)
		f.done <- err
	}()
	return f
}

// next returns the next line of output.
func (f *fake) next() string {
	f.Helper()
	if !f.output.Scan() {
		f.Fatalf("no line after %q", f.printed)
	}
	f.printed = append(f.printed, f.output.Text())
	return f.output.Text()
}

func (f *fake) want(line string) {
	f.Helper()
	if got := f.next(); got != line {
		f.Fatalf("printed %q, want %q", got, line)
	}
}

// send sends a request in the background, because the fake prints its line
// before it responds. The channel gets the response body.
func (f *fake) send(method, url, body, header string) <-chan string {
	f.Helper()
	req, err := http.NewRequestWithContext(f.Context(), method, url, strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	name, value, _ := strings.Cut(header, ": ")
	req.Header.Set(name, value)
	response := make(chan string, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			response <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		response <- string(text)
	}()
	return response
}

func TestRun(t *testing.T) {
	f := start(t, "-v2", "-rate", "1000")
	endpoint, ok := strings.CutPrefix(f.next(), "endpoint ")
	if !ok || !strings.HasSuffix(endpoint, "/v2") {
		t.Fatalf("printed %q", f.printed)
	}
	f.want("user " + flametest.User)

	login := fmt.Sprintf(`{"user":%q,"password":%q}`, flametest.User, flametest.Password)
	response := f.send("POST", endpoint+"/sessions", login, "Content-Type: application/json")
	opened := f.next()
	var session map[string]string
	if err := json.Unmarshal([]byte(<-response), &session); err != nil {
		t.Fatal(err)
	}
	token := session["auth_token"]
	sum := sha256.Sum256([]byte(token))
	id := hex.EncodeToString(sum[:])[:16]
	if opened != "POST /v2/sessions 200, 1 live "+id {
		t.Fatalf("printed %q, want the id %s", opened, id)
	}

	authorization := "Authorization: Token token=" + token
	response = f.send("GET", endpoint+"/"+token, "", authorization)
	f.want("another request 400, 1 live " + id)
	<-response
	response = f.send("DELETE", endpoint+"/sessions", "", authorization)
	f.want("DELETE /v2/sessions 200, 0 live")
	<-response

	f.stop()
	f.want("sessions opened 1, revoked 1, left alive 0")
	if err := <-f.done; err != nil {
		t.Error(err)
	}
	for _, secret := range []string{token, flametest.Password} {
		if all := strings.Join(f.printed, "\n"); strings.Contains(all, secret) {
			t.Errorf("a secret was printed:\n%s", all)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"argument"}, {"-addr", "127.0.0.1:none"}, {"-latency", "-1s"}, {"-kind", "none"}, {"-max-tokens", "-1"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
