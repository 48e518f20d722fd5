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
const reportDefect = "This is a bug in the provider. Report it to its developers."

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
		detail += "\n\nThe password begins or ends with white space, such as a line break. Check whether that belongs to it."
	}
	diags.AddError(summary, detail)
}

// failure returns the summary and detail for a call that failed.
func failure(task string, err error) (summary, detail string) {
	summary = "Could not " + task
	if errors.Is(err, session.ErrAccountBusy) {
		return summary, "The provider never opens and revokes sessions of one user at the same time, because they may share a token. The run was interrupted, or the time limit ended, while this session waited for its turn. Nothing was sent.\n\nRun again to finish."
	}
	if errors.Is(err, session.ErrOrphaned) {
		return summary, "Terraform ended before it could store the session, so the provider revoked it. Run again."
	}
	var wouldEnd *session.WouldEndError
	if errors.As(err, &wouldEnd) {
		return summary, fmt.Sprintf("This run has seen that a login ends the user's earlier token. Opening this session would end session %s of the same user, which is alive, so nothing was sent.\n\n%s",
			wouldEnd.Other.Token.SessionID(), oneSessionPerUser)
	}
	var e *flame.Error
	if !errors.As(err, &e) {
		return summary, "The provider could not make the request. " + reportDefect
	}
	parts := []string{describe(e), suggest(e)}
	if e.Lost > 0 {
		parts = append(parts, fmt.Sprintf("Flame may have opened %s never arrived. %s",
			plural(e.Lost, "session, but its token", "sessions, but their tokens"), orphanedSession))
	}
	return summary, strings.Join(parts, "\n\n")
}

// orphanedSession is what to do about a live token that nobody holds.
const orphanedSession = "Nobody can revoke a session without its token. If that matters, " + endAtFlame + "."

// endAtFlame is the way to end a session without its token: the API has no call for it.
const endAtFlame = "ask Flame's support to end the user's sessions"

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
		b.WriteString(" was not sent because another request of this run had failed in the same way")
	case e.NotSent:
		fmt.Fprintf(&b, " was not retried after %s because another request of this run had failed in the same way", plural(e.Attempts, "attempt", "attempts"))
	case e.Attempts > 1:
		fmt.Fprintf(&b, " was tried %d times; the last result", e.Attempts)
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
		fmt.Fprintf(&b, " Flame asked the provider to wait %s more, which is longer than this operation's time limit allows.", e.Wait.Round(time.Second))
	case e.DeadlineExceeded:
		b.WriteString(" This operation reached its time limit.")
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
		return fmt.Sprintf(": the answer was %s, but it did not come from Flame", flame.StatusMeaning(e.Status))
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
		return "Check the endpoint, the network and, if you need one, the proxy (HTTPS_PROXY, NO_PROXY). Then run again."
	case errors.Is(e, flame.ErrTLS):
		return "Check the endpoint. If a private authority signed its certificate, set the provider's ca_certificate."
	case errors.Is(e, flame.ErrInterrupted):
		return "Run again to finish."
	case errors.Is(e, flame.ErrNoEndpoint):
		return "Set the provider's endpoint to a known value."
	case errors.Is(e, flame.ErrLost):
		return "Run again. If it happens every time, look for a proxy that cuts connections to Flame."
	case errors.Is(e, flame.ErrTimeout):
		return "Run again. If Flame is slow, raise request_timeout in the provider block and timeouts in the resource."
	case errors.Is(e, flame.ErrForeign) && e.Op == flame.OpOpen:
		return "A gateway or a login page in front of Flame seems to have answered. Check the endpoint, including its path, and the gateway. If they are right, check the user and password. The provider does not send them twice in one run, to avoid locking the account."
	case errors.Is(e, flame.ErrForeign):
		return "A gateway or a maintenance page in front of Flame seems to have answered, so the token may still work. Check the endpoint, including its path, and the gateway."
	case errors.Is(e, flame.ErrRedirect):
		return "The provider does not follow redirects, because they could carry a password or token elsewhere. Set the endpoint to the address of the API itself."
	case errors.Is(e, flame.ErrNotJSON), errors.Is(e, flame.ErrNoToken), errors.Is(e, flame.ErrTooLarge):
		return "Something other than the Flame API may have answered, such as a proxy or a login page. Check the endpoint, including its path: the default is " + flame.DefaultEndpoint + "."
	case errors.Is(e, flame.ErrTokenUnusable) && e.Op == flame.OpOpen && e.TokenRevoked:
		return "A header cannot carry this token, so the provider revoked it and stored nothing. Report this to Flame."
	case errors.Is(e, flame.ErrTokenUnusable) && e.Op == flame.OpOpen:
		return "A header cannot carry this token, so the provider could neither keep nor revoke it. Report this to Flame."
	case errors.Is(e, flame.ErrTokenUnusable):
		return "The provider did not send the token. Check its source: a Flame token has only letters, digits, - and _."
	}
	if e.Status == http.StatusServiceUnavailable && e.OthersServed {
		return "Other requests of this run succeeded, so Flame may answer 503 to too many requests, or it has gone down for maintenance. Set the provider's requests_per_second below the account's limit, or run again later."
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
		return fmt.Sprintf("Nothing was sent. Correct or unset %s. A proxy's URL looks like http://proxy.example:3128. In its user and password, percent-encode special characters: %%40 for @.", variable) + bypass
	case errors.Is(e, flame.ErrTLS):
		return fmt.Sprintf("Check the proxy in %s: its URL begins with https:// only if the proxy itself speaks TLS. If a private authority signed its certificate, set the provider's ca_certificate.", variable) + bypass
	case errors.Is(e, flame.ErrUnreachable):
		return fmt.Sprintf("Check the scheme, host and port of the proxy in %s, and the network. Then run again.", variable) + bypass
	}
	return suggestForProxyStatus(e.ProxyStatus, variable, host) + bypass
}

// suggestForProxyStatus says what to do after a refusal of a proxy. The status is 0 if
// the proxy speaks SOCKS.
func suggestForProxyStatus(status int, variable, host string) string {
	switch {
	case status == http.StatusProxyAuthRequired:
		return fmt.Sprintf("The request did not reach Flame. Check the proxy's user and password in %s. The provider does not send wrong credentials twice, to avoid locking the account.", variable)
	case status == 0, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Sprintf("The request did not reach Flame. Check the proxy's user and password in %s, and ask the proxy's administrator whether it allows connections to %s.", variable, host)
	case status >= 500 && status != http.StatusNotImplemented, status == http.StatusTooManyRequests:
		return fmt.Sprintf("The request did not reach Flame: the proxy may be overloaded, or cannot reach %s. Check the endpoint and run again later, or ask the proxy's administrator.", host)
	}
	return fmt.Sprintf("The request did not reach Flame. Check that %s names a proxy that accepts CONNECT, and not another server.", variable)
}

// suggestForStatus says what to do after a refusal.
func suggestForStatus(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "Check the user and password. The provider takes each from the resource, or else from the provider block, or else from FLAME_USER and FLAME_PASSWORD. It does not send refused credentials twice in one run, to avoid locking the account."
	case http.StatusForbidden:
		return "Flame knows the user but does not allow this. Ask an administrator of the Flame account whether the user may use the API."
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return "Check the endpoint: part of its path may be missing. The default is " + flame.DefaultEndpoint + "."
	case http.StatusTooManyRequests:
		return "Set the provider's requests_per_second below the account's limit, raise timeouts in the resource, or run again later."
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		520, 521, 522, 523, 524:
		return "Flame has a problem, or is down for maintenance. Run again later."
	}
	return "Check the endpoint, then run again. If it fails again, ask Flame's support, and give them the request ID if there is one."
}

// letGo says how to get rid of a session that cannot be revoked.
const letGo = "To remove the session without revoking it, set revoke_on_destroy = false in the provider block and apply. Its token then stays alive."

// addRevokeFailure adds an error for a managed session that could not be revoked.
func addRevokeFailure(diags *diag.Diagnostics, id string, err error) {
	summary, detail := failure("revoke the Flame session "+id, err)
	diags.AddError(summary, detail+"\n\n"+letGo)
}

// addLeftAlive warns of a token that is not revoked, because the user said so.
func addLeftAlive(diags *diag.Diagnostics, id, reason string) {
	diags.AddWarning("The Flame token stays alive: session "+id,
		fmt.Sprintf("Terraform has removed session %s, but its token was not revoked because %s, so it still works. "+
			"To end it, revoke it with the action flame_session_revoke. If you no longer have the token, %s.", id, reason, endAtFlame))
}

// addWillStayAlive warns in a plan of a token that will not be revoked.
func addWillStayAlive(diags *diag.Diagnostics, id, reason string) {
	diags.AddWarning("The Flame token will stay alive: session "+id,
		fmt.Sprintf("The plan removes session %s, but its token will not be revoked because %s. "+
			"To have it revoked, set revoke_on_destroy = true and apply before you destroy or replace the session.", id, reason))
}

// addLostAnswers warns of sessions that earlier attempts of a successful open may
// have opened.
func addLostAnswers(diags *diag.Diagnostics, id string, lost int) {
	if lost == 0 {
		return
	}
	diags.AddWarning("Flame may hold an orphaned session: opened before session "+id,
		fmt.Sprintf("Session %s is open, but %s never arrived. Flame may have opened a session each time. %s",
			id, plural(lost, "answer to an earlier attempt", "answers to earlier attempts"), orphanedSession))
}
