// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// A running command has a process group of its own, as one that is started in a
// terminal has.
type running struct {
	t       *testing.T
	ctx     context.Context // a safety net; nothing is measured by it
	cmd     *exec.Cmd
	output  watched
	waited  bool
	descent *os.File // ends when the command and all that it has started have ended
}

// start runs the command in the background.
func (w *workspace) start(args ...string) *running {
	w.t.Helper()
	w.detectRaces()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	// Every process inherits the writing end, and none writes to it.
	read, write, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	r := &running{t: w.t, ctx: ctx, cmd: w.command(append([]string{args[0], "-no-color", "-input=false"}, args[1:]...)...), descent: read}
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	r.cmd.ExtraFiles = []*os.File{write}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // whoever is left
		if !r.waited {
			_ = r.cmd.Wait()
		}
		_ = read.Close()
	})
	if err := write.Close(); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// whom says who gets a signal: Terraform alone, as from kill, or its providers
// too, as from Ctrl-C in a terminal.
type whom string

const (
	commandAlone whom = "to the command"
	wholeGroup   whom = "to its process group"
)

func (r *running) signal(to whom, s syscall.Signal) {
	r.t.Helper()
	pid := r.cmd.Process.Pid
	if to == wholeGroup {
		pid = -pid
	}
	if err := syscall.Kill(pid, s); err != nil {
		r.t.Fatal(err)
	}
}

// await returns when the command has printed a line that holds all the texts.
func (r *running) await(texts ...string) {
	r.t.Helper()
	for {
		r.output.mu.Lock()
		content := r.output.content.String()
		if r.output.grown == nil {
			r.output.grown = make(chan struct{})
		}
		grown := r.output.grown
		r.output.mu.Unlock()
		for line := range strings.Lines(content) {
			if holdsAll(line, texts) {
				return
			}
		}
		select {
		case <-grown:
		case <-r.ctx.Done():
			r.t.Fatalf("%q was not printed:\n%s", texts, withoutLogs(content))
		}
	}
}

func holdsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// stopped returns when the provider has been told to stop: from then on, the
// contexts of its operations are cancelled. Only a loud log tells.
func (r *running) stopped() { r.await("Served request", "tf_rpc=StopProvider") }

// wait waits until the command has ended. The provider may go on.
func (r *running) wait() {
	r.t.Helper()
	if r.waited {
		return
	}
	err := r.cmd.Wait()
	r.waited = true
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
}

// end waits until the command has ended, and whatever it has started.
func (r *running) end() result {
	r.t.Helper()
	r.wait()
	deadline, _ := r.ctx.Deadline()
	if err := r.descent.SetReadDeadline(deadline); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.descent); err != nil {
		r.t.Errorf("the provider goes on running: %v", err)
	}
	all := r.output.String()
	if strings.Contains(all, "DATA RACE") {
		r.t.Errorf("the provider has a data race:\n%s", all)
	}
	return result{terraformtest.Result{Stdout: withoutLogs(all), ExitCode: r.cmd.ProcessState.ExitCode()}}
}

func (r *running) arrived(fake *flametest.Server, op flametest.Operation, n int) {
	r.t.Helper()
	if err := fake.Await(r.ctx, op, n); err != nil {
		r.t.Fatalf("%v:\n%s", err, withoutLogs(r.output.String()))
	}
}

// watched is what a command prints, for those who wait for it.
type watched struct {
	mu      sync.Mutex
	content bytes.Buffer
	grown   chan struct{} // closed at the next write; nil while nobody waits
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.grown != nil {
		close(w.grown)
		w.grown = nil
	}
	return w.content.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content.String()
}

// forEach runs the test with the signal sent to either.
func forEach(t *testing.T, test func(*testing.T, whom)) {
	t.Helper()
	for _, to := range []whom{commandAlone, wholeGroup} {
		t.Run(string(to), func(t *testing.T) { test(t, to) })
	}
}

// differences compares state and API: the tokens that are alive and not held,
// and the IDs of the sessions that are held and not alive.
func (w *workspace) differences() (notHeld int, notAlive []string) {
	w.t.Helper()
	live := map[string]bool{}
	for _, token := range w.fake.Live() {
		live[token] = true
	}
	notHeld = len(live)
	for _, s := range w.sessions() {
		if live[s.text("auth_token")] {
			notHeld--
		} else {
			notAlive = append(notAlive, flame.NewToken(s.text("auth_token")).SessionID())
		}
	}
	return notHeld, notAlive
}

// One session: what was on the wire when the interrupt came.
func TestInterruptedRequest(t *testing.T) {
	forEach(t, func(t *testing.T, to whom) {
		fake := newFake(t, flametest.Config{})
		w := newWorkspace(t, fake, sessionBlock("this", `timeouts = { create = "3h" }`)+providerBlock("max_retries = 20"))

		// A wait between two tries ends at once, and no try follows.
		fake.Script(flametest.OpOpen, flametest.Fault{Status: 503})
		fake.Always(flametest.OpOpen, &flametest.Fault{Status: 503, Header: http.Header{"Retry-After": {"3600"}}})
		r := w.start("apply", "-auto-approve")
		r.arrived(fake, flametest.OpOpen, 2)
		r.signal(to, syscall.SIGINT)
		got := r.end()
		got.says(t, "Could not open a Flame session", "503 (down for maintenance)", "was tried 2 times")
		if got.ExitCode == 0 {
			t.Error("the run passes for a success")
		}
		saw(t, fake, 2, 0, 0)
		w.agrees()

		// A POST is not given up: its token gets into the state.
		interruptOpen := func() *running {
			fake.Reset()
			fake.Script(flametest.OpOpen, flametest.Fault{Hang: true, CarryOut: true})
			w.setenv("TF_LOG", "TRACE")
			r := w.start("apply", "-auto-approve")
			w.setenv("TF_LOG", "")
			r.arrived(fake, flametest.OpOpen, 1)
			r.signal(to, syscall.SIGINT)
			r.stopped()
			return r
		}
		r = interruptOpen()
		fake.Release()
		r.end().says(t, "Interrupt received")
		saw(t, fake, 1, 0, 0)
		if len(w.sessions()) != 1 {
			t.Fatal("the session is not in the state")
		}
		w.agrees()

		// A DELETE is given up: the state still has what the next one needs.
		id := w.sessions()["this"].text("id")
		for _, carriedOut := range []bool{false, true} {
			fake.Reset()
			fake.Always(flametest.OpRevoke, &flametest.Fault{Hang: true, CarryOut: carriedOut})
			r := w.start("destroy", "-auto-approve", "-refresh=false")
			r.arrived(fake, flametest.OpRevoke, 1)
			r.signal(to, syscall.SIGINT)
			got := r.end()
			got.says(t, "Could not revoke the Flame session "+id, "the run was interrupted", "Run again to finish.")
			saw(t, fake, 0, 1, 0)
			if got.ExitCode == 0 || len(w.sessions()) != 1 {
				t.Errorf("%d sessions are in the state: %v", len(w.sessions()), got)
			}
		}
		fake.Reset()
		w.destroy("-refresh=false")
		w.agrees()
		noneLive(t, fake)

		// A second interrupt ends Terraform at once, and it says what that means. The
		// provider has two seconds, which is not enough for this answer.
		r = interruptOpen()
		r.signal(to, syscall.SIGINT)
		got = r.end()
		got.says(t, "Two interrupts received", "data loss may have occurred")
		if got.ExitCode == 0 {
			t.Error("the run passes for a success")
		}
		saw(t, fake, 1, 0, 0)
		if notHeld, notAlive := w.differences(); notHeld != 1 || len(notAlive) != 0 {
			t.Errorf("%d tokens are alive and not held, %d held and not alive", notHeld, len(notAlive))
		}
	})
}

const manySessions = "resource \"flame_session\" \"this\" {\n  count = 30\n}\n"

// Many sessions: the interrupt comes half-way.
func TestInterruptedRun(t *testing.T) {
	forEach(t, func(t *testing.T, to whom) { interruptRun(t, to, syscall.SIGINT) })
}

// CI systems end a job with SIGTERM to its process group. To Terraform that is an
// interrupt; the provider leaves it to Terraform.
func TestTerminatedRun(t *testing.T) {
	interruptRun(t, wholeGroup, syscall.SIGTERM)
}

// A closed terminal sends SIGHUP, which kills Terraform. The provider survives, and
// revokes what is being opened, also where it logs to the pipe of a dead Terraform.
func TestHungUpRun(t *testing.T) {
	const parallelism = 10
	// The first login goes alone, and the second until it is known that it ends no other.
	const alone = 2
	for _, level := range []string{"OFF", "DEBUG"} {
		t.Run("TF_LOG="+level, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, manySessions)
			w.setenv("TF_LOG", level)
			fake.Script(flametest.OpOpen, flametest.Fault{Reason: "OK"}, flametest.Fault{Reason: "OK"})
			fake.Always(flametest.OpOpen, &flametest.Fault{Hang: true, CarryOut: true})
			r := w.start("apply", "-auto-approve", fmt.Sprintf("-parallelism=%d", parallelism))
			r.arrived(fake, flametest.OpOpen, alone+parallelism)
			r.signal(wholeGroup, syscall.SIGHUP)
			r.wait()
			fake.Release()
			r.end()
			if opened, revoked := fake.Opened(), fake.Count(flametest.OpRevoke); opened != alone+parallelism || revoked != parallelism {
				t.Errorf("%d sessions were opened and %d revoked, want %d and %d", opened, revoked, alone+parallelism, parallelism)
			}
			lost, notAlive := w.differences()
			if len(notAlive) > 0 || lost > alone || lost > 0 && writesAtOnce(t) { // of what was answered before
				t.Errorf("%d tokens are lost, %d are held and not alive", lost, len(notAlive))
			}
		})
	}
}

func interruptRun(t *testing.T, to whom, signal syscall.Signal) {
	t.Helper()
	fake := newFake(t, flametest.Config{Latency: 5 * time.Millisecond})
	w := newWorkspace(t, fake, manySessions)

	// Each session that was opened is in the state, and the next apply opens the rest.
	r := w.start("apply", "-auto-approve")
	r.arrived(fake, flametest.OpOpen, 10)
	r.signal(to, signal)
	r.end().says(t, "Interrupt received")
	w.agrees()
	if opened := fake.Opened(); opened != len(w.sessions()) {
		t.Errorf("%d sessions were opened, %d are in the state", opened, len(w.sessions()))
	}
	w.apply()
	w.agrees()
	if len(w.sessions()) != 30 {
		t.Errorf("%d sessions are in the state", len(w.sessions()))
	}

	// No token is lost by a destroy. The errors name the sessions that were revoked
	// before Terraform could learn it.
	r = w.start("destroy", "-auto-approve", "-refresh=false")
	r.arrived(fake, flametest.OpRevoke, 10)
	r.signal(to, signal)
	got := r.end()
	got.says(t, "Interrupt received")
	notHeld, notAlive := w.differences()
	if notHeld != 0 {
		t.Errorf("%d tokens are alive that the state does not hold", notHeld)
	}
	for _, id := range notAlive {
		got.says(t, "Could not revoke the Flame session "+id)
	}
	if len(notAlive) > 0 {
		got.says(t, "the run was interrupted", "Run again to finish.")
	}
	w.destroy("-refresh=false")
	w.agrees()
	noneLive(t, fake)
}

// writesAtOnce tells whether the command writes each change to a local state
// file before it begins with the next one. OpenTofu keeps them for some seconds.
func writesAtOnce(t *testing.T) bool {
	t.Helper()
	command, err := commandVersion()
	if err != nil {
		t.Fatal(err)
	}
	return command.product == "Terraform"
}

// Killed, the command can write nothing more.
func TestKilled(t *testing.T) {
	const count, answered, parallelism = 30, 10, 10
	forEach(t, func(t *testing.T, to whom) {
		fake := newFake(t, flametest.Config{})
		w := newWorkspace(t, fake, manySessions)
		kill := func(op flametest.Operation, args ...string) {
			fake.Reset()
			for range answered {
				fake.Script(op, flametest.Fault{Reason: "OK"}) // answered as always
			}
			fake.Always(op, &flametest.Fault{Hang: true, CarryOut: true})
			r := w.start(append(args, fmt.Sprintf("-parallelism=%d", parallelism))...)
			r.arrived(fake, op, answered+parallelism)
			r.signal(to, syscall.SIGKILL)
			r.wait()
			fake.Always(op, nil)
			fake.Release()
			r.end()
		}

		// A provider that survives revokes the tokens of the requests in flight. Those
		// that Terraform had received and not yet written to its state are lost: none with
		// a local state file, but OpenTofu writes it seconds later.
		kill(flametest.OpOpen, "apply", "-auto-approve")
		lost, notAlive := w.differences()
		held := len(w.sessions())
		inFlight := parallelism
		if to == commandAlone {
			inFlight = 0
			if n := fake.Count(flametest.OpRevoke); n != parallelism {
				t.Errorf("%d tokens were revoked, want %d", n, parallelism)
			}
		}
		if len(notAlive) != 0 || held+lost != answered+inFlight || held > answered || writesAtOnce(t) && held != answered {
			t.Errorf("%d of %d sessions are in the state, %d tokens are lost, %d are held and not alive", held, answered, lost, len(notAlive))
		}
		w.apply() // what is there can be gone on with
		if held := len(w.sessions()); held != count {
			t.Errorf("%d sessions are in the state", held)
		}

		// A destroy loses nothing: the state still holds the sessions whose end it was
		// not told of, and the next destroy finds them gone.
		kill(flametest.OpRevoke, "destroy", "-auto-approve", "-refresh=false")
		notHeld, notAlive := w.differences()
		held = len(w.sessions())
		if notHeld != lost || held-len(notAlive) != count-answered-parallelism || writesAtOnce(t) && held != count-answered {
			t.Errorf("%d sessions are in the state, %d of them not alive; %d tokens are alive that are not", held, len(notAlive), notHeld-lost)
		}
		w.destroy("-refresh=false")
		if left := len(fake.Live()); left != lost || len(w.sessions()) != 0 {
			t.Errorf("%d tokens are alive, want the %d that were lost", left, lost)
		}
	})
}
