// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"slices"
	"sync"
)

// sessions holds the tokens and their counts, under one lock so that they agree.
type sessions struct {
	shared bool // one token per user

	mu              sync.Mutex
	live            map[string]string   // token → user
	byUser          map[string]string   // user → token, if shared
	issued          map[string]struct{} // all tokens, including revoked ones
	opened, revoked int
}

func newSessions(shared bool) *sessions {
	return &sessions{
		shared: shared,
		live:   make(map[string]string),
		byUser: make(map[string]string),
		issued: make(map[string]struct{}),
	}
}

// open returns a token for user. With carryOut false it changes nothing and
// returns the token that a login might have returned.
func (s *sessions) open(user string, carryOut bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, ok := s.byUser[user]
	if !ok {
		token = newToken()
	}
	if !carryOut {
		return token
	}
	s.opened++
	s.live[token] = user
	s.issued[token] = struct{}{}
	if s.shared {
		s.byUser[user] = token
	}
	return token
}

// revoke revokes a token. It reports whether the token was live.
func (s *sessions) revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revokeLocked(token)
}

func (s *sessions) revokeLocked(token string) bool {
	user, ok := s.live[token]
	if ok {
		s.revoked++
		delete(s.live, token)
		delete(s.byUser, user)
	}
	return ok
}

func (s *sessions) revokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token := range s.live {
		s.revokeLocked(token)
	}
}

func (s *sessions) isLive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.live[token]
	return ok
}

func (s *sessions) wasIssued(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.issued[token]
	return ok
}

func (s *sessions) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.live))
}

func (s *sessions) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

func (s *sessions) counts() (opened, revoked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.revoked
}

func (s *sessions) resetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened, s.revoked = 0, 0
}

// newToken returns 20 characters of URL-safe base64, like the vendor's samples.
func newToken() string {
	raw := make([]byte, 15)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}
