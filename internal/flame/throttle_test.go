package flame

import (
	"context"
	"fmt"
	"slices"
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

// The throttle adapts to each kind of limit. Ten callers always have something
// to send. Time is virtual.
func TestThrottleFits(t *testing.T) {
	const calls, callers, perSecond = 500, 10, 50
	for _, think := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
		for _, burst := range []int{0, 5, 20, 50} {
			for _, retryAfter := range []time.Duration{0, time.Second} {
				t.Run(fmt.Sprintf("burst %d, Retry-After %v, thinking %v", burst, retryAfter, think), func(t *testing.T) {
					// Waits are random, and one long wait at the end makes a run long, so only the median counts.
					var times []float64
					for range 9 {
						synctest.Test(t, func(t *testing.T) {
							api := &limitedAPI{perSecond: perSecond, retryAfter: retryAfter}
							if burst > 0 {
								api.bucket = rate.NewLimiter(perSecond, burst)
							}
							started := time.Now()
							runThrough(t.Context(), &throttle{}, api, calls, callers, think)
							times = append(times, time.Since(started).Seconds()/(calls/perSecond))
							if requests := float64(api.requests) / calls; requests > 1.1 {
								t.Errorf("%.2f times the ideal number of requests", requests)
							}
						})
					}
					slices.Sort(times)
					t.Logf("%.2f times the ideal time", times)
					// Without a Retry-After, no time is lost in pauses that are longer than needed.
					most := 1.15
					if retryAfter > 0 {
						most = 1.7
					}
					if median := times[len(times)/2]; median > most {
						t.Errorf("%.2f times the ideal time", median)
					}
				})
			}
		}
	}
}

// runThrough sends calls as Client.do does, but only with the throttle and the backoff.
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
				waits := newBackoff(500 * time.Millisecond)
				for throttle.wait(ctx) == nil {
					time.Sleep(time.Millisecond)
					if api.allows() {
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

// A throttle that has slowed down speeds up again.
func TestThrottleRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := &throttle{}
		api := &limitedAPI{bucket: rate.NewLimiter(20, 1)}
		runThrough(t.Context(), throttle, api, 100, 10, 10*time.Millisecond)
		slow := throttle.limit().Limit()
		api = &limitedAPI{bucket: rate.NewLimiter(1000, 1000)}
		runThrough(t.Context(), throttle, api, 3000, 10, 10*time.Millisecond)
		if fast := throttle.limit().Limit(); slow > 25 || fast < 2*slow {
			t.Errorf("the rate was %.1f, and is now %.1f requests per second", slow, fast)
		}
	})
}
