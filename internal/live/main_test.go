// SPDX-License-Identifier: MPL-2.0

package live

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/flameanalytics/terraform-provider-flame/internal/probe"
)

var (
	live = flag.Bool("live", false, "test the account that FLAME_ENDPOINT, FLAME_USER and FLAME_PASSWORD name")
	yes  = flag.Bool("yes", false, "with -live or -sweep: begin without asking")
)

// With -sweep=all, only the sessions are closed that a killed run has left.
func TestMain(m *testing.M) {
	resource.AddTestSweepers("flame_session", &resource.Sweeper{Name: "flame_session", F: func(string) error {
		_, err := begin(context.Background(), "This closes the sessions at %s that an earlier make test-live has left.\n")
		if err != nil {
			fmt.Fprintln(os.Stderr, "live:", err)
		}
		return err
	}})
	resource.TestMain(suite{m})
}

type suite struct{ *testing.M }

// Run runs the cases, closes what they left, and returns the exit code.
func (s suite) Run() int {
	if !*live {
		return s.M.Run()
	}
	if cases := flag.Lookup("test.run"); cases.Value.String() == "" {
		_ = cases.Value.Set("^TestAcc")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the process
	code, err := s.run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		return 1
	}
	return code
}

const announcement = `This tests the provider with real Terraform at %s for the user in FLAME_USER.
It opens about 30 sessions in a few minutes, at most two at a time, and closes each.
`

// run runs the cases against the account that the environment names.
func (s suite) run(ctx context.Context) (code int, err error) {
	if os.Getenv(resource.EnvTfAcc) == "" {
		return 1, errors.New("set TF_ACC=1: this runs real Terraform")
	}
	_ = os.Setenv("CHECKPOINT_DISABLE", "1")
	_ = os.Unsetenv("TF_CLI_CONFIG_FILE") // it may override the provider
	if target, err = begin(ctx, announcement); err != nil {
		return 1, err
	}
	err = target.Look(ctx)
	kind, why := target.Kind()
	fmt.Fprintf(os.Stdout, "The kind of account is %s: %s.\n", kind, why)
	switch {
	case err != nil:
	case kind == probe.NotTold || kind == probe.IndependentSweeping:
		err = errors.New("without the kind of the account, no case can be judged. make probe shows the answers")
	default:
		target.interrupted = ctx
		if code = s.M.Run(); ctx.Err() != nil {
			err = errors.New("interrupted: not all cases were run")
		}
	}
	left, sweepErr := target.sweep(context.WithoutCancel(ctx))
	target.swept += left
	fmt.Fprintf(os.Stdout, "kind %s; sessions opened %d, closed for a failed case %d, left alive %d\n",
		kind, target.Opened(), target.swept, len(target.Sessions()))
	return max(code, min(left, 1)), errors.Join(err, sweepErr)
}
