// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// Every diagnostic says what was tried, what happened and what to do, in this
// order. Nothing in it comes from a server but what flame.Error keeps. A warning about
// a session has its id in the summary, because Terraform folds warnings whose summaries
// are equal.

// reportDefect is what to do if the provider itself is wrong.
const reportDefect = "This is a defect of the provider. Report it to its developers."

// addFailure adds an error for a call that failed. task names the call in the
// user's words, as in "open a Flame session".
func addFailure(diags *diag.Diagnostics, task string, err error) {
	summary, detail := failure(task, err)
	diags.AddError(summary, detail)
}

// addOpenFailure is addFailure for a session that could not be opened. A refused
// password that begins or ends with white space is mentioned: in CI, a final line
// break is common.
func addOpenFailure(diags *diag.Diagnostics, task string, err error, password string) {
	summary, detail := failure(task, err)
	if errors.Is(err, flame.ErrUnauthorized) && password != strings.TrimSpace(password) {
		detail += "\n\nThe password begins or ends with white space, such as a line break. Check that this is part of it."
	}
	diags.AddError(summary, detail)
}

// failure returns the summary and detail for a call that failed.
func failure(task string, err error) (summary, detail string) {
	summary = "Could not " + task
	if errors.Is(err, session.ErrAccountBusy) {
		return summary, "Sessions of one user are not opened and revoked at the same time, since they may share a token. The run was interrupted, or the time limit used up, before this one's turn came; nothing was sent.\n\nRun again to finish."
	}
	if errors.Is(err, session.ErrOrphaned) {
		return summary, "Terraform died meanwhile, so the session was revoked again. Run again."
	}
	var wouldEnd *session.WouldEndError
	if errors.As(err, &wouldEnd) {
		return summary, fmt.Sprintf("This run has seen that a login ends the user's earlier token, and session %s of the same user is alive. Nothing was sent, so that it stays alive.\n\n%s",
			wouldEnd.Other.Token.SessionID(), oneSessionPerUser)
	}
	var e *flame.Error
	if !errors.As(err, &e) {
		return summary, "The request could not be made. " + reportDefect
	}
	parts := []string{describe(e), suggest(e)}
	if e.Lost > 0 {
		parts = append(parts, fmt.Sprintf("Flame may have opened %s: %s",
			plural(e.Lost, "session whose token never arrived", "sessions whose tokens never arrived"), orphanedSession))
	}
	return summary, strings.Join(parts, "\n\n")
}

const orphanedSession = "such a session stays alive until it is ended at Flame. If that matters, end the user's sessions there or change the password."

// plural returns a count with the noun in the right number. One is "a" or "an".
func plural(n int, one, many string) string {
	switch {
	case n != 1:
		return fmt.Sprintf("%d %s", n, many)
	case strings.ContainsAny(one[:1], "aeiou"):
		return "an " + one
	}
	return "a " + one
}

// describe says what was sent, how often, and what came back.
func describe(e *flame.Error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s", e.Op.Method(), e.Host, e.Path)
	switch {
	case e.NotSent && e.Attempts == 0:
		b.WriteString(" was not sent, because another request of this run had failed in the same way")
	case e.NotSent:
		fmt.Fprintf(&b, " was tried %s, and not again, because another request of this run had failed in the same way", plural(e.Attempts, "time", "times"))
	case e.Attempts > 1:
		fmt.Fprintf(&b, " was tried %d times; at last", e.Attempts)
	default:
		b.WriteString(" failed")
	}
	b.WriteString(describeResponse(e))
	if e.Detail != "" {
		fmt.Fprintf(&b, " (%s)", e.Detail)
	}
	if e.StillAlive {
		b.WriteString("; a check then found that Flame still accepts the token")
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, "; Flame's request ID is %s", e.RequestID)
	}
	b.WriteString(".")
	switch {
	case errors.Is(e, flame.ErrInterrupted):
	case e.Wait > 0 && e.DeadlineExceeded:
		fmt.Fprintf(&b, " Flame asked for a pause of %s more, which is longer than this operation's time limit allows.", e.Wait.Round(time.Second))
	case e.DeadlineExceeded:
		b.WriteString(" This operation's time limit is used up.")
	}
	return b.String()
}

// describeResponse says what came back.
func describeResponse(e *flame.Error) string {
	switch {
	case errors.Is(e, flame.ErrStatus), errors.Is(e, flame.ErrUnauthorized):
		return ": Flame answered " + flame.StatusMeaning(e.Status)
	case e.ProxyStatus != 0:
		return ": the proxy answered " + flame.HTTPStatusMeaning(e.ProxyStatus)
	case errors.Is(e, flame.ErrForeign):
		return fmt.Sprintf(": the answer was %s, but not Flame's own", flame.StatusMeaning(e.Status))
	case errors.Is(e, flame.ErrRedirect) && e.Target != "":
		return fmt.Sprintf(": the answer was %s, a redirect to %s", flame.StatusMeaning(e.Status), e.Target)
	case errors.Is(e, flame.ErrRedirect):
		return fmt.Sprintf(": the answer was %s, a redirect", flame.StatusMeaning(e.Status))
	case e.Status != 0:
		return fmt.Sprintf(": %s, although the status was %s", e.Reason, flame.StatusMeaning(e.Status))
	}
	return fmt.Sprintf(": %s", e.Reason)
}

// suggest says what to do next.
func suggest(e *flame.Error) string {
	switch {
	case e.Proxy != "", errors.Is(e, flame.ErrProxy):
		return suggestForProxy(e)
	case errors.Is(e, flame.ErrUnreachable):
		return "Check the endpoint, the network and, where one is needed, the proxy (HTTPS_PROXY, NO_PROXY), then run again."
	case errors.Is(e, flame.ErrTLS):
		return "Check that the endpoint is the right one. Where its certificate is signed by an authority of your own, set the provider's ca_certificate."
	case errors.Is(e, flame.ErrInterrupted):
		return "Run again to finish."
	case errors.Is(e, flame.ErrNoEndpoint):
		return "Set the provider's endpoint to a value that is known."
	case errors.Is(e, flame.ErrLost):
		return "Run again. Where it happens every time, look for a proxy that cuts connections between here and Flame."
	case errors.Is(e, flame.ErrTimeout):
		return "Run again. Where Flame is known to be slow, raise the provider's request_timeout and, in the resource, timeouts."
	case errors.Is(e, flame.ErrForeign):
		return "Something in front of Flame, such as a gateway or a maintenance page, seems to have answered, so it is not known whether the token still works. Check the endpoint, path included, and what stands before it."
	case errors.Is(e, flame.ErrRedirect):
		return "Redirects are not followed, because they would carry a password or token elsewhere. Set the endpoint to where the API really is."
	case errors.Is(e, flame.ErrNotJSON), errors.Is(e, flame.ErrNoToken), errors.Is(e, flame.ErrTooLarge):
		return "Something other than the Flame API may have answered, such as a proxy's or a login page. Check the endpoint, path included: the default is " + flame.DefaultEndpoint + "."
	case errors.Is(e, flame.ErrTokenUnusable) && e.Op == flame.OpOpen && e.TokenRevoked:
		return "The token cannot be sent in a header as it is, so it was revoked and nothing is stored. Report this to Flame."
	case errors.Is(e, flame.ErrTokenUnusable) && e.Op == flame.OpOpen:
		return "The token cannot be sent in a header as it is, so it could neither be kept nor be revoked. Report this to Flame."
	case errors.Is(e, flame.ErrTokenUnusable):
		return "The token was not sent. Check where it comes from: Flame's tokens consist of letters, digits, - and _."
	}
	if e.Status == http.StatusServiceUnavailable && e.OthersServed {
		return "Flame is down for maintenance or, since other requests of this run succeeded, answers 503 to too many requests. Set the provider's requests_per_second below the account's limit, or run again later."
	}
	return suggestForStatus(e.Status)
}

// suggestForProxy says what to do about a failure at the proxy.
func suggestForProxy(e *flame.Error) string {
	variable := cmp.Or(e.Proxy, "HTTPS_PROXY or HTTP_PROXY")
	host := (&url.URL{Host: e.Host}).Hostname()
	bypass := fmt.Sprintf(" If no proxy is needed for %s, add it to NO_PROXY.", host)
	switch {
	case errors.Is(e, flame.ErrProxyVariable):
		return fmt.Sprintf("Nothing was sent. Correct or unset %s. A proxy's URL looks like http://proxy.example:3128; in its user and password, special characters are percent-encoded, such as %%40 for @.", variable) + bypass
	case errors.Is(e, flame.ErrTLS):
		return fmt.Sprintf("Check the proxy in %s: its URL begins with https:// only if the proxy itself speaks TLS. Where its certificate is signed by an authority of your own, set the provider's ca_certificate.", variable) + bypass
	case errors.Is(e, flame.ErrUnreachable):
		return fmt.Sprintf("Check the scheme, host and port of the proxy in %s, and the network, then run again.", variable) + bypass
	}
	return suggestForProxyStatus(e.ProxyStatus, variable, host) + bypass
}

// suggestForProxyStatus says what to do after a refusal of a proxy. The status is 0 if
// the proxy speaks SOCKS.
func suggestForProxyStatus(status int, variable, host string) string {
	switch {
	case status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("Flame was not asked. Check the proxy's user and password in %s. Wrong credentials are not tried again, so that no account gets locked.", variable)
	case status == 0, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Sprintf("Flame was not asked. Check the proxy's user and password in %s, and with the proxy's administrator that it allows connections to %s.", variable, host)
	case status >= 500 && status != http.StatusNotImplemented, status == http.StatusTooManyRequests:
		return fmt.Sprintf("Flame was not asked: the proxy may be overloaded, or cannot reach %s. Check the endpoint, then run again later, or ask the proxy's administrator.", host)
	}
	return fmt.Sprintf("Flame was not asked. Check that %s names a proxy that can CONNECT to other hosts, not some other server.", variable)
}

// suggestForStatus says what to do after a refusal.
func suggestForStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "Check user and password. They come from the resource, else from the provider block, else from FLAME_USER and FLAME_PASSWORD. Refused credentials are not sent again in the same run, so that no account gets locked."
	case http.StatusForbidden:
		return "Flame knows the user but does not allow this. Check with an administrator of the Flame account that the user may use the API."
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return "The endpoint may lack a part of its path. Check it: the default is " + flame.DefaultEndpoint + "."
	case http.StatusTooManyRequests:
		return "Run again later, set the provider's requests_per_second below the account's limit, or raise timeouts in the resource."
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		520, 521, 522, 523, 524:
		return "Flame has a problem of its own, or is down for maintenance. Run again later."
	}
	return "Check the endpoint, then run again; where it stays so, ask Flame's support and name the request ID, if there is one."
}

// letGo says how to get rid of a session that cannot be revoked.
const letGo = "To let go of the session without revoking it, set revoke_on_destroy = false in the provider block and apply: its token then stays alive."

// addRevokeFailure adds an error for a managed session that could not be revoked.
func addRevokeFailure(diags *diag.Diagnostics, id string, err error) {
	summary, detail := failure("revoke the Flame session "+id, err)
	diags.AddError(summary, detail+"\n\n"+letGo)
}

// addLeftAlive warns of a token that is not revoked, because the user said so.
func addLeftAlive(diags *diag.Diagnostics, id, reason string) {
	diags.AddWarning("The Flame token stays alive: session "+id,
		fmt.Sprintf("Session %s ends in Terraform, but %s, so its token was not revoked and goes on working. "+
			"To end it, revoke it with the action flame_session_revoke, or end the user's sessions at Flame.", id, reason))
}

// addWillStayAlive warns in a plan of a token that will not be revoked.
func addWillStayAlive(diags *diag.Diagnostics, id, reason string) {
	diags.AddWarning("The Flame token will stay alive: session "+id,
		fmt.Sprintf("Session %s ends in Terraform, but %s, so its token will not be revoked. "+
			"To have it revoked, set revoke_on_destroy = true and apply before you destroy or replace the session.", id, reason))
}

// addLostAnswers warns of sessions that earlier attempts of a successful open may
// have opened.
func addLostAnswers(diags *diag.Diagnostics, id string, lost int) {
	if lost == 0 {
		return
	}
	diags.AddWarning("Flame may hold a session that nobody knows the token of, besides session "+id,
		fmt.Sprintf("Session %s was opened, but only after %s. Flame may have opened a session for each: %s",
			id, plural(lost, "earlier attempt whose answer never arrived", "earlier attempts whose answers never arrived"), orphanedSession))
}
