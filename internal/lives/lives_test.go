// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		_ = os.Unsetenv(name)
	}
	log.SetOutput(io.Discard) // as the provider does when it is served
	debug.SetGCPercent(400)   // a quarter of the time
	_ = os.Setenv("FLAME_ENDPOINT", url("one"))
	_ = os.Setenv("FLAME_USER", users[0])
	_ = os.Setenv("FLAME_PASSWORD", passwords[users[0]])
	os.Exit(m.Run())
}

var (
	lives    = flag.Int("lives", 0, "scripts to live, as far as the time of -timeout allows")
	baseSeed = flag.Uint64("seed", 1, "which scripts to live; 0: random ones")
)

// TestLives lives random scripts.
func TestLives(t *testing.T) {
	if *lives == 0 {
		t.Skip("make test-lives runs it")
	}
	reached := newCoverage()
	base := *baseSeed
	if base == 0 {
		base = rand.Uint64()>>1 | 1
	}
	t.Logf("-seed=%d", base)
	setFlag(t, "rapid.checks", fmt.Sprint(max(1, *lives/shards)))
	setFlag(t, "rapid.nofailfile", "true")
	var failed atomic.Uint64
	t.Run("shards", func(t *testing.T) {
		for shard := range uint64(shards) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				checkShard(t, base+shard<<40, reached, &failed)
			})
		}
	})
	if !t.Failed() && reached.scripts >= 2000 {
		reached.check(t)
	}
}

const shards = 2 // as many as a machine of the tests has cores

// rapidFlags guards rapid's seed, which is a flag: a shard sets it, and lets go of it
// once rapid has read it.
var rapidFlags sync.Mutex

// checkShard checks a part of the scripts, until one fails. failed is the seed of the shard
// that has failed, for which the others end too.
func checkShard(t *testing.T, seed uint64, reached *coverage, failed *atomic.Uint64) {
	rapidFlags.Lock()
	unlock := sync.OnceFunc(rapidFlags.Unlock)
	setFlag(t, "rapid.seed", fmt.Sprint(seed))
	rapid.Check(t, func(rt *rapid.T) {
		unlock()
		if first := failed.Load(); first != 0 && first != seed {
			return
		}
		script := generator{T: rt}.script()
		violations, records := live(t, script)
		for _, v := range violations {
			failed.CompareAndSwap(0, seed)
			rt.Fatalf("%s: %s\n%#v", v.rule, v.detail, script)
		}
		reached.add(script, records)
	})
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}
