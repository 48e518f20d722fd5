// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// revokeOn is an action that revokes the token, and a resource that triggers it. The
// resource comes after the session.
func revokeOn(event, name, token string) string {
	return fmt.Sprintf(`
action "flame_session_revoke" %[2]q {
  config {
    auth_token = %[3]s
  }
}
resource "terraform_data" %[2]q {
  depends_on = [flame_session.this]
  lifecycle {
    action_trigger {
      events  = [%[1]s]
      actions = [action.flame_session_revoke.%[2]s]
    }
  }
}
`, event, name, token)
}

// An apply revokes a token that leaked, and the one of a session that it opens.
func TestAccSessionRevoke_afterCreate(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, actionBlocks)
	leaked := openElsewhere(t, acc.fake, 1)[0]
	acc.run(
		resource.TestStep{
			Config:      acc.config("action \"flame_session_revoke\" \"this\" {\n  config {}\n}\n"),
			ExpectError: regexp.MustCompile(`The argument "auth_token" is required`),
		},
		resource.TestStep{
			Config: acc.config(oneSession, revokeOn("after_create", "leaked", fmt.Sprintf("sensitive(%q)", leaked)), revokeOn("after_create", "once", "flame_session.this.auth_token")),
			ConfigStateChecks: []statecheck.StateCheck{
				statecheck.ExpectKnownValue(this, tfjsonpath.New("auth_token"), knownvalue.StringFunc(func(token string) error {
					if ended := endedTokens(acc.fake); !slices.Contains(ended, token) || !slices.Contains(ended, leaked) || len(acc.fake.Live()) > 0 {
						return errors.New("not both tokens are revoked")
					}
					return nil
				})),
				acc.expectRequests("POST", "DELETE", "DELETE"),
			},
			ExpectNonEmptyPlan: true, // a new session for the revoked one
		},
	)
}

// A token is revoked with the resource that it was handed to, before its destruction
// or after: the destroy at the end leaves none alive.
func TestAccSessionRevoke_aroundDestroy(t *testing.T) {
	for _, event := range []string{"before_destroy", "after_destroy"} {
		t.Run(event, func(t *testing.T) {
			acc := newAccTest(t, flametest.Config{}, destroyEvents)
			leaked := openElsewhere(t, acc.fake, 1)[0]
			acc.run(resource.TestStep{
				Config:            acc.config(oneSession, revokeOn(event, "holder", fmt.Sprintf("sensitive(%q)", leaked))),
				ConfigStateChecks: []statecheck.StateCheck{acc.expectRequests("POST")},
			})
			if ended := endedTokens(acc.fake); len(ended) != 2 || !slices.Contains(ended, leaked) {
				t.Errorf("%d tokens were revoked, or another", len(ended))
			}
		})
	}
}

// The command runs the action on its own, and prints no token.
func TestActionInvoked(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession+"variable \"leaked\" {\n  sensitive = true\n}\n"+revokeOn("after_create", "leaked", "var.leaked"))
	tokens := openElsewhere(t, fake, 2)
	w.setenv("TF_VAR_leaked", tokens[0])
	r := w.must("apply", "-invoke=action.flame_session_revoke.leaked", "-auto-approve", "-input=false")
	id := flame.NewToken(tokens[0]).SessionID()
	r.says(t, "Revoking session "+id+" at "+fake.URL(), "Session "+id+" is revoked")
	r.warned(t, 0)
	r.doesNotSay(t, "the token", tokens[0])
	saw(t, fake, 0, 1, 0)
	sameTokens(t, "alive", fake.Live(), tokens[1])
	if strings.Contains(w.read("terraform.tfstate"), tokens[0]) {
		t.Error("the token is in the state")
	}
}

// What the action tells while it runs, and what it sends.
func TestActionInvoke(t *testing.T) {
	fail := func(fault flametest.Fault) *flametest.Fault { return &fault }
	for name, test := range map[string]struct {
		config  flametest.Config
		dead    bool // before the action
		first   *flametest.Fault
		fault   *flametest.Fault
		deletes int
		checks  int
		ends    string // the last message
		fails   []string
	}{
		"200":                   {deletes: 1, ends: "is revoked"},
		"204":                   {config: flametest.Config{RevokeStatus: 204}, deletes: 1, ends: "is revoked"},
		"token in the body":     {config: flametest.Config{RequireAccessToken: true}, deletes: 2, ends: "is revoked"},
		"retried":               {first: fail(flametest.Fault{Status: 503}), deletes: 2, ends: "is revoked"},
		"dead":                  {dead: true, deletes: 1, ends: "was dead already"},
		"dead, 401":             {dead: true, fault: fail(flametest.Fault{Status: 401}), deletes: 1, ends: "was dead already"},
		"dead, 404":             {dead: true, fault: fail(flametest.Fault{Status: 404}), deletes: 1, checks: 1, ends: "was dead already"},
		"dead, 410":             {dead: true, fault: fail(flametest.Fault{Status: 410}), deletes: 1, checks: 1, ends: "was dead already"},
		"server error":          {fault: fail(flametest.Fault{Status: 500, Echo: true}), deletes: 1, fails: []string{"500 (server error)", "Run again later"}},
		"administrators only":   {fault: fail(flametest.Fault{Status: 403, Echo: true}), deletes: 1, fails: []string{"403 (administrators only)"}},
		"redirect":              {fault: fail(flametest.Fault{Status: 302, Echo: true, Header: http.Header{"Location": {"https://elsewhere.example/"}}}), deletes: 1, fails: []string{"a redirect to https://elsewhere.example"}},
		"connection that drops": {fault: fail(flametest.Fault{Drop: true}), deletes: 1, fails: []string{"Run again"}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, test.config)
			tokens := openElsewhere(t, fake, 2)
			if test.dead {
				fake.RevokeAll()
			}
			fake.Always(flametest.OpRevoke, test.fault)
			arguments := flameArguments(fake)
			if test.first != nil {
				fake.Script(flametest.OpRevoke, *test.first)
			} else {
				arguments["max_retries"] = tftypes.NewValue(tftypes.Number, 0)
			}
			diags, progress, err := mustRun(t, arguments).invoke(t.Context(), tokens[0])
			if err != nil {
				t.Fatal(err)
			}
			got, id := diagnosticsText(diags), flame.NewToken(tokens[0]).SessionID()
			messages := []string{"Revoking session " + id + " at " + fake.URL()}
			if test.ends != "" {
				messages = append(messages, "Session "+id+" "+test.ends)
			} else {
				wantTexts(t, got, append(test.fails, "ERROR: Could not revoke the Flame session "+id), tokens[0])
			}
			if !slices.Equal(progress, messages) || (got == "") != (test.ends != "") {
				t.Errorf("got the messages %q and %s", progress, got)
			}
			sameTokens(t, "revoked", endedTokens(fake), slices.Repeat(tokens[:1], test.deletes)...)
			saw(t, fake, 0, test.deletes, test.checks)
			live := map[bool][]string{true: tokens[1:], false: tokens}[test.ends != ""]
			if test.dead {
				live = nil
			}
			sameTokens(t, "alive", fake.Live(), live...)
		})
	}
}

// On an account whose revocations end all tokens of the user, the action tells of the
// session that it has ended, as a warning and, because Terraform drops the warnings of an
// action that a lifecycle triggers, as progress. From then on it spares live sessions.
func TestActionSweeps(t *testing.T) {
	fake := newFake(t, flametest.Config{Kind: flametest.Sweeping})
	run := newSessionRun(t, fake, nil)
	ended := createWith(t, run, nil)
	leaked := openElsewhere(t, fake, 1)[0]
	diags, progress, err := run.invoke(t.Context(), leaked)
	if err != nil {
		t.Fatal(err)
	}
	id, endedID := flame.NewToken(leaked).SessionID(), flame.NewToken(ended.token).SessionID()
	expectDiagnostics(t, diags, aWarning, "A revocation has ended another Flame session: session "+endedID, "until session "+id+" of the same user was revoked")
	if len(diags) != 1 {
		t.Fatalf("want one warning, got %s", diagnosticsText(diags))
	}
	want := []string{
		"Revoking session " + id + " at " + fake.URL(), "Session " + id + " is revoked",
		"Warning: " + diags[0].Summary + ". " + diags[0].Detail,
	}
	if !slices.Equal(progress, want) {
		t.Errorf("got the messages %q", progress)
	}
	saw(t, fake, 0, 1, 1)

	alive := createWith(t, run, nil)
	leaked = openElsewhere(t, fake, 1)[0]
	diags, progress, err = run.invoke(t.Context(), leaked)
	if err != nil {
		t.Fatal(err)
	}
	id, aliveID := flame.NewToken(leaked).SessionID(), flame.NewToken(alive.token).SessionID()
	expectDiagnostics(t, diags, anError, "The Flame token is not revoked, because that would end another session: session "+id,
		"Revoking session "+id+" would end session "+aliveID+" too", "nothing was sent")
	if len(diags) != 1 || len(progress) != 1 {
		t.Errorf("want one error and one message, got %s and %q", diagnosticsText(diags), progress)
	}
	saw(t, fake, 0, 0, 0)
	sameTokens(t, "alive", fake.Live(), alive.token, leaked)
}

// The action sends nothing if its token or the provider's arguments are of no use.
func TestActionRefuses(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := mustRun(t, flameArguments(fake))
	refuses := func(run *protocolRun, token string, texts ...string) {
		t.Helper()
		diags, progress, err := run.invoke(t.Context(), token)
		if err != nil || len(progress) > 0 {
			t.Errorf("%q: got %v and %q", token, err, progress)
		}
		wantTexts(t, diagnosticsText(diags), append(texts, "ERROR: "), "canaryABC")
	}
	for token, text := range map[string]string{
		"":                       "it is empty",
		"Token token=canaryABC":  "it holds a space",
		"canaryABC\r\nX-Evil: 1": "it holds a control character",
		"canaryABC\x7f":          "it holds a control character",
		`"canaryABC"`:            "it holds a quote",
		"canaryABCü":             "it holds a character outside ASCII",
	} {
		refuses(run, token, "auth_token is not a valid token", text, "Nothing was sent", "Give the token alone")
	}
	wantInvalid(t, "action", "auth_token", "", []string{"at least 1"})
	for _, name := range []string{"endpoint", "request_timeout"} {
		arguments := flameArguments(fake)
		arguments[name] = unknownString
		refuses(mustRun(t, arguments), "canaryABC", "A provider argument is not known yet", "The provider's "+name+" has no value yet", "-target")
	}
	saw(t, fake, 0, 0, 0)
}
