package provider

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A workspace is a folder with a configuration, and the environment in which
// the real command uses the real provider on it, as a user would.
type workspace struct {
	t    *testing.T
	dir  string
	env  []string
	fake *flametest.Server
}

// result is what a command said, and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s\n--- stderr\n%s", r.code, r.stdout, r.stderr)
}

// text is all that a user saw, in one line per paragraph: the frames and line
// breaks that Terraform draws around diagnostics are taken out.
func (r result) text() string {
	lines := strings.Split(r.stdout+"\n"+r.stderr, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimLeft(line, "│╷╵ "))
	}
	return strings.Join(strings.Fields(strings.Join(lines, " ")), " ")
}

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

// newWorkspace makes a workspace whose environment has the fake's endpoint,
// user and password.
func newWorkspace(t *testing.T, fake *flametest.Server, configuration string) *workspace {
	t.Helper()
	acceptance(t)
	t.Parallel()
	dir := t.TempDir()
	cliConfig := filepath.Join(dir, "cli.tfrc")
	binary := filepath.Dir(providerBinary(t))
	rc := fmt.Sprintf("provider_installation {\n  dev_overrides {\n    %q = %q\n    %q = %q\n  }\n  direct {}\n}\n",
		"registry.terraform.io/flameanalytics/flame", binary, "registry.opentofu.org/flameanalytics/flame", binary)
	if err := os.WriteFile(cliConfig, []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &workspace{t: t, dir: filepath.Join(dir, "configuration"), fake: fake, env: []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"TMPDIR=" + dir,
		"TF_CLI_CONFIG_FILE=" + cliConfig,
		"CHECKPOINT_DISABLE=1",
		"TF_IN_AUTOMATION=1",
		"GORACE=halt_on_error=1 atexit_sleep_ms=0", // or each exit of the provider takes a second,
	}}
	w.setenv(envUser, flametest.User)
	w.setenv(envPassword, flametest.Password)
	if fake != nil {
		w.setenv(envEndpoint, fake.URL())
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("main.tf", requireFlame+configuration)
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
func (w *workspace) setenv(name, value string) { w.env = append(w.env, name+"="+value) }

// write puts a file into the configuration's folder.
func (w *workspace) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// read gives a file of the configuration's folder; "" where there is none.
func (w *workspace) read(name string) string {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Fatal(err)
	}
	return string(content)
}

// planFile gives what is in a saved plan, unpacked, by the members' names.
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

func terraformCommand() string {
	if path := os.Getenv("TF_ACC_TERRAFORM_PATH"); path != "" {
		return path
	}
	return "terraform"
}

func (w *workspace) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), terraformCommand(), args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	return cmd
}

// run runs the command to its end, whatever that is.
func (w *workspace) run(args ...string) result {
	w.t.Helper()
	cmd := w.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	r := result{colours.ReplaceAllString(stdout.String(), ""), colours.ReplaceAllString(stderr.String(), ""), cmd.ProcessState.ExitCode()}
	if strings.Contains(r.stdout+r.stderr, "DATA RACE") {
		w.t.Errorf("the provider has a data race: %v", r)
	}
	return r
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// must runs the command, which has to succeed.
func (w *workspace) must(args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.code != 0 {
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
	if r.code != 1 {
		w.t.Fatalf("%s: want exit code 1, got %v", strings.Join(args, " "), r)
	}
	r.says(w.t, texts...)
	return r
}

// says fails the test where a text is missing from what the user saw.
func (r result) says(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.text(), text) {
			t.Errorf("%q is not in: %v", text, r)
		}
	}
}

// quiet makes a plan, which has to find nothing to do and have nothing to say.
func (w *workspace) quiet() {
	w.t.Helper()
	r := w.run("plan", "-input=false", "-detailed-exitcode")
	if r.code != 0 {
		w.t.Errorf("the plan is not empty: %v", r)
	}
	if warnings := strings.Count(r.stdout+r.stderr, "Warning:"); warnings != 1 { // of the override
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

// providerBinary builds the provider as it is released, with the race detector.
func providerBinary(t *testing.T) string {
	t.Helper()
	path, err := buildProvider()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	buildDir      string
	buildProvider = sync.OnceValues(func() (string, error) {
		var err error
		if buildDir, err = os.MkdirTemp("", "terraform-provider-flame-"); err != nil {
			return "", err
		}
		path := filepath.Join(buildDir, "terraform-provider-flame")
		cmd := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", path, "../..")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building the provider: %w\n%s", err, out)
		}
		return path, nil
	})
)

func TestMain(m *testing.M) {
	// What is in the developer's environment must not reach the tests.
	for _, name := range []string{envEndpoint, envUser, envPassword, "TF_CLI_CONFIG_FILE", "TF_LOG"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	if err := os.Setenv("CHECKPOINT_DISABLE", "1"); err != nil {
		panic(err)
	}
	code := m.Run()
	if buildDir != "" {
		if err := os.RemoveAll(buildDir); err != nil {
			panic(err)
		}
	}
	os.Exit(code)
}
