// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const quickStartPort = "4003"

// The quick starts run as pasted, from top to bottom, in a fresh shell and home, with
// nothing but the command under test.
func TestQuickStart(t *testing.T) {
	acceptance(t)
	t.Parallel()
	const checkedAndRotated = "POST GET GET DELETE POST GET DELETE" // apply, plan, replace, destroy
	t.Run("README.md", func(t *testing.T) {
		out := runQuickStart(t, "README.md", nil, "")
		var requests []string
		for _, line := range regexp.MustCompile(`(?m)^(POST|GET|DELETE) .* 200, `).FindAllStringSubmatch(out, -1) {
			requests = append(requests, line[1])
		}
		if got := strings.Join(requests, " "); got != checkedAndRotated {
			t.Errorf("requests: %s, want %s", got, checkedAndRotated)
		}
		if !strings.Contains(out, "sessions opened 2, revoked 2, left alive 0") {
			t.Errorf("the fake API does not say that no session is left alive: %s", out)
		}
	})
	t.Run("templates/index.md.tmpl", func(t *testing.T) {
		fake := newFake(t, flametest.Config{})
		runQuickStart(t, "templates/index.md.tmpl", []string{envEndpoint + "=" + fake.URL()}, flametest.User+"\n"+flametest.Password+"\n")
		if got := methods(fake); got != checkedAndRotated {
			t.Errorf("requests: %s, want %s", got, checkedAndRotated)
		}
		noneLive(t, fake)
	})
}

// runQuickStart runs the shell blocks of a page's quick start, and returns the output.
func runQuickStart(t *testing.T, name string, env []string, stdin string) string {
	t.Helper()
	home := t.TempDir()
	script := "set -e\n" + strings.Join(quickStart(t, name), "\n")
	script = strings.ReplaceAll(script, quickStartPort, freePort(t))
	file := filepath.Join(home, "quick-start.sh")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", file)
	cmd.Dir = home
	cmd.Env = append(quickStartEnvironment(t, home), env...)
	cmd.Stdin = strings.NewReader(stdin)
	// A file, because Wait would wait for the fake API to close a pipe.
	out, err := os.Create(filepath.Join(home, "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	// If the script fails, the fake API that it started is killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Wait()
	text, readErr := os.ReadFile(out.Name())
	if err := errors.Join(err, readErr, out.Close()); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	return string(text)
}

// quickStart returns the shell blocks below the heading "Quick start" of a page.
func quickStart(t *testing.T, name string) (blocks []string) {
	t.Helper()
	_, section, found := strings.Cut(document(t, name), "\n## Quick start\n")
	if !found {
		t.Fatalf("%s has no quick start", name)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, match := range regexp.MustCompile("(?ms)^```shell\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, match[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("the quick start of %s has no shell block", name)
	}
	return blocks
}

// quickStartEnvironment returns the environment of a fresh shell. Git clones this tree
// from it, and of Terraform and OpenTofu, only the command under test is on PATH.
func quickStartEnvironment(t *testing.T, home string) []string {
	t.Helper()
	const remote = "https://github.com/flameanalytics/terraform-provider-flame"
	tree := copyTree(t)
	config := fmt.Sprintf("[url %q]\n\tinsteadOf = %s\n[safe]\n\tdirectory = *\n", "file://"+tree, remote)
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + home, "TMPDIR=" + t.TempDir(), "PATH=" + pathWithCommand(t), "CHECKPOINT_DISABLE=1"}
	// A fresh home would download and compile everything again.
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB", "GOTOOLCHAIN"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// copyTree commits this tree, as it is, to a repository of its own.
func copyTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	script := `cd ../.. && git ls-files -z --cached --others --exclude-standard | while IFS= read -rd '' f; do
  [ -f "$f" ] && printf '%s\0' "$f"
done | tar -c --null -T - | tar -x -C "$1"
cd "$1" && git init -q && git add -A && git -c user.name=test -c user.email=test@example.com commit -qm test`
	if out, err := exec.CommandContext(t.Context(), "bash", "-eo", "pipefail", "-c", script, "bash", tree).CombinedOutput(); err != nil {
		t.Fatalf("copying the tree: %v\n%s", err, out)
	}
	return tree
}

// pathWithCommand returns a folder that links to all programs on PATH, but of
// Terraform and OpenTofu only to the command under test.
func pathWithCommand(t *testing.T) string {
	t.Helper()
	version, err := commandVersion()
	if err != nil {
		t.Fatal(err)
	}
	name := map[string]string{"Terraform": "terraform", "OpenTofu": "tofu"}[version.product]
	command := newTerraform(t).Command(t.Context()).Path
	bin := t.TempDir()
	if err := os.Symlink(command, filepath.Join(bin, name)); err != nil {
		t.Fatal(err)
	}
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		programs, err := fs.ReadDir(os.DirFS(folder), ".")
		if err != nil {
			continue // PATH may name a folder that does not exist
		}
		for _, program := range programs {
			if program.Name() == "terraform" || program.Name() == "tofu" {
				continue
			}
			// The first on PATH counts, so a second link may fail.
			_ = os.Symlink(filepath.Join(folder, program.Name()), filepath.Join(bin, program.Name()))
		}
	}
	return bin
}

// freePort returns a port for the quick start's fake API, whose own may be taken.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
