// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/hashicorp/terraform-plugin-log/tflogtest"
	"github.com/hashicorp/terraform-plugin-log/tfsdklogtest"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// A provider that serves many sessions must not grow with each call: of what
// comes with one, nothing is kept when it has been answered.
func TestCallsLeaveNothingBehind(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run, err := newProtocolRun(t.Context(), flameArguments(fake))
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	type loggers [1 << 10]byte
	var session heldSession
	kept := map[string]weak.Pointer[loggers]{}
	for _, step := range []struct {
		name string
		call func(context.Context) (heldSession, error)
	}{
		{"create", run.create},
		{"read", func(ctx context.Context) (heldSession, error) { return run.read(ctx, session) }},
		{"destroy", func(ctx context.Context) (heldSession, error) { return run.destroy(ctx, session) }},
	} {
		value := &loggers{}
		kept[step.name] = weak.Make(value)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, value))
		held, err := step.call(ctx)
		cancel()
		if err != nil || len(held.diags) > 0 {
			t.Fatal(step.name, err, diagnosticsText(held.diags))
		}
		session = held
	}

	runtime.GC()
	runtime.GC() // a pool keeps things over one collection
	for name, pointer := range kept {
		if pointer.Value() != nil {
			t.Errorf("the context of a %s is kept", name)
		}
	}
	runtime.KeepAlive(run)
}

// With a log asked for, the framework and the provider write all that they have
// to say; else nothing is handed to any logger.
func TestServerLogs(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run, err := newProtocolRun(t.Context(), flameArguments(fake))
	if err != nil {
		t.Fatal(err)
	}
	quiet, ok := run.protocolServer.(server)
	if !ok || quiet.logging {
		t.Fatalf("the provider is served by %T", run.protocolServer)
	}
	session, err := run.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, logged := range []bool{true, false} {
		run.protocolServer = server{quiet.protocolServer, logged}
		var own, sdk bytes.Buffer
		ctx := tfsdklogtest.RootLogger(tflogtest.RootLogger(t.Context(), &own), &sdk)
		if _, err := run.read(ctx, session); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(own.String(), "Flame request succeeded"); got != logged {
			t.Errorf("logging: %v, the provider wrote %q", logged, own.String())
		}
		if got := strings.Contains(sdk.String(), "Calling provider defined Resource Read"); got != logged {
			t.Errorf("logging: %v, the framework wrote %q", logged, sdk.String())
		}
	}
}

// A call ends when its caller's context does, with a context of its own too.
func TestCallsEndWithTheirCaller(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run, err := newProtocolRun(t.Context(), flameArguments(fake))
	if err != nil {
		t.Fatal(err)
	}
	session, err := run.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fake.Reset()
	fake.Script(flametest.OpCheck, flametest.Fault{Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() {
		_ = fake.Await(ctx, flametest.OpCheck, 1) // it fails where the call ends first
		cancel()
	}()
	held, err := run.read(ctx, session)
	if err != nil {
		t.Fatal(err)
	}
	if got := diagnosticsText(held.diags); !strings.Contains(got, "interrupted") || held.token != session.token {
		t.Errorf("the token is kept: %v; the diagnostics are %q", held.token == session.token, got)
	}
}

func TestLoggingRequested(t *testing.T) {
	for environ, want := range map[string]bool{
		"":                                    false,
		"HOME=/ PATH=/bin":                    false,
		"TF_LOG=TRACE":                        true,
		"TF_LOG=1":                            true, // Terraform takes what it does not know for TRACE
		"TF_LOG_CORE=INFO":                    true,
		"TF_LOG_PROVIDER=DEBUG":               true,
		"TF_LOG_SDK=WARN":                     true,
		"TF_LOG_SDK_FRAMEWORK=DEBUG HOME=/":   true,
		"TF_LOG_PROVIDER_FLAME=TRACE HOME=/":  true,
		"Tf_Log=debug":                        true,
		"TF_LOG=OFF":                          false,
		"TF_LOG=off":                          false,
		"TF_LOG=":                             false,
		"TF_LOG_PATH=/tmp/log":                false,
		"TF_LOG_PATH=/tmp/log TF_LOG=OFF":     false,
		"TF_LOG=OFF TF_LOG_PROVIDER=DEBUG":    true,
		"TF_LOG_PATH=/tmp/log TF_LOG_CORE=AA": true,
	} {
		if got := loggingRequested(strings.Fields(environ)); got != want {
			t.Errorf("%q: %v", environ, got)
		}
	}
}

// The user's own settings of the garbage collector hold.
func TestTuneRuntime(t *testing.T) {
	before := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	for variables, want := range map[string]int{"": 400, "GOGC": 100, "GOMEMLIMIT": 100} {
		t.Run(variables, func(t *testing.T) {
			t.Setenv("TF_LOG_SDK", "")
			for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
				t.Setenv(name, "")
			}
			if variables != "" {
				t.Setenv(variables, "100")
			}
			debug.SetGCPercent(100)
			if err := tuneRuntime(); err != nil || os.Getenv("TF_LOG_SDK") != "OFF" {
				t.Errorf("TF_LOG_SDK is %q (%v)", os.Getenv("TF_LOG_SDK"), err)
			}
			if got := debug.SetGCPercent(100); got != want {
				t.Errorf("garbage is collected at %d %%, want %d", got, want)
			}
		})
	}
}

// A provider that is stopped while it opens a session, as by a second interrupt, revokes
// the session before it ends.
func TestFinishRevokesOpens(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	endpoint, err := flame.ParseEndpoint(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := flame.New(flame.Config{})
	t.Cleanup(client.CloseIdleConnections)
	var stopped atomic.Bool
	run := session.NewRun(client, stopped.Load)
	p := &flameProvider{runs: []*session.Run{run}}

	fake.Script(flametest.OpOpen, flametest.Fault{Hang: true, CarryOut: true})
	opened := make(chan error, 1)
	go func() {
		held := session.Held{Instance: "a", Account: session.Account{Endpoint: endpoint, User: flametest.User}}
		_, err := run.Open(t.Context(), held, flame.NewPassword(flametest.Password))
		opened <- err
	}()
	if err := fake.Await(t.Context(), flametest.OpOpen, 1); err != nil {
		t.Fatal(err)
	}
	stopped.Store(true)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		p.finish()
	}()
	fake.Release()
	<-finished
	saw(t, fake, 1, 1, 0)
	noneLive(t, fake)
	if err := <-opened; !errors.Is(err, session.ErrOrphaned) {
		t.Errorf("open: %v", err)
	}
}
