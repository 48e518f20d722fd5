package flame

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
	"time"
)

// A gate keeps the connections to one host at no more than the tries that are
// under way at one time. The transport alone makes more: it starts a dial for
// every request that finds no idle connection, and lets the dial go on after
// the request was served by a connection that came free.
//
// The first connection is made alone. Where it speaks HTTP/2, it serves every
// request that it has room for.
type gate struct {
	mu      sync.Mutex
	changed *sync.Cond
	tries   int  // under way
	conns   int  // open or being made
	several bool // one connection is not enough: it speaks HTTP/1, or is full
	settled bool // the transport has the connection at hand for whoever asks from now on
}

func newGate() *gate {
	g := &gate{}
	g.changed = sync.NewCond(&g.mu)
	return g
}

// A pass is what one try carries, in its context, from the gate to the dialer.
type pass struct {
	gate    *gate
	waiting bool // for a connection; guarded by gate.mu
	early   bool // it began before the gate was settled: the one connection may be on its way to it; guarded by gate.mu
	asked   int  // how often it asked for one; guarded by gate.mu
}

type passKey struct{}

var errNotNeeded = errors.New("the request was served by another connection")

// enter counts a try in. The context returned is the one to send the request
// with; leave must be called when its answer was read to the end or given up.
func (g *gate) enter(ctx context.Context) (_ context.Context, leave func()) {
	p := &pass{gate: g}
	g.update(func() {
		g.tries++
		p.early = !g.settled
	})
	ctx = context.WithValue(ctx, passKey{}, p)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			g.update(func() {
				p.asked++
				p.waiting = true
				// Over HTTP/2, both the transport and the connection's pool ask. Once
				// more means that the connection it got had no room.
				g.several = g.several || p.asked > 2
			})
		},
		GotConn: func(info httptrace.GotConnInfo) {
			encrypted, ok := info.Conn.(*tls.Conn)
			multiplexed := ok && encrypted.ConnectionState().NegotiatedProtocol == "h2"
			g.update(func() {
				p.waiting = false
				g.several = g.several || !multiplexed
			})
		},
	})
	return ctx, func() {
		g.update(func() {
			p.waiting = false
			g.tries--
			g.settled = g.settled || g.conns > 0
		})
	}
}

func (g *gate) update(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.changed.Broadcast()
}

// dialer gives the function that makes connections for the transport.
func dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		p, ok := ctx.Value(passKey{}).(*pass)
		if !ok {
			return d.DialContext(ctx, network, addr)
		}
		g := p.gate
		g.mu.Lock()
		for p.waiting && g.conns > 0 && (g.conns >= g.tries || !g.several && p.early) {
			g.changed.Wait()
		}
		if !p.waiting {
			g.mu.Unlock()
			return nil, errNotNeeded
		}
		g.conns++
		g.mu.Unlock()

		closed := sync.OnceFunc(func() {
			g.update(func() {
				g.conns--
				g.settled = g.settled && g.conns > 0
			})
		})
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			closed()
			return nil, err
		}
		return countedConn{conn, closed}, nil
	}
}

// countedConn tells its gate when it closes.
type countedConn struct {
	net.Conn
	closed func()
}

func (c countedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
