// SPDX-License-Identifier: MPL-2.0

package session_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

func wantRequests(t *testing.T, fake *flametest.Server, opened, revoked, checked int) {
	t.Helper()
	got := []int{fake.Count(flametest.OpOpen), fake.Count(flametest.OpRevoke), fake.Count(flametest.OpCheck)}
	if want := []int{opened, revoked, checked}; !slices.Equal(got, want) {
		t.Errorf("POST, DELETE, GET: got %v, want %v", got, want)
	}
}

// wantEnded checks which sessions the user has to be told of.
func wantEnded(t *testing.T, got []session.Held, want ...session.Held) {
	t.Helper()
	ids := func(all []session.Held) (ids []string) {
		for _, held := range all {
			ids = append(ids, held.Token.SessionID())
		}
		slices.Sort(ids)
		return ids
	}
	if !slices.Equal(ids(got), ids(want)) {
		t.Errorf("ended: %v, want %v", ids(got), ids(want))
	}
}

// A run with one session of a user sends nothing but a login and a revocation.
func TestOneSessionCostsNothing(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Shared, flametest.Superseding, flametest.Sweeping} {
		fake, run, account := start(t, flametest.Config{Kind: kind})
		held, _ := open(t, run, account)
		if got, err := run.Revoke(t.Context(), held); got.Result != session.Revoked || err != nil {
			t.Errorf("%v: %+v, %v", kind, got, err)
		}
		wantRequests(t, fake, 1, 1, 0)
	}
}

// Of an independent account nothing is felt but two requests.
func TestIndependent(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	var all []session.Held
	for range 5 {
		held, opened := open(t, run, account)
		wantEnded(t, opened.Ended)
		all = append(all, held)
	}
	wantRequests(t, fake, 5, 0, 1)
	for _, held := range all {
		got, err := run.Revoke(t.Context(), held)
		if err != nil || got.Result != session.Revoked {
			t.Errorf("%+v, %v", got, err)
		}
		wantEnded(t, got.Ended)
		wantEnded(t, got.Doubted)
	}
	wantRequests(t, fake, 5, 5, 2)
}

// Two tokens that a refresh found alive show that a login ends no other.
func TestRefreshShowsIndependence(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	client := flame.New(flame.Config{})
	t.Cleanup(client.CloseIdleConnections)
	later := session.NewRun(client, func() bool { return false })
	fake.Reset()
	for _, held := range []session.Held{a, b} {
		later.Refreshed(held)
		if alive, err := later.Check(t.Context(), held); !alive || err != nil {
			t.Errorf("check: %v, %v", alive, err)
		}
	}
	if planned := later.PlanOpen(account, ""); len(planned.Beside) != 0 {
		t.Error("the plan warns")
	}
	open(t, later, account)
	wantRequests(t, fake, 1, 0, 2)
}

// The first login that ends a session is told of, and no other is sent.
func TestSuperseding(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	a, _ := open(t, run, account)
	b, opened := open(t, run, account)
	wantEnded(t, opened.Ended, a)
	_, err := run.Open(t.Context(), session.Held{Instance: "c", Account: account}, password)
	var wouldEnd *session.WouldEndError
	if !errors.As(err, &wouldEnd) || wouldEnd.Other != b && wouldEnd.Other.Token != b.Token {
		t.Errorf("got %v, want that the login would end the second session", err)
	}
	wantRequests(t, fake, 2, 0, 1)
	wantLive(t, fake, b.Token)

	// Once the live one is revoked, a login ends none.
	if _, err := run.Revoke(t.Context(), b); err != nil {
		t.Error(err)
	}
	if _, opened := open(t, run, account); len(opened.Ended) != 0 {
		t.Error("a login ended a dead session")
	}
	wantRequests(t, fake, 3, 1, 1)
}

// Of many logins at once, two are sent.
func TestSupersedingInParallel(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		ended  []session.Held
		errs   int
		tokens []flame.Token
	)
	for i := range 10 {
		all.Go(func() {
			opened, err := run.Open(t.Context(), session.Held{Instance: session.InstanceID(fmt.Sprint(i)), Account: account}, password)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs++
				return
			}
			tokens = append(tokens, opened.Token)
			ended = append(ended, opened.Ended...)
		})
	}
	all.Wait()
	if errs != 8 || len(ended) != 1 || len(tokens) != 2 {
		t.Errorf("%d failed, %d sessions ended, %d tokens; want 8, 1 and 2", errs, len(ended), len(tokens))
	}
	wantRequests(t, fake, 2, 0, 1)
}

// If Flame does not say whether a session has survived, the user is told that.
func TestUnansweredChecks(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Sweeping} {
		fake, run, account := start(t, flametest.Config{Kind: kind})
		fake.Script(flametest.OpCheck, flametest.Fault{Status: 404}, flametest.Fault{Status: 404})
		a, _ := open(t, run, account)
		b, opened := open(t, run, account)
		wantEnded(t, opened.Doubted, a)
		c, opened := open(t, run, account)
		wantEnded(t, opened.Doubted, a, b)
		d, opened := open(t, run, account)
		wantEnded(t, opened.Doubted, a, b, c)
		got, err := run.Revoke(t.Context(), c)
		if err != nil || got.Result != session.Revoked {
			t.Errorf("%v: %+v, %v", kind, got, err)
		}
		wantEnded(t, got.Doubted, a, b, d)
		run.Keep(a)
		wantEnded(t, run.PlanOpen(account, "").Beside) // it cannot be found out
		wantRequests(t, fake, 4, 1, 2)
	}
}

// What is planned while a token is being revoked learns of it.
func TestKeepWhatIsBeingRevoked(t *testing.T) {
	_, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	a, _ := open(t, run, account)
	if _, err := run.Revoke(t.Context(), a); err != nil {
		t.Error(err)
	}
	other := a
	other.Instance = "other"
	if !run.Keep(other).Revokes {
		t.Error("the plan does not say that the token was revoked")
	}
}

// The first revocation that ends others is told of, and no other is sent that would.
func TestSweeping(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	got, err := run.Revoke(t.Context(), a)
	if err != nil || got.Result != session.Revoked {
		t.Errorf("%+v, %v", got, err)
	}
	wantEnded(t, got.Ended, b, c)
	wantRequests(t, fake, 3, 1, 2)

	d, _ := open(t, run, account)
	e, _ := open(t, run, account)
	got, err = run.Revoke(t.Context(), d)
	if err != nil || got.Result != session.Spared {
		t.Errorf("%+v, %v", got, err)
	}
	wantEnded(t, got.Others, e)
	got, err = run.RevokeForAll(t.Context(), session.Account{Endpoint: account.Endpoint}, d.Token)
	if err != nil || got.Result != session.Spared {
		t.Errorf("%+v, %v", got, err)
	}
	wantLive(t, fake, d.Token, e.Token)
	if got, err := run.Revoke(t.Context(), e); got.Result != session.Revoked || err != nil {
		t.Errorf("the last one: %+v, %v", got, err)
	}
	wantRequests(t, fake, 5, 2, 2)
}

// A token that a login of this run has brought again was not rotated.
func TestGivenAgain(t *testing.T) {
	_, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	a, _ := open(t, run, account)
	open(t, run, account)
	got, err := run.Revoke(t.Context(), a)
	if err != nil || got.Result != session.StillHeld || !got.GivenAgain {
		t.Errorf("%+v, %v", got, err)
	}
}

// A session of which nobody knows the user counts as one of every user, but its survival
// says nothing of another user's logins.
func TestUnknownUser(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	imported, _ := open(t, run, account)
	later := session.Account{Endpoint: account.Endpoint}
	imported.Account, imported.Instance = later, "imported"
	client := flame.New(flame.Config{})
	t.Cleanup(client.CloseIdleConnections)
	run = session.NewRun(client, func() bool { return false })
	run.Refreshed(imported)
	if alive, err := run.Check(t.Context(), imported); !alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
	if planned := run.PlanOpen(account, ""); len(planned.Beside) != 0 {
		t.Error("a session that no plan keeps is in danger")
	}
	if !run.Keep(imported).Opens {
		t.Error("the plan does not warn")
	}
	_, opened := open(t, run, account)
	wantEnded(t, opened.Ended, imported)
	wantLive(t, fake, opened.Token)
}

// Whichever is planned second learns of the first.
func TestPlannedBesideEachOther(t *testing.T) {
	_, run, account := start(t, flametest.Config{})
	a := session.Held{Instance: "a", Account: account, Token: flame.NewToken("t")}
	b := a
	b.Instance = "b"
	if beside := run.Keep(a); beside.Opens || beside.Revokes {
		t.Errorf("alone: %+v", beside)
	}
	if planned := run.PlanOpen(account, ""); len(planned.Beside) != 1 || planned.Beside[0] != a {
		t.Errorf("planned second: %+v", planned)
	}
	if !run.Keep(a).Opens {
		t.Error("kept second: no warning")
	}
	// The token is shared from here on, so a login ends nothing.
	if stillHeld, givenAgain := run.PlanEnd(b); !stillHeld || givenAgain {
		t.Error("b ends, and a does not hold the token")
	}
	if got := run.SharedSessions(account); len(got) != 0 {
		t.Errorf("shared: %v", got)
	}
	run.Refreshed(b)
	if got := run.SharedSessions(account); len(got) != 1 || got[0] != a.Token.SessionID() {
		t.Errorf("shared: %v", got)
	}
	planned := run.PlanOpen(account, "b")
	if !planned.StillHeld || len(planned.Beside) != 0 {
		t.Errorf("replacing b: %+v", planned)
	}
	if stillHeld, _ := run.PlanEnd(a); stillHeld {
		t.Error("a is the last one")
	}
	c := a
	c.Instance = "c"
	if !run.Keep(c).Revokes {
		t.Error("c is not told that its token is revoked")
	}
}

// A login that comes while a token is being checked may have ended it after Flame said
// that it was alive, so it is checked again.
func TestLoginDuringCheck(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	a, _ := open(t, run, account)
	client := flame.New(flame.Config{})
	t.Cleanup(client.CloseIdleConnections)
	run = session.NewRun(client, func() bool { return false })
	run.Refreshed(a)
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, Status: 200, Body: "[]"})
	type answer struct {
		alive bool
		err   error
	}
	checked := make(chan answer)
	go func() {
		alive, err := run.Check(t.Context(), a)
		checked <- answer{alive, err}
	}()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	b, _ := open(t, run, account)
	fake.Release()
	if got := <-checked; got.alive || got.err != nil {
		t.Errorf("%+v, want that the token is dead", got)
	}
	if others := run.Suspects(a); len(others) != 1 || others[0].Token != b.Token {
		t.Errorf("%d others are alive, want the new one", len(others))
	}
	wantRequests(t, fake, 1, 0, 2)
}

// An ephemeral session and a managed one that the plan keeps unchecked: whichever comes
// second tells that the managed one may be dead.
func TestEphemeralBesideUnchecked(t *testing.T) {
	for _, keptFirst := range []bool{true, false} {
		_, run, account := start(t, flametest.Config{})
		managed := session.Held{Instance: "managed", Account: account, Token: flame.NewToken("t")}
		if keptFirst {
			run.Keep(managed)
		}
		ephemeral := session.Held{Instance: "ephemeral", Account: account, Ephemeral: true}
		opened, err := run.Open(t.Context(), ephemeral, password)
		if err != nil {
			t.Fatal(err)
		}
		if keptFirst {
			wantEnded(t, opened.Beside, managed)
			continue
		}
		ephemeral.Token = opened.Token
		if _, err := run.Close(t.Context(), ephemeral); err != nil {
			t.Error(err)
		}
		if !run.Keep(managed).Opens {
			t.Error("kept second: the plan does not warn")
		}
		wantEnded(t, run.Suspects(managed), ephemeral)
	}
}

// An ephemeral session with the token of a managed one: while it is open, its end leaves the
// token alive and says who keeps it; a plan that finds the managed one later tells of it.
func TestEphemeralSharesWithKept(t *testing.T) {
	for _, keptFirst := range []bool{true, false} {
		fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
		ephemeral := session.Held{Instance: "ephemeral", Account: account, Ephemeral: true}
		opened, err := run.Open(t.Context(), ephemeral, password)
		if err != nil {
			t.Fatal(err)
		}
		ephemeral.Token = opened.Token
		managed := session.Held{Instance: "managed", Account: account, Token: opened.Token}
		if keptFirst {
			run.Keep(managed)
		}
		got, err := run.Close(t.Context(), ephemeral)
		if err != nil || got.Kept != keptFirst {
			t.Errorf("kept first: %v, got %+v, %v", keptFirst, got, err)
		}
		if !keptFirst && !run.Keep(managed).Revokes {
			t.Error("kept second: the plan does not warn")
		}
		wantRequests(t, fake, 1, map[bool]int{true: 0, false: 1}[keptFirst], 0)
	}
}
