// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// Where the tokens of a state go: what the guides on state, teams and refresh modes say.

// A backend stores a state for the commands' backend "http".
type backend struct {
	mu      sync.Mutex
	state   []byte
	refuses bool // to store anything
	url     string
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case r.Method == http.MethodGet && b.state == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		_, _ = w.Write(b.state)
	case b.refuses: // 403, because a 5xx is retried
		w.WriteHeader(http.StatusForbidden)
	default:
		b.state = body
	}
}

func (b *backend) refuse(refuses bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = refuses
}

// stored returns the state.
func (b *backend) stored() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.state)
}

// storeAt has the command keep its state in the backend. Init needs a provider that it
// can install.
func (w *workspace) storeAt(b *backend) {
	w.t.Helper()
	w.write("backend.tf", fmt.Sprintf("terraform {\n  backend \"http\" {\n    address = %q\n  }\n}\n", b.url))
	if err := w.terraform.Mirror("flameanalytics/flame", providerBinary(w.t)); err != nil {
		w.t.Fatal(err)
	}
	w.must("init", "-input=false")
	w.override(map[string]string{"flameanalytics/flame": providerBinary(w.t)})
}

// script runs a shell script of the configuration, in which the command has a name.
func (w *workspace) script(name, command string) (output string, err error) {
	w.t.Helper()
	bin := w.t.TempDir()
	if err := os.Symlink(w.command().Path, filepath.Join(bin, command)); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(w.t.Context(), "sh", "-eu", name)
	cmd.Dir, cmd.Env = w.terraform.Dir, append(w.terraform.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// holdsNoToken fails the test if a file holds a token that was ever handed out.
func (w *workspace) holdsNoToken(what, content string) {
	w.t.Helper()
	if content == "" {
		w.t.Errorf("there is no %s", what)
	}
	for _, token := range append(w.fake.Live(), endedTokens(w.fake)...) {
		if strings.Contains(content, token) {
			w.t.Errorf("the %s holds a token in clear text", what)
		}
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// modeOfNewFile returns what the umask makes of 0666: usually 0644.
func modeOfNewFile(t *testing.T) os.FileMode {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	return mode(t, file.Name())
}

const encryptedState = "use-cases/encrypted-state"

// readEncrypted reads the encrypted state and a plan of it as the documentation shows.
func readEncrypted(w *workspace) {
	w.holdsNoToken("state", w.read("terraform.tfstate"))
	w.must("plan", "-input=false", "-replace=flame_session.reports", "-out=plan.bin")
	if plan := w.read("plan.bin"); plan == "" || strings.HasPrefix(plan, "PK") { // the beginning of a ZIP archive
		w.t.Error("the plan is missing, or in clear text")
	}
	w.write("consumer/main.tf", readExample(w.t, encryptedState, "consumer/main.tf"))
	r := w.must("-chdir=consumer", "apply", "-input=false", "-auto-approve")
	r.doesNotSay(w.t, "the token", w.fake.Live()[0])
	if got := w.must("-chdir=consumer", "output", "-raw", "authorization").Stdout; got != "Token token="+w.fake.Live()[0] {
		w.t.Error("the consumer got another token")
	}
	_, withoutEncryption, _ := strings.Cut(w.read("consumer/main.tf"), "\n}\n\ndata ")
	w.write("consumer/main.tf", "data "+withoutEncryption)
	w.fails([]string{"This state file is encrypted"}, "-chdir=consumer", "plan", "-input=false")
}

// readRemoteState reads the token from another configuration, where it is masked only
// if it is marked there again.
func readRemoteState(w *workspace) {
	token := w.fake.Live()[0]
	consumer := readExample(w.t, "use-cases/remote-state", "consumer/main.tf")
	w.write("consumer/main.tf", consumer)
	w.must("-chdir=consumer", "plan", "-input=false").doesNotSay(w.t, "the token", token)
	w.write("consumer/main.tf", strings.NewReplacer("sensitive(data.", "(data.", "sensitive = true", "").Replace(consumer))
	w.must("-chdir=consumer", "plan", "-input=false").says(w.t, `+ authorization = "Token token=`+token)
	w.write("consumer/main.tf", strings.Replace(consumer, "sensitive = true", "", 1))
	w.fails([]string{"Output refers to sensitive values"}, "-chdir=consumer", "plan", "-input=false")
}

// A state in clear text is encrypted by one apply that may read both.
func TestEncryptState(t *testing.T) {
	needs(t, stateEncryption)
	w := newExample(t, encryptedState)
	encrypt := w.read("encryption.tf")
	w.write("encryption.tf", "")
	w.apply()
	if !strings.Contains(w.read("terraform.tfstate"), w.fake.Live()[0]) {
		t.Fatal("the state is encrypted from the start")
	}

	w.write("encryption.tf", encrypt)
	w.fails([]string{"Error acquiring the state lock", "encountered unencrypted payload without unencrypted method"}, "plan", "-input=false")
	w.write("encryption.tf", readExample(t, encryptedState, "migration/encryption.tf"))
	w.apply().says(t, "0 added, 0 changed, 0 destroyed")
	w.holdsNoToken("state", w.read("terraform.tfstate"))

	w.write("encryption.tf", encrypt)
	w.quiet()
	w.setenv("TF_VAR_state_passphrase", "fifteen letters")
	w.fails([]string{"passphrase is too short (minimum 16 characters)"}, "plan", "-input=false")
	w.setenv("TF_VAR_state_passphrase", "another passphrase")
	w.fails([]string{"Error acquiring the state lock", "decryption failed"}, "plan", "-input=false")
}

// What a backend does not take is in a file that everybody may read, and can be pushed.
func TestErroredState(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), oneSession)
	b := newBackend(t)
	w.storeAt(b)
	b.refuse(true)
	w.fails([]string{"errored.tfstate"}, "apply", "-input=false", "-auto-approve")
	if !strings.Contains(w.read("errored.tfstate"), w.fake.Live()[0]) {
		t.Error("errored.tfstate does not hold the token")
	}
	if got, want := mode(t, filepath.Join(w.terraform.Dir, "errored.tfstate")), modeOfNewFile(t); got != want {
		t.Errorf("errored.tfstate has mode %v, want that of any new file, %v", got, want)
	}
	b.refuse(false)
	w.must("state", "push", "errored.tfstate")
	w.quiet()
	w.destroy()
	noneLive(t, w.fake)
}

// An encrypted one is pushed by the script of the documentation, which removes nothing
// that it could not push.
func TestErroredStateEncrypted(t *testing.T) {
	needs(t, stateEncryption)
	w := newExample(t, encryptedState)
	b := newBackend(t)
	w.storeAt(b)
	b.refuse(true)
	w.fails([]string{"errored.tfstate"}, "apply", "-input=false", "-auto-approve")
	w.holdsNoToken("errored.tfstate", w.read("errored.tfstate"))
	w.fails([]string{"This state file is encrypted"}, "state", "push", "errored.tfstate")

	w.write("recover.sh", readExample(t, encryptedState, "recover.sh"))
	if out, err := w.script("recover.sh", "tofu"); err == nil || w.read("errored.tfstate") == "" {
		t.Fatalf("the script succeeds although nothing is stored, or has removed the state: %s", out)
	}
	if err := os.RemoveAll(filepath.Join(w.terraform.Dir, "rescue")); err != nil {
		t.Fatal(err)
	}
	b.refuse(false)
	if out, err := w.script("recover.sh", "tofu"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if w.read("errored.tfstate") != "" || w.read("rescue/terraform.tfstate") != "" {
		t.Error("the script leaves states behind")
	}
	w.holdsNoToken("state", string(b.stored()))
	w.quiet()
	w.destroy()
	noneLive(t, w.fake)
}

// Killed soon, a run loses everything: a remote backend is written after 20 seconds.
func TestKilledWithRemoteState(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	sessions := func(release string) string {
		return requireFlame + sessionBlock("this", fmt.Sprintf("count = 3\n  rotate_when_changed = { release = %q }", release))
	}
	w := newWorkspace(t, fake, "")
	w.write("main.tf", sessions("1"))
	b := newBackend(t)
	w.storeAt(b)
	w.apply()
	before := b.stored()
	w.write("main.tf", sessions("2"))
	fake.Reset()
	fake.Script(flametest.OpOpen, flametest.Fault{Reason: "OK"})
	fake.Always(flametest.OpOpen, &flametest.Fault{Hang: true, CarryOut: true})
	r := w.start("apply", "-auto-approve", "-parallelism=1")
	r.arrived(fake, flametest.OpOpen, 2)
	r.signal(wholeGroup, syscall.SIGKILL)
	r.wait()
	fake.Release()
	r.end()
	if !bytes.Equal(b.stored(), before) {
		t.Error("the state has changed")
	}
	// Three are dead and in the state; of the new ones, one was finished and one begun.
	if ended, live := len(endedTokens(fake)), len(fake.Live()); ended != 3 || live != 2 {
		t.Errorf("%d sessions are revoked and %d alive, want 3 and 2", ended, live)
	}
	fake.Always(flametest.OpOpen, nil)
	w.apply().says(t, "has ended elsewhere", "3 added, 0 changed, 0 destroyed")
	if live := len(fake.Live()); live != 5 {
		t.Errorf("%d sessions are alive, want the 3 in the state and the 2 that are lost", live)
	}
}
