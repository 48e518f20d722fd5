// SPDX-License-Identifier: MPL-2.0

package session

import "github.com/flameanalytics/terraform-provider-flame/internal/flame"

// Account is a user of one Flame API.
type Account struct {
	Endpoint flame.Endpoint
	User     string // the login; "" if unknown, as for an imported session
	UserID   string // Flame's ID of the user; "" if unknown, as before a login
}

// same reports whether two accounts are one. An account of which nothing but the
// endpoint is known may be any of them.
func (a Account) same(b Account) bool {
	switch {
	case a.Endpoint != b.Endpoint:
		return false
	case a.UserID != "" && b.UserID != "":
		return a.UserID == b.UserID
	case a.User != "" && b.User != "":
		return a.User == b.User
	}
	return true
}

// behavior is what a run has seen an account do. Flame does not document what a login
// does to the user's earlier tokens, nor what a revocation does to the others:
//
//   - independent: neither does anything to another token
//   - shared: a login returns the token that is alive already
//   - superseding: a login ends the user's earlier token
//   - sweeping: a revocation ends all tokens of the user
type behavior struct {
	account    Account
	shared     bool // two sessions have one token
	coexist    bool // two tokens were alive at the same time, so a login ends none
	supersedes bool // a login has ended an earlier token
	sweeps     bool // a revocation has ended other tokens

	logins      int // of this run
	revocations int // of this run, sent or about to be
	// Each is found out with one extra request at most.
	loginChecked, revocationChecked bool
	// Then Flame did not say.
	loginCheckFailed, revocationCheckFailed bool
}

// loginsEndNothing reports whether a login is known to end no other session, or it is
// known that this cannot be found out.
func (b *behavior) loginsEndNothing() bool {
	return b.shared || b.coexist || b.loginChecked && !b.supersedes
}

// isKnown reports whether it is known whose account it is.
func (a Account) isKnown() bool { return a.User != "" || a.UserID != "" }

// behaviorLocked returns what the run has seen of an account. What it has seen of an
// account that is not known says nothing of another.
func (r *Run) behaviorLocked(account Account) *behavior {
	for _, b := range r.behaviors {
		if b.account.same(account) && b.account.isKnown() == account.isKnown() {
			return b
		}
	}
	b := &behavior{account: account}
	r.behaviors = append(r.behaviors, b)
	return b
}
