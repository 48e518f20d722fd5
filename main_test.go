// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
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

// With -debug, the process waits for any Terraform, says how to reach it, and ends with
// SIGTERM.
func TestDebug(t *testing.T) {
	if os.Getenv("FLAME_TEST_MAIN") != "" {
		os.Args = []string{os.Args[0], "-debug"}
		main()
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDebug$")
	cmd.Env = append(os.Environ(), "FLAME_TEST_MAIN=1", "TF_PLUGIN_MAGIC_COOKIE=")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); ; {
		if !lines.Scan() {
			t.Fatal("it does not say how to reach it")
		}
		if strings.Contains(lines.Text(), "TF_REATTACH_PROVIDERS") && strings.Contains(lines.Text(), "registry.terraform.io/flameanalytics/flame") {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !errors.As(err, &exit) || !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}
