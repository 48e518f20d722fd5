// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leakCore is the part of a password that is looked for on its own too, in case only
// one line of it is printed.
var leakCore = regexp.MustCompile(`Canary-\w{3}[-_]\w{12}`)

// The tokens, by who has them.
const (
	managedToken   = "token in the state"
	actionToken    = "token of the action" // it comes from a variable
	ephemeralToken = "ephemeral token"
)

// keptAt says where Terraform itself keeps a secret because the user has it keep
// it: the paths in a state and in a plan as JSON. Everywhere else it has leaked.
var keptAt = func() map[string]*regexp.Regexp {
	const attribute = `^\.(resources\[\]\.instances\[\]\.attributes|` + // of a state, the others of a plan
		`(planned_values|prior_state\.values)\.root_module\.resources\[\]\.values|resource_(changes|drift)\[\]\.change\.(before|after))\.`
	return map[string]*regexp.Regexp{
		managedToken: regexp.MustCompile(attribute + `auth_token$`),
		actionToken:  regexp.MustCompile(`^\.variables\.leaked\.value$`),
		"provider":   regexp.MustCompile(`^\.variables\.provider_password\.value$`),
		"resource":   regexp.MustCompile(attribute + `password$|^\.variables\.resource_password\.value$`),
	}
}()

// A leakScan finds secrets in every spelling a text can have them in.
type leakScan struct{ needles []needle }

type needle struct{ secret, form, text string }

type leak struct {
	place  string
	needle needle
	near   string // the text around it
}

func (l leak) String() string {
	return fmt.Sprintf("%s: the %s, spelled as %s, near %q", l.place, l.needle.secret, l.needle.form, l.near)
}

// add makes the scan look for a secret, unless it already does.
func (s *leakScan) add(name, secret string) {
	if secret == "" || slices.ContainsFunc(s.needles, func(n needle) bool { return n.text == secret }) {
		return
	}
	for _, text := range parts(secret) {
		for _, n := range spellings(text) {
			n.secret = name
			s.needles = append(s.needles, n)
		}
	}
}

// parts returns a secret and its core.
func parts(secret string) []string {
	return slices.Compact(append([]string{secret}, leakCore.FindAllString(secret, 1)...))
}

// spellings returns a text in each form that differs from those before it. Base64
// differs with the position in what is encoded; characters that depend on the
// neighbours are left out.
func spellings(text string) (all []needle) {
	add := func(form, spelled string) {
		if !slices.ContainsFunc(all, func(n needle) bool { return n.text == spelled }) {
			all = append(all, needle{form: form, text: spelled})
		}
	}
	asJSON := func(escapeHTML bool) string {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(escapeHTML)
		_ = encoder.Encode(text) // text always encodes
		return strings.Trim(b.String(), "\"\n")
	}
	quoted := strings.Trim(fmt.Sprintf("%q", text), `"`)
	add("it is", text)
	add("JSON", asJSON(false))
	add("JSON for HTML", asJSON(true))
	add("Go", quoted)
	add("Go in ASCII", strings.Trim(fmt.Sprintf("%+q", text), `"`))
	add("HCL", strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quoted))
	add("path", url.PathEscape(text))
	add("query", url.QueryEscape(text))
	add("hex", hex.EncodeToString([]byte(text)))
	add("HEX", strings.ToUpper(hex.EncodeToString([]byte(text))))
	for before, first := range []int{0, 2, 3} {
		padded := append(make([]byte, before), text...)
		last := len(padded) * 8 / 6
		add(fmt.Sprintf("base64 after %d", before), base64.RawStdEncoding.EncodeToString(padded)[first:last])
		add(fmt.Sprintf("base64 for URLs after %d", before), base64.RawURLEncoding.EncodeToString(padded)[first:last])
	}
	return all
}

// planJSON is the place of a plan as JSON.
const planJSON = "plan as JSON"

// file returns the leaks in what a command left or printed. The name says what it is.
func (s *leakScan) file(name string, content []byte) []leak {
	switch {
	case len(content) == 0:
		return nil
	case strings.HasPrefix(name, "terraform.tfstate"), name == planJSON:
		return s.json(name, content)
	case strings.HasSuffix(name, ".plan"):
		return s.planFile(name, content)
	}
	return s.text(name, "", content)
}

// text returns the leaks in a text, which is at a path of a document or at none.
func (s *leakScan) text(place, path string, content []byte) (found []leak) {
	for _, n := range s.needles {
		// Without its format, a saved plan is known to hold what it may, but not where.
		if kept := keptAt[n.secret]; kept != nil && (path == "tfplan" || kept.MatchString(path)) {
			continue
		}
		if i := bytes.Index(content, []byte(n.text)); i >= 0 {
			found = append(found, leak{place + path, n, string(content[max(0, i-100):min(len(content), i+len(n.text)+100)])})
		}
	}
	return found
}

// json looks at each text of a document, names included.
func (s *leakScan) json(place string, content []byte) (found []leak) {
	var document any
	if err := json.Unmarshal(content, &document); err != nil {
		return []leak{{place: place, near: err.Error()}}
	}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for name, member := range value {
				found = append(found, s.text(place+", a name in "+path, "", []byte(name))...)
				walk(path+"."+name, member)
			}
		case []any:
			for _, member := range value {
				walk(path+"[]", member)
			}
		case string:
			found = append(found, s.text(place, path, []byte(value))...)
			if raw, err := base64.StdEncoding.DecodeString(value); err == nil && strings.HasSuffix(path, ".private") {
				found = append(found, s.text(place, path+", decoded", raw)...)
			}
		}
	}
	walk("", document)
	return found
}

func (s *leakScan) planFile(place string, content []byte) []leak {
	found := s.text(place, "", content) // names and comments are not compressed
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return append(found, leak{place: place, near: err.Error()})
	}
	for _, file := range archive.File {
		var member []byte
		reader, err := file.Open()
		if err == nil {
			member, err = io.ReadAll(reader)
		}
		switch where := place + "/" + file.Name; {
		case err != nil:
			found = append(found, leak{place: where, near: err.Error()})
		case file.Name == "tfstate", file.Name == "tfstate-prev":
			found = append(found, s.json(where, member)...)
		case file.Name == "tfplan":
			found = append(found, s.text(place+"/", file.Name, member)...)
		default:
			found = append(found, s.text(where, "", member)...)
		}
	}
	return found
}

// TestLeakScan hides every secret in every spelling at every kind of place, and the
// scan finds it. Only where a secret may be does the scan pass it over.
func TestLeakScan(t *testing.T) {
	secrets := map[string]string{managedToken: "ULzr7GuYA6iyo9EyiFrf", ephemeralToken: "nugyUyuzq6nqvm_uiesD", actionToken: "-_x7GuYA6iyo9EyiFrf-"}
	for name, password := range leakPasswords {
		secrets[name] = password
	}
	var scan leakScan
	for name, secret := range secrets {
		scan.add(name, secret)
	}
	finds := func(name, file, content string) bool {
		return slices.ContainsFunc(scan.file(file, []byte(content)), func(l leak) bool { return l.needle.secret == name })
	}
	document := func(format, text string) string {
		quoted, _ := json.Marshal(text) // text always encodes
		return fmt.Sprintf(format, quoted)
	}
	archive := func(name, text string) string {
		var file bytes.Buffer
		writer := zip.NewWriter(&file)
		member, err := writer.Create(name)
		if err == nil {
			_, err = member.Write([]byte(text))
		}
		if err := errors.Join(err, writer.Close()); err != nil {
			t.Fatal(err)
		}
		return file.String()
	}
	state := func(attribute string) string {
		return `{"resources": [{"instances": [{"attributes": {"` + attribute + `": %s}}]}]}`
	}
	for name, secret := range secrets {
		var hidden []needle
		for _, part := range parts(secret) {
			hidden = append(hidden, spellings(part)...)
			for before := range 6 { // wherever it stands in what is encoded
				text := []byte(strings.Repeat("#", before) + part + "##")
				for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
					hidden = append(hidden, needle{form: fmt.Sprintf("base64 after %d", before), text: encoding.EncodeToString(text)})
				}
			}
		}
		for _, n := range hidden {
			for place, found := range map[string]bool{
				"log":                      finds(name, "standard error", "2026-02-27T10:30:00.000Z [TRACE] provider: x="+n.text+" y"),
				"state":                    finds(name, "terraform.tfstate", document(state("user"), "a"+n.text+"b")),
				"name in the state":        finds(name, "terraform.tfstate.backup", document(`{"outputs": {%s: 1}}`, n.text)),
				"private state":            finds(name, "terraform.tfstate", document(`{"private": %s}`, base64.StdEncoding.EncodeToString([]byte("{"+n.text+"}")))),
				"plan as JSON":             finds(name, planJSON, document(`{"resource_changes": [{"change": {"after": {"email": %s}}}]}`, n.text)),
				"saved plan":               finds(name, "x.plan", archive("tfplan", n.text)) || keptAt[name] != nil,
				"configuration in a plan":  finds(name, "x.plan", archive("tfconfig/m-/main.tf", "password = "+n.text)),
				"state in a saved plan":    finds(name, "x.plan", archive("tfstate", document(`{"outputs": {"a": {"value": %s}}}`, n.text))),
				"name of a file in a plan": finds(name, "x.plan", archive(n.text, "")),
			} {
				if !found {
					t.Errorf("%s, spelled as %s: not found in %s", name, n.form, place)
				}
			}
		}
		for path, kept := range map[string]string{
			state("password"):   "resource",
			state("auth_token"): managedToken,
			`{"resource_changes": [{"change": {"before": {"auth_token": %s}}}]}`: managedToken,
			`{"variables": {"provider_password": {"value": %s}}}`:                "provider",
			`{"variables": {"leaked": {"value": %s}}}`:                           actionToken,
		} {
			if found := finds(name, planJSON, document(path, secret)); found != (name != kept) {
				t.Errorf("%s in %s: found %v", name, path, found)
			}
		}
	}
	if found := scan.file("standard error", []byte("POST 127.0.0.1/api/v1/sessions: 500, session 0123456789abcdef")); len(found) > 0 {
		t.Errorf("found what is no leak: %v", found)
	}
	for _, unreadable := range []string{"terraform.tfstate", "x.plan"} {
		if len(scan.file(unreadable, []byte("neither JSON nor an archive"))) == 0 {
			t.Errorf("an unreadable %s passes", unreadable)
		}
	}
}
