// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// A workspace runs the real command with the real provider, as a user would.
type workspace struct {
	t         *testing.T
	terraform *terraformtest.Workspace
	fake      *flametest.Server
}

// A result adds assertions to what a command printed.
type result struct{ terraformtest.Result }

// acceptance skips the test where no real command is wanted.
func acceptance(t *testing.T) {
	t.Helper()
	if os.Getenv("TF_ACC") == "" {
		t.Skip("acceptance test: it runs real Terraform; set TF_ACC=1, or run `make test`, which does")
	}
}

// newFake starts a fake API that ends with the test.
func newFake(t *testing.T, config flametest.Config) *flametest.Server {
	t.Helper()
	fake, err := flametest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake
}

// newWorkspace returns a workspace whose environment has the fake's endpoint,
// user and password.
func newWorkspace(t *testing.T, fake *flametest.Server, configuration string) *workspace {
	t.Helper()
	acceptance(t)
	t.Parallel()
	w := &workspace{t: t, terraform: newTerraform(t), fake: fake}
	w.override(map[string]string{"flameanalytics/flame": providerBinary(t)})
	// Terraform and the provider would make keys at each start. The variable is meant for
	// tests: https://github.com/hashicorp/terraform/blob/v1.16.4/internal/command/meta_providers.go#L30
	w.setenv("TF_DISABLE_PLUGIN_TLS", "1")
	w.setenv(envUser, flametest.User)
	w.setenv(envPassword, flametest.Password)
	if fake != nil {
		w.setenv(envEndpoint, fake.URL())
	}
	w.write("main.tf", requireFlame+configuration)
	return w
}

// newTerraform returns an empty workspace that is removed at the end of the test.
func newTerraform(t *testing.T) *terraformtest.Workspace {
	t.Helper()
	w, err := terraformtest.New(terraformtest.DefaultCommand())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

const requireFlame = `
terraform {
  required_providers {
    flame = {
      source = "flameanalytics/flame"
    }
  }
}
`

// setenv sets a variable; later ones win.
func (w *workspace) setenv(name, value string) { w.terraform.Setenv(name, value) }

// write writes a file of the configuration.
func (w *workspace) write(name, content string) {
	w.t.Helper()
	if err := w.terraform.Write(name, content); err != nil {
		w.t.Fatal(err)
	}
}

// override says which binaries the command finds as providers, by source.
func (w *workspace) override(binaries map[string]string) {
	w.t.Helper()
	if err := w.terraform.Override(binaries); err != nil {
		w.t.Fatal(err)
	}
}

// read returns a file of the configuration; "" if there is none.
func (w *workspace) read(name string) string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.terraform.Dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return string(content)
}

// planFile returns the unpacked members of a saved plan, by name.
func (w *workspace) planFile(name string) map[string]string {
	w.t.Helper()
	content := w.read(name)
	archive, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
	if err != nil {
		w.t.Fatal(err)
	}
	members := map[string]string{}
	for _, file := range archive.File {
		reader, err := file.Open()
		if err != nil {
			w.t.Fatal(err)
		}
		member, err := io.ReadAll(reader)
		if err != nil {
			w.t.Fatal(err)
		}
		members[file.Name] = string(member)
	}
	return members
}

func (w *workspace) command(args ...string) *exec.Cmd {
	return w.terraform.Command(w.t.Context(), args...)
}

// run runs the command to its end, whatever its exit code.
func (w *workspace) run(args ...string) result {
	w.t.Helper()
	r, err := w.terraform.Run(w.t.Context(), args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	if strings.Contains(r.Stdout+r.Stderr, "DATA RACE") {
		w.t.Errorf("the provider has a data race: %v", r)
	}
	return result{r}
}

// must runs the command, which has to succeed.
func (w *workspace) must(args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.ExitCode != 0 {
		w.t.Fatalf("%s failed: %v", strings.Join(args, " "), r)
	}
	return r
}

func (w *workspace) apply(args ...string) result {
	w.t.Helper()
	return w.must(append([]string{"apply", "-auto-approve", "-input=false"}, args...)...)
}

func (w *workspace) destroy(args ...string) result {
	w.t.Helper()
	return w.must(append([]string{"destroy", "-auto-approve", "-input=false"}, args...)...)
}

// fails runs the command, which has to fail and say each of the texts.
func (w *workspace) fails(texts []string, args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.ExitCode != 1 {
		w.t.Fatalf("%s: want exit code 1, got %v", strings.Join(args, " "), r)
	}
	r.says(w.t, texts...)
	return r
}

// says fails the test where a text is missing from what the user saw.
func (r result) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.Text(), text) {
			t.Errorf("%q is not in: %v", text, r)
		}
	}
}

// doesNotSay fails the test where a text is in what the user saw.
func (r result) doesNotSay(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(r.Stdout+r.Stderr, text) || strings.Contains(r.Text(), text) {
		t.Errorf("%s is printed", what)
	}
}

// quiet makes a plan, which has to find nothing to do and have nothing to say.
func (w *workspace) quiet() {
	w.t.Helper()
	r := w.run("plan", "-input=false", "-detailed-exitcode")
	if r.ExitCode != 0 {
		w.t.Errorf("the plan is not empty: %v", r)
	}
	if warnings := strings.Count(r.Stdout+r.Stderr, "Warning:"); warnings != 1 { // of the override
		w.t.Errorf("the plan warns: %v", r)
	}
}

// sessionState is an instance of flame_session as the state file has it.
type sessionState struct {
	Attributes map[string]any
	Private    string
}

func (s sessionState) text(attribute string) string {
	text, _ := s.Attributes[attribute].(string)
	return text
}

// sessions gives the instances of flame_session in the state, by address.
func (w *workspace) sessions() map[string]sessionState {
	w.t.Helper()
	content := w.read("terraform.tfstate")
	if content == "" {
		return nil
	}
	var state struct {
		Resources []struct {
			Module, Mode, Type, Name string
			Instances                []struct {
				IndexKey   any            `json:"index_key"`
				Attributes map[string]any `json:"attributes"`
				Private    string         `json:"private"`
				Deposed    string         `json:"deposed"`
			}
		}
	}
	if err := json.Unmarshal([]byte(content), &state); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]sessionState{}
	for _, r := range state.Resources {
		if r.Mode != "managed" || r.Type != "flame_session" {
			continue
		}
		for _, i := range r.Instances {
			address := r.Name
			if i.IndexKey != nil {
				address += fmt.Sprintf("[%v]", i.IndexKey)
			}
			if i.Deposed != "" {
				address += " (deposed)"
			}
			found[address] = sessionState{i.Attributes, i.Private}
		}
	}
	return found
}

// agrees fails the test where the tokens in the state are not those alive at
// the fake.
func (w *workspace) agrees() {
	w.t.Helper()
	held := map[string]bool{}
	for _, s := range w.sessions() {
		held[s.text("auth_token")] = true
	}
	live := w.fake.Live()
	for _, token := range live {
		if !held[token] {
			w.t.Errorf("a token is alive that the state does not hold")
		}
		delete(held, token)
	}
	if len(held) > 0 {
		w.t.Errorf("the state holds %d tokens that are not alive", len(held))
	}
}

// saw fails the test where the fake got other numbers of requests.
func saw(t *testing.T, fake *flametest.Server, opened, revoked, checked int) {
	t.Helper()
	got := [...]int{fake.Count(flametest.OpOpen), fake.Count(flametest.OpRevoke), fake.Count(flametest.OpCheck), fake.Count(flametest.OpOther)}
	if got != [...]int{opened, revoked, checked, 0} {
		t.Errorf("POST, DELETE, GET and others: got %v, want %v", got, [...]int{opened, revoked, checked, 0})
	}
}

// detectRaces runs the provider with the race detector, which costs a second per
// command: for tests in which it does several things at once.
func (w *workspace) detectRaces() {
	w.t.Helper()
	binary, err := buildRaceProvider()
	if err != nil {
		w.t.Fatal(err)
	}
	w.setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0") // or each exit takes another second
	w.override(map[string]string{"flameanalytics/flame": binary})
}

// providerBinary builds the provider, without the race detector.
func providerBinary(t *testing.T) string {
	t.Helper()
	path, err := buildProvider()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	buildProvider     = sync.OnceValues(func() (string, error) { return build("terraform-provider-flame", "../..") })
	buildRaceProvider = sync.OnceValues(func() (string, error) { return build("terraform-provider-flame-race", "../..", "-race") })
)

// build builds a command. It stays where it is built, so that the next run finds
// it up to date and does not link it again.
func build(name, pkg string, flags ...string) (path string, err error) {
	if path, err = filepath.Abs("../../.bin/test/" + name); err != nil {
		return "", err
	}
	args := slices.Concat([]string{"build", "-buildvcs=false", "-o", path}, flags, []string{pkg})
	if out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

func TestMain(m *testing.M) {
	// What is in the developer's environment must not reach the tests.
	for _, name := range []string{
		envEndpoint, envUser, envPassword, "TF_CLI_CONFIG_FILE", "TF_LOG",
		"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
	} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	if err := os.Setenv("CHECKPOINT_DISABLE", "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
