// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// storedSessions are the configurations that testdata/state-v*.tfstate were
// applied from: together they set every attribute, and one sets none.
var storedSessions = map[string]string{
	"nothing": ``,
	"everything": `
  user                = "` + flametest.User + `"
  password            = "` + flametest.Password + `"
  rotate_after        = "876000h" # a century
  rotate_when_changed = { release = "1", "two words" = "" }
  revoke_on_destroy   = true
  timeouts = {
    create = "1m"
    read   = "90s"
    delete = "2h45m"
  }`,
	"write_only": `
  password          = "` + flametest.Password + `"
  revoke_on_destroy = false`,
}

// State that an earlier version of this provider has stored goes on working:
// the plan is empty, and destroy revokes the tokens where they belong. There is
// one fixture for each version of the resource's schema, as this provider wrote
// it; where the schema gets a new version, add one and never change the others.
func TestStateStoredEarlier(t *testing.T) {
	needs(t, writeOnlyArguments)
	files, err := filepath.Glob("testdata/state-v*.tfstate")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".tfstate"), func(t *testing.T) {
			fixture, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fake := newFake(t, flametest.Config{Version: 2})
			w := newWorkspace(t, fake, "")
			configure(w, storedSessions)
			opened := openElsewhere(t, fake, len(storedSessions)+1)
			tokens := map[string]string{}
			placeholders := []string{"ENDPOINT", fake.URL()}
			for name := range storedSessions {
				token := opened[len(tokens)]
				tokens[name] = token
				placeholders = append(placeholders, "TOKEN-"+name, token, "ID-"+name, flame.NewToken(token).SessionID())
			}
			w.write("terraform.tfstate", strings.NewReplacer(placeholders...).Replace(string(fixture)))

			w.quiet()
			saw(t, fake, 0, 0, len(tokens))
			// Destroy needs nothing but the state.
			fake.Reset()
			w.write("sessions.tf", providerBlock("verify_sessions = false"))
			w.setenv(envUser, "")
			w.setenv(envPassword, "")
			w.setenv(envEndpoint, "https://flame.invalid/api/v1")
			w.apply()
			saw(t, fake, 0, len(tokens)-1, 0) // write_only has revoke_on_destroy = false
			sameTokens(t, "revoked by destroy", endedTokens(fake), tokens["nothing"], tokens["everything"])
			sameTokens(t, "alive at the end", fake.Live(), tokens["write_only"], opened[len(storedSessions)])
		})
	}
}
