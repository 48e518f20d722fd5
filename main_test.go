package main

import (
	"os"
	"os/exec"
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

// The SDK's log is off, unless anybody has asked for one, then it is as ever.
func TestDefaults(t *testing.T) {
	t.Setenv("GOGC", "100")
	t.Setenv("TF_LOG_SDK", "")
	if err := setDefaults(true); err != nil || os.Getenv("TF_LOG_SDK") != "" {
		t.Errorf("with a log: TF_LOG_SDK is %q (%v)", os.Getenv("TF_LOG_SDK"), err)
	}
	if err := setDefaults(false); err != nil || os.Getenv("TF_LOG_SDK") != "OFF" {
		t.Errorf("without a log: TF_LOG_SDK is %q (%v)", os.Getenv("TF_LOG_SDK"), err)
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
