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

// limited is an API that lets some requests a second through.
type limited struct {
	mu         sync.Mutex
	perSecond  int
	bucket     *rate.Limiter // nil: fixed windows of a second
	retryAfter time.Duration
	window     int64
	inWindow   int
	requests   int
}

func (l *limited) allows() bool {
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

// The pace fits itself to limits of each kind: as ten callers that always have
// something to send see it, in a time that passes in the test alone.
func TestPaceFits(t *testing.T) {
	const calls, callers, perSecond = 500, 10, 50
	for _, think := range []time.Duration{40 * time.Millisecond, 80 * time.Millisecond} {
		for _, burst := range []int{0, 5, 20, 50} {
			for _, retryAfter := range []time.Duration{0, time.Second} {
				t.Run(fmt.Sprintf("burst %d, Retry-After %v, thinking %v", burst, retryAfter, think), func(t *testing.T) {
					// The waits are random, and one long wait at the end makes a run long: so the median counts.
					var times []float64
					for range 9 {
						synctest.Test(t, func(t *testing.T) {
							api := &limited{perSecond: perSecond, retryAfter: retryAfter}
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
					// Without a Retry-After nothing is lost to waits that are longer than they need be.
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

// runThrough sends calls as do does, with nothing but the pace and the waits.
func runThrough(ctx context.Context, p *throttle, api *limited, calls, callers int, think time.Duration) {
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
				for p.wait(ctx) == nil {
					time.Sleep(time.Millisecond)
					if api.allows() {
						p.faster()
						break
					}
					p.slower(api.retryAfter)
					p.hold(api.retryAfter)
					if sleep(ctx, waits.NextBackOff()) != nil {
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// A pace that was slowed down becomes faster again.
func TestPaceRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &throttle{}
		api := &limited{bucket: rate.NewLimiter(20, 1)}
		runThrough(t.Context(), p, api, 100, 10, 10*time.Millisecond)
		slow := p.limit().Limit()
		api = &limited{bucket: rate.NewLimiter(1000, 1000)}
		runThrough(t.Context(), p, api, 3000, 10, 10*time.Millisecond)
		if fast := p.limit().Limit(); slow > 25 || fast < 2*slow {
			t.Errorf("the pace was %.1f, and is %.1f requests a second", slow, fast)
		}
	})
}
