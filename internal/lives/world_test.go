// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// The users and their passwords. The environment has those of the first one, and the
// endpoint of the API "one".
var (
	users     = []string{"ada", "bob", "cyd"}
	passwords = map[string]string{"ada": "password-of-ada", "bob": "password-of-bob", "cyd": "password-of-cyd"}
)

// Besides, each name of a session is a user, for scripts without races.
func init() {
	for _, name := range strings.Split("abcdefghxyz", "") {
		passwords["user-"+name] = "password-of-user-" + name
	}
}

const wrongPassword = "password-of-nobody"

func url(api string) string { return "http://" + api + ".localhost/api/v1" }

// An api is a fake API and what is known of the requests that it received.
type api struct {
	name   string
	fake   *flametest.Server
	pipe   *pipeListener
	down   bool // in this run
	issued map[string]*token

	dialing sync.Mutex
	dialers []*dialer // of each connection
}

// faults are what a Fault may do to a request, by name.
var faults = map[string]flametest.Fault{
	"401":         {Status: 401, Body: `{"error":"no session"}`},
	"401 Basic":   {Status: 401, Body: `{}`, Header: http.Header{"Www-Authenticate": {`Basic realm="gateway"`}}},
	"401 HTML":    {Status: 401, Body: "<html>gateway</html>"},
	"403":         {Status: 403, Body: `{"error":"administrators only"}`},
	"404":         {Status: 404, Body: `{}`},
	"404 HTML":    {Status: 404, Body: "<html>not found</html>"},
	"410":         {Status: 410},
	"429":         {Status: 429},
	"429 wait":    {Status: 429, Header: http.Header{"Retry-After": {"7"}}},
	"429 hour":    {Status: 429, Header: http.Header{"Retry-After": {"3600"}}},
	"500":         {Status: 500, Echo: true},
	"500 done":    {Status: 500, CarryOut: true},
	"502 HTML":    {Status: 502, Body: "<html>bad gateway</html>"},
	"503":         {Status: 503},
	"503 done":    {Status: 503, CarryOut: true},
	"503 wait":    {Status: 503, Header: http.Header{"Retry-After": {"3"}}},
	"524 done":    {Status: 524, CarryOut: true},
	"200 HTML":    {Status: 200, Body: "<!doctype html><title>maintenance</title>"},
	"200 nothing": {Status: 200},
	"101":         {Status: 101},
	"stray bytes": {Stray: `HTTP/1.1 200 OK`},
	"echoes":      {Members: `"id": "{token}", "email": "{password}", "full_name": "Ada {token}"`},
	"302":         {Status: 302, Header: http.Header{"Location": {"https://elsewhere.example/login"}}},
	"400":         {Status: 400, Echo: true},
	"reset":       {Drop: true},
	"reset done":  {Drop: true, CarryOut: true},
	"cut":         {Cut: true},
	"cut done":    {Cut: true, CarryOut: true},
	"hang":        {Hang: true, Drop: true},
	"hang done":   {Hang: true, CarryOut: true},
	"down":        {}, // nobody listens, for the whole run
}

var faultNames = slices.Sorted(maps.Keys(faults))

// newAPIs starts the APIs of a world.
func (l *life) newAPIs() {
	for _, name := range []string{"one", "two"} {
		pipe := &pipeListener{host: name + ".localhost", conns: make(chan net.Conn), closed: make(chan struct{})}
		a := &api{name: name, pipe: pipe, issued: map[string]*token{}}
		w := l.script.World
		a.fake = must(flametest.Start(flametest.Config{
			Listener: pipe, Users: passwords, Kind: w.Kind, MaxTokens: w.MaxTokens, SampleID: w.NoUserID, RequireAccessToken: w.WantsToken,
			Latency: l.latency(),
			Admit:   func(r flametest.Request) { l.admit(name, r) },
			Observe: func(r flametest.Request, _ int) { l.observe(r) },
		}))
		l.apis = append(l.apis, a)
	}
}

// turns gives each request an instant of its own, at which it is carried out and, after
// the latency, answered. Those that arrive together are put in an order by their keys. So
// it does not depend on the scheduler what happens in a life.
type turns struct {
	mu      sync.Mutex
	arrived []*arrival // and not admitted yet
	last    time.Time  // a request was admitted
	number  int        // requests so far
}

type arrival struct {
	at, admitted time.Time
	key          string
}

func (t *turns) wait(key string) {
	own := &arrival{at: time.Now(), key: key}
	t.mu.Lock()
	t.arrived = append(t.arrived, own)
	t.mu.Unlock()
	time.Sleep(time.Nanosecond) // until all are there that arrive at the same instant
	t.mu.Lock()
	if own.admitted.IsZero() {
		t.admitLocked(own.at)
	}
	t.mu.Unlock()
	time.Sleep(time.Until(own.admitted))
}

// admitLocked admits what arrived at an instant. The nanoseconds tell the requests apart,
// and from the nodes, which call the provider at whole microseconds.
func (t *turns) admitLocked(at time.Time) {
	slices.SortStableFunc(t.arrived, func(a, b *arrival) int { return cmp.Compare(a.key, b.key) })
	for _, a := range t.arrived {
		if a.at.Equal(at) {
			t.number++
			next := max(time.Now().UnixNano(), t.last.UnixNano())/1000*1000 + 1000 + int64(2+t.number%900)
			a.admitted = time.Unix(0, next)
			t.last = a.admitted
		}
	}
	t.arrived = slices.DeleteFunc(t.arrived, func(a *arrival) bool { return !a.admitted.IsZero() })
}

// jitter is the same in a replay.
func jitter() float64 {
	return float64(chaos(time.Now().UnixNano())%1000) / 1000
}

// chaos returns a number that has nothing to do with its arguments but that it follows
// from them.
func chaos(of ...any) uint64 {
	hash := fnv.New64a()
	_, _ = fmt.Fprint(hash, of...)
	return hash.Sum64() >> 7
}

func (l *life) latency() time.Duration {
	return 10*time.Millisecond + time.Duration(l.script.World.Slow)*time.Second
}

func (l *life) api(name string) *api {
	for _, a := range l.apis {
		if a.name == name || name == "" {
			return a
		}
	}
	return nil
}

// openElsewhere opens a session without Terraform, and returns its token.
func (l *life) openElsewhere(a *api, user string) (opened string) {
	d := &dialer{l: l}
	defer d.close()
	transport := &http.Transport{DialContext: d.dial}
	body := fmt.Sprintf(`{"user":%q,"password":%q}`, user, passwords[user])
	request := must(http.NewRequestWithContext(context.Background(), http.MethodPost, url(a.name)+"/sessions", strings.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	l.await(func() { _ = must(transport.RoundTrip(request)).Body.Close() })
	journal := a.fake.Journal()
	return journal[len(journal)-1].Opened
}

// inject sets the faults of a run.
func (l *life) inject(run Run) {
	for _, a := range l.apis {
		a.down = false
		queues := map[flametest.Operation][]flametest.Fault{}
		for _, f := range run.Faults {
			if f.API != a.name {
				continue
			}
			if f.What == "down" {
				a.down = true
				continue
			}
			for len(queues[f.Op]) < f.Last {
				queues[f.Op] = append(queues[f.Op], flametest.Fault{})
			}
			for i := f.First - 1; i < f.Last; i++ {
				queues[f.Op][i] = faults[f.What]
			}
		}
		a.fake.Reset()
		for op, queue := range queues {
			a.fake.Script(op, queue...)
		}
	}
}

// dialer makes the connections of one process, which end with it.
type dialer struct {
	l        *life
	kind     walkKind
	provider int

	mu    sync.Mutex
	conns []net.Conn
}

func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	for _, a := range d.l.apis {
		if address != a.pipe.host+":80" || a.down {
			continue
		}
		client, server := net.Pipe()
		a.dialing.Lock()
		defer a.dialing.Unlock()
		select {
		case a.pipe.conns <- server:
			a.dialers = append(a.dialers, d)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns = append(d.conns, client)
		return client, nil
	}
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.conns {
		_ = conn.Close()
	}
}

// processOf returns the process that sent a request.
func (a *api) processOf(r flametest.Request) *dialer { return a.dialers[r.Conn-1] }

// pipeListener accepts connections in memory.
type pipeListener struct {
	host   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: l.host} }
