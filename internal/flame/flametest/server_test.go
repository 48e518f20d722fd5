// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	h := start(t, Config{Latency: 20 * time.Millisecond})
	begin := time.Now()
	token := h.open()
	if took := time.Since(begin); took < 20*time.Millisecond {
		t.Errorf("response after %v", took)
	}
	h.want(h.delete(token), http.StatusOK)

	observed := make(chan Request, 1)
	slow := start(t, Config{Latency: time.Hour, Observe: func(r Request, _ int) { observed <- r }})
	ctx, leave := context.WithCancel(t.Context())
	lost := make(chan result)
	go func() { lost <- slow.send(ctx, "POST", "/sessions", credentials, jsonBody) }()
	slow.await(OpOpen, 1)
	slow.wantSessions(1, 0, 1) // carried out before the delay
	leave()
	slow.wantLost(<-lost)
	if r := <-observed; r.Status != 0 { // arrives now, not after an hour
		t.Errorf("status %d for a client that has left", r.Status)
	}

	go func() { lost <- slow.post() }()
	slow.await(OpOpen, 2)
	slow.Close() // returns now, not after an hour
	slow.wantLost(<-lost)
}

func TestTLS(t *testing.T) {
	h := start(t, Config{TLS: true})
	h.open()
	if !strings.HasPrefix(h.URL(), "https://") || h.last().Proto != "HTTP/2.0" || h.Connections() != 1 {
		t.Errorf("%s, %s", h.URL(), h.last().Proto)
	}
	if start(t, Config{}).CACertificate() != "" {
		t.Error("a CA certificate without TLS")
	}

	old := start(t, Config{TLS: true, TLSMaxVersion: tls.VersionTLS11})
	if r := old.post(); r.err == nil || old.Count(OpOpen) != 0 || old.Connections() != 1 {
		t.Errorf("TLS 1.2 and above: error %v, %d connections", r.err, old.Connections())
	}
	old.client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	old.want(old.post(), http.StatusOK)
}

func TestClose(t *testing.T) {
	for _, secure := range []bool{false, true} {
		observed := 0
		h := start(t, Config{TLS: secure, Observe: func(Request, int) { observed++ }})
		h.Always(OpOpen, &Fault{Hang: true})
		h.Always(OpCheck, &Fault{Reason: "hijacked"})
		h.get("t")
		results := make(chan result)
		for range 5 {
			go func() { results <- h.post() }()
		}
		h.await(OpOpen, 5)
		h.Close()
		h.Close()
		if observed != 6 {
			t.Errorf("Close did not wait: %d of 6 requests have ended", observed)
		}
		for range 5 {
			h.wantLost(<-results)
		}
		h.wantSessions(0, 0, 0)
		h.wantLost(h.post())

		// A goroutine that Close waited for may still be running its last instructions.
		stacks := make([]byte, 1<<20)
		for deadline := time.Now().Add(2 * time.Second); ; runtime.Gosched() {
			left := stacks[:runtime.Stack(stacks, true)]
			if !bytes.Contains(left, []byte("flametest.(*Server)")) && !bytes.Contains(left, []byte("http.(*conn).serve")) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("goroutines still running:\n%s", left)
			}
		}
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"version":             {Version: 3},
		"kind":                {Kind: 4},
		"token limit":         {MaxTokens: -1},
		"access token status": {AccessTokenStatus: 404},
		"open status":         {OpenStatus: 302},
		"rate":                {RateLimit: RateLimit{PerSecond: -1}},
		"address":             {Addr: "127.0.0.1:none"},
	} {
		if s, err := Start(cfg); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
