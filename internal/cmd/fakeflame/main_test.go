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

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	output, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-v2", "-rate", "1000"}, stdout, io.Discard)
		_ = stdout.CloseWithError(io.EOF)
		done <- err
	}()
	scanner := bufio.NewScanner(output)
	var printed []string
	next := func() string {
		t.Helper()
		if !scanner.Scan() {
			t.Fatalf("nothing after %q", printed)
		}
		printed = append(printed, scanner.Text())
		return scanner.Text()
	}
	want := func(text string) {
		t.Helper()
		if got := next(); got != text {
			t.Fatalf("printed %q, want %q", got, text)
		}
	}

	endpoint, ok := strings.CutPrefix(next(), "endpoint ")
	if !ok || !strings.HasSuffix(endpoint, "/v2") {
		t.Fatalf("printed %q", printed)
	}
	want("user " + flametest.User)

	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var token string
	answers := make(chan string, 1)
	send := func(method, path, body string) {
		req, err := http.NewRequestWithContext(ctx, method, endpoint+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		} else {
			req.Header.Set("Authorization", "Token token="+token)
		}
		go func() { // the line is printed before the answer is sent
			resp, err := client.Do(req)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			text, _ := io.ReadAll(resp.Body)
			answers <- string(text)
		}()
	}

	send("POST", "/sessions", fmt.Sprintf(`{"user":%q,"password":%q}`, flametest.User, flametest.Password))
	opened := next()
	var session map[string]string
	if err := json.Unmarshal([]byte(<-answers), &session); err != nil {
		t.Fatal(err)
	}
	token = session["auth_token"]
	sum := sha256.Sum256([]byte(token))
	id := hex.EncodeToString(sum[:])[:16]
	if opened != "POST /v2/sessions 200, 1 live "+id {
		t.Fatalf("printed %q, want the id %s", opened, id)
	}
	send("GET", "/"+token, "")
	want("another request 400, 1 live " + id)
	<-answers
	send("DELETE", "/sessions", "")
	want("DELETE /v2/sessions 200, 0 live")
	<-answers

	stop()
	want("sessions opened 1, revoked 1, left alive 0")
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, secret := range []string{token, flametest.Password} {
		if all := strings.Join(printed, "\n"); strings.Contains(all, secret) {
			t.Errorf("a secret was printed:\n%s", all)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"argument"}, {"-addr", "127.0.0.1:none"}, {"-latency", "-1s"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
