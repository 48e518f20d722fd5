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
	kind Kind
	max  int // live tokens per user; 0: no limit

	mu              sync.Mutex
	live            map[string]string   // token → user
	byUser          map[string][]string // user → live tokens, oldest first
	issued          map[string]struct{} // all tokens, including ended ones
	opened, revoked int
}

func newSessions(kind Kind, limit int) *sessions {
	if kind == Superseding {
		limit = 1
	}
	return &sessions{
		kind:   kind,
		max:    limit,
		live:   make(map[string]string),
		byUser: make(map[string][]string),
		issued: make(map[string]struct{}),
	}
}

// open returns a token for user, and the tokens that it ended. With carryOut
// false it changes nothing and returns the token that a login might have returned.
func (s *sessions) open(user string, carryOut bool) (token string, ended []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens := s.byUser[user]
	again := s.kind == Shared && len(tokens) > 0
	if again {
		token = tokens[0]
	} else {
		token = newToken()
	}
	if !carryOut {
		return token, nil
	}
	s.opened++
	if again {
		return token, nil
	}
	s.live[token] = user
	s.issued[token] = struct{}{}
	if s.max > 0 && len(tokens) >= s.max {
		ended = s.endLocked(tokens[:len(tokens)-s.max+1])
	}
	s.byUser[user] = append(s.byUser[user], token)
	return token, ended
}

// revoke revokes a token as a DELETE does. It returns the tokens that it ended:
// none if the token was not live.
func (s *sessions) revoke(token string) (ended []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.live[token]
	switch {
	case !ok:
		return nil
	case s.kind == Sweeping:
		return s.endLocked(s.byUser[user])
	}
	return s.endLocked([]string{token})
}

// end ends one token, whatever the kind of account. It reports whether the token
// was live.
func (s *sessions) end(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.live[token]
	if ok {
		s.endLocked([]string{token})
	}
	return ok
}

func (s *sessions) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(slices.Collect(maps.Keys(s.live)))
}

// endLocked ends live tokens and returns a copy of them.
func (s *sessions) endLocked(tokens []string) []string {
	tokens = slices.Clone(tokens) // it may be a part of byUser, which changes below
	for _, token := range tokens {
		user := s.live[token]
		delete(s.live, token)
		s.byUser[user] = slices.DeleteFunc(s.byUser[user], func(t string) bool { return t == token })
		s.revoked++
	}
	return tokens
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
