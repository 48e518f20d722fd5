// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// edited returns a session whose state and private data somebody has changed.
func edited(t *testing.T, run *protocolRun, session heldSession, attributes map[string]tftypes.Value, private string) heldSession {
	t.Helper()
	all := attributesOf(t, run, session.value)
	maps.Copy(all, attributes)
	session.value = sessionValue(t, run, all)
	if private != "" {
		var keys map[string][]byte
		err := json.Unmarshal(session.private, &keys)
		if err == nil {
			keys[privateKey] = []byte(private)
			session.private, err = json.Marshal(keys)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return session
}

// A state that does not say where the token belongs, or how long its revocation may
// take: nothing is sent, and the session is kept.
func TestEditedState(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := newSessionRun(t, fake, nil)
	created := createWith(t, run, nil)
	fake.Reset()
	unusable := []string{"ERROR: The session's endpoint is not usable", "Nothing was sent. Restore the state from a backup", "set revoke_on_destroy = false in the provider block"}
	nowhere := []string{"ERROR: The endpoint of the moved session is not known", "nothing was sent"}
	for name, test := range map[string]struct {
		attributes  map[string]tftypes.Value
		private     string
		read, ended []string
	}{
		"endpoint that is none": {map[string]tftypes.Value{"endpoint": stringValue("nonsense")}, "", unusable, unusable},
		"no endpoint":           {map[string]tftypes.Value{"endpoint": noString}, "", nowhere, nowhere},
		"timeout that is none":  {timeoutsWith("delete", "soon"), "", nil, []string{"ERROR: Timeout Cannot Be Parsed"}},
		"private data": {
			nil, "[]", []string{"ERROR: The state's private data cannot be read", "Restore the state from a backup"}, []string{"ERROR: The state's private data cannot be read"},
		},
	} {
		session := edited(t, run, created, test.attributes, test.private)
		if test.read != nil {
			read, err := run.read(t.Context(), session)
			if err != nil || read.token != created.token {
				t.Errorf("%s: a refresh loses the session: %v", name, err)
			}
			wantTexts(t, diagnosticsText(read.diags), test.read)
		}
		ended, err := run.ApplyResourceChange(t.Context(), &tfprotov6.ApplyResourceChangeRequest{
			TypeName: sessionType, PriorState: session.value, Config: nothing(t, run), PlannedState: nothing(t, run), PlannedPrivate: session.private,
		})
		if err != nil {
			t.Fatal(err)
		}
		if token := attributeOf(t, run.resource, ended.NewState, "auth_token"); !token.Equal(stringValue(created.token)) {
			t.Errorf("%s: a destroy loses the session", name)
		}
		wantTexts(t, diagnosticsText(ended.Diagnostics), test.ended)
	}
	saw(t, fake, 0, 0, 0)
}

// A refresh gives a session that was moved here the endpoint that its old state names, and
// does not need to be told of it again.
func TestRefreshResolvesMovedEndpoint(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := newSessionRun(t, fake, nil)
	created := createWith(t, run, nil)
	moved := edited(t, run, created, map[string]tftypes.Value{"endpoint": noString}, `{"imported":true,"moved_endpoint":"`+fake.URL()+`"}`)
	read, err := newSessionRun(t, fake, nil).read(t.Context(), moved)
	if err != nil || len(read.diags) > 0 {
		t.Fatal(err, diagnosticsText(read.diags))
	}
	if endpoint := attributeOf(t, run.resource, read.value, "endpoint"); !endpoint.Equal(stringValue(fake.URL())) {
		t.Errorf("the endpoint is %v", endpoint)
	}
	var keys map[string][]byte
	if err := json.Unmarshal(read.private, &keys); err != nil || strings.Contains(string(keys[privateKey]), "moved_endpoint") {
		t.Errorf("the private data is %s (%v)", keys[privateKey], err)
	}
}
