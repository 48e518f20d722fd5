package provider

import (
	"context"
	"slices"
	"sync"
)

// sessions is what one run knows of the sessions it has seen: who holds which
// token, and who was refreshed. Flame may give one token to several sessions
// of a user; revoking it for one would then break the others.
type sessions struct {
	mu        sync.Mutex
	holders   map[heldToken][]string // the marks of the sessions that hold a token
	refreshed map[string]bool        // by mark
	turns     map[account]*turn
}

type heldToken struct{ endpoint, token string }

type account struct{ endpoint, user string }

func newSessions() *sessions {
	return &sessions{holders: map[heldToken][]string{}, refreshed: map[string]bool{}, turns: map[account]*turn{}}
}

// A turn is when sessions of a user are being opened, or being revoked.
type turn struct {
	kind  turnKind
	calls int           // under way
	over  chan struct{} // closed when the last of them ends
}

type turnKind int

const (
	opening turnKind = iota
	revoking
)

// wait gives a turn to open or to revoke a session of a user, with others that
// do the same; end must be called when it is done and its outcome recorded.
// Opening and revoking take turns because Flame may answer an open with a token
// that is just being revoked for another session. It fails when ctx ends first.
func (s *sessions) wait(ctx context.Context, kind turnKind, a account) (end func(), err error) {
	for {
		s.mu.Lock()
		t := s.turns[a]
		if t == nil || t.calls == 0 {
			t = &turn{kind: kind, over: make(chan struct{})}
			s.turns[a] = t
		}
		if t.kind == kind {
			t.calls++
			s.mu.Unlock()
			return func() { s.end(t) }, nil
		}
		s.mu.Unlock()
		select {
		case <-t.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *sessions) end(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.calls--; t.calls == 0 {
		close(t.over)
	}
}

// hold records that the session with this mark holds the token, and reports
// whether another one does too.
func (s *sessions) hold(t heldToken, mark string) (shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.holders[t], mark) {
		s.holders[t] = append(s.holders[t], mark)
	}
	return len(s.holders[t]) > 1
}

// release records that the session with this mark no longer holds the token,
// or will not after this run, and reports whether another one does.
func (s *sessions) release(t heldToken, mark string) (shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := slices.DeleteFunc(s.holders[t], func(holder string) bool { return holder == mark })
	if len(others) == 0 {
		delete(s.holders, t)
		return false
	}
	s.holders[t] = others
	return true
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
