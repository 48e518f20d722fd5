// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// openElsewhere opens sessions as another tool would, and has the fake forget
// the requests: those it counts afterwards are Terraform's.
func openElsewhere(t *testing.T, fake *flametest.Server, count int) []string {
	t.Helper()
	tokens := make([]string, count)
	for i := range tokens {
		tokens[i] = fake.Open(flametest.User)
	}
	fake.Reset()
	return tokens
}

// tokenFile writes a file to import from, and returns its path.
func tokenFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

// endedTokens returns the tokens that the fake was asked to revoke, sorted.
func endedTokens(fake *flametest.Server) []string {
	var tokens []string
	for _, request := range fake.Journal() {
		if request.Op == flametest.OpRevoke {
			tokens = append(tokens, request.Token)
		}
	}
	slices.Sort(tokens)
	return tokens
}

// sameTokens fails the test if the lists differ. It prints no token.
func sameTokens(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d tokens, want %d, or they are others", what, len(got), len(want))
	}
}

// has fails the test if attributes of a session in the state are not these.
func (s sessionState) has(t *testing.T, name string, want map[string]any) {
	t.Helper()
	for attribute, value := range want {
		if got, ok := s.Attributes[attribute]; !ok || got != value {
			t.Errorf("%s: %s is %v, want %v", name, attribute, got, value)
		}
	}
}

// expectSession checks attributes of a session in the state; nil is null.
func expectSession(name string, want map[string]any) []statecheck.StateCheck {
	var checks []statecheck.StateCheck
	for attribute, value := range want {
		var check knownvalue.Check = knownvalue.Null()
		switch value := value.(type) {
		case string:
			check = knownvalue.StringExact(value)
		case bool:
			check = knownvalue.Bool(value)
		case int:
			check = knownvalue.Int64Exact(int64(value))
		}
		checks = append(checks, statecheck.ExpectKnownValue("flame_session."+name, tfjsonpath.New(attribute), check))
	}
	return checks
}

// absent checks that a text is not in the state.
func absent(text string) statecheck.StateCheck { return absentCheck(text) }

type absentCheck string

// CheckState implements statecheck.StateCheck.
func (c absentCheck) CheckState(_ context.Context, req statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	content, err := json.Marshal(req.State.Values)
	if err == nil && strings.Contains(string(content), string(c)) {
		err = errors.New("a secret is in the state")
	}
	resp.Error = err
}

// normalConfigurations are ordinary configurations. None is a reason to replace
// an imported or moved session.
var normalConfigurations = map[string]string{
	"nothing":             ``,
	"user":                `user = "` + flametest.User + `"`,
	"password":            `password = "a password"`,
	"rotate_after":        `rotate_after = "720h"`,
	"rotate_when_changed": `rotate_when_changed = { release = "1" }`,
	"revoke_on_destroy":   `revoke_on_destroy = false`,
	"timeouts":            "timeouts = {\n    create = \"1m\"\n    read = \"2m\"\n    delete = \"3m\"\n  }",
	"all": "user = \"" + flametest.User + "\"\n  password = \"another password\"\n" +
		"  rotate_after = \"720h\"\n  rotate_when_changed = { release = \"1\" }\n  timeouts = { create = \"1m\" }",
}

func sessionBlock(name, body string) string {
	return fmt.Sprintf("resource \"flame_session\" %q {\n  %s\n}\n", name, body)
}

func importBlock(name, id string) string {
	return fmt.Sprintf("import {\n  to = flame_session.%s\n  id = %q\n}\n", name, id)
}

// sessionBlocks returns a session for each configuration.
func sessionBlocks(configurations map[string]string) string {
	blocks := ""
	for name, body := range configurations {
		blocks += sessionBlock(name, body)
	}
	return blocks
}

// configure writes a session for each configuration.
func configure(w *workspace, configurations map[string]string) {
	w.t.Helper()
	w.write("sessions.tf", sessionBlocks(configurations))
}

// expectActions checks what a plan does to each of the sessions. Those with changes
// are replaced.
func expectActions(action plancheck.ResourceActionType, configurations, changes map[string]string) []plancheck.PlanCheck {
	var checks []plancheck.PlanCheck
	for name := range configurations {
		want := action
		if _, ok := changes[name]; ok {
			want = plancheck.ResourceActionDestroyBeforeCreate
		}
		checks = append(checks, plancheck.ExpectResourceAction("flame_session."+name, want))
	}
	return checks
}

// replaceOnChange is a step after sessions were imported or moved: changes replace
// a session as ever, and only that session. It only plans.
func (a *accTest) replaceOnChange(configurations, changes map[string]string) resource.TestStep {
	changed := maps.Clone(configurations)
	maps.Copy(changed, changes)
	return resource.TestStep{
		Config: a.config(sessionBlocks(changed)), PlanOnly: true, ExpectNonEmptyPlan: true,
		ConfigPlanChecks: resource.ConfigPlanChecks{PostApplyPostRefresh: expectActions(plancheck.ResourceActionNoop, configurations, changes)},
	}
}

// The import of a session that Terraform has opened gives the same state, but for
// what only the response to the login says. A token is not an ID.
func TestAccSession_import(t *testing.T) {
	acc := newAccTest(t, flametest.Config{})
	acc.run(
		resource.TestStep{
			Config:            acc.config(sessionBlock("this", "")),
			ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST")},
		},
		resource.TestStep{
			ResourceName: this, ImportState: true,
			ImportStateIdFunc: func(state *terraform.State) (string, error) {
				token := state.RootModule().Resources[this].Primary.Attributes["auth_token"]
				return "file:" + tokenFile(t, token, 0o600), nil
			},
			ImportStateVerify: true, ImportStateVerifyIgnore: []string{"user", "user_id", "email", "full_name"},
		},
		resource.TestStep{
			ResourceName: this, ImportState: true, ImportStateId: "ULzr7GuYA6iyo9EyiFrf",
			ExpectError: regexp.MustCompile(`The import ID does not say where the token is`),
		},
	)
	saw(t, acc.fake, 0, 1, acc.fake.Count(flametest.OpCheck))
}

// Import blocks, one for each normal configuration: only the state changes, and
// afterwards they are sessions like any other.
func TestAccSession_importBlocks(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, writeOnlyArguments)
	names := slices.Sorted(maps.Keys(normalConfigurations))
	opened := openElsewhere(t, acc.fake, len(names)+1)
	bystander := opened[len(names)]
	kept, revoked, imports := "", []string{}, ""
	checks := []statecheck.StateCheck{acc.expectRequests(), absent("another password")}
	for i, name := range names {
		token := opened[i]
		if name == "revoke_on_destroy" {
			kept = token
		} else {
			revoked = append(revoked, token)
		}
		imports += importBlock(name, "file:"+tokenFile(t, []string{token, token + "\n", "  " + token + "\r\n\n"}[i%3], 0o600))
		checks = append(checks, expectSession(name, map[string]any{
			"auth_token": token, "id": flame.NewToken(token).SessionID(), "user": flametest.User, "endpoint": acc.fake.URL(),
			"user_id": nil, "email": nil, "full_name": nil, "password": nil, "revoke_on_destroy": token != kept, "created_at": "2026-02-27T10:30:00Z",
		})...)
	}
	for name, want := range map[string]map[string]any{
		"nothing":      {"rotate_after": nil, "rotate_when_changed": nil, "rotate_at": nil, "timeouts": nil},
		"rotate_after": {"rotate_at": "2026-03-29T10:30:00Z"},
	} {
		checks = append(checks, expectSession(name, want)...)
	}
	acc.runLeaving(2,
		resource.TestStep{ // a token belongs to an endpoint, which has to be known
			Config: strings.Replace(acc.config(sessionBlock("this", ""), importBlock("this", "file:"+tokenFile(t, bystander, 0o600)),
				"resource \"terraform_data\" \"later\" {\n  input = \"https://x.example\"\n}"), strconv.Quote(acc.fake.URL()), "terraform_data.later.output", 1),
			ExpectError: regexp.MustCompile(`A provider argument is not known yet[^$]+endpoint\s+has\s+no\s+value\s+yet`),
		},
		resource.TestStep{
			PreConfig:         func() { saw(t, acc.fake, 0, 0, 0) },
			Config:            acc.config(sessionBlocks(normalConfigurations), imports),
			ConfigPlanChecks:  preApply(expectActions(plancheck.ResourceActionUpdate, normalConfigurations, nil)...), // user, at least, comes from the configuration
			ConfigStateChecks: checks,
		},
		acc.replaceOnChange(normalConfigurations, map[string]string{
			"nothing":             `rotate_when_changed = { release = "1" }`,
			"rotate_when_changed": `rotate_when_changed = { release = "2" }`,
		}),
	)
	saw(t, acc.fake, 0, len(revoked), acc.fake.Count(flametest.OpCheck))
	sameTokens(t, "revoked by destroy", endedTokens(acc.fake), revoked...)
	sameTokens(t, "alive at the end", acc.fake.Live(), bystander, kept)
}

// The command import, whose ID names a variable or a file relative to where
// Terraform runs: it prints no token, warns of a file that others can read, and
// each of its tokens is checked by the import and by the refresh.
func TestImportCommand(t *testing.T) {
	fake := newFake(t, flametest.Config{Version: 2})
	w := newWorkspace(t, fake, sessionBlock("variable", "")+sessionBlock("file", ""))
	tokens := openElsewhere(t, fake, 2)
	w.setenv("A_TOKEN", tokens[0])
	w.write("token", tokens[1]+"\n")
	if err := os.Chmod(filepath.Join(w.terraform.Dir, "token"), 0o644); err != nil {
		t.Fatal(err)
	}

	for i, test := range []struct{ name, id string }{{"variable", "env:A_TOKEN"}, {"file", "file:token"}} {
		r := w.must("import", "-input=false", "flame_session."+test.name, test.id)
		saw(t, fake, 0, 0, 2*(i+1))
		if warns := strings.Contains(r.Text(), "Others can read the file with the token The permissions of token are 0644"); warns != (test.name == "file") {
			t.Errorf("%s: a warning of the file's access rights: %v, in %v", test.name, warns, r)
		}
		r.doesNotSay(t, "the token", tokens[i])
		w.sessions()[test.name].has(t, test.name, map[string]any{
			"auth_token": tokens[i], "id": flame.NewToken(tokens[i]).SessionID(), "endpoint": fake.URL(), "revoke_on_destroy": true, "rotate_at": nil,
		})
	}

	w.apply() // takes over the user
	saw(t, fake, 0, 0, 6)
	w.agrees()
	w.quiet()
	fake.Reset()
	w.destroy()
	saw(t, fake, 0, 2, 2)
	sameTokens(t, "revoked by destroy", endedTokens(fake), tokens...)
}

// Terraform can write the configuration of what it imports.
func TestImportGeneratesConfiguration(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	token := openElsewhere(t, fake, 1)[0]
	w.setenv("A_TOKEN", token)
	// Terraform 1.16.0 to 1.16.2 need provider = flame in the block for this plan.
	w.write("imports.tf", importBlock("this", "env:A_TOKEN"))
	w.must("plan", "-input=false", "-generate-config-out=generated.tf")
	generated := w.read("generated.tf")
	if !strings.Contains(generated, `resource "flame_session" "this"`) || strings.Contains(generated, token) {
		t.Errorf("no configuration was written, or it holds the token, %d bytes", len(generated))
	}
	fake.Reset()
	w.must("plan", "-input=false", "-out=plan")
	w.must("apply", "plan")
	saw(t, fake, 0, 0, 2) // the plan's: of the import, and of the refresh
	w.agrees()
	w.quiet()
	w.destroy()
	saw(t, fake, 0, 1, 4)
	sameTokens(t, "revoked by destroy", endedTokens(fake), token)
}

// importOf imports over a provider of its own with these arguments besides the
// fake's, and reads what it imported as the refresh does. It returns all
// diagnostics as text.
func importOf(t *testing.T, fake *flametest.Server, id string, arguments map[string]tftypes.Value) (heldSession, string) {
	t.Helper()
	all := flameArguments(fake)
	maps.Copy(all, arguments)
	run, err := newProtocolRun(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	imported, err := run.importFrom(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if imported.token == "" {
		return imported, diagnosticsText(imported.diags)
	}
	read, err := run.read(t.Context(), imported)
	if err != nil {
		t.Fatal(err)
	}
	return read, diagnosticsText(append(imported.diags, read.diags...))
}

// Values that are no token, and IDs that name no place of one, are refused before
// any request. An ID that may be a token is not repeated.
func TestImportRefusesIDs(t *testing.T) {
	const (
		noPlace = "The import ID does not say where the token is\nThe import ID must be env:NAME, for a token in the environment variable NAME, or file:PATH, " +
			"for a token in a file. The provider refuses a token itself, because Terraform prints import IDs. If you gave one, revoke it"
		unset    = "The environment variable to import from is not set\n"
		noFile   = "The file to import from cannot be read\n"
		noToken  = "The imported value is not a token\nThe value of %s cannot be a token: "
		sureFile = "Write the token to"
	)
	fake := newFake(t, flametest.Config{})
	token := openElsewhere(t, fake, 1)[0]
	for name, value := range map[string]string{
		"EMPTY": "", "BLANK": "  \n", "SPACE": token + " " + token, "CONTROL": token + "\a" + token, "UNICODE": token + "é", "HEADER": `"` + token + `"`,
	} {
		t.Setenv(name, value)
	}
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"empty": "", "lines": token + "\n" + token + "\n", "nul": token + "\x00"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir("folder", 0o700), syscall.Mkfifo("pipe", 0o600)); err != nil { // reading a pipe would wait for a writer
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		token:              noPlace,
		"token:" + token:   noPlace,
		"ENV:" + token:     noPlace,
		"env:":             noPlace,
		"env:a=" + token:   noPlace,
		"env:1" + token:    noPlace,
		"file:":            noPlace,
		":":                noPlace,
		"https://" + token: noPlace,
		"env:UNSET":        unset + "UNSET is unset or empty",
		"env:EMPTY":        unset + "EMPTY is unset or empty",
		"env:BLANK":        fmt.Sprintf(noToken, "env:BLANK") + "it is empty",
		"env:SPACE":        fmt.Sprintf(noToken, "env:SPACE") + "it holds a space",
		"env:CONTROL":      fmt.Sprintf(noToken, "env:CONTROL") + "it holds a control character",
		"env:UNICODE":      fmt.Sprintf(noToken, "env:UNICODE") + "it holds a character outside ASCII",
		"env:HEADER":       fmt.Sprintf(noToken, "env:HEADER") + "it holds a quote",
		"file:missing":     noFile + "missing: no such file or directory. " + sureFile,
		"file:folder":      noFile + "folder is not a regular file. " + sureFile,
		"file:pipe":        noFile + "pipe is not a regular file. " + sureFile,
		"file:empty":       fmt.Sprintf(noToken, "file:empty") + "it is empty",
		"file:lines":       fmt.Sprintf(noToken, "file:lines") + "it holds a control character",
		"file:nul":         fmt.Sprintf(noToken, "file:nul") + "it holds a control character",
	} {
		imported, text := importOf(t, fake, id, nil)
		if imported.token != "" || len(imported.diags) != 1 || !strings.HasPrefix(text, "ERROR: "+want) {
			t.Errorf("%s: want only the error %q, got %q", id, want, text)
		}
		if strings.Contains(text, token) {
			t.Errorf("%s: the token is repeated", id)
		}
	}
	saw(t, fake, 0, 0, 0)
}

// An import checks the token, unless told not to, and then so does the refresh.
func TestImportVerifies(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	tokens := openElsewhere(t, fake, 2)
	fake.Revoke(tokens[1])
	address := strings.TrimPrefix(fake.URL(), "http://")
	unverified := map[string]tftypes.Value{"verify_sessions": tftypes.NewValue(tftypes.Bool, false)}
	for name, test := range map[string]struct {
		token     string
		fault     *flametest.Fault
		arguments map[string]tftypes.Value
		checks    int
		errors    []string // nil: it is imported
	}{
		"alive": {tokens[0], nil, nil, 2, nil},
		"dead": {tokens[1], nil, nil, 1, []string{
			"ERROR: The token to import does not work\n", "Flame at " + fake.URL() + " answered 401", flame.NewToken(tokens[1]).SessionID(), "let Terraform open a new session",
		}},
		"server error": {tokens[0], &flametest.Fault{Status: 500, Echo: true}, nil, 1, []string{
			"ERROR: The token to import could not be verified\n", "GET " + address + "/organizations failed: Flame answered 500 (server error)", "set verify_sessions = false",
		}},
		"other path":           {tokens[0], &flametest.Fault{Status: 404}, nil, 1, []string{"ERROR: The token to import could not be verified\n", "404 (not found)", "part of its path may be missing"}},
		"not an administrator": {tokens[0], &flametest.Fault{Status: 403}, nil, 2, nil},
		"told not to":          {tokens[0], &flametest.Fault{Status: 500}, unverified, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			fake.Reset()
			fake.Always(flametest.OpCheck, test.fault)
			arguments := map[string]tftypes.Value{"max_retries": tftypes.NewValue(tftypes.Number, 0)}
			maps.Copy(arguments, test.arguments)
			imported, text := importOf(t, fake, "file:"+tokenFile(t, test.token, 0o600), arguments)
			saw(t, fake, 0, 0, test.checks)
			if test.errors == nil && (imported.token != test.token || text != "") || test.errors != nil && (imported.token != "" || len(imported.diags) != 1) {
				t.Errorf("imported: %v; diagnostics: %s", imported.token != "", text)
			}
			for _, want := range test.errors {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in %q", want, text)
				}
			}
			if strings.Contains(text, test.token) {
				t.Error("the token is repeated")
			}
		})
	}
}

// An import warns of a file that others can read.
func TestImportWarnsOfReadableFile(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	token := openElsewhere(t, fake, 1)[0]
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o711: false, 0o640: true, 0o604: true, 0o644: true} {
		path := tokenFile(t, token, mode)
		imported, text := importOf(t, fake, "file:"+path, nil)
		want := ""
		if warns {
			want = fmt.Sprintf("WARNING: Others can read the file with the token\nThe permissions of %s are %04o, so other users of this machine can read the token. Use chmod 600, or delete the file after the import.\n", path, mode)
		}
		if imported.token != token || text != want {
			t.Errorf("%04o: want %q, got %q", mode, want, text)
		}
	}
}
