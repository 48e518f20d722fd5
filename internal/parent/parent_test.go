// SPDX-License-Identifier: MPL-2.0

package parent_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/parent"
)

// role is the variable that has this test's binary act as one of its processes.
const role = "FLAME_TEST_PARENT"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "parent":
		beParent()
	case "child":
		beChild()
	default:
		os.Exit(m.Run())
	}
}

// beParent starts a child, and lives until it is killed or the test ends.
func beParent() {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), role+"=child")
	child.Stdin, child.Stdout = os.Stdin, os.Stdout
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stdout, err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func beChild() {
	// It must not outlive a test that fails.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	died := parent.Watch()
	fmt.Fprintln(os.Stdout, "parent died:", died())
	for range time.Tick(10 * time.Millisecond) {
		if died() {
			break
		}
	}
	fmt.Fprintln(os.Stdout, "parent died:", true)
}

func TestWatch(t *testing.T) {
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), role+"=parent")
	stdin, open := pipe(t) // open until the test ends
	defer func() { _ = open.Close() }()
	output, stdout := pipe(t)
	defer func() { _ = output.Close() }()
	process.Stdin, process.Stdout = stdin, stdout
	err := process.Start()
	_, _ = stdin.Close(), stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("the child printed %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
	}
	next("parent died: false")
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	next("parent died: true")
}

func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return reader, writer
}
