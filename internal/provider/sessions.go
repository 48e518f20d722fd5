package provider

import "sync"

// sessions is what one run knows of the sessions it has seen: who holds which
// token, and who was refreshed. Flame may give one token to several sessions
// of a user; revoking it for one would then break the others.
type sessions struct {
	mu        sync.Mutex
	holders   map[heldToken]map[string]bool // the sessions that hold a token, by their marks
	refreshed map[string]bool               // by mark
}

type heldToken struct{ endpoint, token string }

func newSessions() *sessions {
	return &sessions{holders: map[heldToken]map[string]bool{}, refreshed: map[string]bool{}}
}

// hold records that the session with this mark holds the token, and reports
// whether another one does too.
func (s *sessions) hold(t heldToken, mark string) (shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders[t] == nil {
		s.holders[t] = map[string]bool{}
	}
	s.holders[t][mark] = true
	return len(s.holders[t]) > 1
}

// release records that the session with this mark no longer holds the token,
// or will not after this run, and reports whether another one does.
func (s *sessions) release(t heldToken, mark string) (shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.holders[t], mark)
	return len(s.holders[t]) > 0
}

// sharedWithout reports whether a session other than the one with this mark holds the token.
func (s *sessions) sharedWithout(t heldToken, mark string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := len(s.holders[t])
	if s.holders[t][mark] {
		others--
	}
	return others > 0
}

func (s *sessions) setRefreshed(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed[mark] = true
}

func (s *sessions) wasRefreshed(mark string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refreshed[mark]
}
