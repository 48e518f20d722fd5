// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// An accTest is an acceptance test with terraform-plugin-testing: a fake API, a
// clock, and the provider served within the test. Tests of warnings, logs,
// signals, saved plans and the environment use a workspace instead, because the
// framework shows them none of these.
type accTest struct {
	t     *testing.T
	fake  *flametest.Server
	clock *clock
	names []string // of this provider, besides "flame": an alias would share its configuration
}

// newAccTest returns a test of its own fake. It skips the test if the command
// lacks one of the capabilities.
func newAccTest(t *testing.T, config flametest.Config, capabilities ...capability) *accTest {
	t.Helper()
	needs(t, capabilities...)
	return &accTest{t: t, fake: newFake(t, config), clock: newClock()}
}

// config returns a configuration: the provider with the fake's endpoint, user and
// password, and blocks. Arguments of the provider go through configWith.
func (a *accTest) config(blocks ...string) string { return a.configWith("", blocks...) }

// configWith is config with more arguments of the provider.
func (a *accTest) configWith(arguments string, blocks ...string) string {
	return fmt.Sprintf("provider \"flame\" {\n  endpoint = %q\n  user = %q\n  password = %q\n  %s\n}\n%s",
		a.fake.URL(), flametest.User, flametest.Password, arguments, strings.Join(blocks, "\n"))
}

// run runs the steps, and destroys what they leave. Then no session may be open.
func (a *accTest) run(steps ...resource.TestStep) {
	a.t.Helper()
	a.runLeaving(0, steps...)
}

// runLeaving is run for steps that leave sessions open.
func (a *accTest) runLeaving(open int, steps ...resource.TestStep) {
	a.t.Helper()
	factories := map[string]func() (tfprotov6.ProviderServer, error){"echo": echoprovider.NewProviderServer()}
	for _, name := range append(a.names, "flame") {
		factories[name] = func() (tfprotov6.ProviderServer, error) {
			return newServer(newTestProvider(a.clock.Now, time.Nanosecond), false)
		}
	}
	resource.ParallelTest(a.t, resource.TestCase{
		ProtoV6ProviderFactories: factories,
		Steps:                    steps,
		CheckDestroy: func(*terraform.State) error {
			if n := len(a.fake.Live()); n != open {
				return fmt.Errorf("%d sessions are open, want %d", n, open)
			}
			return nil
		},
	})
}

// expectRequests checks the POSTs and DELETEs that the fake received since the
// last such check, in order. GETs do not count: the framework refreshes as often
// as it likes.
func (a *accTest) expectRequests(methods ...string) statecheck.StateCheck {
	return requestCheck{a.fake, methods}
}

type requestCheck struct {
	fake *flametest.Server
	want []string
}

// CheckState implements statecheck.StateCheck.
func (c requestCheck) CheckState(_ context.Context, _ statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	var got []string
	for _, request := range c.fake.Journal() {
		if request.Op != flametest.OpCheck {
			got = append(got, request.Method)
		}
	}
	c.fake.Reset()
	if !slices.Equal(got, c.want) {
		resp.Error = fmt.Errorf("the API received %v, want %v", got, c.want)
	}
}

// expectReplacedBecause checks which attributes of a resource force its
// replacement.
func expectReplacedBecause(address string, attributes ...string) plancheck.PlanCheck {
	return replaceCheck{address, attributes}
}

// expectKept checks that no attribute of a resource forces its replacement.
func expectKept(address string) plancheck.PlanCheck { return replaceCheck{address, nil} }

type replaceCheck struct {
	address string
	want    []string
}

// CheckPlan implements plancheck.PlanCheck.
func (c replaceCheck) CheckPlan(_ context.Context, req plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	for _, change := range req.Plan.ResourceChanges {
		if change.Address != c.address {
			continue
		}
		var got []string
		for _, path := range change.Change.ReplacePaths {
			got = append(got, fmt.Sprint(path))
		}
		var want []string
		for _, attribute := range c.want {
			want = append(want, fmt.Sprint([]any{attribute}))
		}
		if !slices.Equal(got, want) {
			resp.Error = fmt.Errorf("%s is replaced because of %v, want %v", c.address, got, want)
		}
		return
	}
	resp.Error = fmt.Errorf("%s is not in the plan", c.address)
}

// preApply returns plan checks that run before apply.
func preApply(checks ...plancheck.PlanCheck) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: checks}
}

// A clock stands still until it is set forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 2, 27, 10, 30, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// forward returns a function that sets the clock forward: a TestStep's PreConfig.
func (c *clock) forward(d time.Duration) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now = c.now.Add(d)
	}
}

// newTestProvider returns a provider that is served within the test.
func newTestProvider(now func() time.Time, firstBackoff time.Duration) *flameProvider {
	return &flameProvider{version: "test", now: now, firstBackoff: firstBackoff, orphaned: func() bool { return false }}
}
