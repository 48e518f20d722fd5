// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"sync"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// An API that allows 50 requests a second and answers the rest with 429 gets
// hardly more requests than sessions, and nothing fails. How long it took is
// only told: machines differ.
func TestLoad(t *testing.T) {
	const count, perSecond, parallelism = 250, 50, 10 // Terraform's default
	for name, limit := range map[string]flametest.RateLimit{
		"windows, Retry-After": {PerSecond: perSecond, Window: true, RetryAfter: flametest.RetryAfterSeconds},
		"bucket":               {PerSecond: perSecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFake(t, flametest.Config{RateLimit: limit})
			run := mustRun(t, flameArguments(fake))
			held := make(chan string, count)
			started := time.Now()
			var wait sync.WaitGroup
			for range parallelism {
				wait.Go(func() {
					for range count / parallelism {
						session, err := run.create(t.Context())
						if err != nil || len(session.diags) > 0 {
							t.Errorf("%v, %s", err, diagnosticsText(session.diags))
						}
						held <- session.token
					}
				})
			}
			wait.Wait()
			close(held)
			took := time.Since(started)
			requests := fake.Count(flametest.OpOpen)
			t.Logf("%d sessions at %d requests a second: %.1f s, %.2f times the ideal; %d requests, %.2f times the ideal",
				count, perSecond, took.Seconds(), took.Seconds()/(count/perSecond), requests, float64(requests)/count)
			if requests > count*12/10 {
				t.Errorf("%d requests for %d sessions", requests, count)
			}
			var tokens []string
			for token := range held {
				tokens = append(tokens, token)
			}
			sameTokens(t, "held", tokens, fake.Live()...)
		})
	}
}
