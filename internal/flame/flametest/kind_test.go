// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// kindTests has the journal of two users' logins, and of deleting the last token
// of the first. Tokens are numbered by their first appearance.
var kindTests = map[string]struct {
	cfg  Config
	want []string
}{
	"independent": {Config{}, []string{
		"opens 1", "opens 2", "opens 3", "opens 4", "ends 4", "opens 5", "live 1 2 3 5",
	}},
	"shared": {Config{Kind: Shared}, []string{
		"opens 1", "opens 2", "opens 1", "opens 1", "ends 1", "opens 3", "live 2 3",
	}},
	"superseding": {Config{Kind: Superseding}, []string{
		"opens 1", "opens 2", "opens 3 ends 1", "opens 4 ends 3", "ends 4", "opens 5", "live 2 5",
	}},
	"sweeping": {Config{Kind: Sweeping}, []string{
		"opens 1", "opens 2", "opens 3", "opens 4", "ends 1 3 4", "opens 5", "live 2 5",
	}},
	"two tokens": {Config{MaxTokens: 2}, []string{
		"opens 1", "opens 2", "opens 3", "opens 4 ends 1", "ends 4", "opens 5", "live 2 3 5",
	}},
	"two tokens, sweeping": {Config{Kind: Sweeping, MaxTokens: 2}, []string{
		"opens 1", "opens 2", "opens 3", "opens 4 ends 1", "ends 3 4", "opens 5", "live 2 5",
	}},
}

func TestKinds(t *testing.T) {
	for name, test := range kindTests {
		t.Run(name, func(t *testing.T) {
			h := start(t, test.cfg)
			first := h.open()
			h.openAs("grace")
			h.open()
			last := h.open()
			h.want(h.delete(last), http.StatusOK)
			h.want(h.delete(last), http.StatusUnauthorized)
			h.want(h.get(last), http.StatusUnauthorized)
			fresh := h.open()
			if fresh == last {
				t.Error("a revoked token was returned again")
			}
			h.want(h.get(fresh), http.StatusOK)
			if status := h.get(first).status; (status == http.StatusOK) != slices.Contains(h.Live(), first) {
				t.Errorf("status %d for the first token, live %q", status, h.Live())
			}

			if got := h.lives(); !slices.Equal(got, test.want) {
				t.Errorf("the journal says %q, want %q", got, test.want)
			}
			ended := 0
			for _, r := range h.Journal() {
				ended += len(r.Ended)
			}
			h.wantSessions(5, ended, len(h.Live()))
		})
	}
}

// openAs opens a session of another user.
func (h *harness) openAs(user string) {
	h.Helper()
	h.want(h.send(h.Context(), "POST", "/sessions", fmt.Sprintf(`{"user":%q,"password":%q}`, user, Password), jsonBody), http.StatusOK)
}

// lives returns what the journal says of tokens, and which ones are live.
func (h *harness) lives() (lines []string) {
	number := make(map[string]int)
	for _, r := range h.Journal() {
		var words []string
		if r.Opened != "" {
			if number[r.Opened] == 0 {
				number[r.Opened] = len(number) + 1
			}
			words = append(words, "opens", fmt.Sprint(number[r.Opened]))
		}
		if len(r.Ended) > 0 {
			words = append(words, "ends")
		}
		for _, token := range r.Ended {
			words = append(words, fmt.Sprint(number[token]))
		}
		if len(words) > 0 {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	var live []string
	for _, token := range h.Live() {
		live = append(live, fmt.Sprint(number[token]))
	}
	slices.Sort(live)
	return append(lines, strings.Join(append([]string{"live"}, live...), " "))
}

// A request that is not carried out opens and ends nothing, and one whose response
// is lost does.
func TestKindsUnderFaults(t *testing.T) {
	h := start(t, Config{Kind: Superseding})
	h.open()
	h.Script(OpOpen, Fault{Status: 500}, Fault{Drop: true, CarryOut: true}, Fault{Hang: true}, Fault{Hang: true, Status: 503})
	h.Script(OpRevoke, Fault{Drop: true}, Fault{Status: 503, CarryOut: true})
	h.want(h.post(), 500)
	h.wantLost(h.post())
	for _, status := range []int{200, 503} {
		results := make(chan result)
		n := h.Count(OpOpen) + 1
		go func() { results <- h.post() }()
		h.await(OpOpen, n)
		h.Release()
		for waiting := true; waiting; h.Journal() { // may be read at any moment
			select {
			case r := <-results:
				h.want(r, status)
				waiting = false
			default:
			}
		}
	}
	h.wantLost(h.delete(h.Live()[0]))
	h.want(h.delete(h.Live()[0]), 503)
	if got, want := h.lives(), []string{"opens 1", "opens 2 ends 1", "opens 3 ends 2", "ends 3", "live"}; !slices.Equal(got, want) {
		t.Errorf("the journal says %q, want %q", got, want)
	}
}

// Open is a login, and Revoke ends one token in every kind of account.
func TestOpenAndRevokeElsewhere(t *testing.T) {
	for _, kind := range Kinds() {
		h := start(t, Config{Kind: kind})
		first := h.open()
		token := h.Open(User)
		h.want(h.get(token), http.StatusOK)
		live := 2
		if kind == Shared || kind == Superseding {
			live = 1
		}
		if (token == first) != (kind == Shared) || len(h.Live()) != live {
			t.Errorf("%s: %d live after a second login, want %d", kind, len(h.Live()), live)
		}
		if !h.Revoke(token) || len(h.Live()) != live-1 {
			t.Errorf("%s: %d of %d live", kind, len(h.Live()), live)
		}
	}
}

func TestKindNames(t *testing.T) {
	for _, kind := range Kinds() {
		name, _ := kind.MarshalText()
		var again Kind
		if err := again.UnmarshalText(name); err != nil || again != kind {
			t.Errorf("%q becomes %v, error %v", name, again, err)
		}
	}
	if err := new(Kind).UnmarshalText([]byte("Kind(4)")); err == nil || Kind(4).String() != "Kind(4)" {
		t.Error("a kind that does not exist has a name")
	}
}
