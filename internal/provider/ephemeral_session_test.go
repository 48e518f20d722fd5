package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const (
	oneEphemeral = `
ephemeral "flame_session" "this" {}
`
	// marked puts a text wherever a secret could be: into the plan, the state
	// and what is printed.
	marker = "text-that-is-no-secret"
	marked = `
resource "terraform_data" "marker" {
  input = "` + marker + `"
}
output "marker" {
  value = terraform_data.marker.input
}
`
	// used hands the session to a program.
	used = `
resource "terraform_data" "used" {
  depends_on = [terraform_data.marker]
  provisioner "local-exec" {
    command     = "printf %s \"$SESSION\" >> ../sessions"
    environment = { SESSION = jsonencode(ephemeral.flame_session.this) }
  }
}
`
	noRetries = `
provider "flame" {
  max_retries = 0
}
`
)

// usedSessions gives what the program of used was handed.
func usedSessions(w *workspace) []map[string]any {
	w.t.Helper()
	var all []map[string]any
	decoder := json.NewDecoder(strings.NewReader(w.read("../sessions")))
	for decoder.More() {
		var session map[string]any
		if err := decoder.Decode(&session); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, session)
	}
	return all
}

func usedTokens(w *workspace) []string {
	w.t.Helper()
	var tokens []string
	for _, session := range usedSessions(w) {
		tokens = append(tokens, sessionState{Attributes: session}.text("auth_token"))
	}
	return tokens
}

// lastsOneRun plans and applies the plan, and fails the test where a token or
// the password is kept or printed anywhere.
func lastsOneRun(w *workspace, password string) (plan, apply result) {
	w.t.Helper()
	plan = w.must("plan", "-input=false", "-out=plan.bin")
	show := w.must("show", "-json", "plan.bin")
	content, members := w.read("plan.bin"), w.planFile("plan.bin")
	apply = w.must("apply", "-input=false", "plan.bin")
	places := map[string]string{
		"output of plan": plan.Stdout, "output of apply": apply.Stdout, "output of show -json": show.Stdout,
		"state": w.read("terraform.tfstate"),
	}
	for _, name := range []string{"tfplan", "tfconfig/m-/main.tf"} {
		places["plan file, "+name] = members[name]
	}
	for where, content := range places {
		if !strings.Contains(content, marker) {
			w.t.Errorf("the %s does not have the marker, so it would not be seen if it had a secret", where)
		}
	}
	places["errors of plan"], places["errors of apply"], places["plan file, raw"] = plan.Stderr, apply.Stderr, content
	secrets := append(endedTokens(w.fake), w.fake.Live()...)
	if len(secrets) == 0 {
		w.t.Error("there was no token to look for")
	}
	for where, content := range places {
		if strings.Contains(content, password) {
			w.t.Errorf("the password is in the %s", where)
		}
		for _, token := range secrets {
			if strings.Contains(content, token) {
				w.t.Errorf("a token is in the %s", where)
			}
		}
	}
	return plan, apply
}

// noneLive fails the test where a session is left alive.
func noneLive(t *testing.T, fake *flametest.Server) {
	t.Helper()
	if live := len(fake.Live()); live != 0 {
		t.Errorf("%d sessions are left alive", live)
	}
}

// warned fails the test where a command had another number of warnings,
// besides the one that the provider is an override.
func (r result) warned(t *testing.T, want int) {
	t.Helper()
	if got := strings.Count(r.Stdout+r.Stderr, "Warning:") - 1; got != want {
		t.Errorf("%d warnings, want %d: %v", got, want, r)
	}
}

// All that an ephemeral session gives, and that it is open just as long as its
// token is used.
func TestEphemeralLife(t *testing.T) {
	needs(t, ephemeralResources)
	for name, config := range map[string]flametest.Config{
		"version 1":            {},
		"version 2":            {Version: 2},
		"one token per user":   {SharedTokens: true},
		"id without a value":   {SampleID: true},
		"201 and 204":          {OpenStatus: 201, RevokeStatus: 204},
		"access token in body": {RequireAccessToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, config)
			closes := 1
			if config.RequireAccessToken {
				closes = 2
			}
			w := newWorkspace(t, fake, marked+oneEphemeral+used)
			w.must("validate")
			saw(t, fake, 0, 0, 0)

			plan := w.must("plan", "-input=false")
			plan.warned(t, 0)
			saw(t, fake, 1, closes, 0)
			noneLive(t, fake)

			fake.Reset()
			_, apply := lastsOneRun(w, flametest.Password)
			apply.warned(t, 0)
			saw(t, fake, 2, 2*closes, 0)
			noneLive(t, fake)
			got := usedSessions(w)
			if len(got) != 1 {
				t.Fatalf("%d sessions were used", len(got))
			}
			session := sessionState{Attributes: got[0]}
			token := session.text("auth_token")
			if !slices.Contains(endedTokens(fake), token) {
				t.Error("another token was used than were revoked")
			}
			session.has(t, "this", map[string]any{
				"user": flametest.User, "email": flametest.User, "password": nil, "revoke_on_close": true,
				"endpoint": fake.URL(), "id": flame.NewToken(token).SessionID(),
			})
			if (got[0]["user_id"] == nil) != config.SampleID || (got[0]["full_name"] == nil) != (config.Version != 2) {
				t.Errorf("user_id and full_name are %v and %v", got[0]["user_id"], got[0]["full_name"])
			}
			if got := order(fake); got != strings.TrimSpace(strings.Repeat("POST"+strings.Repeat(" DELETE", closes)+" ", 2)) {
				t.Errorf("requests: %s", got)
			}

			w.quiet()
			w.destroy()
			noneLive(t, fake)
		})
	}
}

// The token as an argument of a provider block, which sends it.
func TestEphemeralIntoProviderBlock(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral+`
provider "restapi" {
  uri     = ephemeral.flame_session.this.endpoint
  headers = { Authorization = provider::flame::authorization_header(ephemeral.flame_session.this.auth_token) }
}
data "restapi_object" "organizations" {
  path         = "/organizations"
  search_key   = "name"
  search_value = terraform_data.marker.output # known in the apply
}
`)
	standIns(w, "mastercard/restapi")
	lastsOneRun(w, flametest.Password)
	if got := methods(fake); got != "POST DELETE POST GET DELETE" {
		t.Errorf("requests: %s", got)
	}
	noneLive(t, fake)

	fake.Reset()
	w.quiet()
	if got := methods(fake); got != "POST GET DELETE" {
		t.Errorf("requests: %s", got)
	}
	w.destroy()
	noneLive(t, fake)
}

// methods gives the methods of all that the fake was sent.
func methods(fake *flametest.Server) string {
	var all []string
	for _, request := range fake.Journal() {
		all = append(all, request.Method)
	}
	return strings.Join(all, " ")
}

// A vault is a secret store: what it was sent last, and whether a token that it
// was sent worked at that moment.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // by path
	alive   []bool
}

func newVault(w *workspace, secrets map[string]string) *vault {
	v := &vault{secrets: secrets}
	server := httptest.NewServer(v.handler(w.fake))
	w.t.Cleanup(server.Close)
	w.setenv("VAULT_ADDR", server.URL)
	standIns(w, "hashicorp/vault")
	return v
}

func (v *vault) handler(fake *flametest.Server) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		switch r.Method {
		case http.MethodPost:
			v.secrets[r.URL.Path] = string(body)
			v.alive = append(v.alive, slices.ContainsFunc(fake.Live(), func(token string) bool { return strings.Contains(string(body), token) }))
		case http.MethodDelete:
			delete(v.secrets, r.URL.Path)
		default:
			fmt.Fprintf(rw, `{"data": %s}`, v.secrets[r.URL.Path])
		}
	}
}

// sawAlive says of each write whether its token worked.
func (v *vault) sawAlive() []bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.alive)
}

// The token as a write-only argument, with credentials that are ephemeral too.
func TestEphemeralIntoWriteOnly(t *testing.T) {
	needs(t, ephemeralResources, writeOnlyArguments)
	const password = "canary-\"quoted\"-ü"
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": password}})
	w := newWorkspace(t, fake, marked+`
variable "login" {
  type      = object({ user = string, password = string })
  ephemeral = true
}
ephemeral "flame_session" "this" {
  user     = var.login.user
  password = var.login.password
}
resource "vault_kv_secret_v2" "this" {
  mount                = "secret"
  name                 = "flame"
  data_json_wo         = jsonencode({ token = ephemeral.flame_session.this.auth_token })
  data_json_wo_version = 1
}
`)
	store := newVault(w, map[string]string{})
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	w.setenv("TF_VAR_login", `{"user": "ada", "password": "canary-\"quoted\"-ü"}`)
	lastsOneRun(w, "canary-")
	saw(t, fake, 2, 2, 0)
	noneLive(t, fake)
	if got := store.sawAlive(); !slices.Equal(got, []bool{true}) {
		t.Errorf("of the tokens that the store was sent, these worked: %v", got)
	}
}

// The password of a managed session, from an ephemeral resource.
func TestEphemeralIntoSessionPassword(t *testing.T) {
	needs(t, ephemeralResources, writeOnlyArguments)
	const password = "canary-password"
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": password}})
	w := newWorkspace(t, fake, `
ephemeral "vault_kv_secret_v2" "this" {
  mount = "secret"
  name  = "ada"
}
resource "flame_session" "this" {
  user                = "ada"
  password_wo         = ephemeral.vault_kv_secret_v2.this.data.password
  password_wo_version = 1
}
`)
	newVault(w, map[string]string{"/v1/secret/data/ada": `{"data": {"password": "canary-password"}}`})
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	w.apply()
	saw(t, fake, 1, 0, 0)
	if strings.Contains(w.read("terraform.tfstate"), password) {
		t.Error("the password is in the state")
	}
	w.quiet()
	w.agrees()
	w.destroy()
	noneLive(t, fake)
}

func TestEphemeralKept(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+used+`
ephemeral "flame_session" "this" {
  revoke_on_close = false
}
`)
	lastsOneRun(w, flametest.Password)
	saw(t, fake, 2, 0, 0)
	if got := usedTokens(w); len(got) != 1 || !slices.Contains(fake.Live(), got[0]) {
		t.Error("the token that was used does not live on")
	}
}

// Several of them: each has a session of its own.
func TestEphemeralInstances(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "one", "bob": "two"}})
	w := newWorkspace(t, fake, `
ephemeral "flame_session" "this" {
  for_each = { ada = "one", bob = "two" }
  user     = each.key
  password = each.value
}
resource "terraform_data" "used" {
  provisioner "local-exec" {
    command     = "printf %s \"$SESSIONS\" > ../sessions"
    environment = { SESSIONS = join(" ", [for s in ephemeral.flame_session.this : jsonencode(s)]) }
  }
}
`)
	w.detectRaces()
	w.apply()
	saw(t, fake, 4, 4, 0)
	noneLive(t, fake)
	if got := usedTokens(w); len(got) != 2 || got[0] == got[1] {
		t.Errorf("%d tokens were used, or one twice", len(got))
	}
}

// One that nothing uses is revoked as well.
func TestEphemeralUnused(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral)
	w.apply()
	w.destroy()
	opened, closed := fake.Count(flametest.OpOpen), fake.Count(flametest.OpRevoke)
	t.Logf("apply and destroy opened %d sessions that nothing used", opened)
	if opened != closed {
		t.Errorf("%d were opened, %d revoked", opened, closed)
	}
	noneLive(t, fake)
}

// An apply that fails once the session is open revokes it.
func TestEphemeralInFailingApply(t *testing.T) {
	needs(t, ephemeralResources)
	const impossible = `terraform_data.marker.output == "something else"` // known in the apply
	for name, test := range map[string]struct{ configuration, text string }{
		"a program fails": {`
ephemeral "flame_session" "this" {}
resource "terraform_data" "failing" {
  provisioner "local-exec" {
    command     = "test -z \"$TOKEN\""
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
}`, "local-exec provisioner error"},
		"its own postcondition": {`
ephemeral "flame_session" "this" {
  lifecycle {
    postcondition {
      condition     = self.auth_token != "" && ` + impossible + `
      error_message = "told so"
    }
  }
}` + used, "told so"},
		"a postcondition of what uses it": {`
ephemeral "flame_session" "this" {}
resource "terraform_data" "failing" {
  input = terraform_data.marker.output
  provisioner "local-exec" {
    command     = "test -n \"$TOKEN\""
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
  lifecycle {
    postcondition {
      condition     = ` + impossible + `
      error_message = "told so"
    }
  }
}`, "told so"},
		"another session": {`
ephemeral "flame_session" "this" {}
ephemeral "flame_session" "wrong" {
  user     = ephemeral.flame_session.this.user
  password = terraform_data.marker.output
}
resource "terraform_data" "failing" {
  provisioner "local-exec" {
    command     = "exit 1"
    environment = { TOKEN = ephemeral.flame_session.wrong.auth_token }
  }
}`, "Could not open an ephemeral Flame session"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, marked+test.configuration)
			w.must("plan", "-input=false", "-out=plan.bin")
			planned := fake.Count(flametest.OpOpen)
			r := w.fails([]string{test.text}, "apply", "-input=false", "plan.bin")
			if planned != fake.Count(flametest.OpRevoke)-1 || len(endedTokens(fake)) != fake.Opened() {
				t.Errorf("%d were opened by the plan, %d in all, and %d revoked", planned, fake.Opened(), fake.Count(flametest.OpRevoke))
			}
			noneLive(t, fake)
			for _, token := range endedTokens(fake) {
				if strings.Contains(r.Stdout+r.Stderr, token) {
					t.Errorf("a token is printed")
				}
			}
		})
	}
}

// What the user reads when a session cannot be opened: sent once, nothing left.
func TestEphemeralOpenErrors(t *testing.T) {
	needs(t, ephemeralResources)
	for name, test := range map[string]struct {
		arguments string
		fault     *flametest.Fault
		posts     int
		deletes   int
		texts     []string
	}{
		"wrong password": {
			arguments: `password = "wrong-canary"`, posts: 1,
			texts: []string{"Could not open an ephemeral Flame session", "Flame answered 401", "Check user and password", "not tried again", `with ephemeral.flame_session.this`},
		},
		"no token": {
			fault: &flametest.Fault{Status: 200, Body: `{"id": 1}`}, posts: 1,
			texts: []string{"the answer holds no auth_token", "Flame may have opened a session"},
		},
		"a token that cannot be kept": {
			fault: &flametest.Fault{Status: 200, Body: `{"auth_token": "with space"}`}, posts: 1, deletes: 1,
			texts: []string{"The token cannot be sent in a header as it is"},
		},
		"an answer that never arrives": {
			fault: &flametest.Fault{Drop: true, CarryOut: true}, posts: 1,
			texts: []string{"Flame may have opened a session whose token never arrived", "end the user's sessions there"},
		},
		"empty user":     {arguments: `user = ""`, texts: []string{"at least 1"}},
		"empty password": {arguments: `password = ""`, texts: []string{"at least 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			fake.Always(flametest.OpOpen, test.fault)
			w := newWorkspace(t, fake, used+marked+noRetries+block(`ephemeral "flame_session" "this"`, test.arguments))
			r := w.fails(test.texts, "plan", "-input=false")
			saw(t, fake, test.posts, test.deletes, 0)
			for _, secret := range []string{"wrong-canary", "with space", flametest.Password} {
				if strings.Contains(strings.ReplaceAll(r.Stdout+r.Stderr, test.arguments, ""), secret) {
					t.Errorf("%q is printed: %v", secret, r)
				}
			}
		})
	}
}

func TestEphemeralWithoutCredentials(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral+used)
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	r := w.fails([]string{"No user for this Flame session", "or the environment variable FLAME_USER", "No password for this Flame session"}, "plan", "-input=false")
	if strings.Contains(r.Text(), "password_wo") {
		t.Errorf("the error names an argument that this one has not: %v", r)
	}
	saw(t, fake, 0, 0, 0)
}

// An open that was tried again, and what may be left of the first try.
func TestEphemeralLostAnswer(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	fake.Script(flametest.OpOpen, flametest.Fault{Drop: true, CarryOut: true})
	w := newWorkspace(t, fake, marked+oneEphemeral+used)
	r := w.must("plan", "-input=false")
	r.says(t, "Flame may hold a session that nobody knows the token of", "only after 1 earlier tries", flame.NewToken(endedTokens(fake)[0]).SessionID())
	r.warned(t, 1)
	saw(t, fake, 2, 1, 0)
	if len(fake.Live()) != 1 {
		t.Errorf("%d sessions are alive", len(fake.Live()))
	}
}

// A session that cannot be revoked is a warning: the run's own work is done.
func TestEphemeralCloseFails(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral+used+noRetries)
	fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 500})
	for _, args := range [][]string{{"plan", "-input=false", "-out=plan.bin"}, {"apply", "-input=false", "plan.bin"}} {
		r := w.must(args...)
		token := fake.Live()[0]
		r.says(t, "Could not revoke the ephemeral Flame session "+flame.NewToken(token).SessionID(), "500 (server error)", "Its token may still work", "end the user's sessions there or change the password")
		r.warned(t, 1)
		saw(t, fake, 1, 2, 0) // once more at exit
		if strings.Contains(r.Stdout+r.Stderr, token) {
			t.Error("the token is printed")
		}
		fake.RevokeAll()
		fake.Reset()
		fake.Always(flametest.OpRevoke, &flametest.Fault{Status: 500})
	}
}

// What Flame may answer to a revocation that is one all the same.
func TestEphemeralCloseSucceeds(t *testing.T) {
	needs(t, ephemeralResources)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, marked+oneEphemeral+used)
	for _, status := range []int{401, 404, 410} {
		fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status, CarryOut: true})
		w.must("plan", "-input=false").warned(t, 0)
	}
	saw(t, fake, 3, 3, 0)
	fake.Always(flametest.OpRevoke, nil)
	fake.Script(flametest.OpRevoke, flametest.Fault{Status: 503}, flametest.Fault{Drop: true})
	w.must("plan", "-input=false").warned(t, 0)
	saw(t, fake, 4, 6, 0)
	noneLive(t, fake)
}

// An interrupt ends the run. The session is revoked, whether it was open by
// then or being opened.
func TestEphemeralInterrupted(t *testing.T) {
	needs(t, ephemeralResources)
	const busy = `
resource "flame_session" "busy" {
  user       = "bob"
  depends_on = [terraform_data.used]
}
`
	for name, test := range map[string]struct {
		configuration string
		opened        int // in the apply, before the one that hangs
		revoked       int
	}{
		"while it is open":         {busy, 1, 1},
		"while it is being opened": {"", 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{})
			w := newWorkspace(t, fake, marked+oneEphemeral+used+`
resource "terraform_data" "last" {
  depends_on = [terraform_data.used, `+map[bool]string{true: "flame_session.busy"}[test.configuration != ""]+`]
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKEN = ephemeral.flame_session.this.auth_token }
  }
}
`+test.configuration)
			w.must("plan", "-input=false", "-out=plan.bin")
			saw(t, fake, 1, 1, 0)
			fake.Reset()
			for range test.opened {
				fake.Script(flametest.OpOpen, flametest.Fault{Header: http.Header{}, Reason: "OK"})
			}
			fake.Script(flametest.OpOpen, flametest.Fault{Hang: true})

			cmd := w.command("apply", "-input=false", "-no-color", "plan.bin")
			var output watched
			cmd.Stdout, cmd.Stderr = &output, &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := fake.Await(ctx, flametest.OpOpen, test.opened+1)
			if err == nil {
				err = cmd.Process.Signal(syscall.SIGINT)
			}
			if err == nil {
				err = output.await(ctx, "Interrupt received")
			}
			fake.Release()
			runErr := cmd.Wait()
			if err != nil {
				t.Fatalf("%v, %v:\n%s", err, runErr, output.String())
			}
			if runErr == nil {
				t.Errorf("the run was not interrupted:\n%s", output.String())
			}
			saw(t, fake, test.opened+1, test.revoked, 0)
			w.agrees()
			for _, token := range endedTokens(fake) {
				if strings.Contains(output.String(), token) {
					t.Error("a token is printed")
				}
			}
			w.destroy()
			noneLive(t, fake)
		})
	}
}

// watched is what a command prints, for those who wait for it.
type watched struct {
	mu      sync.Mutex
	content bytes.Buffer
	grown   chan struct{} // closed at the next write; nil while nobody waits
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.grown != nil {
		close(w.grown)
		w.grown = nil
	}
	return w.content.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.content.String()
}

// await returns when the command has printed the text.
func (w *watched) await(ctx context.Context, text string) error {
	for {
		w.mu.Lock()
		found := strings.Contains(w.content.String(), text)
		if w.grown == nil {
			w.grown = make(chan struct{})
		}
		grown := w.grown
		w.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("%q was not printed: %w", text, ctx.Err())
		}
	}
}

// While planning, what the provider or the session is configured with may be
// unknown: the apply opens the session, and revokes it.
func TestEphemeralUnknown(t *testing.T) {
	needs(t, ephemeralResources)
	// OpenTofu takes no unknown value from a provider. It opens nothing, though,
	// before the apply of what is depended on.
	const oneEphemeral = "ephemeral \"flame_session\" \"this\" {\n  depends_on = [terraform_data.later]\n}\n"
	for name, configuration := range map[string]string{
		"endpoint":        `provider "flame" { endpoint = terraform_data.later["endpoint"].output }` + "\n" + oneEphemeral,
		"provider's user": `provider "flame" { user = terraform_data.later["user"].output }` + "\n" + oneEphemeral,
		"its password":    `provider "flame" { password = terraform_data.later["password"].output }` + "\n" + oneEphemeral,
		"what the client needs": `provider "flame" {
  request_timeout = terraform_data.later["duration"].output
  max_retries     = length(terraform_data.later["user"].output)
}
` + oneEphemeral,
		"user":            block(`ephemeral "flame_session" "this"`, `user = terraform_data.later["user"].output`),
		"password":        block(`ephemeral "flame_session" "this"`, `password = terraform_data.later["password"].output`),
		"revoke_on_close": block(`ephemeral "flame_session" "this"`, `revoke_on_close = terraform_data.later["user"].output != ""`),
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "secret"}})
			w := newWorkspace(t, fake, marked+used+fmt.Sprintf(`
resource "terraform_data" "later" {
  for_each = { user = "ada", password = "secret", duration = "30s", endpoint = %q }
  input    = each.value
}
`, fake.URL())+configuration)
			w.setenv(envUser, "ada")
			w.setenv(envPassword, "secret")
			switch name {
			case "endpoint":
				w.setenv(envEndpoint, "")
			case "user", "provider's user":
				w.setenv(envUser, "")
			case "password", "its password":
				w.setenv(envPassword, "")
			}
			w.must("plan", "-input=false", "-out=plan.bin").warned(t, 0)
			saw(t, fake, 0, 0, 0)
			w.must("apply", "-input=false", "plan.bin").warned(t, 0)
			saw(t, fake, 1, 1, 0)
			if got := usedTokens(w); len(got) != 1 {
				t.Errorf("%d tokens were used", len(got))
			}
			w.quiet() // all is known now
			saw(t, fake, 2, 2, 0)
			noneLive(t, fake)
		})
	}
}

// Where Flame gives one token per user, an ephemeral session does not take the
// token from a managed one that the same run has seen.
func TestEphemeralSharesWithManaged(t *testing.T) {
	needs(t, ephemeralResources)
	fake := sharingFake(t)
	w := newWorkspace(t, fake, marked+oneSession+`
ephemeral "flame_session" "this" {
  user = flame_session.this.user
}
`+used)
	const warning = "The Flame token is not revoked, because another session holds it"
	// The plan has no other session yet; in the apply, the managed one is created first.
	// OpenTofu does not even open the ephemeral one before.
	w.must("plan", "-input=false", "-out=plan.bin")
	noneLive(t, fake)
	fake.Reset()
	r := w.must("apply", "-input=false", "plan.bin")
	r.says(t, warning, w.sessions()["this"].text("id"))
	r.warned(t, 1)
	saw(t, fake, 2, 0, 0)
	w.agrees()
	sameTokens(t, "used", usedTokens(w), fake.Live()...)

	// A plan refreshes the managed one first.
	r = w.must("plan", "-input=false", "-detailed-exitcode")
	r.says(t, warning)
	saw(t, fake, 3, 0, 1)
	w.agrees()
	fake.RevokeAll()
}

// Of two ephemeral sessions with one token, the last to close revokes it.
func TestEphemeralShareOneToken(t *testing.T) {
	needs(t, ephemeralResources)
	fake := sharingFake(t)
	w := newWorkspace(t, fake, marked+oneEphemeral+`
ephemeral "flame_session" "other" {
  user = ephemeral.flame_session.this.user # so both are open at a time
}
resource "terraform_data" "used" {
  depends_on = [terraform_data.marker]
  provisioner "local-exec" {
    command     = "printf %s \"$SESSIONS\" > ../sessions"
    environment = { SESSIONS = "${jsonencode(ephemeral.flame_session.this)} ${jsonencode(ephemeral.flame_session.other)}" }
  }
}
`)
	plan, apply := lastsOneRun(w, flametest.Password)
	for _, r := range []result{plan, apply} {
		r.says(t, "The Flame token is not revoked, because another session holds it")
		r.warned(t, 1)
	}
	if got := methods(fake); got != "POST POST DELETE POST POST DELETE" {
		t.Errorf("requests: %s", got)
	}
	if got := usedTokens(w); len(got) != 2 || got[0] != got[1] {
		t.Error("the tokens are not the same")
	}
	noneLive(t, fake)
}
