// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// standIns has the command find the providers that testdata/standin plays, besides
// ours, and makes the configuration require some of them.
func standIns(w *workspace, required ...string) {
	w.t.Helper()
	provider := providerBinary(w.t) // first: it makes the folder for both
	binary, err := buildStandIn()
	if err != nil {
		w.t.Fatal(err)
	}
	binaries := map[string]string{"flameanalytics/flame": provider}
	for _, source := range []string{"hashicorp/aws", "hashicorp/http", "hashicorp/kubernetes", "hashicorp/vault", "integrations/github", "mastercard/restapi"} {
		binaries[source] = binary
	}
	w.override(binaries)
	for _, source := range required {
		if strings.Contains(w.read("main.tf"), source) {
			continue
		}
		w.write("main.tf", strings.Replace(w.read("main.tf"), "required_providers {", fmt.Sprintf("required_providers {\n    %s = {\n      source = %q\n    }", filepath.Base(source), source), 1))
	}
}

var buildStandIn = sync.OnceValues(func() (string, error) {
	return build("standin", "./testdata/standin")
})

const examplesDir = "../../examples"

// An example is a folder of examples/ with everything below it.
type example struct {
	needs []capability
	apart []string           // files that a test of their own applies
	env   map[string]string  // besides FLAME_ENDPOINT, FLAME_USER and FLAME_PASSWORD
	setup func(w *workspace) // runs before the apply
	after func(w *workspace) // checks what the apply did
	opens int                // POSTs of the apply
	noisy bool               // each plan reads a data source again, so none is empty
}

const anyNumber = -1

var examples = map[string]example{
	"demo":                    {opens: 1, env: map[string]string{"TF_DISABLE_PLUGIN_TLS": ""}}, // one as users run it, with TLS
	"provider":                {},
	"ci":                      {}, // TestGuideCI runs its steps
	"resources/flame_session": {opens: 1, apart: []string{"import.sh", "import-by-string-id.tf"}},
	"ephemeral-resources/flame_session": {
		needs: []capability{ephemeralResources}, opens: 2,
		after: func(w *workspace) { saw(w.t, w.fake, 2, 2, 0) },
	},
	"actions/flame_session_revoke": {
		needs: []capability{actionBlocks},
		env:   map[string]string{"TF_VAR_leaked_token": "canaryABC"},
		after: func(w *workspace) {
			saw(w.t, w.fake, 0, 0, 0)
			w.must("apply", "-invoke=action.flame_session_revoke.leaked", "-auto-approve", "-input=false")
			sameTokens(w.t, "revoked", endedTokens(w.fake), "canaryABC")
		},
	},
	"functions/authorization_header": {
		needs: []capability{providerFunctions}, opens: 1,
		after: func(w *workspace) {
			if got := w.must("output", "-raw", "authorization").Stdout; got != "Token token="+w.fake.Live()[0] {
				w.t.Error("the output is not the header")
			}
		},
	},
	"use-cases/http-data-source": {
		needs: []capability{providerFunctions}, opens: 1,
		after: func(w *workspace) { saw(w.t, w.fake, 1, 0, 1) },
	},
	"use-cases/ephemeral-provider-configuration": {
		needs: []capability{ephemeralResources, providerFunctions}, opens: anyNumber, // the apply opens one too, although the plan has read the data source
		after: func(w *workspace) {
			if got := methods(w.fake); !strings.HasPrefix(got, "POST GET DELETE") {
				w.t.Errorf("requests: %s", got)
			}
			noneLive(w.t, w.fake)
		},
	},
	"use-cases/secret-store-aws":        inStore(1, writeOnlyArguments),
	"use-cases/secret-store-github":     inStore(2),
	"use-cases/secret-store-kubernetes": inStore(1, writeOnlyArguments),
	"use-cases/secret-store-vault": {
		needs: []capability{ephemeralResources, writeOnlyArguments}, opens: 1,
		env: map[string]string{"FLAME_PASSWORD": ""},
		setup: func(w *workspace) {
			store := newVault(w, map[string]string{"/v1/secret/data/flame/login": `{"data": {"password": "` + flametest.Password + `"}}`})
			w.t.Cleanup(func() {
				if got := store.sawAlive(); !slices.Equal(got, []bool{true}) {
					w.t.Errorf("of the tokens that the store was sent, these worked: %v", got)
				}
			})
		},
		after: func(w *workspace) {
			if strings.Contains(w.read("terraform.tfstate"), flametest.Password) {
				w.t.Error("the password is in the state")
			}
		},
	},
	"use-cases/script": {
		needs: []capability{ephemeralResources, providerFunctions}, opens: 2,
		after: func(w *workspace) { saw(w.t, w.fake, 2, 2, 1) },
	},
	"use-cases/two-sessions": {opens: 2},
	"use-cases/alternating-slots": {
		opens: 2, env: map[string]string{"TF_VAR_epoch": "7"},
		after: threeEpochs,
	},
	"use-cases/check-block": {
		opens: 1, noisy: true,
		after: func(w *workspace) {
			w.fake.Always(flametest.OpCheck, &flametest.Fault{Status: 503})
			w.write("provider.tf", providerBlock("max_retries = 0"))
			w.must("plan", "-input=false").says(w.t, "Check block assertion failed", "Flame answered 503.")
			w.fake.Always(flametest.OpCheck, nil)
		},
	},
	"use-cases/session-per-user": {
		needs: []capability{ephemeralResources, writeOnlyArguments}, opens: 2,
		env: map[string]string{
			"FLAME_PASSWORD":   "",
			"TF_VAR_passwords": fmt.Sprintf(`{"ada@example.com": %q, "grace@example.com": %[1]q}`, flametest.Password),
		},
	},
	"use-cases/revoke-with-another-resource": { // the end of the test finds the token revoked
		needs: []capability{actionBlocks, destroyEvents},
		setup: func(w *workspace) { w.setenv("TF_VAR_token", openElsewhere(w.t, w.fake, 1)[0]) },
	},
	"use-cases/open-while-applying": {
		needs: []capability{ephemeralResources, applyingKnown}, opens: 1,
		after: func(w *workspace) { saw(w.t, w.fake, 1, 1, 0) },
	},
	"use-cases/ephemeral-output": {
		needs: []capability{ephemeralResources, providerFunctions}, opens: 2,
		setup: func(w *workspace) { w.must("get") },
		after: func(w *workspace) { saw(w.t, w.fake, 2, 2, 0) },
	},
	"use-cases/many-sessions": {
		opens: 3, setup: func(w *workspace) { w.must("get") },
		after: func(w *workspace) {
			// A new user opens one session, whatever group that one is in.
			w.setenv("TF_VAR_users", `["ada@example.com", "grace@example.com", "mary@example.com", "hedy@example.com"]`)
			w.must("get")
			w.apply().says(w.t, "1 added, 0 changed, 0 destroyed")
		},
	},
	"use-cases/module": {opens: 1, setup: func(w *workspace) { w.must("get") }},
	"use-cases/rotation": {
		opens: 1,
		after: func(w *workspace) {
			w.setenv("TF_VAR_release", "2")
			w.apply()
			if got := order(w.fake); got != "POST POST DELETE" {
				w.t.Errorf("requests: %s", got)
			}
		},
	},
	"use-cases/write-only-password": {
		needs: []capability{ephemeralResources, writeOnlyArguments}, opens: 1,
		env: map[string]string{"FLAME_PASSWORD": "", "TF_VAR_password": flametest.Password},
		after: func(w *workspace) {
			if strings.Contains(w.read("terraform.tfstate"), flametest.Password) {
				w.t.Error("the password is in the state")
			}
		},
	},
	"use-cases/encrypted-state": {
		needs: []capability{stateEncryption}, opens: 1,
		apart: []string{"migration/encryption.tf", "consumer/main.tf", "recover.sh"},
		env:   map[string]string{"TF_VAR_state_passphrase": "sixteen letters!"},
		after: readEncrypted,
	},
	"use-cases/remote-state":      {opens: 1, apart: []string{"consumer/main.tf"}, after: readRemoteState},
	"use-cases/move-from-restful": {needs: []capability{movesAcrossTypes}, setup: storeRestfulOperation},
	"use-cases/move-by-import": {
		needs: []capability{removedBlocks},
		setup: func(w *workspace) {
			example := w.read("main.tf")
			w.write("main.tf", "resource \"terraform_data\" \"login\" {}\n")
			w.apply()
			w.setenv("FLAME_TOKEN", openElsewhere(w.t, w.fake, 1)[0])
			w.write("main.tf", example)
		},
		after: func(w *workspace) { saw(w.t, w.fake, 0, 0, 2) }, // the import, and its refresh
	},
	"use-cases/forget": {
		needs: []capability{removedBlocks}, opens: 1, // that of the setup
		setup: func(w *workspace) {
			example := w.read("main.tf")
			w.write("main.tf", requireFlame+oneReports)
			w.apply()
			w.write("main.tf", example)
		},
		after: func(w *workspace) {
			saw(w.t, w.fake, 1, 0, w.fake.Count(flametest.OpCheck)) // OpenTofu refreshes what it forgets
			w.fake.RevokeAll()
		},
	},
	"use-cases/two-endpoints": {
		opens: 1,
		setup: func(w *workspace) {
			staging := newFake(w.t, flametest.Config{})
			w.setenv("TF_VAR_staging", fmt.Sprintf(`{"endpoint": %q, "user": "ada", "password": %q}`, staging.URL(), flametest.Password))
			w.t.Cleanup(func() {
				saw(w.t, staging, 1, 1, 2)
				noneLive(w.t, staging)
			})
		},
	},
}

// inStore is an example that keeps the token in another provider's store, and in so many
// places of the state. The store is sent each new token while it works.
func inStore(inState int, required ...capability) example {
	return example{
		needs: required, opens: 1,
		setup: func(w *workspace) {
			store := newVault(w, map[string]string{})
			w.t.Cleanup(func() {
				got := slices.DeleteFunc(store.sawAlive(), func(alive bool) bool { return !alive })
				if len(got) != 2 {
					w.t.Errorf("the store was sent %d working tokens, want 2", len(got))
				}
			})
		},
		after: func(w *workspace) {
			w.apply("-replace=flame_session.reports")
			token := w.fake.Live()[0]
			if got := strings.Count(w.read("terraform.tfstate"), token); got != inState {
				w.t.Errorf("the state holds the token %d times, want %d", got, inState)
			}
		},
	}
}

// storeRestfulOperation gives the workspace a state in which magodo/restful has
// opened a session.
func storeRestfulOperation(w *workspace) {
	token := openElsewhere(w.t, w.fake, 1)[0]
	operation := storedSources(w.t, "moves.tfstate")["operation_v2"]
	operation.json = strings.NewReplacer(`"operation_v2"`, `"session"`, storedToken, token, storedUser, flametest.User, storedEndpoint, w.fake.URL()).Replace(operation.json)
	w.store(operation)
}

// exampleFiles returns the configurations and scripts below examples/, by folder. An
// example's own folders count as part of it.
func exampleFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := fs.WalkDir(os.DirFS(examplesDir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "/.") {
			return err
		}
		folder := filepath.Dir(path)
		for whole := range examples {
			if strings.HasPrefix(path, whole+"/") {
				folder = whole
			}
		}
		files[folder] = append(files[folder], strings.TrimPrefix(path, folder+"/"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// readExample returns a file of an example.
func readExample(t *testing.T, folder, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(examplesDir, folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// newExample returns a workspace with an example, without the files that are applied
// apart.
func newExample(t *testing.T, folder string) *workspace {
	t.Helper()
	ex := examples[folder]
	needs(t, ex.needs...)
	w := newWorkspace(t, newFake(t, flametest.Config{}), "")
	standIns(w)
	for _, name := range exampleFiles(t)[folder] {
		if slices.Contains(ex.apart, name) {
			continue
		}
		content := readExample(t, folder, name)
		if strings.Contains(content, "required_providers") && filepath.Dir(name) == "." {
			w.write("main.tf", "") // the example has its own
		}
		w.write(name, content)
	}
	for name, value := range ex.env {
		w.setenv(name, value)
	}
	if ex.setup != nil {
		ex.setup(w)
	}
	return w
}

// Each example works as it stands: after an apply, the plan is empty; after a
// destroy, no session is left.
func TestExamples(t *testing.T) {
	acceptance(t)
	for folder := range exampleFiles(t) {
		if _, ok := examples[folder]; !ok {
			t.Errorf("examples/%s is applied by no test: add it to the list above", folder)
		}
	}
	for folder, ex := range examples {
		t.Run(folder, func(t *testing.T) {
			w := newExample(t, folder)
			r := w.apply()
			if got := w.fake.Count(flametest.OpOpen); got != ex.opens && ex.opens != anyNumber {
				t.Errorf("%d sessions were opened, want %d", got, ex.opens)
			}
			for _, token := range append(w.fake.Live(), endedTokens(w.fake)...) {
				r.doesNotSay(t, "a token", token)
			}
			if ex.after != nil {
				ex.after(w)
			}
			if ex.noisy {
				r = w.must("plan", "-input=false")
				if !strings.Contains(r.Text(), "0 to add, 0 to change, 0 to destroy") && !strings.Contains(r.Text(), "No changes") {
					t.Errorf("the plan is not empty: %v", r)
				}
			} else {
				w.quiet()
			}
			w.destroy()
			noneLive(t, w.fake)
		})
	}
}

// The tests that show how a user tests a module: the one with a mocked provider
// sends nothing, and the one against an API leaves nothing.
func TestExamplesOfTests(t *testing.T) {
	w := newExample(t, "use-cases/module")
	w.must("test").says(t, "tests/mocked.tftest.hcl... pass", "2 passed, 0 failed")
	saw(t, w.fake, 1, 1, w.fake.Count(flametest.OpCheck)) // OpenTofu refreshes once more
	noneLive(t, w.fake)
}

// Both ways of import, each with the example of the resource.
func TestExamplesOfImport(t *testing.T) {
	const folder = "resources/flame_session"
	for _, name := range examples[folder].apart {
		t.Run(name, func(t *testing.T) {
			w := newExample(t, folder)
			token := openElsewhere(t, w.fake, 1)[0]
			w.setenv("FLAME_TOKEN", token)
			w.write(name, readExample(t, folder, name))
			if name == "import.sh" {
				if out, err := w.script(name, "terraform"); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			w.apply().says(t, "0 added, 1 changed, 0 destroyed")
			sameTokens(t, "alive", w.fake.Live(), token)
			w.agrees()
			w.quiet()
			if got := w.fake.Count(flametest.OpOpen); got != 0 {
				t.Errorf("%d sessions were opened", got)
			}
			w.destroy()
			noneLive(t, w.fake)
		})
	}
}

func TestExamplesAreFormatted(t *testing.T) {
	acceptance(t)
	dir, err := filepath.Abs(examplesDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newTerraform(t).Run(t.Context(), "fmt", "-check", "-diff", "-recursive", dir); err != nil {
		t.Errorf("run `make fmt`: %v", err)
	}
}
