// SPDX-License-Identifier: MPL-2.0

package flame

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// limitedAPI is an API with a rate limit.
type limitedAPI struct {
	mu         sync.Mutex
	perSecond  int
	bucket     *rate.Limiter // nil: fixed windows of one second
	retryAfter time.Duration
	latency    time.Duration
	window     int64
	inWindow   int
	requests   int
}

func (l *limitedAPI) allows() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if l.bucket != nil {
		return l.bucket.Allow()
	}
	if now := time.Now().Unix(); now != l.window {
		l.window, l.inWindow = now, 0
	}
	l.inWindow++
	return l.inWindow <= l.perSecond
}

// The throttle adapts to each kind of limit while ten callers keep sending. Time
// is virtual.
func TestThrottleFits(t *testing.T) {
	const calls, callers, perSecond, runs = 500, 10, 50, 9
	var table strings.Builder
	for _, pace := range []struct{ think, latency time.Duration }{
		{40 * time.Millisecond, 0},
		{80 * time.Millisecond, 0},
		// All callers have sent before the first 429 arrives.
		{time.Millisecond, 100 * time.Millisecond},
	} {
		for _, burst := range []int{0, 5, 20, 50} {
			for _, retryAfter := range []time.Duration{0, time.Second} {
				name := fmt.Sprintf("burst %d, Retry-After %v, thinking %v, latency %v", burst, retryAfter, pace.think, pace.latency)
				t.Run(name, func(t *testing.T) {
					var times, requests []float64
					for range runs {
						synctest.Test(t, func(t *testing.T) {
							api := &limitedAPI{perSecond: perSecond, retryAfter: retryAfter, latency: pace.latency}
							if burst > 0 {
								api.bucket = rate.NewLimiter(perSecond, burst)
							}
							started := time.Now()
							runThrough(t.Context(), &throttle{}, api, calls, callers, pace.think)
							times = append(times, time.Since(started).Seconds()/(calls/perSecond))
							requests = append(requests, float64(api.requests)/calls)
						})
					}
					// Waits are random, and one long wait at the end makes a run long: check only the median.
					slices.Sort(times)
					slices.Sort(requests)
					took, sent := times[runs/2], requests[runs/2]
					fmt.Fprintf(&table, "\n%.2f  %.2f  %s", took, sent, name)
					limit := 1.4
					if burst == 20 && retryAfter > 0 {
						limit = 2 // a pause wastes the time after the bucket is full
					}
					if took >= limit {
						t.Errorf("%.2f times the ideal time, want less than %.1f", took, limit)
					}
					if sent > 1.1 {
						t.Errorf("%.2f requests per call, want at most 1.1", sent)
					}
				})
			}
		}
	}
	t.Logf("medians: time over the ideal, requests per call%s", table.String())
}

// runThrough makes calls like Client.do, but with only the throttle and the backoff.
func runThrough(ctx context.Context, throttle *throttle, api *limitedAPI, calls, callers int, think time.Duration) {
	todo := make(chan struct{}, calls)
	for range calls {
		todo <- struct{}{}
	}
	close(todo)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range todo {
				time.Sleep(think)
				waits := newBackoff(500*time.Millisecond, rand.Float64)
				for throttle.wait(ctx) == nil {
					time.Sleep(time.Millisecond)
					allowed := api.allows()
					time.Sleep(api.latency)
					if allowed {
						throttle.succeeded()
						break
					}
					throttle.limited(api.retryAfter)
					throttle.pauseFor(api.retryAfter)
					if sleep(ctx, waits.NextBackOff()) != nil {
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestThrottleRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{}
		api := &limitedAPI{bucket: rate.NewLimiter(20, 1)}
		runThrough(t.Context(), throttle, api, 100, 10, 10*time.Millisecond)
		slow := throttle.limit().Limit()
		api = &limitedAPI{bucket: rate.NewLimiter(1000, 1000)}
		runThrough(t.Context(), throttle, api, 3000, 10, 10*time.Millisecond)
		if fast := throttle.limit().Limit(); slow > 25 || fast < 2*slow {
			t.Errorf("the rate rose from %.1f to %.1f requests per second, want from at most 25 to twice as many", slow, fast)
		}
	})
}

// A single request has no rate, so its 429 must not set one.
func TestThrottleIgnoresOneRequest(t *testing.T) {
	throttle := &throttle{}
	if err := throttle.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	throttle.limited(0)
	if throttle.limit() != nil {
		t.Errorf("the throttle learned %.1f requests per second", throttle.limit().Limit())
	}
}

// However often Flame says that there are too many requests, one in a second is tried.
func TestThrottleHasAFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th throttle
		for range 3 {
			th.recordSent()
		}
		for range 100 {
			th.limited(0)
			time.Sleep(time.Second)
		}
		if got := th.limit().Limit(); got != 1 {
			t.Errorf("the rate is %v per second", got)
		}
	})
}
