// SPDX-License-Identifier: MPL-2.0

package session

import (
	"context"
	"errors"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

func endpoint(t *testing.T, url string) flame.Endpoint {
	t.Helper()
	e, err := flame.ParseEndpoint(url)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Openers and revokers of one account exclude each other, and nobody else.
func TestExcludes(t *testing.T) {
	e, f := endpoint(t, "https://e.example"), endpoint(t, "https://f.example")
	ada, bob, unknown := Account{Endpoint: e, User: "ada"}, Account{Endpoint: e, User: "bob"}, Account{Endpoint: e}
	for _, test := range []struct {
		name string
		a, b accountLock
		want bool
	}{
		{"two openers", accountLock{opening, ada}, accountLock{opening, ada}, false},
		{"two openers, one alone", accountLock{opening, ada}, accountLock{openingAlone, ada}, true},
		{"two openers alone", accountLock{openingAlone, ada}, accountLock{openingAlone, ada}, true},
		{"two openers alone, of two users", accountLock{openingAlone, ada}, accountLock{openingAlone, bob}, false},
		{"two revokers", accountLock{revoking, ada}, accountLock{revoking, ada}, false},
		{"opener and revoker", accountLock{opening, ada}, accountLock{revoking, ada}, true},
		{"of two users", accountLock{opening, ada}, accountLock{revoking, bob}, false},
		{"of two endpoints", accountLock{opening, ada}, accountLock{revoking, Account{Endpoint: f, User: "ada"}}, false},
		{"of a user and one who is unknown", accountLock{opening, ada}, accountLock{revoking, unknown}, true},
		{"two openers, one unknown", accountLock{opening, ada}, accountLock{opening, unknown}, false},
		{"of two who are unknown", accountLock{opening, unknown}, accountLock{revoking, unknown}, true},
		{"of unknown users of two endpoints", accountLock{opening, unknown}, accountLock{revoking, Account{Endpoint: f}}, false},
	} {
		if test.a.excludes(&test.b) != test.want || test.b.excludes(&test.a) != test.want {
			t.Errorf("%s: want %v", test.name, test.want)
		}
	}
}

func TestAccountLocks(t *testing.T) {
	var locks accountLocks
	ada := Account{Endpoint: endpoint(t, "https://e.example"), User: "ada"}
	acquire := func(wanted purpose) func() {
		t.Helper()
		release, err := locks.acquire(t.Context(), ada, func() purpose { return wanted })
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	wantBusy := func() {
		t.Helper()
		if _, err := locks.acquire(cancelled, ada, func() purpose { return revoking }); !errors.Is(err, ErrAccountBusy) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that the account is busy", err)
		}
	}

	first, second := acquire(opening), acquire(opening)
	wantBusy()
	first()
	wantBusy() // the second opener still holds its lock
	acquired := make(chan func())
	go func() { acquired <- acquire(revoking) }()
	second()
	(<-acquired)()
	acquire(opening)()
	if len(locks.locks) != 0 {
		t.Errorf("%d locks are left", len(locks.locks))
	}
}
