// SPDX-License-Identifier: MPL-2.0

// Package terraformtest runs the real Terraform or OpenTofu in a temporary
// folder, isolated from the settings of the user who runs it:
//
//	w, err := terraformtest.New("terraform")
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	if err := w.Override(map[string]string{"flameanalytics/flame": binary}); err != nil {
//		return err
//	}
//	if err := w.Write("main.tf", configuration); err != nil {
//		return err
//	}
//	result, err := w.Run(ctx, "apply", "-auto-approve", "-input=false")
//
// Override, Mirror and Registry set where Terraform finds providers; the last call
// counts. Without such a call, only the provider built into Terraform is available.
package terraformtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Workspace is a folder with a configuration, and an environment of its own
// to run commands in.
type Workspace struct {
	Home string   // contains all files; HOME and TMPDIR of the commands
	Dir  string   // contains the configuration; a folder in Home
	Env  []string // as in exec.Cmd: the last entry of a variable counts

	command string
}

// DefaultCommand returns the value of TF_ACC_TERRAFORM_PATH, or "terraform" if
// that is not set.
func DefaultCommand() string { return cmp.Or(os.Getenv("TF_ACC_TERRAFORM_PATH"), "terraform") }

// New returns an empty workspace, which the caller must close. The command is a
// path, or a name to find on PATH. A missing command is an error.
func New(command string) (*Workspace, error) {
	command, err := exec.LookPath(command)
	if err != nil {
		return nil, err
	}
	if command, err = filepath.Abs(command); err != nil { // the command runs in another folder
		return nil, err
	}
	home, err := os.MkdirTemp("", "terraform-") // short, because paths of sockets are limited
	if err != nil {
		return nil, err
	}
	w := &Workspace{Home: home, Dir: filepath.Join(home, "configuration"), command: command}
	w.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMPDIR=" + home,
		"TF_CLI_CONFIG_FILE=" + w.cliConfig(),
		"TF_IN_AUTOMATION=1",
		"CHECKPOINT_DISABLE=1", // no request for the latest version
	}
	if err := errors.Join(os.Mkdir(w.Dir, 0o700), w.writeCLIConfig("provider_installation {}\n")); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Close removes the folder and everything in it.
func (w *Workspace) Close() error { return os.RemoveAll(w.Home) }

// Write writes a file of the configuration, and creates the folders in its name.
func (w *Workspace) Write(name, content string) error {
	path := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o600)
}

// Setenv sets an environment variable for the commands that follow.
func (w *Workspace) Setenv(name, value string) { w.Env = append(w.Env, name+"="+value) }

// Command returns a command that is ready to start. The end of ctx interrupts it:
// Terraform then finishes in-flight requests, saves the state and stops its
// providers. It is killed if that takes more than a minute. Ctrl-C in a terminal
// interrupts it too, and a second interrupt makes it exit at once.
func (w *Workspace) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.command, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Dir, cmd.Env = w.Dir, w.Env
	return cmd
}

// Run runs a command and waits for it. If the exit code is not 0, it returns both
// the result and an error that wraps an *exec.ExitError and contains the output.
func (w *Workspace) Run(ctx context.Context, args ...string) (Result, error) {
	cmd := w.Command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := Result{Stdout: withoutColours(stdout.String()), Stderr: withoutColours(stderr.String()), ExitCode: cmd.ProcessState.ExitCode()}
	if state := cmd.ProcessState; state != nil {
		r.CPU = state.UserTime() + state.SystemTime()
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(w.command), strings.Join(args, " "), err, r.Stdout, r.Stderr)
	}
	return r, err
}
