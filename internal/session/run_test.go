// SPDX-License-Identifier: MPL-2.0

package session_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = flame.NewPassword(flametest.Password)

// start returns a fake, a run against it, and the account of its user.
func start(t *testing.T, config flametest.Config) (*flametest.Server, *session.Run, session.Account) {
	t.Helper()
	fake, err := flametest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	endpoint, err := flame.ParseEndpoint(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	return fake, newRun(t), session.Account{Endpoint: endpoint, User: flametest.User}
}

// newRun returns a run that knows of nothing.
func newRun(t *testing.T) *session.Run {
	t.Helper()
	client := flame.New(flame.Config{MaxRetries: 1, FirstBackoff: time.Nanosecond})
	t.Cleanup(client.CloseIdleConnections)
	return session.NewRun(client, func() bool { return false })
}

// open opens a session for a new instance.
func open(t *testing.T, run *session.Run, account session.Account) (session.Held, session.Opened) {
	t.Helper()
	held := session.Held{Instance: session.NewInstanceID(), Account: account}
	opened, err := run.Open(t.Context(), held, password)
	if err != nil {
		t.Fatal(err)
	}
	held.Token = opened.Token
	return held, opened
}

func wantLive(t *testing.T, fake *flametest.Server, tokens ...flame.Token) {
	t.Helper()
	var want []string
	for _, token := range tokens {
		want = append(want, token.Reveal())
	}
	slices.Sort(want)
	if live := fake.Live(); !slices.Equal(live, slices.Compact(want)) {
		t.Errorf("%d tokens are live, want %d: these and no others", len(live), len(want))
	}
}

func TestLife(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	held, opened := open(t, run, account)
	if opened.Shared || opened.UserID == "" || opened.Lost != 0 {
		t.Errorf("got %+v", opened)
	}
	if alive, err := run.Check(t.Context(), held); !alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
	for _, want := range []session.Result{session.Revoked, session.AlreadyGone} {
		if got, err := run.Revoke(t.Context(), held); got.Result != want || err != nil {
			t.Errorf("revoke: %v, %v; want %v", got, err, want)
		}
		wantLive(t, fake)
	}
	if alive, err := run.Check(t.Context(), held); alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
}

// A token is revoked with its last holder, or for all of them.
func TestSharedToken(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	first, opened := open(t, run, account)
	if opened.Shared {
		t.Error("the first holder is told that it shares its token")
	}
	second, opened := open(t, run, account)
	if !opened.Shared {
		t.Error("the second holder is not told that it shares its token")
	}
	elsewhere := first
	elsewhere.Instance, elsewhere.Account.Endpoint = session.NewInstanceID(), flame.Endpoint{}
	if run.Refreshed(elsewhere) {
		t.Error("the same text at another endpoint counts as the same token")
	}
	if !run.Refreshed(first) || !run.WasRefreshed(first.Instance) || run.WasRefreshed(session.NewInstanceID()) {
		t.Error("a refresh is not recorded as it should be")
	}
	if got, err := run.Revoke(t.Context(), first); got.Result != session.StillHeld || err != nil {
		t.Errorf("revoking the first: %v, %v", got, err)
	}
	wantLive(t, fake, second.Token)
	if got, err := run.Revoke(t.Context(), second); got.Result != session.Revoked || err != nil {
		t.Errorf("revoking the last: %v, %v", got, err)
	}
	wantLive(t, fake)

	first, _ = open(t, run, account)
	second, _ = open(t, run, account)
	if got, err := run.RevokeForAll(t.Context(), session.Account{Endpoint: account.Endpoint}, first.Token); got.Result != session.Revoked || err != nil {
		t.Errorf("revoking for all: %v, %v", got, err)
	}
	wantLive(t, fake)
	if run.Release(second) {
		t.Error("a token that was revoked for all is still held")
	}
}

// A token that is found dead is no longer held.
func TestDeadTokenIsNotHeld(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	first, _ := open(t, run, account)
	second, _ := open(t, run, account)
	fake.RevokeAll()
	if alive, err := run.Check(t.Context(), first); alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
	if run.Release(second) {
		t.Error("the first still holds the token")
	}
}

func TestRelease(t *testing.T) {
	_, run, account := start(t, flametest.Config{})
	a := session.Held{Instance: "a", Account: account, Token: flame.NewToken("t")}
	b, c := a, a
	b.Instance, c.Instance = "b", "c"
	for _, step := range []struct {
		what      string
		got, want bool
	}{
		{"a holds", run.Refreshed(a), false},
		{"a still holds", run.Refreshed(a), false},
		{"b holds too", run.Refreshed(b), true},
		{"a releases", run.Release(a), true},
		{"b releases", run.Release(b), false},
		{"c, which never held", run.Release(c), false},
	} {
		if step.got != step.want {
			t.Errorf("%s: shared is %v", step.what, step.got)
		}
	}
}

// Close revokes in a run that was interrupted. What it cannot revoke is revoked
// at exit.
func TestClose(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	closed, _ := open(t, run, account)
	failed, _ := open(t, run, account)
	forgotten, _ := open(t, run, account)
	kept, _ := open(t, run, account)
	for _, held := range []session.Held{closed, failed, forgotten} {
		run.RevokeAtExit(held)
	}
	if got, err := run.Close(interrupted, closed); got.Result != session.Revoked || err != nil {
		t.Errorf("close: %v, %v", got, err)
	}
	wantLive(t, fake, failed.Token, forgotten.Token, kept.Token)

	fake.Script(flametest.OpRevoke, flametest.Fault{Status: 403})
	if _, err := run.Close(interrupted, failed); !errors.Is(err, flame.ErrStatus) {
		t.Errorf("close: %v, want that Flame refused it", err)
	}
	fake.Reset()
	run.RevokeUnclosed(t.Context())
	wantLive(t, fake, kept.Token)
	if n := fake.Count(flametest.OpRevoke); n != 2 {
		t.Errorf("%d requests at exit, want 2", n)
	}
}

// While a session of an account is being opened, none is revoked, whether the
// user of the other is known or not.
func TestOpenAndRevokeDoNotOverlap(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	held, _ := open(t, run, account)
	fake.Script(flametest.OpOpen, flametest.Fault{Hang: true})
	var opening sync.WaitGroup
	opening.Go(func() { open(t, run, account) })
	if err := fake.Await(t.Context(), flametest.OpOpen, 2); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.Revoke(ended, held); !errors.Is(err, session.ErrAccountBusy) {
		t.Errorf("revoke: %v, want that the account is busy", err)
	}
	if _, err := run.RevokeForAll(ended, session.Account{Endpoint: account.Endpoint}, held.Token); !errors.Is(err, session.ErrAccountBusy) {
		t.Errorf("revoke for all: %v, want that the account is busy", err)
	}
	if n := fake.Count(flametest.OpRevoke); n != 0 {
		t.Errorf("%d revocations were sent", n)
	}
	fake.Release()
	opening.Wait()
}
