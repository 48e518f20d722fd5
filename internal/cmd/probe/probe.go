// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// session is one that the probe has opened. With a shared account, both logins have
// the same one.
type session struct {
	token    flame.Token
	accepted bool // a GET with the token has succeeded
	ended    bool
}

// verdict is what a GET tells of a token.
type verdict int

const (
	unclear verdict = iota
	alive
	dead
)

// probe is one run, and what it has learned.
type probe struct {
	endpoint  flame.Endpoint
	user      string
	password  flame.Password
	transport *http.Transport
	client    *flame.Client // for what is left to close: it retries

	sessions []*session
	lost     int // sessions that may be open, and whose tokens did not arrive

	answers            []*answer
	deadGet, deadClose *answer
	closed             *answer // the first successful DELETE
	wantsToken         bool    // DELETE wants access_token in its body
	kind               string
}

var errInterrupted = errors.New("interrupted: the rest was not asked")

const userAgent = "terraform-provider-flame/probe"

func newProbe(endpoint flame.Endpoint, user string, password flame.Password, rootCAs *x509.CertPool) *probe {
	return &probe{
		endpoint: endpoint, user: user, password: password,
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: rootCAs},
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
			IdleConnTimeout:        90 * time.Second,
		},
		client: flame.New(flame.Config{UserAgent: userAgent, MaxRetries: flame.DefaultMaxRetries, RootCAs: rootCAs}),
		kind:   "not told: the probe ended too early",
	}
}

// look opens two sessions and closes them, and looks at their tokens in between. It
// stops at the first request without an answer, and at a refused login.
func (p *probe) look(ctx context.Context) error {
	first, err := p.login(ctx, "first login")
	if err != nil {
		return err
	}
	works, err := p.check(ctx, first, "first token")
	if err != nil {
		return err
	}
	if works != alive {
		p.kind = "not told: GET did not accept a new token"
		return p.closeAndLook(ctx, first, "first token")
	}
	second, err := p.login(ctx, "second login")
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		p.kind = "not told: the second login failed"
		return errors.Join(err, p.closeAndLook(ctx, first, "first token"))
	}
	if second == first {
		p.kind = "shared: the second login returned the first token again. This hides whether DELETE would end other tokens (sweeping)"
	} else if err := p.lookAtBoth(ctx, first, second); err != nil {
		return err
	}
	if err := p.closeAndLook(ctx, second, "second token"); err != nil || !first.ended {
		return err
	}
	p.deadClose, err = p.send(ctx, flame.OpRevoke, "dead token", first.token, p.accessToken(first, p.wantsToken))
	return err
}

// lookAtBoth finds out what a login and a DELETE do to the user's other token.
func (p *probe) lookAtBoth(ctx context.Context, first, second *session) error {
	p.kind = "not told: an answer after the second login was unclear"
	afterLogin, err := p.check(ctx, first, "first token after the second login")
	if err != nil {
		return err
	}
	secondWorks, err := p.check(ctx, second, "second token")
	switch {
	case err != nil || afterLogin == unclear:
		return err
	case afterLogin == dead:
		p.kind = "superseding: the second login ended the first token. This hides whether DELETE would end other tokens (sweeping)"
		return nil
	}
	p.kind = "independent or sweeping: a login leaves the earlier token alone; what DELETE does to the other token is unclear"
	if err := p.closeAndLook(ctx, first, "first token"); err != nil || !first.ended || secondWorks != alive {
		return err
	}
	afterDelete, err := p.check(ctx, second, "second token after the DELETE of the first")
	switch afterDelete {
	case alive:
		p.kind = "independent: each login returned a new token, and DELETE ended that token alone"
	case dead:
		p.kind = "sweeping: each login returned a new token, and DELETE of one ended the other too"
	}
	return err
}

// login opens a session. It never tries again.
func (p *probe) login(ctx context.Context, what string) (*session, error) {
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
	for _, s := range p.sessions {
		if s.token == a.token {
			s.ended = false
			return s, nil
		}
	}
	s := &session{token: a.token}
	p.sessions = append(p.sessions, s)
	return s, nil
}

// check asks whether a token works. A page of HTML is a gateway's, and proves nothing.
func (p *probe) check(ctx context.Context, s *session, what string) (verdict, error) {
	a, err := p.send(ctx, flame.OpCheck, what, s.token, nil)
	switch {
	case err != nil || a.html:
		return unclear, err
	case a.status/100 == 2, a.status == http.StatusForbidden:
		s.accepted, s.ended = true, false
		return alive, nil
	case a.status == http.StatusUnauthorized && s.accepted:
		s.ended = true
		if p.deadGet == nil {
			p.deadGet = a
		}
		return dead, nil
	}
	return unclear, nil
}

// closeAndLook closes a session, unless it has ended, and asks whether it has.
func (p *probe) closeAndLook(ctx context.Context, s *session, what string) error {
	if s.ended {
		return nil
	}
	a, err := p.send(ctx, flame.OpRevoke, what, s.token, p.accessToken(s, p.wantsToken))
	if err != nil {
		return err
	}
	if !p.wantsToken && (a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity) {
		if a, err = p.send(ctx, flame.OpRevoke, what+", with access_token", s.token, p.accessToken(s, true)); err != nil {
			return err
		}
		p.wantsToken = a.status/100 == 2
	}
	if a.status/100 == 2 && !a.html {
		s.ended = true
		if p.closed == nil {
			p.closed = a
		}
	}
	_, err = p.check(ctx, s, what+" after its DELETE")
	return err
}

// accessToken returns the body of a DELETE: with the token, or none.
func (p *probe) accessToken(s *session, wanted bool) []byte {
	if !wanted {
		return nil
	}
	body, _ := json.Marshal(map[string]string{"access_token": s.token.Reveal()}) // a string always marshals
	return body
}

// closeAll closes the sessions that are not known to have ended, also after an
// interrupt, and returns an error if one may be alive.
func (p *probe) closeAll(ctx context.Context) (err error) {
	defer p.client.CloseIdleConnections()
	for _, s := range p.sessions {
		if s.ended {
			continue
		}
		ctx, cancel := flame.CleanUpContext(ctx)
		gone, failure := p.client.Revoke(ctx, p.endpoint, s.token)
		stillAlive := false
		if failure == nil && !gone {
			stillAlive, _ = p.client.Check(ctx, p.endpoint, s.token)
		}
		cancel()
		// Without an accepted GET before, a 401 may mean that the token arrived garbled.
		s.ended = failure == nil && !stillAlive && (!gone || s.accepted)
		if !s.ended {
			err = errors.Join(err, fmt.Errorf("session %s may still be alive. Close it in Flame, or change the user's password", s.token.SessionID()))
		}
	}
	if p.lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d session(s) may be open whose token did not arrive. Close them in Flame, or change the user's password", p.lost))
	}
	return err
}
