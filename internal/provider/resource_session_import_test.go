package provider

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// openElsewhere opens sessions as another tool would, and has the fake forget
// the requests: what it counts afterwards is Terraform's.
func openElsewhere(t *testing.T, fake *flametest.Server, count int) []string {
	t.Helper()
	tokens := make([]string, count)
	for i := range tokens {
		body := fmt.Sprintf(`{"user": %q, "password": %q}`, flametest.User, flametest.Password)
		answer, err := http.Post(fake.URL()+"/sessions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		var session struct {
			AuthToken string `json:"auth_token"`
		}
		if err != nil || json.Unmarshal(content, &session) != nil || session.AuthToken == "" {
			t.Fatalf("no session was opened: %v, %s", err, content)
		}
		tokens[i] = session.AuthToken
	}
	fake.Reset()
	return tokens
}

// keepToken writes a token into a file; a relative name begins where Terraform
// runs.
func keepToken(w *workspace, name, content string, mode os.FileMode) {
	w.t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(w.terraform.Dir, name)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask is
		w.t.Fatal(err)
	}
}

// plannedActions makes a plan, keeps it in the file "plan" for an apply, and
// gives what it does with each flame_session, by name: "no-op", "update", "delete create", and so on.
func plannedActions(w *workspace) map[string]string {
	w.t.Helper()
	w.must("plan", "-input=false", "-out=plan")
	var plan struct {
		Changes []struct {
			Address string
			Change  struct{ Actions []string }
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(w.must("show", "-json", "plan").Stdout), &plan); err != nil {
		w.t.Fatal(err)
	}
	actions := map[string]string{}
	for _, change := range plan.Changes {
		actions[strings.TrimPrefix(change.Address, "flame_session.")] = strings.Join(change.Change.Actions, " ")
	}
	return actions
}

// endedTokens gives the tokens that the fake was asked to end, sorted.
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

// sameTokens fails the test where the lists differ, and prints no token.
func sameTokens(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d tokens, want %d, or they are others", what, len(got), len(want))
	}
}

// has fails the test where attributes of a session in the state are not these.
func (s sessionState) has(t *testing.T, name string, want map[string]any) {
	t.Helper()
	for attribute, value := range want {
		if got, ok := s.Attributes[attribute]; !ok || got != value {
			t.Errorf("%s: %s is %v, want %v", name, attribute, got, value)
		}
	}
}

// startedBetween fails the test where created_at is not in between.
func (s sessionState) startedBetween(t *testing.T, name string, from, to time.Time) {
	t.Helper()
	created, err := time.Parse(time.RFC3339, s.text("created_at"))
	if err != nil || created.Before(from.Truncate(time.Second)) || created.After(to) {
		t.Errorf("%s: created_at is %q, want a time from %v to %v", name, s.text("created_at"), from, to)
	}
}

// normalConfigurations are what an imported or moved session may be configured
// with, none of which is a reason to replace it.
var normalConfigurations = map[string]string{
	"nothing":             ``,
	"user":                `user = "` + flametest.User + `"`,
	"password":            `password = "a password"`,
	"password_wo":         "password_wo = \"another password\"\n  password_wo_version = 3",
	"rotate_after":        `rotate_after = "720h"`,
	"rotate_when_changed": `rotate_when_changed = { release = "1" }`,
	"revoke_on_destroy":   `revoke_on_destroy = false`,
	"timeouts":            "timeouts = {\n    create = \"1m\"\n    read = \"2m\"\n    delete = \"3m\"\n  }",
	"all": "user = \"" + flametest.User + "\"\n  password_wo = \"another password\"\n  password_wo_version = 3\n" +
		"  rotate_after = \"720h\"\n  rotate_when_changed = { release = \"1\" }\n  timeouts = { create = \"1m\" }",
}

func sessionBlock(name, body string) string {
	return fmt.Sprintf("resource \"flame_session\" %q {\n  %s\n}\n", name, body)
}

func importBlock(name, id string) string {
	return fmt.Sprintf("import {\n  to = flame_session.%s\n  id = %q\n}\n", name, id)
}

// configure writes a session for each configuration.
func configure(w *workspace, configurations map[string]string) {
	w.t.Helper()
	blocks := ""
	for name, body := range configurations {
		blocks += sessionBlock(name, body)
	}
	w.write("sessions.tf", blocks)
}

// adoptedLife checks a workspace whose sessions were taken over: nothing is
// left to do, what changes now replaces as ever, and destroy ends exactly the
// tokens of the sessions that do not say otherwise.
func adoptedLife(w *workspace, tokens, configurations, changes map[string]string) {
	t, fake := w.t, w.fake
	t.Helper()
	fake.Reset()
	w.quiet()
	saw(t, fake, 0, 0, len(tokens))

	changed := maps.Clone(configurations)
	maps.Copy(changed, changes)
	configure(w, changed)
	actions := plannedActions(w)
	for name := range tokens {
		action, want := actions[name], "no-op"
		if changed[name] != configurations[name] {
			want = "delete create"
		}
		if action != want {
			t.Errorf("%s: the plan after a change is to %q, want %q", name, action, want)
		}
	}

	fake.Reset()
	w.destroy("-refresh=false")
	var ended []string
	for name, token := range tokens {
		if !strings.Contains(configurations[name], "revoke_on_destroy = false") {
			ended = append(ended, token)
		}
	}
	saw(t, fake, 0, len(ended), 0)
	sameTokens(t, "revoked by destroy", endedTokens(fake), ended...)
	if left := w.sessions(); len(left) != 0 {
		t.Errorf("%d sessions are left in the state", len(left))
	}
}

// Sessions taken over by import blocks, one for each normal configuration.
func TestImportBlocks(t *testing.T) {
	needs(t, writeOnlyArguments)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	names := slices.Sorted(maps.Keys(normalConfigurations))
	opened := openElsewhere(t, fake, len(names)+1)
	bystander := opened[len(names)]

	tokens, imports := map[string]string{}, ""
	for i, name := range names {
		tokens[name] = opened[i]
		switch i % 3 {
		case 0:
			w.setenv("TOKEN_"+name, opened[i])
			imports += importBlock(name, "env:TOKEN_"+name)
		case 1:
			keepToken(w, name+".token", opened[i]+"\n", 0o600)
			imports += importBlock(name, "file:"+name+".token")
		case 2:
			path := filepath.Join(t.TempDir(), "token")
			keepToken(w, path, "  "+opened[i]+"\r\n\n", 0o600)
			imports += importBlock(name, "file:"+path)
		}
	}
	w.write("imports.tf", imports)
	configure(w, normalConfigurations)

	before := time.Now()
	actions := plannedActions(w)
	for _, name := range names {
		if action := actions[name]; action != "update" { // user, at least, comes from the configuration
			t.Errorf("%s: the plan of the import is to %q", name, action)
		}
	}
	saw(t, fake, 0, 0, 2*len(names)) // the import asks, and so does the refresh
	w.must("apply", "plan")
	saw(t, fake, 0, 0, 2*len(names))

	sessions := w.sessions()
	for name, token := range tokens {
		session := sessions[name]
		session.has(t, name, map[string]any{
			"auth_token": token, "id": flame.NewToken(token).SessionID(), "user": flametest.User, "endpoint": fake.URL(),
			"user_id": nil, "email": nil, "full_name": nil, "password_wo": nil, "revoke_on_destroy": name != "revoke_on_destroy",
		})
		session.startedBetween(t, name, before, time.Now())
	}
	sessions["nothing"].has(t, "nothing", map[string]any{
		"password": nil, "password_wo_version": nil, "rotate_after": nil, "rotate_when_changed": nil, "rotate_at": nil, "timeouts": nil,
	})
	sessions["password"].has(t, "password", map[string]any{"password": "a password"})
	sessions["password_wo"].has(t, "password_wo", map[string]any{"password": nil, "password_wo_version": 3.0})
	created, _ := time.Parse(time.RFC3339, sessions["rotate_after"].text("created_at"))
	sessions["rotate_after"].has(t, "rotate_after", map[string]any{"rotate_at": created.Add(720 * time.Hour).Format(time.RFC3339)})
	if strings.Contains(w.read("terraform.tfstate"), "another password") {
		t.Error("a write-only password is in the state")
	}

	adoptedLife(w, tokens, normalConfigurations, map[string]string{
		"nothing":             `rotate_when_changed = { release = "1" }`,
		"rotate_when_changed": `rotate_when_changed = { release = "2" }`,
	})
	sameTokens(t, "alive at the end", fake.Live(), bystander, tokens["revoke_on_destroy"])
}

// The command import, and its warning of a file that others can read.
func TestImportCommand(t *testing.T) {
	const warning = "Others can read the file with the token"
	fake := newFake(t, flametest.Config{Version: 2})
	w := newWorkspace(t, fake, sessionBlock("variable", "")+sessionBlock("absolute", "")+sessionBlock("relative", ""))
	tokens := openElsewhere(t, fake, 3)
	absolute := filepath.Join(t.TempDir(), "token")
	w.setenv("A_TOKEN", tokens[0])
	keepToken(w, absolute, tokens[1], 0o600)
	keepToken(w, "token", tokens[2]+"\n", 0o644)

	before := time.Now()
	for i, test := range []struct{ name, id string }{
		{"variable", "env:A_TOKEN"}, {"absolute", "file:" + absolute}, {"relative", "file:token"},
	} {
		r := w.must("import", "-input=false", "flame_session."+test.name, test.id)
		saw(t, fake, 0, 0, 2*(i+1))
		if warns := strings.Contains(r.Text(), warning); warns != (test.name == "relative") {
			t.Errorf("%s: a warning of the file's access rights: %v, in %v", test.name, warns, r)
		} else if warns {
			r.says(t, "The access rights of token are 0644", "chmod 600")
		}
		if strings.Contains(r.Stdout+r.Stderr, tokens[i]) {
			t.Errorf("%s: the token is printed", test.name)
		}
		session := w.sessions()[test.name]
		session.has(t, test.name, map[string]any{
			"auth_token": tokens[i], "id": flame.NewToken(tokens[i]).SessionID(), "endpoint": fake.URL(), "revoke_on_destroy": true, "rotate_at": nil,
		})
		session.startedBetween(t, test.name, before, time.Now())
	}

	w.apply() // takes over the user
	saw(t, fake, 0, 0, 9)
	w.agrees()
	w.quiet()
	fake.Reset()
	w.destroy()
	saw(t, fake, 0, 3, 3)
	sameTokens(t, "revoked by destroy", endedTokens(fake), tokens...)
}

// Terraform can write the configuration of what it imports.
func TestImportGeneratesConfiguration(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	token := openElsewhere(t, fake, 1)[0]
	w.setenv("A_TOKEN", token)
	// Without provider, Terraform 1.16 looks for hashicorp/flame. Once there is
	// a configuration, the argument is refused.
	withoutProvider := importBlock("this", "env:A_TOKEN")
	w.write("imports.tf", strings.Replace(withoutProvider, "import {", "import {\n  provider = flame", 1))
	w.must("plan", "-input=false", "-generate-config-out=generated.tf")
	w.write("imports.tf", withoutProvider)
	generated := w.read("generated.tf")
	if !strings.Contains(generated, `resource "flame_session" "this"`) || strings.Contains(generated, token) {
		t.Errorf("no configuration was written, or it holds the token, %d bytes", len(generated))
	}
	w.apply()
	w.agrees()
	w.quiet()
	w.destroy()
	if posts := fake.Count(flametest.OpOpen); posts != 0 {
		t.Errorf("%d POSTs", posts)
	}
	sameTokens(t, "revoked by destroy", endedTokens(fake), token)
}

// problems gives the errors of a run with -json, as they are before Terraform
// frames them: summary and detail.
func (r result) problems(t *testing.T) []string {
	t.Helper()
	var found []string
	for lines := bufio.NewScanner(strings.NewReader(r.Stdout)); lines.Scan(); {
		var line struct {
			Diagnostic *struct{ Severity, Summary, Detail string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("no JSON: %v", err)
		}
		if d := line.Diagnostic; d != nil && d.Severity == "error" {
			found = append(found, d.Summary+"\n"+d.Detail)
		}
	}
	return found
}

// wantProblems fails the test where not each error begins with one of the texts.
func wantProblems(t *testing.T, problems, want []string) {
	t.Helper()
	for _, text := range want {
		at := slices.IndexFunc(problems, func(problem string) bool { return strings.HasPrefix(problem, text) })
		if at < 0 {
			t.Errorf("%q is missing from %q", text, problems)
			continue
		}
		problems = slices.Delete(problems, at, at+1)
	}
	if len(problems) != 0 {
		t.Errorf("more errors: %q", problems)
	}
}

// What is no token, or no place to read one from, is refused before any
// request, and an ID that may be a token is not repeated.
func TestImportRefusesIDs(t *testing.T) {
	const (
		noPlace  = "The import ID does not say where the token is"
		unset    = "The environment variable to import from is not set\n"
		noFile   = "The file to import from cannot be read\n"
		noToken  = "The imported value is not a token\nThe value of %s cannot be a token: "
		sureFile = "Write the token to"
	)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	token := openElsewhere(t, fake, 1)[0]
	w.setenv("EMPTY", "")
	w.setenv("BLANK", "  \n")
	w.setenv("SPACE", token+" "+token)
	w.setenv("CONTROL", token+"\a"+token)
	w.setenv("UNICODE", token+"é")
	w.setenv("HEADER", `"`+token+`"`)
	keepToken(w, "empty", "", 0o600)
	keepToken(w, "lines", token+"\n"+token+"\n", 0o600)
	keepToken(w, "nul", token+"\x00", 0o600)
	if err := os.Mkdir(filepath.Join(w.terraform.Dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}

	blocks, want, i := "", []string{}, 0
	for id, text := range map[string]string{
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
		"file:empty":       fmt.Sprintf(noToken, "file:empty") + "it is empty",
		"file:lines":       fmt.Sprintf(noToken, "file:lines") + "it holds a control character",
		"file:nul":         fmt.Sprintf(noToken, "file:nul") + "it holds a control character",
	} {
		i++
		name := fmt.Sprintf("number%d", i)
		blocks += sessionBlock(name, "") + importBlock(name, id)
		want = append(want, text)
	}
	w.write("imports.tf", blocks)

	r := w.run("apply", "-auto-approve", "-input=false", "-json")
	if r.ExitCode != 1 {
		t.Errorf("want exit code 1, got %v", r)
	}
	problems := r.problems(t)
	if strings.Contains(strings.Join(problems, ""), token) {
		t.Error("the token is repeated")
	}
	wantProblems(t, problems, want)
	saw(t, fake, 0, 0, 0)
	if len(w.sessions()) != 0 {
		t.Error("something is in the state")
	}

	// The command too.
	w.write("imports.tf", sessionBlock("this", ""))
	w.fails([]string{noPlace, "env:NAME", "file:PATH", "revoke it"}, "import", "-input=false", "flame_session.this", token)
	saw(t, fake, 0, 0, 0)
	if len(w.sessions()) != 0 {
		t.Error("something is in the state")
	}
}

// An import verifies the token, unless told not to.
func TestImportVerifies(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", "")+sessionBlock("forbidden", ""))
	w.write("provider.tf", providerBlock("max_retries = 0"))
	tokens := openElsewhere(t, fake, 3)
	w.setenv("A_TOKEN", tokens[0])
	w.setenv("A_DEAD_TOKEN", tokens[1])
	w.setenv("A_USERS_TOKEN", tokens[2])
	fake.Revoke(tokens[1])
	address := strings.TrimPrefix(fake.URL(), "http://")
	refused := func(texts []string, id string) {
		t.Helper()
		r := w.fails(texts, "import", "-input=false", "flame_session.this", id)
		if strings.Contains(r.Stdout+r.Stderr, tokens[0]) || strings.Contains(r.Stdout+r.Stderr, tokens[1]) {
			t.Error("the token is printed")
		}
		saw(t, fake, 0, 0, 1)
		if len(w.sessions()) != 0 {
			t.Error("something is in the state")
		}
		fake.Reset()
	}

	refused([]string{"The token to import does not work", "Flame at " + fake.URL() + " answered 401", flame.NewToken(tokens[1]).SessionID(), "have Terraform open a new session"}, "env:A_DEAD_TOKEN")
	fake.Always(flametest.OpCheck, &flametest.Fault{Status: 500, Echo: true})
	refused([]string{"The token to import could not be verified", "GET " + address + "/organizations failed: Flame answered 500 (server error)", "set verify_sessions = false"}, "env:A_TOKEN")
	fake.Always(flametest.OpCheck, &flametest.Fault{Status: 404})
	refused([]string{"The token to import could not be verified", "404 (not found)", "lack a part of its path"}, "env:A_TOKEN")

	fake.Always(flametest.OpCheck, &flametest.Fault{Status: 403}) // alive, although not an administrator's
	w.must("import", "-input=false", "flame_session.forbidden", "env:A_USERS_TOKEN")
	saw(t, fake, 0, 0, 2)

	fake.Reset()
	fake.Always(flametest.OpCheck, &flametest.Fault{Status: 500})
	w.write("provider.tf", providerBlock("verify_sessions = false"))
	w.must("import", "-input=false", "flame_session.this", "env:A_TOKEN")
	w.apply()
	w.quiet()
	saw(t, fake, 0, 0, 0)
	w.agrees()
	w.destroy()
	saw(t, fake, 0, 2, 0)
}

// A token belongs to an endpoint, which has to be known.
func TestImportNeedsEndpoint(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("this", "")+importBlock("this", "env:A_TOKEN")+`
resource "terraform_data" "endpoint" {
  input = `+hclString(fake.URL())+`
}

provider "flame" {
  endpoint = terraform_data.endpoint.output
}
`)
	w.setenv("A_TOKEN", openElsewhere(t, fake, 1)[0])
	w.fails([]string{"A provider argument is not known yet", "endpoint has no value yet"}, "apply", "-auto-approve", "-input=false")
	saw(t, fake, 0, 0, 0)
	if len(w.sessions()) != 0 {
		t.Error("something is in the state")
	}
}
