package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestQuiet(t *testing.T) {
	for environ, want := range map[string]string{
		"":                                   "TF_LOG_SDK=OFF",
		"HOME=/ PATH=/bin":                   "TF_LOG_SDK=OFF",
		"TF_LOG=TRACE":                       "",
		"TF_LOG_CORE=INFO":                   "",
		"TF_LOG_PROVIDER=DEBUG":              "",
		"TF_LOG_SDK=WARN":                    "",
		"TF_LOG_SDK_FRAMEWORK=DEBUG HOME=/":  "",
		"TF_LOG_PROVIDER_FLAME=TRACE HOME=/": "",
	} {
		got := ""
		err := quiet(strings.Fields(environ), func(name, value string) error {
			got = name + "=" + value
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%q: set %q (%v), want %q", environ, got, err, want)
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
