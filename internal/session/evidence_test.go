// SPDX-License-Identifier: MPL-2.0

package session_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// What a run concludes, and what it must not conclude.

// lost is a request that breaks, and is not carried out. There is one retry.
var lost = []flametest.Fault{{Drop: true}, {Drop: true}}

// another returns the account of another user of the same API.
func another(account session.Account) session.Account {
	account.User = "bob@example.com"
	return account
}

// fails opens a session, which fails.
func fails(t *testing.T, run *session.Run, account session.Account) session.Opened {
	t.Helper()
	opened, err := run.Open(t.Context(), session.Held{Instance: session.NewInstanceID(), Account: account}, password)
	if err == nil {
		t.Error("the login did not fail")
	}
	return opened
}

// revoke revokes a token, which must have this result.
func revoke(t *testing.T, run *session.Run, held session.Held, want session.Result) session.Revocation {
	t.Helper()
	got, err := run.Revoke(t.Context(), held)
	if err != nil || got.Result != want {
		t.Errorf("revoke: %+v, %v; want %v", got, err, want)
	}
	return got
}

// check checks a token, which must be alive.
func check(t *testing.T, run *session.Run, held session.Held) {
	t.Helper()
	run.Refreshed(held)
	if alive, err := run.Check(t.Context(), held); !alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
}

// newRun returns another run, which knows of nothing.
func newRun(t *testing.T) *session.Run {
	t.Helper()
	client := flame.New(flame.Config{MaxRetries: 1, FirstBackoff: time.Nanosecond})
	t.Cleanup(client.CloseIdleConnections)
	return session.NewRun(client, func() bool { return false })
}

// If a login may not have been carried out, the survival of another session proves
// nothing, and the next login is checked too.
func TestLostLoginProvesNothing(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	a, _ := open(t, run, account)
	fake.Script(flametest.OpOpen, lost...)
	wantEnded(t, fails(t, run, account).Ended)
	wantRequests(t, fake, 3, 0, 1)
	_, opened := open(t, run, account)
	wantEnded(t, opened.Ended, a)
	wantRequests(t, fake, 4, 0, 2)
}

// The same for a revocation.
func TestLostRevocationProvesNothing(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	fake.Script(flametest.OpRevoke, lost...)
	got, err := run.Revoke(t.Context(), a)
	if err == nil {
		t.Error("the revocation did not fail")
	}
	wantEnded(t, got.Ended)
	wantEnded(t, revoke(t, run, a, session.Revoked).Ended, b)
	wantRequests(t, fake, 2, 3, 3)
}

// A session that a check found alive after a login is alive, and not in doubt any more.
func TestSurvivorIsAlive(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, b, session.Revoked).Ended, a)
	wantRequests(t, fake, 2, 1, 2)
}

// A token that is dead when its turn comes was swept if this run had seen it alive, and
// has revoked another one since.
func TestSwept(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404}, flametest.Fault{Status: 404}) // so nothing is learned
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, a, session.Revoked).Doubted, b, c)
	if !revoke(t, run, b, session.AlreadyGone).Swept {
		t.Error("a session that was in doubt is not known to have been swept")
	}
	d, _ := open(t, run, account)
	e, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, d, session.Spared).Others, e)

	// Of another user, nothing is known.
	f, _ := open(t, run, another(account))
	g, _ := open(t, run, another(account))
	wantEnded(t, revoke(t, run, f, session.Revoked).Ended, g)
}

// What ended elsewhere was not swept.
func TestEndedElsewhere(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	ended := func(of session.Account) session.Held {
		held, _ := open(t, newRun(t), of)
		fake.Revoke(held.Token.Reveal())
		return held
	}
	a, _ := open(t, run, account)
	fake.Revoke(a.Token.Reveal())
	if revoke(t, run, a, session.AlreadyGone).Swept {
		t.Error("nothing else was revoked")
	}

	b, _ := open(t, run, account)
	revoke(t, run, b, session.Revoked)
	if revoke(t, run, ended(account), session.AlreadyGone).Swept {
		t.Error("it was not seen alive")
	}

	c, _ := open(t, newRun(t), account)
	check(t, run, c)
	fake.Revoke(c.Token.Reveal())
	if revoke(t, run, c, session.AlreadyGone).Swept {
		t.Error("it was seen alive after the last revocation")
	}

	d, _ := open(t, run, account)
	e, _ := open(t, run, account)
	if got := revoke(t, run, d, session.Revoked); len(got.Others) != 0 {
		t.Error("the account counts as sweeping")
	}
	wantLive(t, fake, e.Token)
}

// A check that fails is not repeated for each revocation. A session that is no longer held
// is not told of.
func TestUnansweredCheckIsNotRepeated(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404}, flametest.Fault{Status: 404})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	d, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, b, session.Revoked).Doubted, a, c, d)
	e, _ := open(t, run, account)
	run.Release(a)
	wantEnded(t, revoke(t, run, c, session.Revoked).Doubted, d, e)
	wantRequests(t, fake, 5, 2, 2)
}

// A check that tells of one user's sessions says nothing about another's.
func TestDoubtIsPerUser(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404})
	a, _ := open(t, run, account)
	_, opened := open(t, run, account)
	wantEnded(t, opened.Doubted, a)

	b, _ := open(t, run, another(account))
	_, opened = open(t, run, another(account))
	wantEnded(t, opened.Ended, b)

	third := another(account)
	third.User = "eve@example.com"
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404})
	c, _ := open(t, run, third)
	_, opened = open(t, run, third)
	wantEnded(t, opened.Doubted, c)
}

// A session that is revoked while it is being checked died of that.
func TestRevokedDuringCheck(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, run, account)
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, Status: 401})
	opened := make(chan session.Opened)
	go func() {
		_, got := open(t, run, account)
		opened <- got
	}()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	run.Release(a)
	fake.Release()
	wantEnded(t, (<-opened).Ended)
	open(t, run, account) // the account does not count as superseding
}

// An interrupt ends the check of what a login or a revocation has done.
func TestInterruptEndsCheck(t *testing.T) {
	for _, op := range []flametest.Operation{flametest.OpOpen, flametest.OpRevoke} {
		fake, run, account := start(t, flametest.Config{})
		a, _ := open(t, run, account)
		b, _ := open(t, run, account)
		if op == flametest.OpOpen {
			revoke(t, run, b, session.Revoked)
			run = newRun(t)
			check(t, run, a)
		}
		fake.Reset()
		fake.Script(flametest.OpCheck, flametest.Fault{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		doubted := make(chan []session.Held, 1)
		go func() {
			if op == flametest.OpOpen {
				opened, _ := run.Open(ctx, session.Held{Instance: session.NewInstanceID(), Account: account}, password)
				doubted <- opened.Doubted
				return
			}
			revocation, _ := run.Revoke(ctx, b)
			doubted <- revocation.Doubted
		}()
		if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case got := <-doubted:
			wantEnded(t, got, a)
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the check goes on", op)
		}
		fake.Release()
	}
}

// What a refresh finds alive while its token is being revoked is told of, and a plan that
// keeps it too.
func TestHeldDuringRevocation(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	a, _ := open(t, run, account)
	fake.Script(flametest.OpRevoke, flametest.Fault{Hang: true})
	revoked := make(chan session.Revocation)
	go func() {
		got, _ := run.Revoke(t.Context(), a)
		revoked <- got
	}()
	if err := fake.Await(t.Context(), flametest.OpRevoke, 1); err != nil {
		t.Fatal(err)
	}
	b := a
	b.Instance = "b"
	run.Refreshed(b)
	if !run.Keep(b).Revokes {
		t.Error("the plan does not say that the token is being revoked")
	}
	fake.Release()
	wantEnded(t, (<-revoked).Ended, b)
}

// The survival of a session whose user is unknown says nothing of a user's logins and
// revocations: it may be another user's. The next ones are checked too.
func TestUnknownUserSurvives(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Superseding, flametest.Sweeping} {
		fake, run, account := start(t, flametest.Config{Kind: kind})
		imported, _ := open(t, newRun(t), another(account))
		imported.Account.User = ""
		check(t, run, imported)
		run.Keep(imported)
		fake.Reset()
		first, opened := open(t, run, account) // checks the imported one
		wantEnded(t, opened.Ended)
		wantEnded(t, run.PlanOpen(account, "").Beside, imported)
		a, opened := open(t, run, account) // checks the first
		if tells(opened.Ended, first) != (kind == flametest.Superseding) {
			t.Errorf("%v: %d sessions ended", kind, len(opened.Ended))
		}
		wantRequests(t, fake, 2, 0, 2)
		if kind == flametest.Superseding {
			continue
		}
		b, _ := open(t, run, account)
		fake.Reset()
		got := revoke(t, run, a, session.Revoked)
		if tells(got.Ended, b) != (kind == flametest.Sweeping) {
			t.Errorf("%v: %d sessions ended", kind, len(got.Ended))
		}
		wantRequests(t, fake, 0, 1, 1)
	}

	// With revocations, the same: the first has no other witness.
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	imported, _ := open(t, newRun(t), another(account))
	imported.Account.User = ""
	check(t, run, imported)
	a, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, a, session.Revoked).Ended)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	fake.Reset()
	if got := revoke(t, run, b, session.Revoked); !tells(got.Ended, c) {
		t.Error("the end of the other session is not told")
	}
}

// tells reports whether a session is among those that the user is told of.
func tells(told []session.Held, of session.Held) bool {
	return slices.ContainsFunc(told, func(held session.Held) bool { return held.Instance == of.Instance })
}

// Once two tokens of a user are known to be alive at once, that remains known.
func TestIndependenceIsNotForgotten(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	revoke(t, run, a, session.Revoked)
	fake.Reset()
	check(t, run, b)
	if beside := run.Keep(b); beside.Opens || beside.Revokes {
		t.Errorf("the plan warns: %+v", beside)
	}
	if planned := run.PlanOpen(account, ""); len(planned.Beside) != 0 {
		t.Error("the plan of another one warns")
	}
	if run.Keep(b).Opens {
		t.Error("the plan warns of another one")
	}
	if _, opened := open(t, run, account); len(opened.Beside) != 0 {
		t.Error("the login warns")
	}
	wantRequests(t, fake, 1, 0, 1)

	// A login during the check of a token is no reason to check it again.
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, Status: 200, Body: "[]"})
	checked := make(chan bool)
	go func() {
		alive, _ := run.Check(t.Context(), b)
		checked <- alive
	}()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	open(t, run, account)
	fake.Release()
	if !<-checked {
		t.Error("the token is dead")
	}
	wantRequests(t, fake, 1, 0, 1)
}

// On a superseding account, each further plan warns.
func TestSupersedingIsNotForgotten(t *testing.T) {
	_, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	open(t, run, account)
	b, _ := open(t, run, account)
	run.Keep(b)
	wantEnded(t, run.PlanOpen(account, "").Beside, b)
}

// A plan warns of what it does itself beside a session that it keeps, and of nothing else.
func TestKeepBeside(t *testing.T) {
	held := func(account session.Account, name string) session.Held {
		return session.Held{Instance: session.InstanceID(name), Account: account, Token: flame.NewToken(name)}
	}
	_, run, account := start(t, flametest.Config{})
	a, b := held(account, "a"), held(account, "b")
	run.PlanEnd(b)
	if beside := run.Keep(a); beside.Opens || beside.Revokes {
		t.Errorf("another token ends: %+v", beside)
	}
	run.PlanOpen(another(account), "")
	if run.Keep(a).Opens {
		t.Error("another user's session is opened")
	}
	run.PlanOpen(account, "a")
	if run.Keep(a).Opens {
		t.Error("it is to be replaced itself")
	}
	run.PlanOpen(account, "")
	run.PlanOpen(another(account), "")
	if !run.Keep(a).Opens {
		t.Error("another session of the user is opened")
	}

	// One that is replaced after all is not kept.
	_, run, account = start(t, flametest.Config{})
	a = held(account, "a")
	run.Keep(a)
	run.PlanEnd(a)
	wantEnded(t, run.PlanOpen(account, "a").Beside)

	// Two sessions with one token keep it.
	_, run, account = start(t, flametest.Config{})
	a = held(account, "a")
	b = a
	b.Instance = "b"
	for _, kept := range []session.Held{a, b, a} {
		if beside := run.Keep(kept); beside.Opens || beside.Revokes {
			t.Errorf("both are kept: %+v", beside)
		}
	}

	// An ephemeral one that holds the token does not outlive the plan.
	ephemeral := a
	ephemeral.Instance, ephemeral.Ephemeral = "ephemeral", true
	_, run, _ = start(t, flametest.Config{})
	run.Refreshed(a)
	run.Refreshed(ephemeral)
	if stillHeld, _ := run.PlanEnd(a); stillHeld {
		t.Error("an ephemeral session goes on holding the token")
	}
}

// A session that was checked after an ephemeral login is not in danger of it, and one of
// another user never is.
func TestCheckedAfterEphemeral(t *testing.T) {
	_, run, account := start(t, flametest.Config{})
	managed, _ := open(t, newRun(t), account)
	ephemeral := session.Held{Instance: "ephemeral", Account: account, Ephemeral: true}
	opened, err := run.Open(t.Context(), ephemeral, password)
	if err != nil {
		t.Fatal(err)
	}
	ephemeral.Token = opened.Token
	if _, err := run.Close(t.Context(), ephemeral); err != nil {
		t.Error(err)
	}
	check(t, run, managed)
	if run.Keep(managed).Opens {
		t.Error("the plan warns of a session that it has checked")
	}
	other := session.Held{Instance: "other", Account: another(account), Token: flame.NewToken("t")}
	if run.Keep(other).Opens {
		t.Error("the plan warns of another user's session")
	}
	wantEnded(t, run.Suspects(other))
}

// A login tells of sessions that the plan keeps and that nobody has checked.
func TestBesideAreKeptAndUnchecked(t *testing.T) {
	_, run, account := start(t, flametest.Config{})
	held := func(name string) session.Held {
		return session.Held{Instance: session.InstanceID(name), Account: account, Token: flame.NewToken(name)}
	}
	kept := held("kept")
	run.Keep(kept)
	run.Refreshed(held("refreshed")) // not planned yet
	_, opened := open(t, run, account)
	wantEnded(t, opened.Beside, kept)

	_, run, account = start(t, flametest.Config{})
	a, _ := open(t, newRun(t), account)
	check(t, run, a)
	run.Keep(a)
	_, opened = open(t, run, account) // the check of it shows that all is well
	wantEnded(t, opened.Beside)
}

// Of several sessions, those that a plan ends, those that are gone and other users' do not
// make a token a shared one.
func TestSharedSessions(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	open(t, run, another(account))
	open(t, run, another(account))
	want := func(ids ...string) {
		t.Helper()
		if got := run.SharedSessions(account); !slices.Equal(got, ids) {
			t.Errorf("shared: %v, want %v", got, ids)
		}
	}
	want(a.Token.SessionID())
	run.PlanEnd(b)
	want(a.Token.SessionID())
	run.Release(c)
	want()
	wantRequests(t, fake, 5, 0, 0)
}

// Sessions are told of in the order in which the run learned of them.
func TestOrder(t *testing.T) {
	_, run, account := start(t, flametest.Config{})
	var want []session.InstanceID
	for i := range 12 {
		kept := session.Held{Instance: session.InstanceID(fmt.Sprint(i)), Account: account, Token: flame.NewToken(fmt.Sprint(i))}
		run.Keep(kept)
		want = append(want, kept.Instance)
	}
	var got []session.InstanceID
	for _, held := range run.PlanOpen(account, "").Beside {
		got = append(got, held.Instance)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
