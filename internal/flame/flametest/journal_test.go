// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestJournal(t *testing.T) {
	var observed []Request
	var live []int
	h := start(t, Config{Observe: func(r Request, n int) {
		observed, live = append(observed, r), append(live, n) // no lock: calls do not overlap
	}})
	token := h.open()
	h.get(token)
	h.Script(OpRevoke, Fault{Drop: true})
	h.delete(token)
	h.send(t.Context(), "PUT", "/sessions", "")

	var got []string
	journal := h.Journal()
	for _, r := range journal {
		got = append(got, r.Op.String())
	}
	if want := []string{"POST sessions", "GET organizations", "DELETE sessions", "other"}; !slices.Equal(got, want) {
		t.Fatalf("journal %q", got)
	}
	if first := journal[0]; string(first.Body) != credentials || first.Header.Get("Content-Type") != "application/json" ||
		first.Status != 200 || first.Conn != 1 || first.Proto != "HTTP/1.1" || first.Arrived.IsZero() || first.Faulted || first.Token != "" {
		t.Errorf("first request: %+v", first)
	}
	if third := journal[2]; third.Token != token || third.Status != 0 || !third.Faulted || third.Arrived.Before(journal[1].Arrived) {
		t.Errorf("third request: %+v", third)
	}
	if journal[3].Conn <= journal[2].Conn || h.Connections() < journal[3].Conn {
		t.Errorf("connection %d of %d after the dropped one, %d", journal[3].Conn, h.Connections(), journal[2].Conn)
	}
	if len(observed) != 4 || observed[0].Status != 200 || !slices.Equal(live, []int{1, 1, 1, 1}) {
		t.Errorf("observed %d requests, live %d", len(observed), live)
	}
}

func TestJournalIsACopy(t *testing.T) {
	h := start(t, Config{})
	h.open()
	journal := h.Journal()
	journal[0].Header.Set("Content-Type", "changed")
	journal[0].Body[0] = 'x'
	if again := h.Journal()[0]; again.Header.Get("Content-Type") == "changed" || again.Body[0] == 'x' {
		t.Error("a change to the copy reached the journal")
	}
}

func TestReset(t *testing.T) {
	h := start(t, Config{})
	token := h.open()
	h.Script(OpCheck, Fault{Status: 500})
	h.Always(OpCheck, &Fault{Status: 500})
	h.Reset()
	if len(h.Journal()) != 0 || h.Count(OpOpen) != 0 {
		t.Error("Reset did not clear the journal")
	}
	h.wantSessions(0, 0, 1)
	h.want(h.get(token), http.StatusOK)
	if h.Count(OpCheck) != 1 {
		t.Errorf("count %d, want 1", h.Count(OpCheck))
	}
}

func TestConcurrency(t *testing.T) {
	const n = 200
	observed := 0
	h := start(t, Config{Observe: func(Request, int) { observed++ }}) // no lock: calls do not overlap
	transport := h.client.Transport.(*http.Transport)
	transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = 20, 20
	var dialled atomic.Int64
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	h.Script(OpRevoke, slices.Repeat([]Fault{{Status: 503}}, n/2)...)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var session map[string]any
			if r := h.post(); r.err != nil || json.Unmarshal([]byte(r.body), &session) != nil {
				t.Errorf("status %d, body %q, error %v", r.status, r.body, r.err)
				return
			}
			h.delete(session["auth_token"].(string))
		})
	}
	h.await(OpOpen, n)
	wg.Wait()
	h.await(OpRevoke, n)
	h.wantSessions(n, n/2, n/2)
	faulted := 0
	lowest, highest := n, 0
	for i, r := range h.Journal() {
		lowest, highest = min(lowest, r.Conn), max(highest, r.Conn)
		if r.Op == OpRevoke && r.Faulted != (faulted < n/2) {
			t.Fatalf("request %d: faults are not used in order of arrival", i)
		}
		if r.Faulted {
			faulted++
		}
	}
	h.Close() // waits for the last call of Observe
	if observed != 2*n {
		t.Errorf("%d requests observed, want %d", observed, 2*n)
	}
	// On a busy machine, the transport gives up a connection now and then, and may
	// dial one that it then does not need.
	if total := h.Connections(); lowest < 1 || highest > total || total > int(dialled.Load()) {
		t.Errorf("%d connections, %d to %d in the journal, %d were dialled", total, lowest, highest, dialled.Load())
	}
}

func TestAwaitFails(t *testing.T) {
	h := start(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Await(ctx, OpOpen, 1); err == nil {
		t.Error("no error after the context ended")
	}
	h.Close()
	if err := h.Await(t.Context(), OpOpen, 1); err == nil {
		t.Error("no error after the server closed")
	}
}
