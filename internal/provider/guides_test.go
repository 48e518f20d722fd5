// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var fences = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// snippet returns the only fenced block of a guide that contains a text.
func snippet(t *testing.T, guide, part string) string {
	t.Helper()
	page, err := os.ReadFile("../../templates/guides/" + guide + ".md.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, fence := range fences.FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(fence[2], part) {
			found = append(found, fence[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks of %s contain %q", len(found), guide, part)
	}
	return found[0]
}

// paste has bash read a text from its standard input, line by line, like a terminal
// without bracketed paste: what a command reads is what follows. "terraform" is the
// command under test.
func (w *workspace) paste(options, text string) (output string, exitCode int) {
	w.t.Helper()
	bin := w.t.TempDir()
	if err := os.Symlink(w.command().Path, filepath.Join(bin, "terraform")); err != nil {
		w.t.Fatal(err)
	}
	w.setenv("PATH", bin+":"+os.Getenv("PATH"))
	cmd := exec.CommandContext(w.t.Context(), "bash", "--noprofile", "--norc", options)
	cmd.Dir, cmd.Env, cmd.Stdin = w.terraform.Dir, w.terraform.Env, strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
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

// The recipe of the action reads the token and then the approval.
func TestGuideLeakAction(t *testing.T) {
	needs(t, actionBlocks)
	w := newExample(t, "actions/flame_session_revoke")
	token := openElsewhere(t, w.fake, 1)[0]
	out, code := w.paste("-s", snippet(t, leakGuide, "-invoke")+token+"\nyes\n")
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
			script, _ := strings.CutPrefix(snippet(t, leakGuide, "terraform init"), "terraform init\n") // not with dev_overrides
			for command := range strings.Lines(script) {
				if out, code := w.paste("-s", strings.TrimSpace(command)+" -auto-approve\n"); code != 0 {
					t.Fatalf("%s: %s", command, out)
				}
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
// the environment, which is 7. What a consumer has read works for one epoch more.
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
}

// Without an epoch, the month counts.
func TestGuideSlotsByMonth(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	example, err := os.ReadFile(examplesDir + "/use-cases/alternating-slots/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	w.write("main.tf", string(example))
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

// With a user for each slot, the slots work on every kind of account. An epoch that is
// skipped ends both tokens.
func TestGuideSlots(t *testing.T) {
	for _, kind := range []flametest.Kind{flametest.Independent, flametest.Shared, flametest.Superseding, flametest.Sweeping} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newExample(t, "use-cases/alternating-slots")
			fake := newFake(t, flametest.Config{Kind: kind})
			w.fake = fake
			w.setenv(envEndpoint, fake.URL())
			w.setenv("TF_VAR_users", `{"even": "a@example.com", "odd": "b@example.com"}`)
			w.apply()
			threeEpochs(w)
			if kind != flametest.Independent {
				return
			}
			before := fake.Live()
			w.setenv("TF_VAR_epoch", "12")
			w.apply()
			for _, token := range before {
				if slices.Contains(fake.Live(), token) {
					t.Error("a token outlived an epoch that was skipped")
				}
			}
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
			var output string
			for command := range strings.Lines(snippet(t, "one-token-or-many", "-replace='flame_session.probe[0]'")) {
				out, _ := w.paste("-s", strings.TrimSpace(command)+" -auto-approve\n")
				output += out
			}
			for _, warning := range []string{"Two sessions share one Flame token", "A login has ended another Flame session", "A revocation has ended another Flame session"} {
				if got := strings.Contains(output, warning); got != (warning == want) {
					t.Errorf("%q is printed: %v", warning, got)
				}
			}
		})
	}
}

// The recipe of the import reads the token and then the approval.
func TestGuideMoveImport(t *testing.T) {
	needs(t, removedBlocks)
	w := newExample(t, "use-cases/move-by-import")
	token := openElsewhere(t, w.fake, 1)[0]
	out, code := w.paste("-s", snippet(t, "moving-from-other-providers", "read -rs FLAME_TOKEN")+token+"\nyes\n")
	if code != 0 || !strings.Contains(out, "1 to import") || strings.Contains(out, token) {
		t.Errorf("exit code %d: %s", code, strings.ReplaceAll(out, token, "TOKEN"))
	}
	if got := w.sessions()["reports"].text("id"); got != flame.NewToken(token).SessionID() {
		t.Error("another session is in the state")
	}
}
