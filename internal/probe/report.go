// SPDX-License-Identifier: MPL-2.0

package probe

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// Report prints what was learned. It holds no secret, no user and no URL.
func (p *Probe) Report(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush() //nolint:errcheck // nobody is left to read of it
	line := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) }
	line("\nrequest", "status", "HTTP", "type", "asks for", "body")
	for _, a := range p.answers {
		status := "-"
		if a.status != 0 {
			status = fmt.Sprint(a.status)
		}
		line(a.request, status, cmp.Or(a.proto, "-"), cmp.Or(a.mediaType, "-"), cmp.Or(a.schemes, "-"), a.body)
	}
	_ = w.Flush()
	line()
	line("kind", string(p.kind)+": "+p.why)
	line("access_token on DELETE", p.accessTokenFinding())
	line("dead token on GET", describeRefusal(p.deadGet))
	line("dead token on DELETE", describeRefusal(p.deadClose))
	line("rate limit headers", p.names(func(a *answer) []string { return a.limits }))
	line("request ID headers", p.names(func(a *answer) []string { return a.ids }))
	line("HTTP version", p.names(func(a *answer) []string { return []string{a.proto} }))
	line("endpoint", p.whichEndpoint())
	line("sessions", fmt.Sprintf("opened %d, left alive %d, without a token that arrived %d", p.Opened(), len(p.Sessions()), p.lost))
	_ = w.Flush()
	line("\nWhat nobody could tell from the documentation:")
	for _, s := range p.settled() {
		state := "open"
		if s.settled {
			state = "settled"
		}
		line(s.question, state, s.finding)
	}
}

// Opened returns the number of successful logins.
func (p *Probe) Opened() (n int) {
	for _, a := range p.answers {
		if a.op == flame.OpOpen && a.status/100 == 2 {
			n++
		}
	}
	return n
}

func (p *Probe) whichEndpoint() string {
	if p.endpoint.String() == flame.DefaultEndpoint {
		return "the default"
	}
	return "not the default"
}

func (p *Probe) accessTokenFinding() string {
	switch {
	case p.closed == nil:
		return "not told: no DELETE succeeded"
	case p.wantsToken:
		return "wanted: DELETE succeeds only with it in the body"
	}
	return "not wanted: the header is enough"
}

func describeRefusal(a *answer) string {
	if a == nil || a.status == 0 {
		return "not told"
	}
	return fmt.Sprintf("%d, WWW-Authenticate: %s, body: %s", a.status, cmp.Or(a.schemes, "none"), a.body)
}

// names returns the different names in all answers.
func (p *Probe) names(of func(*answer) []string) string {
	var all []string
	for _, a := range p.answers {
		all = append(all, of(a)...)
	}
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(name string) bool { return name == "" })
	return cmp.Or(strings.Join(all, ", "), "none")
}

// unknown is a question that the documentation leaves open.
type unknown struct {
	question string
	settled  bool
	finding  string
}

// What the kinds say of an earlier token, and of the others.
var (
	loginEffects = map[Kind]string{
		Independent: "nothing", Sweeping: "nothing", IndependentSweeping: "nothing", Shared: "returns it again", Superseding: "ends it", NotTold: "not told",
	}
	deleteEffects = map[Kind]string{
		Independent: "nothing", Sweeping: "ends them all", IndependentSweeping: "not told", NotTold: "not told",
		Shared: "hidden: there was one token", Superseding: "hidden: there was one token",
	}
)

func (p *Probe) settled() []unknown {
	characters, longest := p.characters()
	retryAfter := strings.Contains(p.names(func(a *answer) []string { return a.limits }), "Retry-After")
	return []unknown{
		{"status of success", p.Opened() > 0 && p.closed != nil, p.successes()},
		{"what a login does to an earlier token", p.kind != NotTold, loginEffects[p.kind]},
		{"what DELETE does to other tokens", p.kind == Independent || p.kind == Sweeping, deleteEffects[p.kind]},
		{"a limit of live tokens per user above two", false, "not tried: it may end sessions of others"},
		{"what a dead token gets", p.deadGet != nil && p.deadClose != nil && p.deadClose.status != 0, "see above"},
		{"characters of a token", false, fmt.Sprintf("so far %s, up to %d characters; two tokens prove no rule", characters, longest)},
		{"expiry", false, "takes longer than a probe"},
		{"access_token on DELETE", p.closed != nil, p.accessTokenFinding()},
		{"Retry-After", retryAfter, "only a rate limit shows it"},
		{"shape of an error", p.deadGet != nil, "that of a dead token: see above; others may differ"},
	}
}

// successes returns the statuses of successful logins and revocations.
func (p *Probe) successes() string {
	found := p.names(func(a *answer) []string {
		if a.status/100 != 2 {
			return nil
		}
		return []string{fmt.Sprintf("%s %d", a.op.Method(), a.status)}
	})
	return found
}

// characters returns which characters the tokens have, and the length of the longest.
func (p *Probe) characters() (which string, longest int) {
	which = "only letters, digits, - and _"
	for _, s := range p.sessions {
		text := s.token.Reveal()
		longest = max(longest, len(text))
		if !regexp.MustCompile(`^[A-Za-z0-9_-]*$`).MatchString(text) {
			which = "others than letters, digits, - and _"
		}
	}
	return which, longest
}
