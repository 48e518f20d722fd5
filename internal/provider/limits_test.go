// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// simulated is a provider and a fake in a synctest bubble, connected in memory. Time
// advances only while all goroutines wait, so every duration is exact.
type simulated struct {
	t    *testing.T
	fake *flametest.Server

	mu    sync.Mutex
	conns []net.Conn

	accepted chan net.Conn
	closed   chan struct{}
}

// simulate runs a test in simulated time.
func simulate(t *testing.T, test func(*testing.T, *simulated)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &simulated{t: t, accepted: make(chan net.Conn), closed: make(chan struct{})}
		fake, err := flametest.Start(flametest.Config{Listener: s})
		if err != nil {
			t.Fatal(err)
		}
		s.fake = fake
		defer func() {
			for _, conn := range s.conns {
				_ = conn.Close()
			}
			fake.Close()
		}()
		test(t, s)
	})
}

// Accept implements net.Listener.
func (s *simulated) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *simulated) Close() error {
	close(s.closed)
	return nil
}

// Addr implements net.Listener.
func (s *simulated) Addr() net.Addr { return &net.UnixAddr{Name: "flame.localhost"} }

// dial connects to the fake, whatever the address is.
func (s *simulated) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, server := net.Pipe()
	select {
	case s.accepted <- server:
		s.conns = append(s.conns, client)
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run configures the provider as Terraform's process does, so with real backoff.
func (s *simulated) run(arguments map[string]tftypes.Value) *protocolRun {
	s.t.Helper()
	p := newTestProvider(time.Now, 0)
	p.dialContext = s.dial
	run, err := configureProvider(s.t.Context(), p, arguments)
	if err != nil {
		s.t.Fatal(err)
	}
	return run
}

// arguments is the provider block of one that signs in at the fake.
func (s *simulated) arguments(more map[string]tftypes.Value) map[string]tftypes.Value {
	arguments := map[string]tftypes.Value{
		"endpoint": stringValue("http://flame.localhost/api/v1"), "user": stringValue(flametest.User), "password": stringValue(flametest.Password),
	}
	maps.Copy(arguments, more)
	return arguments
}

// simulatedOperation is something that Terraform has the provider do, with one request.
type simulatedOperation struct {
	request    flametest.Operation
	byItself   time.Duration // how long it may take
	configured time.Duration // the same, with the timeouts of configuredTimeouts
}

var simulatedOperations = map[string]simulatedOperation{
	"create":          {flametest.OpOpen, 5 * time.Minute, 7 * time.Minute},
	"read":            {flametest.OpCheck, time.Minute, 2 * time.Minute},
	"delete":          {flametest.OpRevoke, 5 * time.Minute, 11 * time.Minute},
	"import":          {flametest.OpCheck, time.Minute, time.Minute},
	"ephemeral open":  {flametest.OpOpen, 5 * time.Minute, 5 * time.Minute},
	"ephemeral close": {flametest.OpRevoke, 30 * time.Second, 30 * time.Second},
	"action":          {flametest.OpRevoke, 5 * time.Minute, 5 * time.Minute},
}

// configuredTimeouts gives each operation that can have one a timeout like no other.
func configuredTimeouts() map[string]tftypes.Value {
	types, values := map[string]tftypes.Type{}, map[string]tftypes.Value{}
	for _, name := range []string{"create", "read", "delete"} {
		types[name], values[name] = tftypes.String, stringValue(simulatedOperations[name].configured.String())
	}
	return map[string]tftypes.Value{"timeouts": tftypes.NewValue(tftypes.Object{AttributeTypes: types}, values)}
}

// operate does an operation while the fake does what fault says, and returns how long it
// took and what the user reads.
func (s *simulated) operate(name string, session, arguments map[string]tftypes.Value, fault flametest.Fault) (took time.Duration, told string) {
	s.t.Helper()
	ctx := s.t.Context()
	before := s.run(s.arguments(nil))
	var held heldSession
	var err error
	switch name {
	case "read", "delete":
		held = createWith(s.t, before, session)
	case "ephemeral close":
		held, err = before.open(ctx)
	case "import", "action":
		held.token = s.fake.Open(flametest.User)
	}
	if err != nil || len(held.diags) > 0 {
		s.t.Fatal(err, diagnosticsText(held.diags))
	}
	s.fake.Reset()
	s.fake.Always(simulatedOperations[name].request, &fault)
	run := s.run(s.arguments(arguments))
	started := time.Now()
	switch name {
	case "create":
		held = createWith(s.t, run, session)
	case "read":
		held, err = run.read(ctx, held)
	case "delete":
		held, err = run.destroy(ctx, held)
	case "import":
		s.t.Setenv("A_TOKEN", held.token)
		held, err = run.importFrom(ctx, "env:A_TOKEN")
	case "ephemeral open":
		held, err = run.open(ctx)
	case "ephemeral close":
		interrupted, cancel := context.WithCancel(ctx)
		cancel()
		held.diags, err = run.close(interrupted, held)
	case "action":
		held.diags, _, err = run.invoke(ctx, held.token)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return time.Since(started), diagnosticsText(held.diags)
}

// Every operation has a time limit of its own, and each argument sets the one that it
// names: the API never answers, and an attempt may take longer than all of them.
func TestTimeLimits(t *testing.T) {
	patient := map[string]tftypes.Value{"request_timeout": stringValue("1h")}
	for name, operation := range simulatedOperations {
		for _, test := range []struct {
			timeouts map[string]tftypes.Value
			want     time.Duration
		}{{nil, operation.byItself}, {configuredTimeouts(), operation.configured}} {
			simulate(t, func(t *testing.T, s *simulated) {
				took, told := s.operate(name, test.timeouts, patient, flametest.Fault{Hang: true})
				if got := s.fake.Count(operation.request); took != test.want || got != 1 {
					t.Errorf("%s with %v: %d requests in %s, want 1 in %s", name, test.timeouts, got, took, test.want)
				}
				wantTexts(t, told, []string{"This operation reached its time limit"})
			})
		}
	}
}

// request_timeout bounds each attempt of every operation, and max_retries says how many
// follow.
func TestRequestLimits(t *testing.T) {
	number := func(n int) tftypes.Value { return tftypes.NewValue(tftypes.Number, n) }
	for name, operation := range simulatedOperations {
		for _, test := range []struct {
			arguments map[string]tftypes.Value
			fault     flametest.Fault
			requests  int
			took      time.Duration // 0: whatever the backoff makes of it
		}{
			{map[string]tftypes.Value{"max_retries": number(0)}, flametest.Fault{Hang: true}, 1, 30 * time.Second},
			{map[string]tftypes.Value{"max_retries": number(0), "request_timeout": stringValue("13s")}, flametest.Fault{Hang: true}, 1, 13 * time.Second},
			{map[string]tftypes.Value{"max_retries": number(0)}, flametest.Fault{Status: http.StatusBadGateway}, 1, 0},
			{map[string]tftypes.Value{"max_retries": number(2)}, flametest.Fault{Status: http.StatusBadGateway}, 3, 0},
			{nil, flametest.Fault{Status: http.StatusBadGateway}, 6, 0},
		} {
			simulate(t, func(t *testing.T, s *simulated) {
				took, _ := s.operate(name, nil, test.arguments, test.fault)
				if got := s.fake.Count(operation.request); got != test.requests || test.took != 0 && took != test.took {
					t.Errorf("%s with %v: %d requests in %s, want %d in %s", name, test.arguments, got, took, test.requests, test.took)
				}
			})
		}
	}
}

// requests_per_second holds back all requests of the provider together, and there is no
// limit by default.
func TestRequestsPerSecond(t *testing.T) {
	for rate, gap := range map[float64]time.Duration{0: 0, 0.5: 2 * time.Second, 4: 250 * time.Millisecond} {
		simulate(t, func(t *testing.T, s *simulated) {
			arguments := s.arguments(nil)
			if rate > 0 {
				arguments["requests_per_second"] = tftypes.NewValue(tftypes.Number, rate)
			}
			run := s.run(arguments)
			managed := createWith(t, run, nil)
			if _, err := run.read(t.Context(), managed); err != nil {
				t.Fatal(err)
			}
			ephemeral, err := run.openWith(t.Context(), map[string]tftypes.Value{"user": stringValue("bob@example.com")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := run.close(t.Context(), ephemeral); err != nil {
				t.Fatal(err)
			}
			if _, _, err := run.invoke(t.Context(), managed.token); err != nil {
				t.Fatal(err)
			}
			var gaps []time.Duration
			journal := s.fake.Journal()
			for i := 1; i < len(journal); i++ {
				gaps = append(gaps, journal[i].Arrived.Sub(journal[i-1].Arrived))
			}
			if want := slices.Repeat([]time.Duration{gap}, 4); !slices.Equal(gaps, want) {
				t.Errorf("%v per second: the requests %s are %v apart, want %v", rate, methods(s.fake), gaps, want)
			}
		})
	}
}

// At exit, an API that does not answer holds the provider up for less than the two
// seconds after which Terraform kills it.
func TestExitIsInTime(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulated) {
		p := newTestProvider(time.Now, 0)
		p.dialContext = s.dial
		for range 2 { // two configurations, as one process may be given
			run, err := configureProvider(t.Context(), p, s.arguments(nil))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := run.open(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.fake.Always(flametest.OpRevoke, &flametest.Fault{Hang: true})
		started := time.Now()
		p.finish()
		if took := time.Since(started); took < time.Second || took >= 2*time.Second {
			t.Errorf("the exit took %s", took)
		}
		s.fake.Reset()
		p.finish()
		noneLive(t, s.fake)
		saw(t, s.fake, 0, 2, 0)
	})
}

// Sessions of one account are not opened and revoked at the same time. What waits in vain
// says so, and sends nothing.
func TestBusyAccount(t *testing.T) {
	const busy = "The provider never opens and revokes sessions of one user at the same time"
	simulate(t, func(t *testing.T, s *simulated) {
		run := s.run(s.arguments(map[string]tftypes.Value{"request_timeout": stringValue("1h")}))
		managed := createWith(t, run, map[string]tftypes.Value{"timeouts": configuredTimeouts()["timeouts"]})
		ephemeral, err := run.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.fake.Reset()
		s.fake.Script(flametest.OpOpen, flametest.Fault{Hang: true})
		opened := make(chan heldSession)
		go func() {
			session, _ := run.create(t.Context())
			opened <- session
		}()
		if err := s.fake.Await(t.Context(), flametest.OpOpen, 1); err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		closed, err := run.close(t.Context(), ephemeral)
		if err != nil || time.Since(started) != 30*time.Second {
			t.Errorf("it waited %s: %v", time.Since(started), err)
		}
		expectDiagnostics(t, closed, aWarning, "Could not revoke the ephemeral Flame session "+flame.NewToken(ephemeral.token).SessionID(), "other sessions of this user were being opened", "The token still works")
		interrupted := edited(t, run, managed, timeoutsWith("delete", "1s"), "")
		left, err := run.destroy(t.Context(), interrupted)
		if err != nil || left.token != managed.token {
			t.Errorf("the session is lost: %v", err)
		}
		expectDiagnostics(t, left.diags, anError, "Could not revoke the Flame session "+flame.NewToken(managed.token).SessionID(), busy)
		saw(t, s.fake, 1, 0, 0)
		s.fake.Release()
		<-opened
	})
}

// The process of the provider lives by the clock of the machine.
func TestServerClock(t *testing.T) {
	simulate(t, func(t *testing.T, _ *simulated) {
		server, err := NewServer(Process{})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if got := server.provider.now(); !got.Equal(time.Now()) {
			t.Errorf("it is %s, want %s", got, time.Now())
		}
	})
}
