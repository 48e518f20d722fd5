// SPDX-License-Identifier: MPL-2.0

package terraformtest

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func newWorkspace(t *testing.T, command string) *Workspace {
	t.Helper()
	w, err := New(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(w.Home); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder still exists after Close: %v", err)
		}
	})
	return w
}

// wantCLIConfig compares the CLI configuration. In want, HOME stands for the home
// folder, and * for a random name.
func wantCLIConfig(t *testing.T, w *Workspace, want string) {
	t.Helper()
	content, err := os.ReadFile(w.cliConfig())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(content), w.Home, "HOME")
	for _, kind := range []string{"overrides-", "mirror-"} {
		for i := strings.Index(got, kind); i >= 0; i = strings.Index(got, kind) {
			end := i + strings.IndexAny(got[i:], `/"`)
			got = got[:i] + "*" + got[end:]
		}
	}
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func fakeBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "any-name")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOverride(t *testing.T) {
	w, binary := newWorkspace(t, "env"), fakeBinary(t)
	for range 2 { // the second call replaces the first
		if err := w.Override(map[string]string{"flameanalytics/flame": binary, "example.com/acme/thing": binary}); err != nil {
			t.Fatal(err)
		}
	}
	wantCLIConfig(t, w, `provider_installation {
  dev_overrides {
    "example.com/acme/thing" = "HOME/*/example.com/acme/thing"
    "registry.opentofu.org/flameanalytics/flame" = "HOME/*/flameanalytics/flame"
    "registry.terraform.io/flameanalytics/flame" = "HOME/*/flameanalytics/flame"
  }
}
`)
	links, err := filepath.Glob(filepath.Join(w.Home, "overrides-*", "flameanalytics", "flame", "terraform-provider-flame"))
	if err != nil || len(links) != 2 {
		t.Fatalf("got the links %q (%v), want 2", links, err)
	}
	if target, err := os.Readlink(links[0]); target != binary {
		t.Errorf("the link points to %q (%v), want %q", target, err, binary)
	}
}

func TestMirror(t *testing.T) {
	w, binary := newWorkspace(t, "env"), fakeBinary(t)
	if err := w.Mirror("flameanalytics/flame", binary); err != nil {
		t.Fatal(err)
	}
	wantCLIConfig(t, w, `provider_installation {
  filesystem_mirror {
    path = "HOME/*"
  }
}
`)
	for _, host := range hosts {
		links, err := filepath.Glob(filepath.Join(w.Home, "mirror-*", host, "flameanalytics", "flame", "0.0.1", runtime.GOOS+"_"+runtime.GOARCH, "terraform-provider-flame_v0.0.1"))
		if err != nil || len(links) != 1 {
			t.Errorf("%s: got the links %q (%v), want 1", host, links, err)
		}
	}
}

func TestRegistry(t *testing.T) {
	w := newWorkspace(t, "env")
	if err := w.Registry("https://127.0.0.1:1234/v1/providers/"); err != nil {
		t.Fatal(err)
	}
	wantCLIConfig(t, w, `provider_installation {
  direct {}
}
host "registry.terraform.io" {
  services = {
    "providers.v1" = "https://127.0.0.1:1234/v1/providers/"
  }
}
host "registry.opentofu.org" {
  services = {
    "providers.v1" = "https://127.0.0.1:1234/v1/providers/"
  }
}
`)
}

func TestMissingBinary(t *testing.T) {
	w := newWorkspace(t, "env")
	for _, binary := range []string{"", filepath.Join(t.TempDir(), "nothing")} {
		if err := w.Override(map[string]string{"flameanalytics/flame": binary}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Override with %q: got %v, want %v", binary, err, os.ErrNotExist)
		}
		if err := w.Mirror("flameanalytics/flame", binary); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Mirror with %q: got %v, want %v", binary, err, os.ErrNotExist)
		}
	}
}

func TestMissingCommand(t *testing.T) {
	if _, err := New("no-such-terraform"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v, want %v", err, exec.ErrNotFound)
	}
}

func TestDefaultCommand(t *testing.T) {
	t.Setenv("TF_ACC_TERRAFORM_PATH", "")
	if got := DefaultCommand(); got != "terraform" {
		t.Errorf("got %q, want terraform", got)
	}
	t.Setenv("TF_ACC_TERRAFORM_PATH", "/opt/tofu")
	if got := DefaultCommand(); got != "/opt/tofu" {
		t.Errorf("got %q, want /opt/tofu", got)
	}
}

// Commands get only the listed variables.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"FLAME_PASSWORD", "TF_LOG", "TF_CLI_ARGS", "TF_CLI_CONFIG_FILE", "TF_DATA_DIR", "XDG_DATA_HOME", "HTTPS_PROXY"} {
		t.Setenv(name, "the user's")
	}
	w := newWorkspace(t, "env")
	w.Setenv("FLAME_USER", "first")
	w.Setenv("FLAME_USER", "second")
	r, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"CHECKPOINT_DISABLE=1", "FLAME_USER=second", "HOME=" + w.Home, "PATH=" + os.Getenv("PATH"),
		"TF_CLI_CONFIG_FILE=" + w.cliConfig(), "TF_IN_AUTOMATION=1", "TMPDIR=" + w.Home,
	}
	if got := slices.Sorted(slices.Values(strings.Split(strings.TrimSpace(r.Stdout), "\n"))); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRunFails(t *testing.T) {
	w := newWorkspace(t, "sh")
	r, err := w.Run(t.Context(), "-c", `printf '\033[1;31mred\033[0m'; echo why >&2; exit 3`)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "exit status 3\nredwhy\n") {
		t.Errorf("got the error %v", err)
	}
	if r.Stdout != "red" || r.Stderr != "why\n" || r.ExitCode != 3 {
		t.Errorf("got the result %v", r)
	}
}

func TestText(t *testing.T) {
	r := Result{Stdout: "Planning.\n", Stderr: `
╷
│ Error: Flame did not
│ answer
│
│   on main.tf line 1:
│    1: a │ b
╵
`}
	if got, want := r.Text(), "Planning. Error: Flame did not answer on main.tf line 1: 1: a │ b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func acceptance(t *testing.T) {
	t.Helper()
	if os.Getenv("TF_ACC") == "" {
		t.Skip("acceptance test: it runs real Terraform; set TF_ACC=1")
	}
}

func TestAccRun(t *testing.T) {
	acceptance(t)
	w := newWorkspace(t, DefaultCommand())
	for name, content := range map[string]string{
		"main.tf":         "module \"part\" {\n  source = \"./part\"\n}\noutput \"value\" {\n  value = module.part.value\n}\n",
		"part/outputs.tf": "resource \"terraform_data\" \"this\" {\n  input = \"hello\"\n}\noutput \"value\" {\n  value = terraform_data.this.output\n}\n",
	} {
		if err := w.Write(name, content); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init"}, {"apply", "-auto-approve"}, {"output", "-raw", "value"}} {
		r, err := w.Run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if args[0] == "output" && r.Stdout != "hello" {
			t.Errorf("got the output %v", r)
		}
		if r.CPU <= 0 {
			t.Errorf("%s used %v of processor time", args[0], r.CPU)
		}
	}
	if err := w.Write("main.tf", "output \"value\" {\n  value = nonsense.value\n}\n"); err != nil {
		t.Fatal(err)
	}
	r, err := w.Run(t.Context(), "plan")
	if err == nil || r.ExitCode != 1 || !strings.Contains(r.Text(), `on main.tf line 2, in output "value": 2: value = nonsense.value`) {
		t.Errorf("plan with an invalid reference: %v: %v", err, r)
	}
}

// Without Override, Mirror or Registry, Terraform must not use a public registry.
func TestAccNoProviders(t *testing.T) {
	acceptance(t)
	w := newWorkspace(t, DefaultCommand())
	if err := w.Write("main.tf", "resource \"random_id\" \"this\" {\n  byte_length = 8\n}\n"); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Run(t.Context(), "init"); err == nil || !strings.Contains(r.Text(), "no available releases match the given constraints") {
		t.Errorf("init without a registry: %v: %v", err, r)
	}
}

// The end of the context stops Terraform and its child processes, after it saves
// the state.
func TestAccInterrupt(t *testing.T) {
	acceptance(t)
	w := newWorkspace(t, DefaultCommand())
	if err := w.Write("main.tf", `
resource "terraform_data" "done" {}
resource "terraform_data" "hangs" {
  depends_on = [terraform_data.done]
  provisioner "local-exec" {
    command = "echo started; exec tail -f /dev/null"
  }
}
`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := w.Command(ctx, "apply", "-auto-approve")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasSuffix(withoutColours(lines.Text()), "(local-exec): started") {
			cancel()
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the provisioner did not start within a minute")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the interrupted apply succeeded")
	}
	state, err := os.ReadFile(filepath.Join(w.Dir, "terraform.tfstate"))
	if err != nil || !strings.Contains(string(state), `"done"`) {
		t.Errorf("the state lacks the finished resource: %q (%v)", state, err)
	}
}
