// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"
)

// Sessions with a wrong password are one failed login, however many they are.
func TestRefusedLoginIsSentOnce(t *testing.T) {
	for status, once := range map[int]bool{400: true, 401: true, 403: true, 422: true, 404: false} {
		runInBubble(t, Config{}, always(status), func(t *testing.T, b *bubble) {
			for _, r := range b.callMany(t.Context(), OpOpen, 12) {
				if e := r.failure(t); e.Status != status || e.Lost != 0 {
					t.Errorf("%d: got %v", status, e)
				}
			}
			requests := map[bool]int{true: 1, false: 12}[once]
			if n := len(b.received()); n != requests {
				t.Errorf("%d: %d requests, want %d", status, n, requests)
			}
		})
	}
}

// Another password, user or endpoint is another login.
func TestRefusalIsOfOneLogin(t *testing.T) {
	runInBubble(t, Config{}, firstRequests(1, http.StatusUnauthorized), func(t *testing.T, b *bubble) {
		open := func(endpoint Endpoint, user, password string) error {
			_, err := b.client.Open(t.Context(), endpoint, Credentials{User: user, Password: NewPassword(password)})
			return err
		}
		for range 2 {
			if err := open(b.endpoint, "ada", "wrong"); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
		}
		for _, err := range []error{open(b.endpoint, "ada", "right"), open(b.endpoint, "grace", "wrong"), open(b.elsewhere(t), "ada", "wrong")} {
			if err != nil {
				t.Error(err)
			}
		}
		want(t, "requests", len(b.received()), 4)
	})
}

// The first login of a user and password goes alone. The others follow together.
func TestFirstLoginGoesAlone(t *testing.T) {
	const latency = time.Second
	respond := func(n int, w http.ResponseWriter, _ *http.Request) bool {
		time.Sleep(latency)
		return n == 1 && writeStatus(w, http.StatusInternalServerError) // neither accepts nor refuses
	}
	runInBubble(t, Config{MaxRetries: 1}, respond, func(t *testing.T, b *bubble) {
		for _, r := range b.callMany(t.Context(), OpOpen, 10) {
			if r.err != nil {
				t.Error(r.err)
			}
		}
		seconds := map[time.Duration]int{}
		for _, r := range b.received() {
			seconds[r.after.Truncate(latency)]++
		}
		if seconds[0] != 1 || seconds[latency] != 1 || seconds[2*latency] < 8 {
			t.Errorf("requests by second: %v, want 1, 1 and the rest", seconds)
		}
	})
}

// A login that waits for another stops at once when the run is interrupted.
func TestWaitingLoginIsInterrupted(t *testing.T) {
	runInBubble(t, Config{}, hang, func(t *testing.T, b *bubble) {
		first := b.callAsync(t.Context(), OpOpen)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		second := b.callAsync(ctx, OpOpen)
		time.Sleep(time.Second)
		cancel()
		r := <-second
		if e := r.failure(t); !errors.Is(e, ErrInterrupted) || e.Lost != 0 || r.after != 2*time.Second {
			t.Errorf("after %v: %v", r.after, e)
		}
		want(t, "requests", len(b.received()), 1)
		<-first
	})
}
