package provider

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

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

func (c *clock) forward(d time.Duration) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now = c.now.Add(d)
	}
}

// factories serves the provider within the test, with its clock.
func factories(c *clock) map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"flame": func() (tfprotov6.ProviderServer, error) {
			return newServer(&flameProvider{version: "test", now: c.Now}, false)
		},
	}
}

// configuration is a provider block for the fake, and a session.
func configuration(fake *flametest.Server, session string) string {
	return fmt.Sprintf(`
provider "flame" {
  endpoint = %q
  user     = %q
  password = %q
}
resource "flame_session" "this" {
  %s
}
`, fake.URL(), flametest.User, flametest.Password, session)
}

// requests checks what the fake was sent since the last check.
func requests(fake *flametest.Server, want string) resource.TestCheckFunc {
	return func(*terraform.State) error {
		got := order(fake)
		fake.Reset()
		if got != want {
			return fmt.Errorf("requests: got %q, want %q", got, want)
		}
		return nil
	}
}

// forcedBy checks which attributes force a replacement.
type forcedBy []string

func (want forcedBy) CheckPlan(_ context.Context, req plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	for _, change := range req.Plan.ResourceChanges {
		if got := fmt.Sprint(change.Change.ReplacePaths); got != fmt.Sprint(paths(want)) {
			resp.Error = fmt.Errorf("%s is replaced because of %s, want %s", change.Address, got, fmt.Sprint(paths(want)))
		}
	}
}

func paths(attributes []string) []any {
	var all []any
	for _, a := range attributes {
		all = append(all, []any{a})
	}
	return all
}

// The whole life of rotate_after and rotate_at.
func TestRotateAfter(t *testing.T) {
	for name, test := range map[string]struct {
		lifecycle string
		replace   plancheck.PlanCheck
		requests  string
	}{
		"destroy before create": {
			"", plancheck.ExpectResourceAction("flame_session.this", plancheck.ResourceActionDestroyBeforeCreate), "DELETE POST",
		},
		"create before destroy": {
			"lifecycle {\n create_before_destroy = true\n }", plancheck.ExpectResourceAction("flame_session.this", plancheck.ResourceActionCreateBeforeDestroy), "POST DELETE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			acceptance(t)
			fake, clock := newFake(t, flametest.Config{}), newClock()
			config := func(session string) string { return configuration(fake, session+"\n"+test.lifecycle) }
			attribute := func(name, value string) resource.TestCheckFunc {
				return resource.TestCheckResourceAttr("flame_session.this", name, value)
			}
			update := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{
				plancheck.ExpectResourceAction("flame_session.this", plancheck.ResourceActionUpdate), forcedBy(nil),
			}}
			replaced := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{test.replace, forcedBy{"rotate_at"}}}
			nothing := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
			resource.ParallelTest(t, resource.TestCase{
				ProtoV6ProviderFactories: factories(clock),
				Steps: []resource.TestStep{
					{
						Config: config(`rotate_after = "24h"`),
						Check: resource.ComposeTestCheckFunc(requests(fake, "POST"),
							attribute("created_at", "2026-02-27T10:30:00Z"), attribute("rotate_at", "2026-02-28T10:30:00Z")),
					},
					{ // a second before: quiet
						PreConfig: clock.forward(24*time.Hour - time.Second), Config: config(`rotate_after = "24h"`),
						ConfigPlanChecks: nothing, Check: requests(fake, ""),
					},
					{ // the moment itself
						PreConfig: clock.forward(time.Second), Config: config(`rotate_after = "24h"`),
						ConfigPlanChecks: replaced,
						Check: resource.ComposeTestCheckFunc(requests(fake, test.requests),
							attribute("created_at", "2026-02-28T10:30:00Z"), attribute("rotate_at", "2026-03-01T10:30:00Z")),
					},
					{ // longer: in place
						PreConfig: clock.forward(23 * time.Hour), Config: config(`rotate_after = "48h"`), ConfigPlanChecks: update,
						Check: resource.ComposeTestCheckFunc(requests(fake, ""),
							attribute("created_at", "2026-02-28T10:30:00Z"), attribute("rotate_at", "2026-03-02T10:30:00Z")),
					},
					{ // gone: in place
						Config: config(""), ConfigPlanChecks: update,
						Check: resource.ComposeTestCheckFunc(requests(fake, ""), resource.TestCheckNoResourceAttr("flame_session.this", "rotate_at")),
					},
					{ // far past any age, but nothing says so
						PreConfig: clock.forward(10000 * time.Hour), Config: config(""), ConfigPlanChecks: nothing, Check: requests(fake, ""),
					},
					{ // back, and the session is older than that
						Config: config(`rotate_after = "720h"`), ConfigPlanChecks: replaced, Check: requests(fake, test.requests),
					},
					{ // the same age in other words
						Config: config(`rotate_after = "720h0m0s"`),
						Check:  requests(fake, ""),
					},
				},
				CheckDestroy: func(*terraform.State) error {
					if live := fake.Live(); len(live) != 0 {
						return fmt.Errorf("%d sessions are alive", len(live))
					}
					return nil
				},
			})
		})
	}
}
