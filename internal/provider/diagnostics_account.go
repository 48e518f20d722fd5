// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// What a login or a revocation does to other sessions of the user depends on the kind of
// account. These diagnostics say what happened, on which kind that happens, and the way
// out.

const (
	// oneSessionPerUser is the way out on accounts that keep one token per user.
	oneSessionPerUser = "Use one flame_session per user and share its token, or give each session its own user."
	// superseding, shared and sweeping are the kinds, in the user's words.
	superseding = "On some accounts, " + loginEnds + "."
	shared      = "Flame gives all sessions of this user the same token while it is alive."
	loginEnds   = "a login ends the user's earlier token"
	lostSession = "a session with an unknown token"
	sweeping    = "On this account, a revocation ends all tokens of the user."
)

// addShared warns that two sessions hold the same token.
func addShared(diags *diag.Diagnostics, id string) {
	diags.AddWarning("Two sessions share one Flame token: session "+id,
		"Flame gave the token of session "+id+" to several sessions of one user. Revoking it for one ends it for all. "+oneSessionPerUser)
}

// addNotRevoked warns that a token is not revoked, because another session holds it. If
// the session was replaced, it was not rotated either.
func addNotRevoked(diags *diag.Diagnostics, id string, replaced bool) {
	detail := "Flame gave the token of session " + id + " to another session too, and revoking it now would break that one. " +
		"The provider revokes the token with the last session that holds it."
	if replaced {
		detail += "\n\nIf the new session got the same token, nothing was rotated. " + shared +
			" To rotate it, revoke it first: remove create_before_destroy, and replace all sessions that hold the token in one apply."
	}
	diags.AddWarning("The Flame token is not revoked, because another session holds it: session "+id, detail)
}

// addSharedWithKept warns in a plan that an ephemeral session holds the token of a managed
// one. Not shown the managed one, the apply would revoke the token.
func addSharedWithKept(diags *diag.Diagnostics, id string) {
	diags.AddWarning("An apply may revoke the token of a session that it keeps: Flame session "+id,
		fmt.Sprintf("An ephemeral session holds the same token as session %s. %s The plan has not revoked it. "+
			"During apply, Terraform does not show the provider the sessions it keeps, so closing the ephemeral session ends both. "+
			"Use the token of the managed session instead, or set revoke_on_close = false in the ephemeral one.", id, shared))
}

// addRevocation warns of what a revocation has done to other sessions, or why the token
// was not revoked.
func addRevocation(diags *diag.Diagnostics, id string, revocation session.Revocation, replaced bool) {
	switch revocation.Result {
	case session.StillHeld:
		addNotRevoked(diags, id, replaced || revocation.GivenAgain)
	case session.Spared:
		addSpared(diags, id, revocation.Others, diag.SeverityWarning)
	case session.AlreadyGone:
		if revocation.Swept {
			addSwept(diags, id, "another session")
		}
	case session.Revoked:
		addEndedByRevocation(diags, id, revocation.Casualties)
	}
}

// addEndedByRevocation warns that a revocation has ended other sessions, or may have.
func addEndedByRevocation(diags *diag.Diagnostics, id string, casualties session.Casualties) {
	for _, ended := range casualties.Ended {
		if other := ended.Token.SessionID(); other == id {
			addWillEnd(diags, id) // they had the same token
		} else {
			addSwept(diags, other, "session "+id)
		}
	}
	addDoubted(diags, "session "+id+" was revoked", "a revocation ends all tokens of the user", casualties.Doubted)
}

// addSwept warns that a session has ended, because another one was revoked.
func addSwept(diags *diag.Diagnostics, id, other string) {
	diags.AddWarning("A revocation has ended another Flame session: session "+id,
		fmt.Sprintf("Session %s was alive until %s of the same user was revoked, and is dead now. %s Everything that uses the token of session %s gets 401. "+
			"Apply again to open a new session. %s", id, other, sweeping, id, oneSessionPerUser))
}

// addSpared reports that a token is not revoked, because that would end other sessions.
func addSpared(diags *diag.Diagnostics, id string, others []session.Held, severity diag.Severity) {
	summary := "The Flame token is not revoked, because that would end another session: session " + id
	detail := fmt.Sprintf("%s Revoking session %s would end session %s too, which is alive, so nothing was sent. "+
		"The token of session %s stays alive until another session of the user is revoked. To end all of them now, run the action flame_session_revoke alone, with -invoke. %s",
		sweeping, id, sessionIDs(others), id, oneSessionPerUser)
	if severity == diag.SeverityError {
		diags.AddError(summary, detail)
	} else {
		diags.AddWarning(summary, detail)
	}
}

// addEndedByLogin warns that a login has ended other sessions, or may have. opened is what
// it has brought.
func addEndedByLogin(diags *diag.Diagnostics, opened string, casualties session.Casualties) {
	for _, ended := range casualties.Ended {
		other := ended.Token.SessionID()
		diags.AddWarning("A login has ended another Flame session: session "+other,
			fmt.Sprintf("Session %s was alive until %s was opened for the same user, and is dead now: on this account, a login ends the user's earlier token. "+
				"Everything that uses the token of session %s gets 401. %s", other, opened, other, oneSessionPerUser))
	}
	addDoubted(diags, opened+" was opened", loginEnds, casualties.Doubted)
}

// addDoubted warns of sessions that may have ended when another one was opened or revoked.
func addDoubted(diags *diag.Diagnostics, event, kind string, doubted []session.Held) {
	for _, doubted := range doubted {
		other := doubted.Token.SessionID()
		diags.AddWarning("Another Flame session may have ended: session "+other,
			fmt.Sprintf("Session %s was alive until %s for the same user. On some accounts, %s. The provider could not find out whether session %s is dead. "+
				"Plan again with a refresh to see. %s", other, event, kind, other, oneSessionPerUser))
	}
}

// addEndedByEphemeral adds an error if the login of an ephemeral session has ended a
// managed one that the plan keeps: every plan would do so again.
func addEndedByEphemeral(diags *diag.Diagnostics, opened session.Opened) {
	harmless := func(ended session.Held) bool { return ended.Ephemeral || ended.Ending }
	managed := slices.DeleteFunc(slices.Clone(opened.Ended), harmless)
	opened.Ended = slices.DeleteFunc(opened.Ended, func(ended session.Held) bool { return !harmless(ended) })
	addEndedByLogin(diags, "session "+opened.Token.SessionID(), opened.Casualties)
	for _, ended := range managed {
		other := ended.Token.SessionID()
		diags.AddError("An ephemeral login has ended a managed Flame session: session "+other,
			fmt.Sprintf("Session %s was alive until an ephemeral session of the same user was opened, and is dead now: on this account, a login ends the user's earlier token. "+
				"Every plan would end it again, so the ephemeral session was revoked.\n\nUse the token of the managed session instead, or give the ephemeral one its own user. Then apply to open a new session for %s.", other, other))
	}
}

// addMayEnd warns that a login may end sessions that the plan keeps.
func addMayEnd(diags *diag.Diagnostics, ids ...string) {
	for _, id := range ids {
		diags.AddWarning("Opening another session of the user may end this one: Flame session "+id,
			fmt.Sprintf("The plan keeps session %s and opens another one of the same user beside it. %s On others, a revocation ends all tokens of the user. "+
				"The provider has not yet seen which kind this account is. On either, everything that uses the token of session %s gets 401. %s", id, superseding, id, oneSessionPerUser))
	}
}

// addWillEnd warns in a plan that the token of a session is revoked for another one.
func addWillEnd(diags *diag.Diagnostics, id string) {
	diags.AddWarning("The plan revokes the token of a session that it keeps: Flame session "+id,
		fmt.Sprintf("Another session has the same token as session %s. This plan revokes that one, which ends both. %s "+
			"Plan with a refresh, or replace all sessions that hold the token in one apply. %s", id, shared, oneSessionPerUser))
}

// addEndedElsewhere warns that a refresh found a token dead. others are the sessions of the
// same account that are alive or were opened in this run.
func addEndedElsewhere(diags *diag.Diagnostics, id string, others []session.Held) {
	detail := fmt.Sprintf("Flame answered 401 to the token of session %s, so it was revoked outside Terraform or has expired. The next apply opens a new session.", id)
	if len(others) > 0 {
		detail += fmt.Sprintf("\n\nSession %s of the same user is alive, or was opened in this run. %s So opening that one may have ended session %s. "+
			"To tell which: open another session of the user. If the new session then dies too, a login ends the earlier token. If it stays alive, session %s was revoked elsewhere or had expired. %s",
			sessionIDs(others), superseding, id, id, oneSessionPerUser)
	}
	diags.AddWarning("The Flame session has ended elsewhere: session "+id, detail)
}

// sessionIDs returns the IDs of sessions, for a sentence.
func sessionIDs(sessions []session.Held) string {
	var ids []string
	for _, held := range sessions {
		ids = append(ids, held.Token.SessionID())
	}
	return strings.Join(ids, ", ")
}
