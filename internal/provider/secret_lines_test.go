// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// Terraform prints the source line that a diagnostic points at. None may hold a
// secret.
func TestDiagnosticsPrintNoSecretLine(t *testing.T) {
	const secret = "s3cret-canary"
	for name, test := range map[string]struct {
		needs         []capability
		configuration string
		args          []string
		says          string
	}{
		"endpoint with user info, validate": {
			nil, providerBlock(`endpoint = "https://ada:`+secret+`@flame.example"`) + oneSession, []string{"validate"}, "The Flame endpoint is not usable",
		},
		"endpoint with user info, plan": {
			nil, providerBlock(`endpoint = "https://ada:`+secret+`@flame.example"`) + oneSession, []string{"plan", "-input=false"}, "The Flame endpoint is not usable",
		},
		"token of the action": {
			[]capability{actionBlocks},
			"action \"flame_session_revoke\" \"this\" {\n  config {\n    auth_token = \"Token token=" + secret + "\"\n  }\n}\n",
			[]string{"apply", "-auto-approve", "-input=false", "-invoke=action.flame_session_revoke.this"},
			"auth_token is not a valid token",
		},
	} {
		t.Run(name, func(t *testing.T) {
			needs(t, test.needs...)
			w := newWorkspace(t, newFake(t, flametest.Config{}), test.configuration)
			r := w.fails([]string{test.says}, test.args...)
			if strings.Contains(r.Stderr, secret) { // the plan of an action prints its arguments, which are not sensitive here
				t.Errorf("the error prints the secret: %v", r)
			}
		})
	}
}

// A Terraform that knows no write-only arguments is told so, on the whole block.
func TestWriteOnlyPasswordWithOldTerraform(t *testing.T) {
	run, err := newProtocolRun(t.Context(), flameArguments(newFake(t, flametest.Config{})))
	if err != nil {
		t.Fatal(err)
	}
	config, err := protocolValue(run.resource, map[string]tftypes.Value{"password": tftypes.NewValue(tftypes.String, "s3cret")})
	if err != nil {
		t.Fatal(err)
	}
	for allowed, want := range map[bool]int{true: 0, false: 1} {
		resp, err := run.ValidateResourceConfig(t.Context(), &tfprotov6.ValidateResourceConfigRequest{
			TypeName: sessionType, Config: config,
			ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: allowed},
		})
		if err != nil || len(resp.Diagnostics) != want {
			t.Fatalf("write-only allowed: %v: %v, %v", allowed, err, diagnosticsText(resp.Diagnostics))
		}
		for _, d := range resp.Diagnostics {
			if d.Attribute != nil {
				t.Errorf("%q points at %s", d.Summary, d.Attribute)
			}
		}
	}
}

// Diagnostics about other arguments still point at them, and those about secrets at
// the block.
func TestValidationPointsAtArguments(t *testing.T) {
	run, err := newProtocolRun(t.Context(), flameArguments(newFake(t, flametest.Config{})))
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
	timeouts := func(name, value string) map[string]tftypes.Value {
		all := map[string]tftypes.Value{"create": text("1m"), "read": text("1m"), "delete": text("1m")}
		all[name] = text(value)
		kinds := map[string]tftypes.Type{"create": tftypes.String, "read": tftypes.String, "delete": tftypes.String}
		return map[string]tftypes.Value{"timeouts": tftypes.NewValue(tftypes.Object{AttributeTypes: kinds}, all)}
	}
	for name, test := range map[string]struct {
		arguments map[string]tftypes.Value
		want      string // the path of the only diagnostic; "": none
		wants     int
	}{
		"an empty user":            {map[string]tftypes.Value{"user": text("")}, `AttributeName("user")`, 1},
		"an empty password":        {map[string]tftypes.Value{"password": text("")}, "", 1},
		"no time to create":        {timeouts("create", "0s"), `AttributeName("timeouts").AttributeName("create")`, 1},
		"less than none to read":   {timeouts("read", "-5m"), `AttributeName("timeouts").AttributeName("read")`, 1},
		"no time to delete":        {timeouts("delete", "0s"), `AttributeName("timeouts").AttributeName("delete")`, 1},
		"some time":                {timeouts("delete", "1ns"), "", 0},
		"no duration to create":    {timeouts("create", "soon"), `AttributeName("timeouts").AttributeName("create")`, 1},
		"rotate_after of no time":  {map[string]tftypes.Value{"rotate_after": text("0s")}, `AttributeName("rotate_after")`, 1},
		"rotate_after of any time": {map[string]tftypes.Value{"rotate_after": text("1ns")}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := protocolValue(run.resource, test.arguments)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := run.ValidateResourceConfig(t.Context(), &tfprotov6.ValidateResourceConfigRequest{
				TypeName: sessionType, Config: config,
				ClientCapabilities: &tfprotov6.ValidateResourceConfigClientCapabilities{WriteOnlyAttributesAllowed: true},
			})
			if err != nil || len(resp.Diagnostics) != test.wants {
				t.Fatalf("%v; %s", err, diagnosticsText(resp.Diagnostics))
			}
			for _, d := range resp.Diagnostics {
				if got := d.Attribute.String(); got != test.want {
					t.Errorf("%q points at %q, want %q", d.Summary, got, test.want)
				}
			}
		})
	}
}
