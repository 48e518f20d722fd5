// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var fences = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// snippet returns the only fenced block of a guide that contains a text.
func snippet(t *testing.T, guide, part string) string {
	t.Helper()
	var found []string
	for _, fence := range fences.FindAllStringSubmatch(mustRead(t, "../../templates/guides/"+guide+".md.tmpl"), -1) {
		if strings.Contains(fence[2], part) {
			found = append(found, fence[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks of %s contain %q", len(found), guide, part)
	}
	return found[0]
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// bash returns a shell that reads a text from its standard input, line by line, like a
// terminal without bracketed paste: what a command reads is what follows. "terraform" is
// the command under test.
func (w *workspace) bash(option, text string) *exec.Cmd {
	w.t.Helper()
	bin := w.t.TempDir()
	if err := os.Symlink(w.command().Path, filepath.Join(bin, "terraform")); err != nil {
		w.t.Fatal(err)
	}
	w.setenv("PATH", bin+":"+os.Getenv("PATH"))
	cmd := exec.CommandContext(w.t.Context(), "bash", "--noprofile", "--norc", option)
	cmd.Dir, cmd.Env, cmd.Stdin = w.terraform.Dir, w.terraform.Env, strings.NewReader(text)
	return cmd
}

// paste runs such a shell to its end.
func (w *workspace) paste(option, text string) (output string, exitCode int) {
	w.t.Helper()
	cmd := w.bash(option, text)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// mirror lets the command install the provider with init, which not every command does
// with an override.
func (w *workspace) mirror() {
	w.t.Helper()
	if err := w.terraform.Mirror("flameanalytics/flame", providerBinary(w.t)); err != nil {
		w.t.Fatal(err)
	}
}

// approve answers what apply and destroy ask.
func (w *workspace) approve() {
	w.setenv("TF_CLI_ARGS_apply", "-auto-approve")
	w.setenv("TF_CLI_ARGS_destroy", "-auto-approve")
}

const leakGuide = "a-leaked-token-the-first-five-minutes"

// oneReports is what the guides call flame_session.reports.
const oneReports = "resource \"flame_session\" \"reports\" {}\n"

// revoked is what the curl recipe prints of a token that it has ended.
const revoked = "DELETE sessions: 200\nGET organizations: 401\n"

// The curl recipe revokes a token that is pasted after it, whether or not the API wants
// the token in the body too, and prints it nowhere. It takes one from a state as well.
func TestGuideLeakCurl(t *testing.T) {
	for name, config := range map[string]flametest.Config{"header": {}, "body": {RequireAccessToken: true}, "shared": {Kind: flametest.Shared}} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, config)
			w := newWorkspace(t, fake, oneReports)
			token := openElsewhere(t, fake, 1)[0]
			recipe := snippet(t, leakGuide, "revoke() (")
			if out, code := w.paste("-s", recipe+token+"\n"); out != revoked || code != 0 {
				t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
			}
			noneLive(t, fake)

			w.apply()
			token = fake.Live()[0]
			function, _ := strings.CutSuffix(recipe, "revoke\n")
			out, code := w.paste("-s", function+snippet(t, leakGuide, "nonsensitive"))
			if !strings.HasSuffix(out, revoked) || code != 0 || strings.Contains(out, token) {
				t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
			}
			noneLive(t, fake)
			w.apply().says(t, "The Flame session has ended elsewhere")
			w.agrees()
		})
	}
}

// The recipe of the action reads a token that is pasted after it.
func TestGuideLeakAction(t *testing.T) {
	needs(t, actionBlocks)
	w := newExample(t, "actions/flame_session_revoke")
	token := openElsewhere(t, w.fake, 1)[0]
	w.approve()
	out, code := w.paste("-s", snippet(t, leakGuide, "-invoke")+token+"\n")
	if code != 0 || strings.Contains(out, token) {
		t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
	}
	sameTokens(t, "revoked", endedTokens(w.fake), token)
}

// OpenTofu has no actions. It ignores a file with one beside an empty one of its own.
func TestGuideLeakActionOpenTofu(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), "")
	if version, err := commandVersion(); err != nil || version.product != "OpenTofu" {
		t.Skip("only for OpenTofu")
	}
	w.write("leaked.tf", "action \"flame_session_revoke\" \"leaked\" {\n  config {\n    auth_token = \"canary\"\n  }\n}\n")
	w.fails([]string{"Unsupported block type"}, "validate")
	w.write("leaked.tofu", "")
	w.must("validate")
}

// What -replace does to a leaked token, as the guide's table has it.
func TestGuideLeakReplace(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Shared, flametest.Superseding, flametest.Sweeping} {
		for _, first := range []string{"false", "true"} {
			t.Run(kind.String()+"/"+first, func(t *testing.T) {
				fake := newFake(t, flametest.Config{Kind: kind})
				w := newWorkspace(t, fake, "resource \"flame_session\" \"reports\" {\n  lifecycle {\n    create_before_destroy = "+first+"\n  }\n}\n")
				w.apply()
				leaked := fake.Live()[0]
				r := w.apply("-replace=flame_session.reports")
				alive := slices.Contains(fake.Live(), leaked)
				if want := kind == flametest.Shared && first == "true"; alive != want {
					t.Errorf("the leaked token is alive: %v", alive)
				} else if want {
					r.says(t, "The Flame token is not revoked, because another session holds it")
				}
				if kind == flametest.Sweeping && first == "true" {
					noneLive(t, fake)
					w.apply()
				}
				w.agrees()
			})
		}
	}
}

// Without the token, a login and its revocation end it on all accounts but independent
// ones.
func TestGuideLeakWithoutToken(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Shared, flametest.Superseding, flametest.Sweeping} {
		t.Run(kind.String(), func(t *testing.T) {
			fake := newFake(t, flametest.Config{Kind: kind})
			w := newWorkspace(t, fake, "")
			w.write("main.tf", snippet(t, leakGuide, `"last"`))
			leaked := openElsewhere(t, fake, 1)[0]
			w.mirror()
			w.approve()
			if out, code := w.paste("-e", snippet(t, leakGuide, "terraform init")); code != 0 {
				t.Fatal(out)
			}
			if got, want := slices.Contains(fake.Live(), leaked), kind == flametest.Independent; got != want {
				t.Errorf("the leaked token is alive: %v", got)
			}
		})
	}
}

// The lookup finds sessions of for_each, with quotes in their keys, and in modules.
func TestGuideLeakFind(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), `
resource "flame_session" "user" {
  for_each = toset(["ada@example.com", "b\"b", "c c"])
  user     = each.key
}
module "m" {
  source = "./m"
}
`)
	w.write("m/main.tf", requireFlame+"resource \"flame_session\" \"this\" {\n  count = 2\n}\n")
	w.must("get")
	w.apply()
	recipe := snippet(t, leakGuide, "find_session")
	addresses := map[string]string{
		"user[ada@example.com]": `flame_session.user["ada@example.com"]`, `user[b"b]`: `flame_session.user["b\"b"]`,
		"user[c c]": `flame_session.user["c c"]`, "module.m.this[1]": `module.m.flame_session.this[1]`,
	}
	for key, session := range w.sessions() {
		address, ok := addresses[key]
		if !ok {
			continue
		}
		delete(addresses, key)
		want := session.text("id") + "\n# " + address + ":\n"
		if out, _ := w.paste("-s", recipe+session.text("auth_token")+"\n"); !strings.HasSuffix(out, want) {
			t.Errorf("%s: %q, want %q", key, out, want)
		}
	}
	if len(addresses) > 0 {
		t.Errorf("not in the state: %v", addresses)
	}
}

// The scripts of the rotation guide rotate under bash -e, and end well if there is
// nothing to do.
func TestGuideRotationScripts(t *testing.T) {
	for _, part := range []string{"plan -input=false -out=tfplan\n", "-detailed-exitcode"} {
		t.Run(part, func(t *testing.T) {
			w := newExample(t, "use-cases/rotation")
			script := snippet(t, "rotation-without-downtime", part)
			for _, release := range []string{"1", "1", "2"} {
				w.setenv("TF_VAR_release", release)
				if out, code := w.paste("-e", script); code != 0 {
					t.Fatalf("release %s: exit code %d: %s", release, code, out)
				}
				if w.read("tfplan") != "" {
					t.Error("the plan file is still there")
				}
			}
			if got := order(w.fake); got != "POST POST DELETE" {
				t.Errorf("requests: %s", got)
			}
			w.agrees()
		})
	}
}

// threeEpochs applies the example of alternating slots in three epochs after the one of
// the environment, which is 7. What a consumer has read works for one epoch more, unless
// an epoch is skipped.
func threeEpochs(w *workspace) {
	w.t.Helper()
	published := []string{w.must("output", "-raw", "auth_token").Stdout}
	for _, epoch := range []string{"8", "9", "10"} {
		w.setenv("TF_VAR_epoch", epoch)
		w.fake.Reset()
		w.apply().doesNotSay(w.t, "a warning", "Warning: A")
		if got := order(w.fake); got != "DELETE POST" {
			w.t.Errorf("epoch %s: requests: %s", epoch, got)
		}
		published = append(published, w.must("output", "-raw", "auth_token").Stdout)
		sameTokens(w.t, "alive in epoch "+epoch, w.fake.Live(), published[len(published)-2:]...)
		w.agrees()
	}
	w.setenv("TF_VAR_epoch", "12")
	w.apply()
	for _, token := range published {
		if slices.Contains(w.fake.Live(), token) {
			w.t.Error("a token outlived an epoch that was skipped")
		}
	}
}

// Without an epoch, the month counts.
func TestGuideSlotsByMonth(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	w.write("main.tf", mustRead(t, examplesDir+"/use-cases/alternating-slots/main.tf"))
	w.apply()
	now := time.Now().UTC()
	month := 12*now.Year() + int(now.Month())
	epochs := map[string]bool{fmt.Sprint(month - 1): true, fmt.Sprint(month): true}
	for _, session := range w.sessions() {
		triggers, _ := session.Attributes["rotate_when_changed"].(map[string]any)
		delete(epochs, fmt.Sprint(triggers["epoch"]))
	}
	if len(epochs) > 0 {
		t.Errorf("no session is of these epochs: %v", epochs)
	}
}

// With a user for each slot, the slots work on every kind of account.
func TestGuideSlots(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Shared, flametest.Superseding, flametest.Sweeping} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newExample(t, "use-cases/alternating-slots")
			w.fake = newFake(t, flametest.Config{Kind: kind})
			w.setenv(envEndpoint, w.fake.URL())
			w.setenv("TF_VAR_users", `{"even": "a@example.com", "odd": "b@example.com"}`)
			w.apply()
			threeEpochs(w)
		})
	}
}

// The two sessions of the guide show each kind of account by a warning.
func TestGuideKinds(t *testing.T) {
	for kind, want := range map[flametest.Kind]string{
		flametest.Independent: "", flametest.Shared: "Two sessions share one Flame token",
		flametest.Superseding: "A login has ended another Flame session", flametest.Sweeping: "A revocation has ended another Flame session",
	} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newExample(t, "use-cases/two-sessions")
			fake := newFake(t, flametest.Config{Kind: kind})
			w.setenv(envEndpoint, fake.URL())
			w.approve()
			output, _ := w.paste("-s", snippet(t, "one-token-or-many", "-replace='flame_session.probe[0]'"))
			for _, warning := range []string{"Two sessions share one Flame token", "A login has ended another Flame session", "A revocation has ended another Flame session"} {
				if got := strings.Contains(output, warning); got != (warning == want) {
					t.Errorf("%q is printed: %v", warning, got)
				}
			}
		})
	}
}

// The recipe of the import reads a token that is pasted after it.
func TestGuideMoveImport(t *testing.T) {
	needs(t, removedBlocks)
	w := newExample(t, "use-cases/move-by-import")
	token := openElsewhere(t, w.fake, 1)[0]
	w.approve()
	out, code := w.paste("-s", snippet(t, "moving-from-other-providers", "read -rs FLAME_TOKEN")+token+"\n")
	if code != 0 || !strings.Contains(out, "1 imported") || !strings.Contains(out, "0 destroyed") || strings.Contains(out, token) {
		t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
	}
	if got := w.sessions()["reports"].text("id"); got != flame.NewToken(token).SessionID() {
		t.Error("another session is in the state")
	}
}

// stateServer is Terraform's http backend. https://developer.hashicorp.com/terraform/language/backend/http
type stateServer struct {
	mu    sync.Mutex
	state []byte
	full  bool // refuses what is to be written
	asked int
}

func (s *stateServer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case r.Method == http.MethodPost && s.full:
		rw.WriteHeader(http.StatusInsufficientStorage)
	case r.Method == http.MethodPost:
		s.state, _ = io.ReadAll(r.Body) // a state that is cut off fails the test
	case s.state == nil:
		rw.WriteHeader(http.StatusNotFound)
	default:
		_, _ = rw.Write(s.state)
	}
}

func (s *stateServer) content() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.state)
}

func (s *stateServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *stateServer) setFull(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// newCI returns a workspace with a session, whose state is at a server.
func newCI(t *testing.T) (*workspace, *stateServer) {
	t.Helper()
	w := newWorkspace(t, newFake(t, flametest.Config{}), "terraform {\n  backend \"http\" {\n    retry_max = 0\n  }\n}\n"+oneReports)
	state := &stateServer{}
	server := httptest.NewServer(state)
	t.Cleanup(server.Close)
	w.setenv("TF_HTTP_ADDRESS", server.URL)
	w.mirror()
	return w, state
}

// step returns the script of a named step of the workflow in examples/ci.
func step(t *testing.T, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(mustRead(t, examplesDir+"/ci/terraform.yml"), "- name: "+name+"\n")
	if !found {
		t.Fatalf("the workflow has no step %q", name)
	}
	rest, _, _ = strings.Cut(rest, "\n      - ")
	_, script, found := strings.Cut(rest, "        run: ")
	if !found {
		t.Fatalf("the step %q has no script", name)
	}
	var lines []string
	for line := range strings.Lines(strings.TrimPrefix(script, "|\n")) {
		if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "          ") {
			break // the next job
		}
		lines = append(lines, strings.TrimPrefix(line, "          "))
	}
	return strings.Join(lines, "") + "\n"
}

// step runs a step of the workflow as GitHub does.
func (w *workspace) step(name string) (output string, exitCode int) {
	w.t.Helper()
	return w.paste("-e", step(w.t, name))
}

func (w *workspace) steps(names ...string) {
	w.t.Helper()
	for _, name := range names {
		if out, code := w.step(name); code != 0 {
			w.t.Fatalf("%s: exit code %d: %s", name, code, out)
		}
	}
}

// A change that nobody has read is planned without a state and without a password.
func TestGuideCIUntrusted(t *testing.T) {
	w, state := newCI(t)
	for _, name := range []string{envEndpoint, envUser, envPassword} {
		_, value, found := strings.Cut(mustRead(t, examplesDir+"/ci/terraform.yml"), "          "+name+": ")
		if !found {
			t.Fatalf("the workflow does not set %s", name)
		}
		value, _, _ = strings.Cut(value, "\n")
		w.setenv(name, value)
	}
	out, code := w.step("Plan without credentials")
	if code != 0 || !strings.Contains(out, "1 to add") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if state.requests() > 0 {
		t.Error("the state was read")
	}
}

// The workflow applies, and applies again.
func TestGuideCI(t *testing.T) {
	w, state := newCI(t)
	for range 2 {
		w.steps("Plan", "Plan for apply", "Apply", "Delete what holds tokens")
	}
	if got := order(w.fake); got != "POST" {
		t.Errorf("requests: %s", got)
	}
	if !strings.Contains(state.content(), w.fake.Live()[0]) {
		t.Error("the token is not in the state")
	}
}

// A state that cannot be written is kept: readable for the user alone, and encrypted
// before it leaves the machine.
func TestGuideCIErroredState(t *testing.T) {
	w, state := newCI(t)
	for command := range strings.Lines(snippet(t, "terraform-in-ci", "openssl req")) {
		if out, code := w.paste("-e", command); code != 0 {
			t.Fatal(out)
		}
	}
	w.steps("Plan for apply")
	state.setFull(true)
	if out, code := w.step("Apply"); code != 1 || !strings.Contains(out, "errored.tfstate") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	info, err := os.Stat(filepath.Join(w.terraform.Dir, "errored.tfstate"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("errored.tfstate: %v, %v", info.Mode(), err)
	}
	if _, code := w.step("Write the state again"); code == 0 {
		t.Error("the state was written")
	}
	w.steps("Encrypt the state", "Delete what holds tokens")
	token := w.fake.Live()[0]
	if kept := w.read("errored.tfstate.p7m"); kept == "" || strings.Contains(kept, token) {
		t.Error("the state was not encrypted")
	}
	state.setFull(false)
	if out, code := w.paste("-e", snippet(t, "terraform-in-ci", "openssl cms -decrypt")); code != 0 {
		t.Fatal(out)
	}
	if w.read("errored.tfstate") != "" {
		t.Error("errored.tfstate is still there")
	}
	w.must("plan", "-input=false", "-detailed-exitcode")
	sameTokens(t, "alive", w.fake.Live(), token)
}

// A cancelled step interrupts Terraform, not only the shell, so the token of a login that
// is under way gets into the state.
func TestGuideCICancelled(t *testing.T) {
	w, state := newCI(t)
	w.steps("Plan for apply")
	w.fake.Script(flametest.OpOpen, flametest.Fault{Hang: true, CarryOut: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r := &running{t: t, ctx: ctx, cmd: w.bash("-e", step(t, "Apply"))}
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer r.wait()
	defer w.fake.Release()
	r.arrived(w.fake, flametest.OpOpen, 1)
	r.signal(commandAlone, syscall.SIGINT)
	r.await("Interrupt received")
	w.fake.Release()
	r.wait()
	if !strings.Contains(state.content(), w.fake.Live()[0]) {
		t.Error("the token is not in the state")
	}
}

// What Terraform forgets stays alive, as the guide's table has it.
func TestGuideForgetting(t *testing.T) {
	kept := "resource \"flame_session\" \"reports\" {\n  lifecycle {\n    destroy = false\n  }\n}\n"
	for name, test := range map[string]struct {
		needs  []capability
		block  string
		forget func(w *workspace)
		alive  int
	}{
		"state rm":    {block: oneReports, alive: 1, forget: func(w *workspace) { w.must("state", "rm", "flame_session.reports") }},
		"replacement": {needs: []capability{destroyFalse}, block: kept, alive: 2, forget: func(w *workspace) { w.apply("-replace=flame_session.reports") }},
		"taint":       {needs: []capability{destroyFalse}, block: kept, alive: 2, forget: func(w *workspace) { w.must("taint", "flame_session.reports"); w.apply() }},
		"destroy":     {needs: []capability{destroyFalse}, block: kept, alive: 1, forget: func(w *workspace) { w.run("destroy", "-auto-approve", "-input=false") }}, // OpenTofu's exit code is 1
		"workspace": {block: oneReports, alive: 1, forget: func(w *workspace) {
			w.must("workspace", "select", "default")
			w.must("workspace", "delete", "-force", "other")
		}},
		"removed block": {needs: []capability{destroyFalse}, block: kept, alive: map[string]int{"OpenTofu": 1}[product(t)], forget: func(w *workspace) { w.write("main.tf", requireFlame); w.apply() }},
	} {
		t.Run(name, func(t *testing.T) {
			needs(t, test.needs...)
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, test.block)
			w.must("workspace", "new", "other")
			w.apply()
			test.forget(w)
			if got := len(fake.Live()); got != test.alive {
				t.Errorf("%d tokens are alive, want %d", got, test.alive)
			}
		})
	}
}

func product(t *testing.T) string {
	t.Helper()
	acceptance(t)
	v, err := commandVersion()
	if err != nil {
		t.Fatal(err)
	}
	return v.product
}

// A session is handed to another configuration: it stays alive, and in one state only. A
// failed import changes nothing.
func TestGuideHandOver(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), oneReports)
	w.apply()
	w.write("../new/main.tf", requireFlame)
	script := snippet(t, "forgetting-a-session", "-chdir=../new")
	if out, code := w.paste("-s", script); code == 0 || len(w.sessions()) != 1 {
		t.Errorf("the import did not fail, or the session is gone: %s", out)
	}
	w.write("../new/main.tf", requireFlame+oneReports)
	token := w.fake.Live()[0]
	if out, code := w.paste("-s", script); code != 0 || strings.Contains(out, token) {
		t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
	}
	if len(w.sessions()) != 0 || !strings.Contains(w.read("../new/terraform.tfstate"), token) {
		t.Error("the session is not in the other state alone")
	}
	sameTokens(t, "alive", w.fake.Live(), token)
}

// A forgotten token is revoked from the backup that state rm leaves.
func TestGuideForgotten(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), oneReports)
	w.apply()
	w.must("state", "rm", "flame_session.reports")
	function, _ := strings.CutSuffix(snippet(t, leakGuide, "revoke() ("), "revoke\n")
	out, code := w.paste("-s", function+snippet(t, "forgetting-a-session", "console -state"))
	if code != 0 || !strings.HasSuffix(out, revoked) {
		t.Errorf("exit code %d: %s", code, out)
	}
	noneLive(t, w.fake)
}
