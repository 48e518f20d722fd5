// SPDX-License-Identifier: MPL-2.0

package live

import (
	"fmt"
	"net/http"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/config"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"

	"github.com/flameanalytics/terraform-provider-flame/internal/probe"
)

const this = "flame_session.this"

// session returns a session with a body.
func session(body string) string {
	return fmt.Sprintf("resource \"flame_session\" \"this\" {\n  %s\n}\n", body)
}

// planned are plan checks of an action, before apply.
func planned(action plancheck.ResourceActionType) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(this, action)}}
}

// A session is opened, its token works, the next plan is empty, and destroy revokes it.
func TestAccSession_life(t *testing.T) {
	c := newCase(t)
	var token string
	c.run(resource.TestStep{Config: session(""), ConfigStateChecks: checks(c.alive(this, &token))})
	c.want(probe.Dead, token)
	c.says()
}

// A refresh notices that a session was revoked by hand, and the next apply opens another.
func TestAccSession_revokedElsewhere(t *testing.T) {
	c := newCase(t)
	var first, second string
	c.run(
		resource.TestStep{Config: session(""), ConfigStateChecks: checks(c.alive(this, &first))},
		resource.TestStep{PreConfig: func() { c.revoke(first) }, RefreshState: true, ExpectNonEmptyPlan: true},
		resource.TestStep{
			PreConfig: func() { c.says("The Flame session has ended elsewhere: session " + sessionID(first)) },
			Config:    session(""), ConfigPlanChecks: planned(plancheck.ResourceActionCreate),
			ConfigStateChecks: checks(c.alive(this, &second), c.replaced(&first, &second)),
		},
	)
	c.says()
}

// A rotation ends the old session and opens a new one.
func TestAccSession_rotated(t *testing.T) {
	c := newCase(t)
	var first, second, third string
	c.run(
		resource.TestStep{Config: session(`rotate_when_changed = { release = "1" }`), ConfigStateChecks: checks(c.alive(this, &first))},
		resource.TestStep{
			Config: session(`rotate_when_changed = { release = "2" }`), ConfigPlanChecks: planned(plancheck.ResourceActionDestroyBeforeCreate),
			ConfigStateChecks: checks(c.alive(this, &second), c.replaced(&first, &second)),
		},
		resource.TestStep{ // an age that any session has
			Config: session("rotate_when_changed = { release = \"2\" }\n  rotate_after = \"1ns\""), ConfigPlanChecks: planned(plancheck.ResourceActionDestroyBeforeCreate),
			ConfigStateChecks:  checks(c.alive(this, &third), c.replaced(&second, &third)),
			ExpectNonEmptyPlan: true,
		},
	)
	c.says()
}

// Terraform can force a replacement that the provider did not plan.
func TestAccSession_forced(t *testing.T) {
	c := newCase(t)
	triggered := func(release string) string {
		return session("lifecycle {\n    replace_triggered_by = [terraform_data.release]\n  }") +
			fmt.Sprintf("resource \"terraform_data\" \"release\" {\n  input = %q\n}\n", release)
	}
	var first, second, third string
	c.run(
		resource.TestStep{Config: triggered("1"), ConfigStateChecks: checks(c.alive(this, &first))},
		resource.TestStep{
			Config: triggered("2"), ConfigPlanChecks: planned(plancheck.ResourceActionDestroyBeforeCreate),
			ConfigStateChecks: checks(c.alive(this, &second), c.replaced(&first, &second)),
		},
		resource.TestStep{
			Taint: []string{this}, Config: triggered("2"),
			ConfigStateChecks: checks(c.alive(this, &third), c.replaced(&second, &third)),
		},
	)
	c.says()
}

// With create_before_destroy, the new session is opened first. What that does to both is up
// to the kind of account, and the provider says so.
func TestAccSession_createBeforeDestroy(t *testing.T) {
	c := newCase(t)
	rotating := func(release string) string {
		return session(fmt.Sprintf("rotate_when_changed = { release = %q }\n  lifecycle {\n    create_before_destroy = true\n  }", release))
	}
	var first, second string
	rotated := resource.TestStep{
		Config: rotating("2"), ConfigPlanChecks: planned(plancheck.ResourceActionCreateBeforeDestroy),
		ConfigStateChecks: checks(c.alive(this, &second), c.replaced(&first, &second)),
	}
	switch c.kind {
	case probe.Shared: // it is the same token, and is not revoked
		rotated.ConfigStateChecks = checks(c.alive(this, &second))
	case probe.Sweeping: // the revocation of the old one ends the new one too
		rotated.ConfigStateChecks = checks(c.holds(this, &second, probe.Dead), c.replaced(&first, &second))
		rotated.ExpectNonEmptyPlan = true
	}
	c.run(resource.TestStep{Config: rotating("1"), ConfigStateChecks: checks(c.alive(this, &first))}, rotated)
	switch c.kind {
	case probe.Shared:
		c.says("The Flame token is not revoked, because another session holds it: session "+sessionID(first), "nothing was rotated")
	case probe.Sweeping:
		c.says("A revocation has ended another Flame session: session " + sessionID(second))
	default:
		c.says()
	}
}

// Two sessions of one user live side by side, and the end of one leaves the other alone.
func TestAccSession_sideBySide(t *testing.T) {
	c := newCase(t)
	c.cannotHold(probe.Shared, "both have the same token")
	c.cannotHold(probe.Superseding, "the second login ends the first session")
	c.cannotHold(probe.Sweeping, "the end of one ends the other")
	var first, second string
	c.run(
		resource.TestStep{Config: session("count = 2"), ConfigStateChecks: checks(c.alive(this+"[0]", &first), c.alive(this+"[1]", &second))},
		resource.TestStep{Config: session("count = 1"), ConfigStateChecks: checks(c.alive(this+"[0]", &first), c.replaced(&second, &first))},
	)
	c.says()
}

// Two new sessions of one user, where a login gives the living token again.
func TestAccSession_twoShare(t *testing.T) {
	c := newCase(t)
	for _, kind := range []probe.Kind{probe.Independent, probe.Superseding, probe.Sweeping} {
		c.cannotHold(kind, "each login gives a new token")
	}
	var first, second string
	c.run(resource.TestStep{
		Config:            session("count = 2"),
		ConfigStateChecks: checks(c.alive(this+"[0]", &first), c.alive(this+"[1]", &second)),
	})
	if first != second {
		c.Error("the sessions have different tokens")
	}
	c.want(probe.Dead, first)
}

// Two new sessions of one user, where a login ends the earlier one: the provider says which.
func TestAccSession_oneEndsTheOther(t *testing.T) {
	c := newCase(t)
	for _, kind := range []probe.Kind{probe.Independent, probe.Shared, probe.Sweeping} {
		c.cannotHold(kind, "a login ends no session")
	}
	var dead []string
	c.run(resource.TestStep{
		Config: session("count = 2"), ExpectNonEmptyPlan: true, // which opens the dead one again
		ConfigStateChecks: checks(func(req statecheck.CheckStateRequest) error {
			for _, address := range []string{this + "[0]", this + "[1]"} {
				got, err := attributes(req, address)
				if err != nil {
					return err
				}
				token, _ := got["auth_token"].(string)
				if target.is(c.Context(), probe.Dead, token) == nil {
					dead = append(dead, token)
				}
			}
			if len(dead) != 1 {
				return fmt.Errorf("%d sessions have ended, want 1", len(dead))
			}
			return nil
		}),
	})
	c.says("A login has ended another Flame session: session " + sessionID(dead[0]))
}

// revoke_on_destroy = false leaves the token alive, and the provider says so.
func TestAccSession_leftAlive(t *testing.T) {
	c := newCase(t)
	var token string
	c.run(resource.TestStep{Config: session("revoke_on_destroy = false"), ConfigStateChecks: checks(c.alive(this, &token))})
	c.says(sessionID(token), "revoke_on_destroy")
	c.want(probe.Alive, token)
	c.revoke(token)
}

// A token from elsewhere is imported from a file or a variable, is not replaced, and is
// revoked in the end.
func TestAccSession_imported(t *testing.T) {
	for _, from := range []string{"file", "env"} {
		t.Run(from, func(t *testing.T) {
			c := newCase(t)
			token := c.login()
			id := "file:" + c.tokenFile(token)
			if from == "env" {
				c.Setenv("FLAME_LIVE_TOKEN", token)
				id = "env:FLAME_LIVE_TOKEN"
			}
			var held string
			c.run(
				resource.TestStep{
					Config:            session("") + fmt.Sprintf("import {\n  to = flame_session.this\n  id = %q\n}\n", id),
					ConfigStateChecks: checks(c.alive(this, &held)),
				},
				resource.TestStep{Config: session(""), PlanOnly: true},
			)
			if held != token {
				c.Error("another token is in the state")
			}
			c.want(probe.Dead, token)
			c.says()
		})
	}
}

// A token in a terraform_data is taken over, is not replaced, and is revoked in the end.
func TestAccSession_moved(t *testing.T) {
	c := newCase(t)
	const variable = "variable \"token\" {\n  sensitive = true\n}\n"
	token := c.login()
	variables := config.Variables{"token": config.StringVariable(token)}
	var held string
	c.run(
		resource.TestStep{Config: variable + "resource \"terraform_data\" \"session\" {\n  input = var.token\n}\n", ConfigVariables: variables},
		resource.TestStep{
			Config:          variable + session("") + "moved {\n  from = terraform_data.session\n  to   = flame_session.this\n}\n",
			ConfigVariables: variables, ConfigStateChecks: checks(c.alive(this, &held)),
		},
	)
	if held != token {
		c.Error("another token is in the state")
	}
	c.want(probe.Dead, token)
	c.says()
}

// An ephemeral session is opened and closed in each command that needs it.
func TestAccEphemeral_closed(t *testing.T) {
	c := newCase(t, tfversion.SkipBelow(tfversion.Version1_10_0))
	before := target.Opened()
	var token string
	c.run(resource.TestStep{
		Config: "ephemeral \"flame_session\" \"this\" {}\nprovider \"echo\" {\n  data = ephemeral.flame_session.this\n}\nresource \"echo\" \"this\" {}\n",
		ConfigStateChecks: checks(func(req statecheck.CheckStateRequest) error {
			got, err := attributes(req, "echo.this")
			if err != nil {
				return err
			}
			data, _ := got["data"].(map[string]any)
			token, _ = data["auth_token"].(string)
			return target.is(c.Context(), probe.Dead, token)
		}),
	})
	if opened := target.Opened() - before; opened == 0 || token == "" {
		c.Errorf("%d sessions were opened", opened)
	}
	c.says()
}

// An ephemeral session beside a managed one leaves it alone.
func TestAccEphemeral_besideManaged(t *testing.T) {
	c := newCase(t, tfversion.SkipBelow(tfversion.Version1_10_0))
	c.cannotHold(probe.Superseding, "the login of the ephemeral session ends the managed one")
	c.cannotHold(probe.Sweeping, "the end of the ephemeral session ends the managed one")
	var token string
	c.run(resource.TestStep{
		Config:            session("") + "ephemeral \"flame_session\" \"this\" {\n  depends_on = [flame_session.this]\n}\nprovider \"echo\" {\n  data = ephemeral.flame_session.this\n}\nresource \"echo\" \"this\" {}\n",
		ConfigStateChecks: checks(c.alive(this, &token)),
	})
	c.want(probe.Dead, token)
}

// The function returns a header that the API accepts.
func TestAccFunction_header(t *testing.T) {
	c := newCase(t)
	c.run(resource.TestStep{
		Config: session("") + "output \"header\" {\n  value     = provider::flame::authorization_header(flame_session.this.auth_token)\n  sensitive = true\n}\n",
		ConfigStateChecks: checks(func(req statecheck.CheckStateRequest) error {
			header, _ := req.State.Values.Outputs["header"].Value.(string)
			request, err := http.NewRequestWithContext(c.Context(), http.MethodGet, target.Endpoint().String()+"/organizations?page=1&per_page=1", nil)
			if err != nil {
				return err
			}
			request.Header.Set("Accept", "application/json")
			request.Header.Set("Authorization", header)
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				return err
			}
			if status := response.StatusCode; status/100 != 2 && status != http.StatusForbidden {
				err = fmt.Errorf("the API answers %d", status)
			}
			_ = response.Body.Close()
			return err
		}),
	})
	c.says()
}

// The action revokes a token from elsewhere.
func TestAccAction_revokes(t *testing.T) {
	c := newCase(t, tfversion.SkipBelow(tfversion.Version1_14_0))
	var token string
	variables := config.Variables{}
	c.run(resource.TestStep{
		PreConfig: func() { // not where the case is skipped
			token = c.login()
			variables["leaked"] = config.StringVariable(token)
		},
		ConfigVariables: variables,
		Config: `
variable "leaked" {
  sensitive = true
}
action "flame_session_revoke" "leaked" {
  config {
    auth_token = var.leaked
  }
}
resource "terraform_data" "leak" {
  lifecycle {
    action_trigger {
      events  = [after_create]
      actions = [action.flame_session_revoke.leaked]
    }
  }
}
`,
		ConfigStateChecks: checks(func(statecheck.CheckStateRequest) error { return target.is(c.Context(), probe.Dead, token) }),
	})
}

// A wrong password is sent once, and the right one works afterwards. It is the last case: an
// account may lock.
func TestAccSession_wrongPassword(t *testing.T) {
	c := newCase(t)
	var token string
	c.run(
		resource.TestStep{
			Config:      "provider \"flame\" {\n  password = \"not the password of this user\"\n}\n" + session(""),
			ExpectError: regexp.MustCompile("Could not open a Flame session"),
		},
		resource.TestStep{Config: session(""), ConfigStateChecks: checks(c.alive(this, &token))},
	)
	c.says("Could not open a Flame session")
}
