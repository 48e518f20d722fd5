// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// TestReplays lives twenty scripts on a real command, with the real provider and fakes
// over HTTP, and compares journal and state after each run with those of the driver: it
// walks like core.
//
// What runs at the same time arrives in any order. So requests are compared without it,
// and the scripts have nothing whose outcome depends on it.
func TestReplays(t *testing.T) {
	if os.Getenv("TF_ACC") == "" {
		t.Skip("acceptance test: it runs real Terraform; set TF_ACC=1, or run `make test`, which does")
	}
	binary := filepath.Join(t.TempDir(), "terraform-provider-flame")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	version, err := exec.CommandContext(t.Context(), terraformtest.DefaultCommand(), "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	tofu := strings.Contains(string(version), "OpenTofu v")
	scripts := rapid.Custom(func(t *rapid.T) Script { return generator{T: t, real: true}.script() })
	for seed := 1; seed <= 20; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			script := scripts.Example(seed)
			script.World.OpenTofu = tofu
			violations, records := live(t, script)
			for _, v := range violations {
				t.Errorf("%s: %s", v.rule, v.detail)
			}
			r := newReplay(t, script, binary)
			for i, run := range script.Runs {
				requests, states := r.step(run)
				if want := records[i].requests(); !slices.Equal(requests, want) {
					t.Errorf("run %d: the command sent\n\t%s\nand the driver\n\t%s", i, strings.Join(requests, "\n\t"), strings.Join(want, "\n\t"))
				}
				if want := records[i].states; !slices.Equal(states, want) {
					t.Errorf("run %d: the command holds\n\t%s\nand the driver\n\t%s", i, strings.Join(states, "\n\t"), strings.Join(want, "\n\t"))
				}
				if t.Failed() {
					t.Fatalf("%s\n%#v", r.output, script)
				}
			}
		})
	}
}

// requests returns the requests of a run, in the order of the alphabet.
func (r *record) requests() (all []string) {
	for _, api := range []string{"one", "two"} {
		all = append(all, requestsOf(api, r.journal[api])...)
	}
	return all
}

func requestsOf(api string, journal []flametest.Request) (all []string) {
	for _, request := range journal {
		user, _ := credentialsOf(request)
		all = append(all, fmt.Sprintf("%s %s %d %s", api, request.Method, request.Status, user))
	}
	slices.Sort(all)
	return all
}

// describe returns the objects of a state, and whether their tokens are alive.
func (l *life) describe() (all []string) {
	for _, o := range l.state {
		all = append(all, l.describeObject(o.name, o.values.text("user"), o.values.text("endpoint"), o.token(), o.tainted, o.deposed != ""))
	}
	slices.Sort(all)
	return all
}

func (l *life) describeObject(name, user, endpoint, token string, tainted, deposed bool) string {
	api, alive := "", false
	for _, a := range l.apis {
		if endpoint == a.fake.URL() {
			api = a.name
		}
		alive = alive || slices.Contains(a.fake.Live(), token)
	}
	return fmt.Sprintf("%s of %s at %s, alive: %v, tainted: %v, deposed: %v", name, user, api, alive, tainted, deposed)
}

// replay lives a script on a real command.
type replay struct {
	*testing.T
	life      *life // only for its APIs
	workspace *terraformtest.Workspace
	config    Config
	output    string // of all commands
}

func newReplay(t *testing.T, script Script, binary string) *replay {
	workspace, err := terraformtest.New(terraformtest.DefaultCommand())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = workspace.Close() })
	if err := workspace.Override(map[string]string{"flameanalytics/flame": binary}); err != nil {
		t.Fatal(err)
	}
	r := &replay{T: t, life: &life{script: script}, workspace: workspace}
	for _, name := range []string{"one", "two"} {
		w := script.World
		fake, err := flametest.Start(flametest.Config{Users: passwords, Kind: w.Kind, MaxTokens: w.MaxTokens, SampleID: w.NoUserID, RequireAccessToken: w.WantsToken})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fake.Close)
		r.life.apis = append(r.life.apis, &api{name: name, fake: fake})
	}
	for name, value := range map[string]string{
		"FLAME_ENDPOINT": r.url("one"), "FLAME_USER": users[0], "FLAME_PASSWORD": passwords[users[0]], "TF_DISABLE_PLUGIN_TLS": "1",
	} {
		workspace.Setenv(name, value)
	}
	return r
}

func (r *replay) url(api string) string { return r.life.api(api).fake.URL() }

// step lives one run. It returns what requestsOf and describe do.
func (r *replay) step(run Run) (requests, states []string) {
	if run.Config != nil {
		r.config = *run.Config
	}
	r.life.inject(Run{})
	for _, i := range run.Import {
		a := r.life.api(r.config.Providers[r.config.session(i.Name).Provider].api())
		r.write("token-"+i.Name, openOver(r.T, a, i.User))
	}
	for _, o := range r.objects() {
		for _, a := range r.life.apis {
			if slices.Contains(run.Ends, o.Name) || slices.Contains(run.Ends, "*") {
				a.fake.Revoke(o.Attributes.Token)
			}
		}
	}
	for _, name := range run.Taint {
		r.command("taint", "-allow-missing", "flame_session."+name)
	}
	r.life.inject(run)
	r.write("main.tf", r.hcl(run))
	flags := []string{"-input=false", "-no-color"}
	if run.Refresh == "none" {
		flags = append(flags, "-refresh=false")
	}
	for _, name := range run.Replace {
		flags = append(flags, "-replace=flame_session."+name)
	}
	for _, name := range run.Target {
		flags = append(flags, "-target=flame_session."+name)
	}
	switch run.Op {
	case Apply:
		r.command(append([]string{"apply", "-auto-approve"}, flags...)...)
	case RefreshOnly:
		r.command(append([]string{"apply", "-auto-approve", "-refresh-only"}, flags...)...)
	case Destroy:
		r.command(append([]string{"destroy", "-auto-approve"}, flags...)...)
	case PlanOnly:
		r.command(append([]string{"plan"}, flags...)...)
	case PlanApply:
		if r.command(append([]string{"plan", "-out=saved"}, flags...)...) {
			r.command("apply", "-input=false", "-no-color", "saved")
		}
	}
	for _, a := range r.life.apis {
		requests = append(requests, requestsOf(a.name, a.fake.Journal())...)
	}
	for _, o := range r.objects() {
		states = append(states, r.life.describeObject(o.Name, o.Attributes.User, o.Attributes.Endpoint, o.Attributes.Token, o.Status == "tainted", o.Deposed != ""))
	}
	slices.Sort(states)
	return requests, states
}

func (r *replay) write(name, content string) {
	if err := r.workspace.Write(name, content); err != nil {
		r.Fatal(err)
	}
}

func (r *replay) command(args ...string) bool {
	result, err := r.workspace.Run(r.Context(), args...)
	r.output += "\n$ " + strings.Join(args, " ") + "\n" + result.String()
	return err == nil
}

// stored is an object in a state file.
type stored struct {
	Name       string `json:"-"`
	Status     string
	Deposed    string
	Attributes struct {
		Token    string `json:"auth_token"`
		User     string
		Endpoint string
	}
}

func (r *replay) objects() (all []stored) {
	raw, err := os.ReadFile(filepath.Join(r.workspace.Dir, "terraform.tfstate"))
	if err != nil {
		return nil
	}
	var file struct {
		Resources []struct {
			Name      string
			Instances []stored
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		r.Fatal(err)
	}
	for _, resource := range file.Resources {
		for _, o := range resource.Instances {
			o.Name = resource.Name
			all = append(all, o)
		}
	}
	return all
}

// openOver opens a session over HTTP, and returns its token.
func openOver(t *testing.T, a *api, user string) string {
	body := fmt.Sprintf(`{"user":%q,"password":%q}`, user, passwords[user])
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, a.fake.URL()+"/sessions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	journal := a.fake.Journal()
	return journal[len(journal)-1].Opened
}

// hcl returns the configuration of a run as Terraform reads it.
func (r *replay) hcl(run Run) string {
	var b strings.Builder
	b.WriteString("terraform {\n  required_providers {\n    flame = { source = \"flameanalytics/flame\" }\n  }\n}\n")
	line := func(when bool, format string, args ...any) {
		if when {
			fmt.Fprintf(&b, "  "+format+"\n", args...)
		}
	}
	for i, p := range r.config.Providers {
		b.WriteString("provider \"flame\" {\n")
		line(i > 0, "alias = \"other\"")
		line(p.API != "", "endpoint = %q", r.url(p.API))
		line(p.User != "", "user = %q", p.User)
		line(p.Password != "", "password = %q", password(p.Password, p.User))
		line(p.Retries > 0, "max_retries = %d", p.Retries)
		line(p.NoVerify, "verify_sessions = false")
		line(p.NoRevoke, "revoke_on_destroy = false")
		b.WriteString("}\n")
	}
	after := func(name string) string {
		if r.config.session(name) == nil {
			return "ephemeral.flame_session." + name
		}
		return "flame_session." + name
	}
	for _, s := range r.config.Sessions {
		fmt.Fprintf(&b, "resource \"flame_session\" %q {\n", s.Name)
		line(s.Provider > 0, "provider = flame.other")
		line(s.User != "", "user = %q", s.User)
		line(s.Password != "", "password = %q", password(s.Password, s.User))
		line(s.After != "", "depends_on = [%s]", after(s.After))
		line(s.CBD, "lifecycle {\n    create_before_destroy = true\n  }")
		line(s.Rotate > 0, "rotate_after = \"%dh\"", s.Rotate)
		line(s.Changed != "", "rotate_when_changed = { it = %q }", s.Changed)
		line(s.NoRevoke, "revoke_on_destroy = false")
		line(s.ShortTimes, "timeouts = { create = \"20s\", read = \"20s\", delete = \"20s\" }")
		b.WriteString("}\n")
	}
	for _, e := range r.config.Ephemerals {
		fmt.Fprintf(&b, "ephemeral \"flame_session\" %q {\n", e.Name)
		line(e.Provider > 0, "provider = flame.other")
		line(e.User != "", "user = %q", e.User)
		line(e.Password != "", "password = %q", password(e.Password, e.User))
		line(e.After != "", "depends_on = [%s]", after(e.After))
		line(e.NoRevoke, "revoke_on_close = false")
		b.WriteString("}\n")
	}
	for _, names := range run.Moved {
		fmt.Fprintf(&b, "moved {\n  from = flame_session.%s\n  to   = flame_session.%s\n}\n", names[0], names[1])
	}
	for _, name := range run.Forget {
		fmt.Fprintf(&b, "removed {\n  from = flame_session.%s\n  lifecycle {\n    destroy = false\n  }\n}\n", name)
	}
	for _, i := range run.Import {
		fmt.Fprintf(&b, "import {\n  to = flame_session.%s\n  id = \"file:%s\"\n}\n", i.Name, filepath.Join(r.workspace.Dir, "token-"+i.Name))
	}
	return b.String()
}
