package provider

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const leakedToken = `
variable "leaked" {
  type      = string
  sensitive = true
}
action "flame_session_revoke" "leaked" {
  config {
    auth_token = var.leaked
  }
}
`

// invoke gives the arguments that have Terraform revoke the leaked token, and
// do nothing else.
func invoke(token string) []string {
	return []string{"apply", "-invoke=action.flame_session_revoke.leaked", "-auto-approve", "-input=false", "-var=leaked=" + token}
}

// doesNotSay fails the test where a text is in what the user saw.
func (r result) doesNotSay(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(r.Stdout+r.Stderr, text) || strings.Contains(r.Text(), text) {
		t.Errorf("%s is printed", what)
	}
}

// A leaked token is revoked by one DELETE that bears it; other sessions live on.
func TestActionRevokes(t *testing.T) {
	needs(t, actionBlocks)
	for name, config := range map[string]flametest.Config{
		"header": {},
		"body":   {RequireAccessToken: true},
		"204":    {RevokeStatus: 204},
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake(t, config)
			w := newWorkspace(t, fake, leakedToken)
			tokens := openElsewhere(t, fake, 2)
			w.must("validate")
			r := w.must(invoke(tokens[0])...)
			id := flame.NewToken(tokens[0]).SessionID()
			r.says(t, "Revoking session "+id+" at "+fake.URL(), "Session "+id+" is revoked")
			r.warned(t, 0)
			r.doesNotSay(t, "the token", tokens[0])
			deletes := []string{tokens[0]}
			if config.RequireAccessToken {
				deletes = append(deletes, tokens[0])
			}
			sameTokens(t, "revoked", endedTokens(fake), deletes...)
			saw(t, fake, 0, len(deletes), 0)
			sameTokens(t, "alive", fake.Live(), tokens[1])
			if state := w.read("terraform.tfstate"); strings.Contains(state, tokens[0]) {
				t.Error("the token is in the state")
			}
		})
	}
}

// A token that is dead already is what was wanted, and the user is told.
func TestActionOnDeadToken(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, leakedToken)
	token := openElsewhere(t, fake, 1)[0]
	fake.RevokeAll()
	for i, status := range []int{0, 401, 404, 410} {
		fake.Always(flametest.OpRevoke, nil)
		if status != 0 {
			fake.Always(flametest.OpRevoke, &flametest.Fault{Status: status})
		}
		r := w.must(invoke(token)...)
		r.says(t, "Session "+flame.NewToken(token).SessionID()+" was dead already")
		r.doesNotSay(t, "that it is revoked", "is revoked")
		saw(t, fake, 0, i+1, 0)
	}
}

// What the user reads when a token cannot be revoked.
func TestActionErrors(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, leakedToken+noRetries)
	token := openElsewhere(t, fake, 1)[0]
	for i, test := range []struct {
		fault flametest.Fault
		texts []string
	}{
		{flametest.Fault{Status: 500, Echo: true}, []string{"500 (server error)", "Run again later"}},
		{flametest.Fault{Status: 403, Echo: true}, []string{"403 (administrators only)"}},
		{flametest.Fault{Status: 302, Echo: true, Header: map[string][]string{"Location": {"https://elsewhere.example/"}}}, []string{"a redirect to https://elsewhere.example"}},
		{flametest.Fault{Drop: true}, []string{"Run again"}},
	} {
		fake.Always(flametest.OpRevoke, &test.fault)
		r := w.fails(append(test.texts, "Could not revoke the Flame session "+flame.NewToken(token).SessionID()), invoke(token)...)
		r.doesNotSay(t, "the token", token)
		saw(t, fake, 0, i+1, 0)
	}
	fake.Always(flametest.OpRevoke, nil)
	fake.Script(flametest.OpRevoke, flametest.Fault{Status: 503})
	w.write("main.tf", requireFlame+leakedToken)
	w.must(invoke(token)...).says(t, "Session "+flame.NewToken(token).SessionID()+" is revoked")
	noneLive(t, fake)
}

// What is no token is refused, and nothing is sent.
func TestActionRefuses(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, leakedToken)
	for value, text := range map[string]string{
		"":                       "it is empty",
		"Token token=canaryABC":  "it holds a space",
		"canaryABC\r\nX-Evil: 1": "it holds a control character",
		"canaryABC\x7f":          "it holds a control character",
		`"canaryABC"`:            "it holds a quote",
		"canaryABCü":             "it holds a character outside ASCII",
	} {
		r := w.fails([]string{"auth_token is not a valid token", text, "Nothing was sent", "Give the token alone"}, invoke(value)...)
		r.doesNotSay(t, "the value", "canaryABC")
	}
	w.write("main.tf", requireFlame+"action \"flame_session_revoke\" \"leaked\" {\n  config {\n    auth_token = \"\"\n  }\n}\n")
	w.fails([]string{"at least 1"}, "validate")
	w.write("main.tf", requireFlame+"action \"flame_session_revoke\" \"leaked\" {\n  config {}\n}\n")
	w.fails([]string{`The argument "auth_token" is required`}, "validate")
	saw(t, fake, 0, 0, 0)
}

// A provider that is configured with what no apply has made yet.
func TestActionWithUnknownProvider(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	token := openElsewhere(t, fake, 1)[0]
	w.setenv(envEndpoint, "")
	later := fmt.Sprintf("resource \"terraform_data\" \"later\" {\n  input = %q\n}\n", fake.URL())
	for _, test := range []struct{ name, argument string }{
		{"endpoint", `endpoint = terraform_data.later.output`},
		{"request_timeout", `request_timeout = terraform_data.later.output == "" ? "1s" : "2s"`},
	} {
		w.write("main.tf", requireFlame+leakedToken+later+providerBlock(test.argument))
		r := w.fails([]string{"A provider argument is not known yet", "The provider's " + test.name + " has no value yet", "-target"}, invoke(token)...)
		r.doesNotSay(t, "the token", token)
	}
	saw(t, fake, 0, 0, 0)
}

// Where a resource triggers it: of a token that is given, and of one that the
// same apply opens.
func TestActionTriggers(t *testing.T) {
	needs(t, actionBlocks)
	fake := newFake(t, flametest.Config{})
	const opened = `
resource "flame_session" "once" {}
action "flame_session_revoke" "once" {
  config {
    auth_token = flame_session.once.auth_token
  }
}
`
	trigger := func(name, event string) string {
		return fmt.Sprintf(`
resource "terraform_data" %q {
  depends_on = [flame_session.once]
  lifecycle {
    action_trigger {
      events  = [%s]
      actions = [action.flame_session_revoke.%[1]s]
    }
  }
}
`, name, event)
	}
	w := newWorkspace(t, fake, leakedToken+opened+trigger("leaked", "after_create")+trigger("once", "after_create"))
	token := openElsewhere(t, fake, 1)[0]
	w.setenv("TF_VAR_leaked", token)
	w.must("plan", "-input=false")
	saw(t, fake, 0, 0, 0)
	r := w.apply()
	once := w.sessions()["once"]
	sameTokens(t, "revoked", endedTokens(fake), token, once.text("auth_token"))
	saw(t, fake, 1, 2, 0)
	noneLive(t, fake)
	r.says(t, "Session "+flame.NewToken(token).SessionID()+" is revoked", "Session "+once.text("id")+" is revoked")
	r.doesNotSay(t, "the token", token)
	r.doesNotSay(t, "the token", once.text("auth_token"))
}

// A token that dies with the resource that it was handed to.
func TestActionBeforeDestroy(t *testing.T) {
	needs(t, destroyEvents)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, leakedToken+`
resource "terraform_data" "holder" {
  lifecycle {
    action_trigger {
      events  = [before_destroy]
      actions = [action.flame_session_revoke.leaked]
    }
  }
}
`)
	token := openElsewhere(t, fake, 1)[0]
	w.setenv("TF_VAR_leaked", token)
	w.apply()
	w.quiet()
	saw(t, fake, 0, 0, 0)
	r := w.destroy()
	r.says(t, "Session "+flame.NewToken(token).SessionID()+" is revoked")
	r.doesNotSay(t, "the token", token)
	sameTokens(t, "revoked", endedTokens(fake), token)
	noneLive(t, fake)
}
