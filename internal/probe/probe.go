// SPDX-License-Identifier: MPL-2.0

package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// Kind is what a login does to the user's earlier token, and a revocation to the others.
type Kind string

// The kinds of account.
const (
	Independent         Kind = "independent" // each login gives a token, and DELETE ends one
	Shared              Kind = "shared"      // a login gives the living token again
	Superseding         Kind = "superseding" // a login ends the earlier token
	Sweeping            Kind = "sweeping"    // DELETE ends all tokens of the user
	IndependentSweeping Kind = "independent or sweeping"
	NotTold             Kind = "not told"
)

// Session is one that was opened, by a probe or elsewhere. With a shared account, several
// logins have the same one.
type Session struct {
	token    flame.Token
	accepted bool // a GET with the token has succeeded
	ended    bool
}

// Verdict is what a GET tells of a token.
type Verdict int

// The verdicts.
const (
	Unclear Verdict = iota
	Alive
	Dead
)

// Probe is one run, and what it has learned. Only Adopt may be called while another of
// its methods is running.
type Probe struct {
	endpoint  flame.Endpoint
	user      string
	password  flame.Password
	transport *http.Transport

	mu       sync.Mutex // held while sessions changes
	sessions []*Session
	lost     int // sessions that may be open, and whose tokens did not arrive

	answers            []*answer
	deadGet, deadClose *answer
	closed             *answer // the first successful DELETE
	wantsToken         bool    // DELETE wants access_token in its body
	kind               Kind
	why                string // the kind is known, or not
}

var errInterrupted = errors.New("interrupted: the rest was not asked")

const userAgent = "terraform-provider-flame/probe"

func newProbe(endpoint flame.Endpoint, user string, password flame.Password, rootCAs *x509.CertPool) *Probe {
	return &Probe{
		endpoint: endpoint, user: user, password: password,
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: rootCAs},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        90 * time.Second,
		},
		kind: NotTold,
		why:  "the probe ended too early",
	}
}

// Kind returns what [Probe.Look] has found out, and how.
func (p *Probe) Kind() (kind Kind, why string) { return p.kind, p.why }

// Endpoint returns the base URL of the API.
func (p *Probe) Endpoint() flame.Endpoint { return p.endpoint }

// User returns the login.
func (p *Probe) User() string { return p.user }

// Look opens two sessions and closes them, and looks at their tokens in between. It
// stops at the first request without an answer, and at a refused login. CloseAll then
// closes what is left.
func (p *Probe) Look(ctx context.Context) error {
	first, err := p.Login(ctx, "first login")
	if err != nil {
		return err
	}
	works, err := p.Check(ctx, first, "first token")
	if err != nil {
		return err
	}
	if works != Alive {
		p.why = "GET did not accept a new token"
		return p.End(ctx, first, "first token")
	}
	second, err := p.Login(ctx, "second login")
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		p.why = "the second login failed"
		return errors.Join(err, p.End(ctx, first, "first token"))
	}
	if second == first {
		p.kind, p.why = Shared, "the second login returned the first token again. This hides whether DELETE would end other tokens (sweeping)"
	} else if err := p.lookAtBoth(ctx, first, second); err != nil {
		return err
	}
	if err := p.End(ctx, second, "second token"); err != nil || !first.ended {
		return err
	}
	p.deadClose, err = p.send(ctx, flame.OpRevoke, "dead token", first.token, p.accessToken(first, p.wantsToken))
	return err
}

// lookAtBoth finds out what a login and a DELETE do to the user's other token.
func (p *Probe) lookAtBoth(ctx context.Context, first, second *Session) error {
	p.why = "an answer after the second login was unclear"
	afterLogin, err := p.Check(ctx, first, "first token after the second login")
	if err != nil {
		return err
	}
	secondWorks, err := p.Check(ctx, second, "second token")
	switch {
	case err != nil || afterLogin == Unclear:
		return err
	case afterLogin == Dead:
		p.kind, p.why = Superseding, "the second login ended the first token. This hides whether DELETE would end other tokens (sweeping)"
		return nil
	}
	p.kind, p.why = IndependentSweeping, "a login leaves the earlier token alone; what DELETE does to the other token is unclear"
	if err := p.End(ctx, first, "first token"); err != nil || !first.ended || secondWorks != Alive {
		return err
	}
	afterDelete, err := p.Check(ctx, second, "second token after the DELETE of the first")
	switch afterDelete {
	case Alive:
		p.kind, p.why = Independent, "each login returned a new token, and DELETE ended that token alone"
	case Dead:
		p.kind, p.why = Sweeping, "each login returned a new token, and DELETE of one ended the other too"
	}
	return err
}

// Login opens a session. A refused login is not sent again.
func (p *Probe) Login(ctx context.Context, what string) (*Session, error) {
	body, err := json.Marshal(map[string]string{"user": p.user, "password": p.password.Reveal()})
	if err != nil {
		return nil, err
	}
	a, err := p.send(ctx, flame.OpOpen, what, flame.Token{}, body)
	switch {
	case err != nil:
		return nil, err
	case a.status/100 != 2:
		return nil, fmt.Errorf("the API refused the %s with %s. It was not sent again", what, flame.StatusMeaning(a.status))
	case a.html: // of a gateway, so no session was opened
		return nil, fmt.Errorf("the answer to the %s is a page of HTML, not Flame's", what)
	case a.token.IsZero():
		p.lost++
		return nil, fmt.Errorf("the answer to the %s has no auth_token that can be read", what)
	}
	return p.know(a.token), nil
}

// know returns the session of a token that was received, which is alive.
func (p *Probe) know(token flame.Token) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if s.token == token {
			s.ended = false
			return s
		}
	}
	s := &Session{token: token}
	p.sessions = append(p.sessions, s)
	return s
}

// Adopt returns the session of a token that somebody else has received. CloseAll closes
// it too.
func (p *Probe) Adopt(token flame.Token) *Session {
	s := p.know(token)
	s.accepted = true // it was read as those were that Look has tried
	return s
}

// Token returns the session's token.
func (s *Session) Token() flame.Token { return s.token }

// Sessions returns the sessions that are not known to have ended.
func (p *Probe) Sessions() (open []*Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if !s.ended {
			open = append(open, s)
		}
	}
	return open
}

// Check asks whether a token works. A page of HTML is a gateway's, and proves nothing.
func (p *Probe) Check(ctx context.Context, s *Session, what string) (Verdict, error) {
	a, err := p.send(ctx, flame.OpCheck, what, s.token, nil)
	switch {
	case err != nil || a.html:
		return Unclear, err
	case a.status/100 == 2, a.status == http.StatusForbidden:
		s.accepted, s.ended = true, false
		return Alive, nil
	case a.status == http.StatusUnauthorized && s.accepted:
		s.ended = true
		if p.deadGet == nil {
			p.deadGet = a
		}
		return Dead, nil
	}
	return Unclear, nil
}

// End closes a session, unless it has ended, and asks whether it has.
func (p *Probe) End(ctx context.Context, s *Session, what string) error {
	_, err := p.end(ctx, s, what)
	return err
}

// end is End, and returns the answer to DELETE; nil if there is none.
func (p *Probe) end(ctx context.Context, s *Session, what string) (a *answer, err error) {
	if s.ended {
		return nil, nil
	}
	a, err = p.send(ctx, flame.OpRevoke, what, s.token, p.accessToken(s, p.wantsToken))
	if err != nil {
		return nil, err
	}
	if !p.wantsToken && (a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity) {
		if a, err = p.send(ctx, flame.OpRevoke, what+", with access_token", s.token, p.accessToken(s, true)); err != nil {
			return nil, err
		}
		p.wantsToken = a.status/100 == 2
	}
	if a.status/100 == 2 && !a.html {
		s.ended = true
		if p.closed == nil {
			p.closed = a
		}
	}
	_, err = p.Check(ctx, s, what+" after its DELETE")
	return a, err
}

// accessToken returns the body of a DELETE: with the token, or none.
func (p *Probe) accessToken(s *Session, wanted bool) []byte {
	if !wanted {
		return nil
	}
	body, _ := json.Marshal(map[string]string{"access_token": s.token.Reveal()}) // a string always marshals
	return body
}

// CloseAll closes the sessions that are not known to have ended, also after an
// interrupt, and returns an error if one may be alive.
func (p *Probe) CloseAll(ctx context.Context) (err error) {
	defer p.transport.CloseIdleConnections()
	for _, s := range p.Sessions() {
		p.insist(ctx, s)
		if !s.ended {
			err = errors.Join(err, fmt.Errorf("session %s may still be alive. Close it in Flame, or change the user's password", s.token.SessionID()))
		}
	}
	if p.lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d session(s) may be open whose token did not arrive. Close them in Flame, or change the user's password", p.lost))
	}
	return err
}

// insist closes a session, and goes on trying for a while.
func (p *Probe) insist(ctx context.Context, s *Session) {
	ctx, cancel := flame.CleanUpContext(ctx)
	defer cancel()
	for tries := 1; ; tries++ {
		a, err := p.end(ctx, s, "closing")
		transient := err != nil || a != nil && a.status/100 == 5
		if s.ended || !transient || tries == maxTries {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(shortestWait << (tries - 1)):
		}
	}
}
