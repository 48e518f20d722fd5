package flame

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// Over HTTP/1 there are at no time more connections than calls.
func TestOpenConnections(t *testing.T) {
	for _, calls := range []int{1, 10, 50} {
		fewest := 0
		for run := range 5 {
			server, err := flametest.Start(flametest.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			endpoint, err := ParseEndpoint(server.URL())
			if err != nil {
				t.Fatal(err)
			}
			client := New(Config{BackoffCap: time.Nanosecond})
			t.Cleanup(client.CloseIdleConnections)
			count := &connCount{}
			dial := client.transport.DialContext
			client.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				count.change(1)
				return &countingConn{Conn: conn, closed: sync.OnceFunc(func() { count.change(-1) })}, nil
			}

			var all sync.WaitGroup
			begin := make(chan struct{})
			for range calls {
				all.Go(func() {
					<-begin
					for range 3 {
						session, err := client.Open(t.Context(), endpoint, flametest.User, flametest.Password)
						if err != nil {
							t.Error(err)
							return
						}
						if _, err := client.Revoke(t.Context(), endpoint, session.Token); err != nil {
							t.Error(err)
						}
					}
				})
			}
			close(begin)
			all.Wait()
			if most := count.highest(); most > calls {
				t.Errorf("%d calls at once: %d connections at one time", calls, most)
			}
			if total := server.Connections(); run == 0 || total < fewest {
				fewest = total
			}
		}
		// On a busy machine the transport gives one up now and then, so not every run has to do.
		if fewest > calls {
			t.Errorf("%d calls at once: never less than %d connections in all", calls, fewest)
		}
	}
}

type connCount struct {
	mu         sync.Mutex
	open, most int
}

func (c *connCount) change(by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += by
	c.most = max(c.most, c.open)
}

func (c *connCount) highest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

type countingConn struct {
	net.Conn
	closed func()
}

func (c *countingConn) Close() error {
	c.closed() // before the gate learns of it
	return c.Conn.Close()
}
