package main

import (
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

func TestWantsLog(t *testing.T) {
	for environ, want := range map[string]bool{
		"":                                   false,
		"HOME=/ PATH=/bin":                   false,
		"TF_LOG=TRACE":                       true,
		"TF_LOG_CORE=INFO":                   true,
		"TF_LOG_PROVIDER=DEBUG":              true,
		"TF_LOG_SDK=WARN":                    true,
		"TF_LOG_SDK_FRAMEWORK=DEBUG HOME=/":  true,
		"TF_LOG_PROVIDER_FLAME=TRACE HOME=/": true,
	} {
		if got := wantsLog(strings.Fields(environ)); got != want {
			t.Errorf("%q: %v", environ, got)
		}
	}
}

// What a user has set in the environment for the garbage collector holds.
func TestQuicken(t *testing.T) {
	t.Setenv("TF_LOG_SDK", "")
	t.Setenv("GOGC", "100")
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	if err := quicken(); err != nil || os.Getenv("TF_LOG_SDK") != "OFF" {
		t.Errorf("TF_LOG_SDK is %q (%v)", os.Getenv("TF_LOG_SDK"), err)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("with GOGC set, the memory limit is %d", got)
	}
}

// Garbage has room in little memory, and in more where more is alive.
func TestMemoryLimit(t *testing.T) {
	const mb = 1 << 20
	for alive, want := range map[uint64]int64{0: 24 * mb, 3 * mb: 24 * mb, 7 * mb: 24 * mb, 10 * mb: 30 * mb, 1000 * mb: 2010 * mb} {
		if got := memoryLimit(alive); got != want {
			t.Errorf("%d MB alive: %d MB", alive/mb, got/mb)
		}
	}
}

// What the provider's module builds is a plugin, and says so to whoever runs it by hand.
func TestStartedByHand(t *testing.T) {
	if os.Getenv("FLAME_TEST_MAIN") != "" {
		os.Args = os.Args[:1]
		main()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStartedByHand$")
	cmd.Env = append(os.Environ(), "FLAME_TEST_MAIN=1", "TF_PLUGIN_MAGIC_COOKIE=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "This binary is a plugin") {
		t.Errorf("%v: %s", err, out)
	}
}
