// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	frameworkresource "github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// All arguments at once, right and wrong.
func TestAccProvider_arguments(t *testing.T) {
	acc := newAccTest(t, flametest.Config{TLS: true})
	acc.run(
		resource.TestStep{
			Config:      acc.configWith("max_retries = 21\n  request_timeout = \"0s\"", oneSession),
			ExpectError: regexp.MustCompile(`(?s)between 0 and 20.*longer than zero|longer than zero.*between 0 and 20`),
		},
		resource.TestStep{
			Config: acc.configWith(`
  request_timeout      = "1m30s"
  max_retries          = 20
  requests_per_second  = 100.5
  verify_sessions      = false
  ca_certificate       = `+hclString(acc.fake.CACertificate())+`
  insecure_skip_verify = false`, oneSession),
			ConfigStateChecks: []statecheck.StateCheck{
				acc.expectRequests("POST"), expectText("user", flametest.User), expectText("endpoint", acc.fake.URL()),
			},
		},
	)
	if n := acc.fake.Count(flametest.OpCheck); n != 0 {
		t.Errorf("%d sessions were checked in spite of verify_sessions = false", n)
	}
}

// What validation says of wrong arguments.
func TestProviderArguments(t *testing.T) {
	trusted := newFake(t, flametest.Config{TLS: true}).CACertificate()
	for _, test := range []struct {
		argument string
		value    any
		texts    []string
	}{
		{"endpoint", "flame.example/api/v1", []string{"The Flame endpoint is not usable", "it has no scheme"}},
		{"endpoint", "", []string{"The Flame endpoint is not usable", "it is not a URL"}},
		{"endpoint", "ftp://flame.example", []string{"its scheme is neither https nor http"}},
		{"endpoint", "https://ada:hunter2@flame.example", []string{"it holds a user name or password"}},
		{"endpoint", "https://flame.example?key=hunter2", []string{"it has a query"}},
		{"endpoint", "https://flame.example#hunter2", []string{"it has a fragment"}},
		{"endpoint", "https:///api", []string{"it has no host name"}},
		{"user", "", []string{"at least 1"}},
		{"password", "", []string{"at least 1"}},
		{"request_timeout", "soon", []string{"duration"}},
		{"request_timeout", "0s", []string{"not longer than zero"}},
		{"max_retries", -1, []string{"between 0 and 20"}},
		{"max_retries", 21, []string{"between 0 and 20"}},
		{"requests_per_second", 0, nil},
		{"requests_per_second", -1, nil},
		{"ca_certificate", "ca.pem", []string{"No certificate in ca_certificate", "not its name"}},
		{"ca_certificate", "", []string{"No certificate in ca_certificate"}},
		{"ca_certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", []string{"A block in ca_certificate is not a certificate", "block 1 of 1"}},
		{"ca_certificate", trusted + "-----BEGIN CERTIFICATE-----\ncut off", []string{"block 2 of 2"}},
	} {
		wantInvalid(t, "provider", test.argument, test.value, test.texts, "hunter2")
		if test.argument != "ca_certificate" {
			continue
		}
		// It may have been unknown when it was validated.
		_, err := newProtocolRun(t.Context(), map[string]tftypes.Value{test.argument: tftypes.NewValue(tftypes.String, test.value)})
		wantTexts(t, fmt.Sprint(err), test.texts)
	}
}

// Arguments stand over the environment, and an empty variable counts as unset.
// Sets the environment, so it is not parallel to other tests.
func TestProviderEnvironment(t *testing.T) {
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "one", "bob": "two"}})
	bob := map[string]tftypes.Value{"user": tftypes.NewValue(tftypes.String, "bob"), "password": tftypes.NewValue(tftypes.String, "two")}
	for name, test := range map[string]struct {
		endpoint, user, password string
		arguments                map[string]tftypes.Value
		sent, fails              []string
	}{
		"environment": {fake.URL(), "ada", "one", nil, []string{`"user":"ada"`, `"password":"one"`}, nil},
		"arguments":   {fake.URL(), "ada", "one", bob, []string{`"user":"bob"`, `"password":"two"`}, nil},
		"empty": {fake.URL(), "", "", nil, nil, []string{
			"No user for this Flame session", "Set user here or in the provider block, or set the environment variable FLAME_USER",
			"No password for this Flame session", "Set password here or in the provider block, or set the environment variable FLAME_PASSWORD",
		}},
		"no URL":   {"nonsense", "ada", "one", nil, nil, []string{"The Flame endpoint is not usable", "FLAME_ENDPOINT"}},
		"not text": {fake.URL(), "ada", "\xff", nil, nil, []string{"An environment variable is not valid UTF-8: FLAME_PASSWORD"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envEndpoint, test.endpoint)
			t.Setenv(envUser, test.user)
			t.Setenv(envPassword, test.password)
			before := len(fake.Journal())
			run, err := newProtocolRun(t.Context(), test.arguments)
			var held heldSession
			if err == nil {
				held, err = run.create(t.Context())
			}
			if test.fails != nil {
				if err == nil || len(fake.Journal()) != before {
					t.Fatalf("got %v after %d requests, want an error before any", err, len(fake.Journal())-before)
				}
				wantTexts(t, err.Error(), test.fails)
				return
			}
			if err != nil || len(held.diags) > 0 {
				t.Fatal(err, diagnosticsText(held.diags))
			}
			wantTexts(t, string(fake.Journal()[before].Body), test.sent)
			if _, err := run.destroy(t.Context(), held); err != nil {
				t.Error(err)
			}
		})
	}
	noneLive(t, fake)
	t.Setenv(envEndpoint, "")
	run := mustRun(t, bob)
	config, err := protocolValue(run.resource, nil)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := run.PlanResourceChange(t.Context(), &tfprotov6.PlanResourceChangeRequest{TypeName: sessionType, PriorState: &tfprotov6.DynamicValue{MsgPack: []byte{0xc0}}, Config: config, ProposedNewState: config})
	if err != nil || !strings.Contains(string(plan.PlannedState.MsgPack), "https://pull.flameanalytics.com/api/v1") {
		t.Errorf("the default endpoint is not planned: %v", err)
	}
}

func TestProviderWarnings(t *testing.T) {
	schemas, err := providerSchema()
	if err != nil {
		t.Fatal(err)
	}
	config, err := protocolValue(schemas.Provider.Block, map[string]tftypes.Value{
		"endpoint": tftypes.NewValue(tftypes.String, "http://flame.example/api/v1"), "insecure_skip_verify": tftypes.NewValue(tftypes.Bool, true),
	})
	if err != nil {
		t.Fatal(err)
	}
	configured, err := mustRun(t, nil).ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{TerraformVersion: "1.11.0", Config: config})
	if err != nil {
		t.Fatal(err)
	}
	wantTexts(t, diagnosticsText(configured.Diagnostics), []string{
		"WARNING: Passwords and tokens are sent unencrypted", "Use https", "WARNING: TLS certificates are not verified", "ca_certificate",
	}, "ERROR")
	for i, argument := range []string{"endpoint", "insecure_skip_verify"} {
		if got, want := configured.Diagnostics[i].Attribute.String(), fmt.Sprintf("AttributeName(%q)", argument); got != want {
			t.Errorf("the warning points at %s, want %s", got, want)
		}
	}
}

// Requests go through the proxy that the environment names. Their User-Agent names
// Terraform, the provider, and what the environment appends.
func TestProxyAndUserAgent(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	target, err := url.Parse(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	target.Path = ""
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})
	t.Cleanup(proxy.Close)
	w := newWorkspace(t, fake, oneSession)
	w.setenv(envEndpoint, "http://flame.invalid/api/v1") // no proxy is used for this machine
	w.setenv("HTTP_PROXY", proxy.URL)
	w.setenv("TF_APPEND_USER_AGENT", "pipeline/7\r\nX-Evil: 1")
	w.apply()
	w.destroy()
	saw(t, fake, 1, 1, 1)
	w.agrees()
	for _, request := range fake.Journal() {
		got := request.Header.Get("User-Agent")
		if !strings.HasPrefix(got, "Terraform/1.") || !strings.Contains(got, " terraform-provider-flame/dev ") || !strings.HasSuffix(got, "pipeline/7X-Evil: 1") {
			t.Errorf("User-Agent is %q", got)
		}
	}
}

// Each attribute is described in full sentences, and each that holds a secret
// is marked so.
func TestSchemas(t *testing.T) {
	ctx := context.Background()
	p := &flameProvider{version: "test"}
	var ps provider.SchemaResponse
	p.Schema(ctx, provider.SchemaRequest{}, &ps)
	if diags := ps.Schema.ValidateImplementation(ctx); diags.HasError() {
		t.Error(diags)
	}
	type attribute struct {
		description string
		sensitive   bool
	}
	attributes := map[string]attribute{}
	for name, a := range ps.Schema.Attributes {
		attributes["provider."+name] = attribute{a.GetMarkdownDescription(), a.IsSensitive()}
	}
	for _, newResource := range p.Resources(ctx) {
		var rs frameworkresource.SchemaResponse
		newResource().Schema(ctx, frameworkresource.SchemaRequest{}, &rs)
		if diags := rs.Schema.ValidateImplementation(ctx); diags.HasError() {
			t.Error(diags)
		}
		for name, a := range rs.Schema.Attributes {
			attributes["resource."+name] = attribute{a.GetMarkdownDescription(), a.IsSensitive()}
			if nested, ok := a.(schema.SingleNestedAttribute); ok {
				for inner, a := range nested.Attributes {
					attributes["resource."+name+"."+inner] = attribute{a.GetDescription() + a.GetMarkdownDescription(), a.IsSensitive()}
				}
			}
		}
	}
	for _, newEphemeral := range p.EphemeralResources(ctx) {
		var es ephemeral.SchemaResponse
		newEphemeral().Schema(ctx, ephemeral.SchemaRequest{}, &es)
		if diags := es.Schema.ValidateImplementation(ctx); diags.HasError() {
			t.Error(diags)
		}
		for name, a := range es.Schema.Attributes {
			attributes["ephemeral."+name] = attribute{a.GetMarkdownDescription(), a.IsSensitive()}
		}
	}
	sources := p.DataSources(ctx)
	if len(attributes) < 35 || len(sources) != 0 {
		t.Errorf("%d attributes and %d data sources were looked at", len(attributes), len(sources))
	}
	secret := map[string]bool{"password": true, "auth_token": true}
	writeOnly := "resource.password" // never stored, so there is nothing to mark
	for path, a := range attributes {
		name := path[strings.LastIndex(path, ".")+1:]
		if a.sensitive != (secret[name] && path != writeOnly) {
			t.Errorf("%s: sensitive is %v", path, a.sensitive)
		}
		if len(a.description) < 20 || !strings.HasSuffix(strings.TrimSuffix(a.description, "`."), ".") && !strings.HasSuffix(a.description, "`.") {
			t.Errorf("%s: %q is no sentence", path, a.description)
		}
	}
}
