// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

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
