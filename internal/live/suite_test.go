// SPDX-License-Identifier: MPL-2.0

package live

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// aSuite is the suite in a process of its own, which knows an account by three variables.
type aSuite struct {
	*testing.T
	environ []string
}

// newSuite returns a suite for an account.
func newSuite(t *testing.T, endpoint, password string) aSuite {
	t.Helper()
	environ := []string{"FLAME_ENDPOINT=" + endpoint, "FLAME_USER=" + flametest.User, "FLAME_PASSWORD=" + password, "TMPDIR=" + t.TempDir()}
	for _, name := range []string{"HOME", "PATH", resource.EnvTfAcc, "TF_ACC_TERRAFORM_PATH", "TF_ACC_PROVIDER_HOST", "TF_ACC_PROVIDER_NAMESPACE"} {
		environ = append(environ, name+"="+os.Getenv(name))
	}
	return aSuite{t, environ}
}

// needTerraform skips the test where the suite is run itself, or no real command is wanted.
func needTerraform(t *testing.T) {
	t.Helper()
	if *live || os.Getenv(resource.EnvTfAcc) == "" {
		t.Skip("it runs the suite with real Terraform; run `make test`")
	}
}

func (s aSuite) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(s.Context(), os.Args[0], append([]string{"-test.v", "-yes"}, args...)...)
	var output bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environ, &output, &output
	return cmd, &output
}

// run runs the suite, and returns what it printed, which is to end with this exit code.
func (s aSuite) run(want int, args ...string) string {
	s.Helper()
	cmd, output := s.command(args...)
	_ = cmd.Run() // its exit code says it too
	if got := cmd.ProcessState.ExitCode(); got != want {
		s.Errorf("exit code %d, want %d", got, want)
	}
	return output.String()
}

// says fails the test unless each text was printed, and shows what was.
func (s aSuite) says(output string, texts ...string) {
	s.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			s.Errorf("%q was not printed", text)
		}
	}
	s.Log(output)
}

func newFake(t *testing.T, config flametest.Config) *flametest.Server {
	t.Helper()
	fake, err := flametest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake
}

// The suite passes on the fake with an account of each kind. It opens two sessions at a time,
// or the fake would end the first, sends one wrong password, and leaves none alive.
func TestSuiteOnFake(t *testing.T) {
	needTerraform(t)
	for _, config := range []flametest.Config{
		{Kind: flametest.Independent, MaxTokens: 2},
		{Kind: flametest.Shared, Version: 2},
		{Kind: flametest.Superseding, RequireAccessToken: true},
		{Kind: flametest.Sweeping, MaxTokens: 2, SampleID: true},
	} {
		t.Run(config.Kind.String(), func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, config)
			suite := newSuite(t, fake.URL(), flametest.Password)
			output := suite.run(0, "-live")
			suite.says(output, fmt.Sprintf("\nkind %s; sessions opened %d, closed for a failed case 0, left alive 0\n", config.Kind, fake.Opened()))
			refused := 0
			for _, r := range fake.Journal() {
				if r.Op == flametest.OpOpen && r.Status == http.StatusUnauthorized {
					refused++
				}
				if r.Opened != "" && strings.Contains(output, r.Opened) {
					t.Error("a token was printed")
				}
			}
			if live := len(fake.Live()); live != 0 || refused != 1 || strings.Contains(output, flametest.Password) {
				t.Errorf("%d sessions are alive, and %d logins were refused; or the password was printed", live, refused)
			}
		})
	}
}

// The suite passes on Rails with an account of each kind.
func TestSuiteOnRails(t *testing.T) {
	needTerraform(t)
	for _, kind := range flametest.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			rails := servertest.StartRails(t, servertest.RailsConfig{Kind: kind.String()})
			suite := newSuite(t, rails.URL, servertest.RailsPassword)
			output := suite.run(0, "-live")
			opened, most, left := 0, 0, -1
			for _, r := range rails.Requests() {
				if r.Method == http.MethodPost && r.Status == "200" {
					opened++
				}
				most, left = max(most, r.Live), r.Live
			}
			suite.says(output, fmt.Sprintf("\nkind %s; sessions opened %d, closed for a failed case 0, left alive 0\n", kind, opened))
			if left != 0 || most > 2 {
				t.Errorf("%d sessions are alive, and %d were at a time", left, most)
			}
		})
	}
}

// What Look sends with an account that is independent.
const lookRevokes, lookChecks = 3, 6

// A session that a failed case leaves is closed.
func TestSuiteSweepsAfterFailure(t *testing.T) {
	needTerraform(t)
	fake := newFake(t, flametest.Config{})
	faults := make([]flametest.Fault, lookRevokes, lookRevokes+1)
	fake.Script(flametest.OpRevoke, append(faults, flametest.Fault{Status: http.StatusConflict})...) // the provider's
	suite := newSuite(t, fake.URL(), flametest.Password)
	suite.says(suite.run(1, "-live", "-test.run=TestAccSession_life"),
		"--- FAIL: TestAccSession_life", "\nkind independent; sessions opened 3, closed for a failed case 1, left alive 0\n")
	if live := len(fake.Live()); live != 0 {
		t.Errorf("%d sessions are alive", live)
	}
}

// stopped stops a suite with a signal while it has a session open, and returns what it
// printed.
func (s aSuite) stopped(fake *flametest.Server, signal syscall.Signal) string {
	s.Helper()
	faults := make([]flametest.Fault, lookChecks, lookChecks+1)
	fake.Script(flametest.OpCheck, append(faults, flametest.Fault{Hang: true})...) // the case's
	cmd, output := s.command("-live")
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	if err := fake.Await(s.Context(), flametest.OpCheck, lookChecks+1); err != nil {
		s.Error(err)
	}
	if live := len(fake.Live()); live != 1 {
		s.Errorf("%d sessions are alive, want 1", live)
	}
	if err := cmd.Process.Signal(signal); err != nil {
		s.Error(err)
	}
	fake.Release()
	if err := cmd.Wait(); err == nil {
		s.Error("the exit code is 0")
	}
	return output.String()
}

// After an interrupt, the case that is running closes its session, and no other begins.
func TestSuiteInterrupted(t *testing.T) {
	needTerraform(t)
	fake := newFake(t, flametest.Config{})
	suite := newSuite(t, fake.URL(), flametest.Password)
	suite.says(suite.stopped(fake, syscall.SIGINT), "interrupted: not all cases were run", "left alive 0\n")
	if live := len(fake.Live()); live != 0 || fake.Opened() != 3 {
		t.Errorf("%d of %d sessions are alive", live, fake.Opened())
	}
}

// The sessions of a suite that was killed are closed by the sweeper.
func TestSuiteSweepsAfterKill(t *testing.T) {
	needTerraform(t)
	fake := newFake(t, flametest.Config{})
	suite := newSuite(t, fake.URL(), flametest.Password)
	suite.stopped(fake, syscall.SIGKILL)
	suite.says(suite.run(0, "-sweep=all"), "An earlier run has left sessions, which are closed now: 1\n")
	if live := len(fake.Live()); live != 0 {
		t.Errorf("%d sessions are alive", live)
	}
}

// Without three variables or a yes, nothing is sent.
func TestSuiteAsksFirst(t *testing.T) {
	needTerraform(t)
	fake := newFake(t, flametest.Config{})
	suite := newSuite(t, fake.URL(), "")
	suite.says(suite.run(1, "-live"), "set FLAME_USER and FLAME_PASSWORD")
	suite = newSuite(t, fake.URL(), flametest.Password)
	suite.says(suite.run(1, "-live", "-yes=false"), "at most two at a time", "Use a user that nothing else uses", "nothing was sent: answer yes, or pass -yes (with make: LIVE_FLAGS=-yes)")
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
