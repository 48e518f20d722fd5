// SPDX-License-Identifier: MPL-2.0

package session_test

import (
	"context"
	"errors"
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
	gone, _ := open(t, newRun(t), account)
	fake.Revoke(gone.Token.Reveal())
	if revoke(t, run, gone, session.AlreadyGone).Swept {
		t.Error("a session that was not seen alive was swept")
	}
	d, _ := open(t, run, account)
	e, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, d, session.Spared).Others, e)

	// Of another user, nothing is known.
	f, _ := open(t, run, another(account))
	g, _ := open(t, run, another(account))
	wantEnded(t, revoke(t, run, f, session.Revoked).Ended, g)

	// The same of sessions that a refresh has found.
	run = newRun(t)
	fake.RevokeAll()
	a, _ = open(t, newRun(t), account)
	b, _ = open(t, newRun(t), account)
	check(t, run, a)
	check(t, run, b)
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404})
	wantEnded(t, revoke(t, run, a, session.Revoked).Doubted, b)
	if !revoke(t, run, b, session.AlreadyGone).Swept {
		t.Error("a session that a refresh found is not known to have been swept")
	}
}

// What ended elsewhere was not swept.
func TestEndedElsewhere(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, run, account)
	fake.Revoke(a.Token.Reveal())
	if revoke(t, run, a, session.AlreadyGone).Swept {
		t.Error("nothing else was revoked")
	}

	unseen, _ := open(t, newRun(t), account)
	fake.Revoke(unseen.Token.Reveal())
	run.Refreshed(unseen)
	b, _ := open(t, run, account)
	revoke(t, run, b, session.Revoked)
	if revoke(t, run, unseen, session.AlreadyGone).Swept {
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

// Then another session is checked instead.
func TestRevokedDuringCheckOfOthers(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Sweeping})
	a, _ := open(t, run, account)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
	check(t, run, a)
	check(t, run, b)
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, CarryOut: true})
	revoked := make(chan session.Revocation)
	go func() { revoked <- revoke(t, run, c, session.Revoked) }()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	run.Release(b)
	fake.Release()
	wantEnded(t, (<-revoked).Ended, a)
	wantRequests(t, fake, 0, 1, 2)
}

// What refreshes show while a check goes on is not forgotten, if that shows nothing.
func TestShownDuringCheck(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, newRun(t), account)
	b, _ := open(t, newRun(t), account)
	imported, _ := open(t, newRun(t), another(account))
	imported.Account.User = ""
	check(t, run, imported)
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, CarryOut: true})
	opened := make(chan session.Opened)
	go func() {
		_, got := open(t, run, account)
		opened <- got
	}()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	check(t, run, a)
	check(t, run, b)
	fake.Release()
	<-opened
	run.Keep(a)
	wantEnded(t, run.PlanOpen(account, "").Beside)
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
	go func() { revoked <- revoke(t, run, a, session.Revoked) }()
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

	// A session of the user is the better witness. Its end does not prove that the imported
	// one has ended, which may be another user's.
	_, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	first, _ := open(t, run, account)
	imported, _ := open(t, newRun(t), another(account))
	imported.Account.User = ""
	check(t, run, imported)
	_, opened := open(t, run, account)
	wantEnded(t, opened.Ended, first)
	wantEnded(t, opened.Doubted, imported)
	if alive, err := run.Check(t.Context(), imported); !alive || err != nil {
		t.Errorf("the imported session: alive is %v, error %v", alive, err)
	}

	// With revocations, the same: the first has no other witness.
	_, run, account = start(t, flametest.Config{Kind: flametest.Sweeping})
	imported, _ = open(t, newRun(t), another(account))
	imported.Account.User = ""
	check(t, run, imported)
	a, _ := open(t, run, account)
	wantEnded(t, revoke(t, run, a, session.Revoked).Ended)
	b, _ := open(t, run, account)
	c, _ := open(t, run, account)
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

	// Of a session whose user is unknown, it is not known.
	imported := session.Held{Instance: "imported", Account: session.Account{Endpoint: account.Endpoint}, Token: flame.NewToken("t")}
	run.PlanOpen(account, "")
	if !run.Keep(imported).Opens {
		t.Error("the plan does not warn of an imported session")
	}

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

	// One that is ended after all is not kept.
	_, run, account = start(t, flametest.Config{})
	a = held(account, "a")
	run.Keep(a)
	if run.WasRefreshed("a") {
		t.Error("no refresh has found it")
	}
	run.PlanEnd(a)
	wantEnded(t, run.PlanOpen(account, "").Beside)
	b = a
	b.Instance = "b"
	if !run.Keep(b).Revokes {
		t.Error("the plan revokes its token")
	}

	// Of two planned sessions, one is open.
	_, run, account = start(t, flametest.Config{})
	a = held(account, "a")
	run.PlanOpen(account, "")
	run.PlanOpen(account, "")
	open(t, run, account)
	if !run.Keep(a).Opens {
		t.Error("one more is to be opened")
	}

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
	if got := run.SharedSessions(account); !slices.Equal(got, []string{a.Token.SessionID()}) {
		t.Errorf("shared: %v", got)
	}
	run.PlanEnd(a)
	if run.Keep(b).Revokes {
		t.Error("the token stays alive for the other session")
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
	wantEnded(t, run.Suspects(managed), ephemeral)
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
	run.Keep(held("unchecked"))
	_, opened = open(t, run, account)
	wantEnded(t, opened.Beside)

	_, run, account = start(t, flametest.Config{Kind: flametest.Superseding})
	a, _ = open(t, newRun(t), account)
	check(t, run, a)
	run.Keep(a)
	_, opened = open(t, run, account) // the check of it shows that it is dead
	wantEnded(t, opened.Ended, a)
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

// Two tokens that refreshes have found alive show it for good, a dead one shows nothing.
func TestRefreshesShow(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	a, _ := open(t, newRun(t), account)
	b, _ := open(t, newRun(t), account)
	check(t, run, a)
	check(t, run, b)
	fake.Revoke(a.Token.Reveal())
	if alive, err := run.Check(t.Context(), a); alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
	check(t, run, b)
	run.Keep(b)
	wantEnded(t, run.PlanOpen(account, "").Beside)

	run = newRun(t)
	check(t, run, b)
	run.Refreshed(a)
	if alive, err := run.Check(t.Context(), a); alive || err != nil {
		t.Errorf("check: %v, %v", alive, err)
	}
	run.Keep(b)
	wantEnded(t, run.PlanOpen(account, "").Beside, b)

	// A check that fails says nothing of the token.
	run = newRun(t)
	other := b
	other.Instance = "other"
	run.Refreshed(b)
	run.Refreshed(other)
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 404})
	if _, err := run.Check(t.Context(), b); err == nil {
		t.Error("the check did not fail")
	}
	if !run.Release(other) {
		t.Error("a session whose check failed does not count as a holder")
	}
}

// A login or a revocation that Flame refuses has done nothing, so nothing is checked. One
// whose answer is lost may have done all.
func TestFailedRequests(t *testing.T) {
	for _, refused := range []bool{true, false} {
		fault := flametest.Fault{Status: 403}
		if !refused {
			fault = flametest.Fault{CarryOut: true, Drop: true}
		}
		fake, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
		a, _ := open(t, run, account)
		fake.Script(flametest.OpOpen, fault, fault)
		want := []session.Held{a}
		if refused {
			want = nil
		}
		wantEnded(t, fails(t, run, account).Ended, want...)
		if checks := fake.Count(flametest.OpCheck); checks != len(want) {
			t.Errorf("%d checks after a login", checks)
		}

		fake, run, account = start(t, flametest.Config{Kind: flametest.Sweeping})
		a, _ = open(t, run, account)
		b, _ := open(t, run, account)
		fake.Reset()
		fake.Script(flametest.OpRevoke, fault, flametest.Fault{Status: 403})
		got, err := run.Revoke(t.Context(), b)
		if err == nil {
			t.Error("the revocation did not fail")
		}
		if want = []session.Held{a}; refused {
			want = nil
		}
		wantEnded(t, got.Ended, want...)
		if checks := fake.Count(flametest.OpCheck); checks != len(want) {
			t.Errorf("%d checks after a revocation", checks)
		}
	}
}

// Another API may have the same users: its sessions are others.
func TestAccountIsOfOneEndpoint(t *testing.T) {
	here, run, account := start(t, flametest.Config{Kind: flametest.Superseding})
	there, _, elsewhere := start(t, flametest.Config{Kind: flametest.Superseding})
	a, _ := open(t, run, account)
	_, opened := open(t, run, elsewhere)
	wantEnded(t, opened.Ended)
	run.Keep(a)
	wantEnded(t, run.PlanOpen(elsewhere, "").Beside)
	wantRequests(t, here, 1, 0, 0)
	wantRequests(t, there, 1, 0, 0)
}

// Flame's ID of the user outlives calls that do not know it, and tells who has two logins.
func TestUserIDIsKept(t *testing.T) {
	_, _, account := start(t, flametest.Config{})
	without := session.Held{Instance: "a", Account: account, Token: flame.NewToken("t")}
	with := without
	with.Account.UserID = "7"
	for _, seen := range [][]session.Held{{with, without}, {without, with}} {
		run := newRun(t)
		for _, held := range seen {
			run.Keep(held)
		}
		wantEnded(t, run.PlanOpen(session.Account{Endpoint: account.Endpoint, User: "alias", UserID: "7"}, "").Beside, without)
	}
}

// A session of which only Flame's ID of the user is known shows what a login does.
func TestKnownByID(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	moved, opened := open(t, newRun(t), account)
	moved.Account = session.Account{Endpoint: account.Endpoint, UserID: opened.UserID}
	check(t, run, moved)
	for range 3 {
		open(t, run, account)
	}
	wantRequests(t, fake, 4, 0, 2)
}

// Logins of two users go side by side, and so do those of one that end no other. Others
// wait, and an interrupt ends the wait.
func TestLoginsSideBySide(t *testing.T) {
	fake, run, account := start(t, flametest.Config{})
	held, _ := open(t, run, account)
	waits := func(ctx context.Context, of session.Account) error {
		_, err := run.Open(ctx, session.Held{Instance: session.NewInstanceID(), Account: of}, password)
		return err
	}
	hang := func(op flametest.Operation, call func()) (release func()) {
		t.Helper()
		fake.Reset()
		fake.Script(op, flametest.Fault{Hang: true})
		done := make(chan struct{})
		go func() {
			defer close(done)
			call()
		}()
		if err := fake.Await(t.Context(), op, 1); err != nil {
			t.Fatal(err)
		}
		return func() {
			fake.Release()
			<-done
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	inTime, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	release := hang(flametest.OpOpen, func() { open(t, run, account) })
	if err := waits(inTime, another(account)); err != nil {
		t.Errorf("another user's login: %v", err)
	}
	if err := waits(ended, account); !errors.Is(err, session.ErrAccountBusy) {
		t.Errorf("the second login of a user: %v, want that the account is busy", err)
	}
	release() // the check after it shows that a login ends nothing
	release = hang(flametest.OpOpen, func() { open(t, run, account) })
	if err := waits(inTime, account); err != nil {
		t.Errorf("the third login of a user: %v", err)
	}
	release()
	release = hang(flametest.OpRevoke, func() { revoke(t, run, held, session.Revoked) })
	if err := waits(ended, account); !errors.Is(err, session.ErrAccountBusy) {
		t.Errorf("a login during a revocation: %v, want that the account is busy", err)
	}
	if n := fake.Count(flametest.OpOpen); n != 0 {
		t.Errorf("%d logins were sent during a revocation", n)
	}
	release()
}

// Who is no longer held, or is left to another holder, is not told of.
func TestLeft(t *testing.T) {
	fake, run, account := start(t, flametest.Config{Kind: flametest.Shared})
	a, _ := open(t, newRun(t), account)
	run.Refreshed(a)
	b, _ := open(t, run, account)
	if stillHeld, givenAgain := run.PlanEnd(a); !stillHeld || !givenAgain {
		t.Errorf("the end of the earlier one: %v, %v", stillHeld, givenAgain)
	}
	run.LeaveToOthers(a)
	if run.Release(b) {
		t.Error("a session that was left to another one still holds its token")
	}
	c, _ := open(t, run, account)
	got, err := run.RevokeForAll(t.Context(), session.Account{Endpoint: account.Endpoint}, c.Token)
	if err != nil || got.Result != session.Revoked {
		t.Errorf("%+v, %v", got, err)
	}
	wantEnded(t, got.Ended)
	wantLive(t, fake)

	fake, run, account = start(t, flametest.Config{})
	a, _ = open(t, run, account)
	b, _ = open(t, run, account)
	c, _ = open(t, run, account)
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true, Status: 401})
	revoked := make(chan session.Revocation)
	go func() { revoked <- revoke(t, run, c, session.Revoked) }()
	if err := fake.Await(t.Context(), flametest.OpCheck, 1); err != nil {
		t.Fatal(err)
	}
	run.Release(a)
	fake.Release()
	wantEnded(t, (<-revoked).Ended, b)
}
