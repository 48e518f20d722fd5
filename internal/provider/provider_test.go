package provider

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// What `terraform validate` and `plan` find in the provider's arguments, and
// how they say it.
func TestProviderArguments(t *testing.T) {
	for name, test := range map[string]struct {
		argument string
		texts    []string // none: valid
	}{
		"all": {argument: `
			endpoint             = "https://127.0.0.1:1/api/v1"
			user                 = "ada"
			password             = "secret"
			request_timeout      = "1m30s"
			max_retries          = 20
			requests_per_second  = 0.5
			verify_sessions      = false
			insecure_skip_verify = false`},
		"endpoint without scheme":   {`endpoint = "flame.example/api/v1"`, []string{"The Flame endpoint is not usable", "it has no scheme"}},
		"endpoint empty":            {`endpoint = ""`, []string{"The Flame endpoint is not usable", "it is not a URL"}},
		"endpoint with other":       {`endpoint = "ftp://flame.example"`, []string{"its scheme is neither https nor http"}},
		"endpoint with user info":   {`endpoint = "https://ada:hunter2@flame.example"`, []string{"it holds a user name or password"}},
		"endpoint with query":       {`endpoint = "https://flame.example?key=hunter2"`, []string{"it has a query"}},
		"endpoint with fragment":    {`endpoint = "https://flame.example#hunter2"`, []string{"it has a fragment"}},
		"endpoint without host":     {`endpoint = "https:///api"`, []string{"it has no host name"}},
		"user empty":                {`user = ""`, []string{"user", "at least 1"}},
		"password empty":            {`password = ""`, []string{"password", "at least 1"}},
		"request_timeout no":        {`request_timeout = "soon"`, []string{"request_timeout", "duration"}},
		"request_timeout zero":      {`request_timeout = "0s"`, []string{"request_timeout", "not longer than zero"}},
		"max_retries negative":      {`max_retries = -1`, []string{"max_retries", "between 0 and 20"}},
		"max_retries too many":      {`max_retries = 21`, []string{"max_retries", "between 0 and 20"}},
		"requests_per_second zero":  {`requests_per_second = 0`, []string{"requests_per_second"}},
		"requests_per_second below": {`requests_per_second = -1`, []string{"requests_per_second"}},
		"ca_certificate no PEM":     {`ca_certificate = "ca.pem"`, []string{"No certificate in ca_certificate", "not its name"}},
		"ca_certificate empty":      {`ca_certificate = ""`, []string{"No certificate in ca_certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t, nil, fmt.Sprintf("provider \"flame\" {\n%s\n}\n%s", test.argument, oneSession))
			if test.texts == nil {
				w.must("validate")
				w.must("plan", "-input=false")
				return
			}
			for _, command := range []string{"validate", "plan"} {
				r := w.fails(test.texts, command)
				if strings.Contains(r.Stderr, "hunter2") && !strings.Contains(r.Stderr, "on main.tf") {
					t.Errorf("a secret is repeated: %v", r)
				}
			}
		})
	}
}

// Arguments stand over the environment; an empty variable counts as unset.
func TestProviderEnvironment(t *testing.T) {
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": "one", "bob": "two"}})
	w := newWorkspace(t, fake, oneSession)
	w.setenv(envUser, "ada")
	w.setenv(envPassword, "one")
	w.apply()
	if user := w.sessions()["this"].text("user"); user != "ada" {
		t.Errorf("user is %q", user)
	}
	w.destroy()

	w.write("main.tf", requireFlame+oneSession+"provider \"flame\" {\n  user = \"bob\"\n  password = \"two\"\n}\n")
	w.apply()
	if user := w.sessions()["this"].text("user"); user != "bob" {
		t.Errorf("user is %q", user)
	}
	w.destroy()

	w.write("main.tf", requireFlame+oneSession)
	w.setenv(envUser, "")
	w.setenv(envPassword, "")
	before := len(fake.Journal())
	w.fails([]string{
		"No user for this Flame session", "Set user here, or user in the provider block, or the environment variable FLAME_USER",
		"No password for this Flame session", "Set password_wo (or password) here, or password in the provider block, or the environment variable FLAME_PASSWORD",
	}, "plan", "-input=false")
	w.setenv(envEndpoint, "nonsense")
	w.fails([]string{"The Flame endpoint is not usable", "FLAME_ENDPOINT"}, "plan", "-input=false")
	w.setenv(envEndpoint, "")
	w.setenv(envUser, "ada")
	w.setenv(envPassword, "\xff")
	w.fails([]string{"FLAME_PASSWORD is not text"}, "plan", "-input=false")
	w.setenv(envPassword, "one")
	w.must("plan", "-input=false").says(t, `endpoint = "https://pull.flameanalytics.com/api/v1"`)
	if got := len(fake.Journal()); got != before {
		t.Errorf("planning sent %d requests", got-before)
	}
	if len(fake.Live()) != 0 {
		t.Error("a session is left alive")
	}
}

func TestProviderWarnings(t *testing.T) {
	w := newWorkspace(t, nil, oneSession+`
provider "flame" {
  endpoint             = "http://flame.example/api/v1"
  insecure_skip_verify = true
}
`)
	w.must("plan", "-input=false").says(t, "Passwords and tokens are sent unencrypted", "Use https", "TLS certificates are not verified", "ca_certificate")
}

// Requests go through the proxy that the environment names.
func TestProxy(t *testing.T) {
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
	w.apply()
	w.destroy()
	saw(t, fake, 1, 1, 1)
	w.agrees()
}

// User-Agent: Terraform, the provider, and what the environment appends.
func TestUserAgent(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	w.setenv("TF_APPEND_USER_AGENT", "pipeline/7\r\nX-Evil: 1")
	w.apply()
	got := fake.Journal()[0].Header.Get("User-Agent")
	if !strings.HasPrefix(got, "Terraform/1.") || !strings.Contains(got, " terraform-provider-flame/dev ") || !strings.HasSuffix(got, "pipeline/7X-Evil: 1") {
		t.Errorf("User-Agent is %q", got)
	}
	w.destroy()
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
		var rs resource.SchemaResponse
		newResource().Schema(ctx, resource.SchemaRequest{}, &rs)
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
	sources := p.DataSources(ctx)
	if len(attributes) < 25 || len(sources) != 0 {
		t.Errorf("%d attributes and %d data sources were looked at", len(attributes), len(sources))
	}
	secret := map[string]bool{"password": true, "auth_token": true}
	for path, a := range attributes {
		name := path[strings.LastIndex(path, ".")+1:]
		if a.sensitive != secret[name] {
			t.Errorf("%s: sensitive is %v", path, a.sensitive)
		}
		if len(a.description) < 20 || !strings.HasSuffix(strings.TrimSuffix(a.description, "`."), ".") && !strings.HasSuffix(a.description, "`.") {
			t.Errorf("%s: %q is no sentence", path, a.description)
		}
	}
}
