package provider

import (
	"fmt"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// An API that allows 50 requests a second and answers the rest with 429 gets
// hardly more requests than sessions, and nothing fails. How long it took is
// only told: machines differ.
func TestLoad(t *testing.T) {
	const count, perSecond = 500, 50
	for name, limit := range map[string]flametest.RateLimit{
		"windows, Retry-After": {PerSecond: perSecond, Window: true, RetryAfter: flametest.RetryAfterSeconds},
		"bucket":               {PerSecond: perSecond},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{RateLimit: limit})
			w := newWorkspace(t, fake, fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n}\n", count))
			w.detectRaces()
			started := time.Now()
			w.apply()
			took := time.Since(started)
			requests := fake.Count(flametest.OpOpen)
			t.Logf("%d sessions at %d requests a second: %.1f s, %.2f times the ideal; %d requests, %.2f times the ideal",
				count, perSecond, took.Seconds(), took.Seconds()/(count/perSecond), requests, float64(requests)/count)
			if requests > count*12/10 {
				t.Errorf("%d requests for %d sessions", requests, count)
			}
			w.agrees()
		})
	}
}
