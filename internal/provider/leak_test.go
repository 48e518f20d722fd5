package provider

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// The passwords, by the way they are handed over. Each holds a part that is
// looked for on its own, for whatever prints no more than one line of it.
var leakPasswords = map[string]string{
	"environment": "Canary-env_4qZ1vN8sK2xW.0", // in the form of a request ID
	"provider":    "Canary-arg-7tR3mH9cL5bY \"quoted\" \\back\\slash <tag>&amp; %2F+\u00fc\u20ac\nsecond line",
	"resource":    "two words Canary-res-2wP6fJ1dG8kV 'x' \"y\" \\n &<>% \u00e4\u00df\U0001f525\tand\na line",
	"write_only":  "%20 Canary-wro-9bS4nT7hQ3zM \"\\\" ${not} <&> \u00f1\n",
}

var leakCore = regexp.MustCompile(`Canary-\w{3}[-_]\w{12}`)

// A canary is a text that may stand nowhere but in a few places.
type canary struct{ name, value string }

// A leakScan looks for canaries in all the forms that a text can have them in.
type leakScan struct {
	needles []needle
	known   map[string]bool
}

type needle struct {
	canary string // its name
	form   string
	text   []byte
}

// add has the scan look for a text too.
func (s *leakScan) add(c canary) {
	if s.known == nil {
		s.known = map[string]bool{}
	}
	if s.known[c.value] {
		return
	}
	s.known[c.value] = true
	texts := []string{c.value}
	if core := leakCore.FindString(c.value); core != "" && core != c.value {
		texts = append(texts, core)
	}
	for _, text := range texts {
		seen := map[string]bool{}
		forms := leakForms(text)
		for _, form := range slices.Sorted(maps.Keys(forms)) {
			if spelling := forms[form]; !seen[spelling] {
				seen[spelling] = true
				s.needles = append(s.needles, needle{c.name, form, []byte(spelling)})
			}
		}
	}
}

// leakForms spells a text in each form. In base64 it looks different at each of
// three positions; what shares a character with its neighbours is left out.
func leakForms(text string) map[string]string {
	plain, escaped := new(bytes.Buffer), new(bytes.Buffer)
	for buffer, html := range map[*bytes.Buffer]bool{plain: false, escaped: true} {
		encoder := json.NewEncoder(buffer)
		encoder.SetEscapeHTML(html)
		_ = encoder.Encode(text) // a text always can be
	}
	forms := map[string]string{
		" raw":          text, // the first in order: it names what has no other spelling
		"JSON":          strings.Trim(plain.String(), "\"\n"),
		"JSON for HTML": strings.Trim(escaped.String(), "\"\n"),
		"quoted":        strings.Trim(fmt.Sprintf("%q", text), `"`),
		"ASCII":         strings.Trim(fmt.Sprintf("%+q", text), `"`),
		"HCL":           strings.ReplaceAll(strings.ReplaceAll(strings.Trim(fmt.Sprintf("%q", text), `"`), "${", "$${"), "%{", "%%{"),
		"path":          url.PathEscape(text),
		"query":         url.QueryEscape(text),
		"hex":           hex.EncodeToString([]byte(text)),
		"HEX":           strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for URLs": base64.RawURLEncoding} {
		for before, first := range []int{0, 2, 3} {
			encoded := encoding.EncodeToString(append(make([]byte, before), text...))
			forms[fmt.Sprintf("%s, %d before", name, before)] = encoded[first : (before+len(text))*8/6]
		}
	}
	return forms
}

// A leak is a canary where it must not be.
type leak struct{ place, canary, form string }

// text looks through a text. Those canaries that may be there are passed over.
func (s *leakScan) text(place string, content []byte, may func(canary string) bool) (found []leak) {
	for _, n := range s.needles {
		if (may == nil || !may(n.canary)) && bytes.Contains(content, n.text) {
			found = append(found, leak{place, n.canary, n.form})
		}
	}
	return found
}

// json looks through each text of a document, names included. may says which
// canaries may be where, by the path.
func (s *leakScan) json(place string, content []byte, may func(path, canary string) bool) (found []leak) {
	var document any
	if err := json.Unmarshal(content, &document); err != nil {
		return []leak{{place, err.Error(), "no JSON"}}
	}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, member := range value {
				found = append(found, s.text(place+", a name in "+path, []byte(name), nil)...)
				walk(path+"."+name, member)
			}
		case []any:
			for _, member := range value {
				walk(path+"[]", member)
			}
		case string:
			found = append(found, s.text(place+", "+path, []byte(value), func(canary string) bool { return may != nil && may(path, canary) })...)
			if raw, err := base64.StdEncoding.DecodeString(value); err == nil && strings.HasSuffix(path, ".private") {
				found = append(found, s.text(place+", "+path+", decoded", raw, nil)...)
			}
		}
	}
	walk("", document)
	return found
}

// Where Terraform itself keeps what the user has it keep, and nothing else.
const (
	tokenCanary  = "token"           // of a managed session
	handedCanary = "token in action" // handed over as a variable
	briefCanary  = "token, ephemeral"
)

// inState: each session's own token, and a password that was given to be stored.
func inState(path, canary string) bool {
	switch path {
	case ".resources[].instances[].attributes.auth_token":
		return canary == tokenCanary
	case ".resources[].instances[].attributes.password":
		return canary == "resource"
	}
	return false
}

var inPlanPath = regexp.MustCompile(`^\.(planned_values\.root_module\.resources\[\]\.values` +
	`|prior_state\.values\.root_module\.resources\[\]\.values` +
	`|resource_(changes|drift)\[\]\.change\.(before|after))\.(password|auth_token)$`)

// inPlan: the same, and the values of variables that are not ephemeral.
func inPlan(path, canary string) bool {
	switch path {
	case ".variables.provider_password.value":
		return canary == "provider"
	case ".variables.resource_password.value":
		return canary == "resource"
	case ".variables.leaked.value":
		return canary == handedCanary
	}
	attribute := inPlanPath.FindStringSubmatch(path)
	return attribute != nil && (attribute[4] == "password" && canary == "resource" || attribute[4] == "auth_token" && canary == tokenCanary)
}

// inPlanFile: the same in the file's own encoding, in which paths cannot be told.
func inPlanFile(canary string) bool {
	return slices.Contains([]string{"provider", "resource", tokenCanary, handedCanary}, canary)
}

func (s *leakScan) planFile(place string, content []byte) (found []leak) {
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return []leak{{place, err.Error(), "no archive"}}
	}
	found = s.text(place, content, nil) // names and comments are not compressed
	for _, file := range archive.File {
		reader, err := file.Open()
		if err != nil {
			return append(found, leak{place, err.Error(), "no archive"})
		}
		member, err := io.ReadAll(reader)
		if err != nil {
			return append(found, leak{place, err.Error(), "no archive"})
		}
		where := place + ", " + file.Name
		switch file.Name {
		case "tfplan":
			found = append(found, s.text(where, member, inPlanFile)...)
		case "tfstate", "tfstate-prev":
			found = append(found, s.json(where, member, inState)...)
		default:
			found = append(found, s.text(where, member, nil)...)
		}
	}
	return found
}

// files looks through all that a run has left in a folder.
func (s *leakScan) files(folder string) (found []leak, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || len(content) == 0 {
			return err
		}
		switch name := entry.Name(); {
		case strings.HasPrefix(name, "terraform.tfstate"):
			found = append(found, s.json(name, content, inState)...)
		case strings.HasSuffix(name, ".plan"):
			found = append(found, s.planFile(name, content)...)
		default:
			found = append(found, s.text(name, content, nil)...)
		}
		return nil
	})
	return found, err
}

// A leakLife is a workspace, with logs at their loudest, all of whose output
// and files are looked through.
type leakLife struct {
	*workspace
	scan    leakScan
	managed map[string]bool // tokens that were seen in the state
}

// Each session gets its password in another way.
const leakConfiguration = `
variable "provider_password" {
  type      = string
  sensitive = true
}
variable "resource_password" {
  type      = string
  sensitive = true
}
variable "write_only_password" {
  type      = string
  sensitive = true
  ephemeral = true
}
variable "leaked" {
  type      = string
  sensitive = true
  default   = ""
}
variable "age" {
  default = "720h"
}
provider "flame" {
  max_retries = 0
}
provider "flame" {
  alias       = "argument"
  user        = "provider"
  password    = var.provider_password
  max_retries = 0
}
resource "flame_session" "environment" {
  user         = "environment"
  rotate_after = var.age
}
resource "flame_session" "provider" {
  provider = flame.argument
}
resource "flame_session" "resource" {
  user     = "resource"
  password = var.resource_password
}
resource "flame_session" "write_only" {
  user                = "write_only"
  password_wo         = var.write_only_password
  password_wo_version = 1
}
`

const leakBrief = `
ephemeral "flame_session" "brief" {
  user     = "write_only"
  password = var.write_only_password
}
resource "terraform_data" "user" {
  triggers_replace = [flame_session.environment.id]
  provisioner "local-exec" {
    command     = "test -n \"$TOKEN$HEADER\""
    environment = {
      TOKEN  = ephemeral.flame_session.brief.auth_token
      HEADER = provider::flame::authorization_header(flame_session.environment.auth_token)
    }
  }
}
`

const leakAction = `
action "flame_session_revoke" "leaked" {
  config {
    auth_token = var.leaked
  }
}
`

func newLeakLife(t *testing.T, config flametest.Config) *leakLife {
	t.Helper()
	needs(t, ephemeralResources, writeOnlyArguments, providerFunctions)
	config.Users = leakPasswords
	l := &leakLife{workspace: newWorkspace(t, newFake(t, config), leakConfiguration), managed: map[string]bool{}}
	for name, value := range leakPasswords {
		l.scan.add(canary{name, value})
	}
	l.setenv("TF_LOG", "TRACE")
	l.setenv(envUser, "environment")
	l.setenv(envPassword, leakPasswords["environment"])
	for _, name := range []string{"provider", "resource", "write_only"} {
		l.setenv("TF_VAR_"+name+"_password", leakPasswords[name])
	}
	return l
}

// does runs a command and looks through what it printed and left behind. code
// is how it has to end.
func (l *leakLife) does(code int, args ...string) result {
	l.t.Helper()
	r := l.run(args...)
	if r.ExitCode != code {
		l.t.Errorf("%s ended with %d, want %d:\n%s\n%s", strings.Join(args, " "), r.ExitCode, code, r.Stdout, withoutLogs(r.Stderr))
	}
	if !strings.Contains(r.Stderr, "[TRACE]") {
		l.t.Errorf("%s did not log", strings.Join(args, " "))
	}
	told := map[string]int{}
	for _, found := range l.find(r, args...) {
		if told[found.canary]++; told[found.canary] < 4 {
			l.t.Errorf("%s: %q is in %s, in the form %q", strings.Join(args, " "), found.canary, found.place, found.form)
		}
	}
	return r
}

func (l *leakLife) find(r result, args ...string) []leak {
	l.t.Helper()
	for _, s := range l.sessions() {
		l.managed[s.text("auth_token")] = true
	}
	for _, request := range l.fake.Journal() {
		l.learn(request.Token)
	}
	for _, token := range l.fake.Live() {
		l.learn(token)
	}
	found, err := l.scan.files(l.terraform.Home)
	if err != nil {
		l.t.Fatal(err)
	}
	if args[0] == "show" && slices.Contains(args, "-json") {
		found = append(found, l.scan.json("standard output", []byte(r.Stdout), inPlan)...)
	} else {
		found = append(found, l.scan.text("standard output", []byte(r.Stdout), nil)...)
	}
	for line := range strings.Lines(r.Stderr) {
		for _, one := range l.scan.text("standard error", []byte(line), nil) {
			one.place += fmt.Sprintf(" (%.200s)", line)
			found = append(found, one)
		}
	}
	return append(found, l.scan.text("standard error, across lines", []byte(r.Stderr), nil)...)
}

func (l *leakLife) learn(token string) {
	if token == "" {
		return
	}
	name := briefCanary
	if l.managed[token] {
		name = tokenCanary
	}
	l.scan.add(canary{name, token})
}

var logLine = regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT.*\n`)

func withoutLogs(text string) string { return logLine.ReplaceAllString(text, "") }

// TestNoLeaks has sessions live through everything that can become of them, and
// finds no password and no token anywhere but where Terraform has to keep it.
func TestNoLeaks(t *testing.T) {
	t.Run("all goes well", func(t *testing.T) {
		l := newLeakLife(t, flametest.Config{})
		l.write("brief.tf", leakBrief)
		l.does(0, "validate")
		l.does(0, "plan", "-input=false", "-out=first.plan")
		l.does(0, "show", "first.plan")
		l.does(0, "show", "-json", "first.plan")
		l.does(0, "apply", "-input=false", "first.plan")
		l.agrees()
		l.does(0, "plan", "-input=false", "-detailed-exitcode", "-json")
		l.does(0, "show")

		imported := openAs(t, l.fake, "environment", leakPasswords["environment"])
		l.scan.add(canary{tokenCanary, imported})
		l.setenv("FLAME_TOKEN", imported)
		l.write("imported.tf", "resource \"flame_session\" \"imported\" {\n  user = \"environment\"\n}\n")
		l.does(0, "import", "-input=false", "flame_session.imported", "env:FLAME_TOKEN")
		l.agrees()

		l.setenv("TF_VAR_age", "800h") // an update, which sends nothing
		l.does(0, "apply", "-auto-approve", "-input=false")
		l.does(0, "plan", "-input=false", "-out=second.plan", "-replace=flame_session.environment", "-replace=flame_session.resource")
		l.does(0, "show", "-json", "second.plan")
		l.does(0, "apply", "-input=false", "-json", "second.plan")
		l.agrees()
		l.fake.Revoke(l.sessions()["provider"].text("auth_token"))
		l.does(2, "plan", "-input=false", "-detailed-exitcode", "-out=third.plan")
		l.does(0, "show", "-json", "third.plan")
		l.does(0, "apply", "-input=false", "third.plan")
		l.agrees()
		l.does(0, "destroy", "-auto-approve", "-input=false")
		l.agrees()
	})

	// The function's argument is no token: the password of the variable, say.
	t.Run("function", func(t *testing.T) {
		l := newLeakLife(t, flametest.Config{})
		l.write("function.tf", "output \"header\" {\n  value     = provider::flame::authorization_header(var.resource_password)\n  sensitive = true\n}\n")
		if r := l.does(1, "plan", "-input=false"); !strings.Contains(withoutLogs(r.Stderr), "function") {
			t.Errorf("the plan fails for another reason: %s", withoutLogs(r.Stderr))
		}
	})

	t.Run("action", func(t *testing.T) {
		l := newLeakAction(t)
		l.does(0, "plan", "-input=false", "-invoke=action.flame_session_revoke.leaked", "-out=action.plan")
		l.does(0, "apply", "-input=false", "action.plan")
		if len(l.fake.Live()) != 0 {
			t.Error("the session was not revoked")
		}
		l.does(0, "apply", "-auto-approve", "-input=false", "-invoke=action.flame_session_revoke.leaked", "-json")
	})

	for name, fault := range leakFaults {
		t.Run(name, func(t *testing.T) {
			l := newLeakLife(t, flametest.Config{})
			l.fake.Always(flametest.OpOpen, &fault)
			l.does(1, "apply", "-auto-approve", "-input=false")
			if l.fake.Count(flametest.OpOpen) == 0 {
				t.Error("nothing was sent")
			}
			l.fake.Always(flametest.OpOpen, nil)
			l.does(0, "apply", "-auto-approve", "-input=false")

			// The checks of the sessions, and the opening of the ephemeral one.
			l.write("brief.tf", leakBrief)
			l.fake.Always(flametest.OpOpen, &fault)
			l.fake.Always(flametest.OpCheck, &fault)
			l.does(1, "plan", "-input=false")
			l.fake.Always(flametest.OpOpen, nil)
			l.fake.Always(flametest.OpCheck, nil)

			// The end of one, and that of the ephemeral one, which is no error.
			l.fake.Always(flametest.OpRevoke, &fault)
			code := 1
			if slices.Contains([]int{200, 401}, fault.Status) {
				code = 0
			}
			l.does(code, "apply", "-auto-approve", "-input=false", "-json", "-replace=flame_session.environment")
		})
	}

	// The request ID is shown, so it is the best place to have a secret repeated in.
	t.Run("request ID", func(t *testing.T) {
		l := newLeakLife(t, flametest.Config{SharedTokens: true}) // so that the token is known before it is given
		const target = "-target=flame_session.environment"
		password := leakPasswords["environment"]
		named := func(secret string) http.Header { return http.Header{"X-Request-Id": {secret}} }
		l.fake.Always(flametest.OpOpen, &flametest.Fault{Status: 500, Header: named(password)})
		l.does(1, "apply", "-auto-approve", "-input=false", target)

		l.fake.Always(flametest.OpOpen, nil)
		token := openAs(t, l.fake, "environment", password)
		l.scan.add(canary{tokenCanary, token})
		l.fake.Always(flametest.OpOpen, &flametest.Fault{Header: named(token)})
		l.fake.Always(flametest.OpCheck, &flametest.Fault{Status: 500, Header: named(token)})
		l.fake.Always(flametest.OpRevoke, &flametest.Fault{Header: named(token)})
		l.does(0, "apply", "-auto-approve", "-input=false", target)
		l.agrees()
		l.does(0, "destroy", "-auto-approve", "-input=false", target)
		l.agrees()
	})
	for _, status := range []int{401, 422, 500} {
		t.Run(fmt.Sprintf("action, %d", status), func(t *testing.T) {
			l := newLeakAction(t)
			l.fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status, Echo: true})
			code := map[bool]int{true: 0, false: 1}[status == 401]
			l.does(code, "apply", "-auto-approve", "-input=false", "-invoke=action.flame_session_revoke.leaked")
		})
	}
}

// leakFaults are answers that repeat what was sent, wherever they can.
var leakFaults = func() map[string]flametest.Fault {
	faults := map[string]flametest.Fault{
		"200 and garbage": {Status: 200, Body: "\x00{garbage", Echo: true},
		"429":             {Status: 429, Echo: true, Header: http.Header{"Retry-After": {"3600"}}},
	}
	for _, status := range []int{302, 400, 401, 403, 422, 500} {
		faults[fmt.Sprint(status)] = flametest.Fault{Status: status, Echo: true}
	}
	return faults
}()

// newLeakAction has an action that revokes a session which was opened elsewhere.
func newLeakAction(t *testing.T) *leakLife {
	t.Helper()
	needs(t, actionBlocks)
	l := newLeakLife(t, flametest.Config{})
	l.write("action.tf", leakAction)
	token := openAs(t, l.fake, "environment", leakPasswords["environment"])
	l.scan.add(canary{handedCanary, token})
	l.setenv("TF_VAR_leaked", token)
	return l
}

// openAs opens a session as another tool would.
func openAs(t *testing.T, fake *flametest.Server, user, password string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"user": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(fake.URL()+"/sessions", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var session struct {
		AuthToken string `json:"auth_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&session); err != nil || session.AuthToken == "" {
		t.Fatalf("no session was opened: %v", err)
	}
	return session.AuthToken
}

// TestScanFindsLeaks leaks every canary on purpose, in each form and at each
// kind of place: were the scan blind to one, TestNoLeaks would prove nothing.
func TestScanFindsLeaks(t *testing.T) {
	var scan leakScan
	canaries := []canary{{tokenCanary, "ULzr7GuYA6iyo9EyiFrf"}, {briefCanary, "nugyUyuzq6nqvm_uiesD"}, {handedCanary, "-_x7GuYA6iyo9EyiFrf-"}}
	for name, value := range leakPasswords {
		canaries = append(canaries, canary{name, value})
	}
	for _, c := range canaries {
		scan.add(c)
	}
	finds := func(found []leak, c canary, what string) {
		t.Helper()
		if !slices.ContainsFunc(found, func(l leak) bool { return l.canary == c.name }) {
			t.Errorf("%s, %s: not found", c.name, what)
		}
	}
	document := func(format, text string) []byte {
		t.Helper()
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, format, quoted)
	}
	archive := func(name, text string) []byte {
		t.Helper()
		var file bytes.Buffer
		writer := zip.NewWriter(&file)
		member, err := writer.Create(name)
		if err == nil {
			_, err = member.Write([]byte(text))
		}
		if err == nil {
			err = writer.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	for _, c := range canaries {
		parts := []string{c.value}
		if core := leakCore.FindString(c.value); core != "" {
			parts = append(parts, core)
		}
		for _, part := range parts {
			for form, text := range leakForms(part) {
				finds(scan.text("", []byte("2026-02-27T10:30:00.000Z [TRACE] provider: x="+text+" y"), nil), c, "log line, "+form)
				finds(scan.json("", document(`{"resources": [{"instances": [{"attributes": {"user": %s}}]}]}`, "a"+text+"b"), inState), c, "state, "+form)
				finds(scan.json("", document(`{"outputs": {%s: 1}}`, text), inState), c, "name in the state, "+form)
				finds(scan.json("", document(`{"resources": [{"instances": [{"private": %s}]}]}`, base64.StdEncoding.EncodeToString([]byte("{"+text+"}"))), inState), c, "private state, "+form)
				finds(scan.json("", document(`{"resource_changes": [{"change": {"after": {"email": %s}}}]}`, text), inPlan), c, "plan, "+form)
				finds(scan.planFile("", archive("tfconfig/m-/main.tf", "password = "+text)), c, "plan file, configuration, "+form)
				finds(scan.planFile("", archive("tfstate", string(document(`{"outputs": {"a": {"value": %s}}}`, text)))), c, "plan file, state, "+form)
				if !inPlanFile(c.name) {
					finds(scan.planFile("", archive("tfplan", text)), c, "plan file, plan, "+form)
				}
			}
			// At every position of what is encoded along with it.
			for before := range 6 {
				text := strings.Repeat("#", before) + part + "##"
				for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
					finds(scan.text("", []byte(encoding.EncodeToString([]byte(text))), nil), c, fmt.Sprintf("base64, %d before", before))
				}
			}
		}
		// What may stand at one place may not stand at another.
		for path, may := range map[string]func(string, string) bool{
			`{"resources": [{"instances": [{"attributes": {"password": %s}}]}]}`:   inState,
			`{"resources": [{"instances": [{"attributes": {"auth_token": %s}}]}]}`: inState,
			`{"variables": {"provider_password": {"value": %s}}}`:                  inPlan,
			`{"resource_changes": [{"change": {"before": {"auth_token": %s}}}]}`:   inPlan,
		} {
			allowed := map[string]string{"resource": `"password": %s`, "provider": `"provider_password": {"value": %s`, tokenCanary: `"auth_token": %s`}[c.name]
			found := scan.json("", document(path, c.value), may)
			if want := allowed == "" || !strings.Contains(path, allowed); (len(found) > 0) != want {
				t.Errorf("%s in %s: found %v, want %v", c.name, path, len(found) > 0, want)
			}
		}
	}
	if found := scan.text("", []byte("POST 127.0.0.1/api/v1/sessions: 500, session 0123456789abcdef"), nil); len(found) > 0 {
		t.Errorf("found what is no leak: %v", found)
	}
	if found := scan.planFile("", []byte("no archive")); len(found) == 0 {
		t.Error("a file that cannot be read passes")
	}
}

// TestScanFindsRealLeaks leaks on purpose with the real command.
func TestScanFindsRealLeaks(t *testing.T) {
	l := newLeakLife(t, flametest.Config{})
	l.write("leak.tf", `
output "token" {
  value = nonsensitive(flame_session.environment.auth_token)
}
output "encoded" {
  value = base64encode("x${nonsensitive(var.resource_password)}")
}
resource "terraform_data" "copy" {
  input = nonsensitive(flame_session.resource.auth_token)
}
resource "terraform_data" "print" {
  depends_on = [terraform_data.copy]
  provisioner "local-exec" {
    command = "echo ${urlencode(nonsensitive(var.provider_password))}; printenv FLAME_PASSWORD > copy.txt"
  }
}
`)
	l.must("plan", "-input=false", "-out=leak.plan")
	applied := l.must("apply", "-input=false", "leak.plan")
	found := l.find(applied, "apply")
	show := l.must("show", "-json", "leak.plan")
	found = append(found, l.find(show, "show", "-json")...)
	l.write("leak.tf", `
resource "terraform_data" "refused" {
  lifecycle {
    precondition {
      condition     = var.age == ""
      error_message = "It is ${nonsensitive(var.resource_password)}."
    }
  }
}
`)
	refused := l.run("plan", "-input=false")
	found = append(found, l.find(refused, "plan")...)
	for _, want := range []leak{
		{"standard output", tokenCanary, " raw"},
		{"standard output", "resource", "base64, 1 before"},
		{"standard output", "provider", "query"},
		{"standard error", "resource", " raw"},
		{"standard output, .planned_values.outputs.encoded.value", "resource", "base64, 1 before"},
		{"terraform.tfstate, .outputs.token.value", tokenCanary, " raw"},
		{"terraform.tfstate, .resources[].instances[].attributes.input.value", tokenCanary, " raw"},
		{"copy.txt", "environment", " raw"},
	} {
		if !slices.ContainsFunc(found, func(l leak) bool {
			return strings.HasPrefix(l.place, want.place) && l.canary == want.canary && l.form == want.form
		}) {
			t.Errorf("%v was not found", want)
		}
	}
	if t.Failed() {
		t.Logf("%+v\n%s", found, withoutLogs(refused.Stderr))
	}
}
