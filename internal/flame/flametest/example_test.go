// SPDX-License-Identifier: MPL-2.0

package flametest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// start starts a fake for an example.
func start(cfg flametest.Config) *flametest.Server {
	fake, err := flametest.Start(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return fake
}

// login opens a session with net/http, as in the vendor's sample.
func login(fake *flametest.Server) (*http.Response, error) {
	body, err := json.Marshal(map[string]string{"user": flametest.User, "password": flametest.Password})
	if err != nil {
		return nil, err
	}
	return http.Post(fake.URL()+"/sessions", "application/json", strings.NewReader(string(body)))
}

// mustLogin opens a session and returns the status and the token.
func mustLogin(fake *flametest.Server) (status int, token string) {
	resp, err := login(fake)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var session struct {
		AuthToken string `json:"auth_token"`
	}
	// A faulted response may have no body.
	if err := json.NewDecoder(resp.Body).Decode(&session); err != nil && err != io.EOF {
		log.Fatal(err)
	}
	return resp.StatusCode, session.AuthToken
}

func ExampleStart() {
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer fake.Close()

	credentials := fmt.Sprintf(`{"user": %q, "password": %q}`, flametest.User, flametest.Password)
	resp, err := http.Post(fake.URL()+"/sessions", "application/json", strings.NewReader(credentials))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	var session struct {
		AuthToken string `json:"auth_token"`
		Email     string `json:"email"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&session); err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status, session.Email)
	fmt.Println("live:", len(fake.Live()), fake.Live()[0] == session.AuthToken)

	// Output:
	// 200 OK ada@example.com
	// live: 1 true
}

// Scripted faults apply to one request each. The third login finds none left.
func ExampleServer_Script() {
	fake := start(flametest.Config{})
	defer fake.Close()

	fake.Script(flametest.OpOpen,
		flametest.Fault{Status: http.StatusServiceUnavailable},
		flametest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}},
	)
	for range 3 {
		status, _ := mustLogin(fake)
		fmt.Println(status, "opened:", fake.Opened())
	}

	// Output:
	// 503 opened: 0
	// 429 opened: 0
	// 200 opened: 1
}

// With CarryOut the login takes effect although its response is lost. The
// session is orphaned: nobody holds its token.
func ExampleFault() {
	fake := start(flametest.Config{})
	defer fake.Close()

	fake.Script(flametest.OpOpen, flametest.Fault{Drop: true, CarryOut: true})
	resp, err := login(fake)
	if err == nil {
		_ = resp.Body.Close()
	}
	fmt.Println("response lost:", err != nil)
	fmt.Println("live:", len(fake.Live()))

	// Output:
	// response lost: true
	// live: 1
}

// The journal shows each request with its outcome.
func ExampleServer_Journal() {
	fake := start(flametest.Config{})
	defer fake.Close()

	fake.Script(flametest.OpOpen, flametest.Fault{Status: http.StatusInternalServerError})
	mustLogin(fake)
	_, token := mustLogin(fake)

	req, err := http.NewRequest(http.MethodDelete, fake.URL()+"/sessions", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "Token token="+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	_ = resp.Body.Close()

	for _, r := range fake.Journal() {
		fmt.Println(r.Op, r.Status, "faulted:", r.Faulted, "with the token:", r.Token != "" && r.Token == token)
	}

	// Output:
	// POST sessions 500 faulted: true with the token: false
	// POST sessions 200 faulted: false with the token: false
	// DELETE sessions 200 faulted: false with the token: true
}

// Await and Release order a test's steps without a sleep.
func ExampleServer_Await() {
	fake := start(flametest.Config{})
	defer fake.Close()

	fake.Always(flametest.OpOpen, &flametest.Fault{Hang: true})
	statuses := make(chan int)
	go func() {
		status, _ := mustLogin(fake)
		statuses <- status
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := fake.Await(ctx, flametest.OpOpen, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println("hanging, opened:", fake.Opened())
	fake.Release()
	fmt.Println(<-statuses, "opened:", fake.Opened())

	// Output:
	// hanging, opened: 0
	// 200 opened: 1
}
