// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

var untrusted = []string{"no trusted TLS connection could be made", "certificate", "set the provider's ca_certificate"}

// Nothing is sent to a server whose certificate is not trusted, by any operation, and a
// session is kept.
func TestUntrustedCertificate(t *testing.T) {
	fake, another := newFake(t, flametest.Config{TLS: true}), newFake(t, flametest.Config{TLS: true})
	ctx, trusting := t.Context(), mustRun(t, flameArguments(fake))
	managed := createWith(t, trusting, nil)
	ephemeral, err := trusting.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_TOKEN", managed.token)
	for name, ca := range map[string]tftypes.Value{
		"the system's authorities": noString,
		"another authority":        stringValue(another.CACertificate()),
	} {
		fake.Reset()
		arguments := flameArguments(fake)
		arguments["ca_certificate"] = ca
		run := mustRun(t, arguments)
		told := map[string]string{"create": diagnosticsText(createWith(t, run, nil).diags)}
		read, err := run.read(ctx, managed)
		if err != nil || read.token != managed.token {
			t.Errorf("%s: a refresh loses the session: %v", name, err)
		}
		left, err := run.destroy(ctx, managed)
		if err != nil || left.token != managed.token {
			t.Errorf("%s: a destroy loses the session: %v", name, err)
		}
		imported, err := run.importFrom(ctx, "env:A_TOKEN")
		if err != nil || imported.token != "" {
			t.Errorf("%s: imported: %v", name, err)
		}
		opened, err := run.open(ctx)
		if err != nil || opened.token != "" {
			t.Errorf("%s: opened: %v", name, err)
		}
		closed, err := run.close(ctx, ephemeral)
		if err != nil {
			t.Error(err)
		}
		invoked, _, err := run.invoke(ctx, managed.token)
		if err != nil {
			t.Error(err)
		}
		told["read"], told["delete"], told["import"] = diagnosticsText(read.diags), diagnosticsText(left.diags), diagnosticsText(imported.diags)
		told["ephemeral open"], told["ephemeral close"], told["action"] = diagnosticsText(opened.diags), diagnosticsText(closed), diagnosticsText(invoked)
		for operation, text := range told {
			t.Log(name, operation)
			wantTexts(t, text, untrusted, "may have opened")
		}
		saw(t, fake, 0, 0, 0)
	}
	sameTokens(t, "alive", fake.Live(), managed.token, ephemeral.token)
}

// What has a server trusted: each certificate in ca_certificate, and
// insecure_skip_verify, but only if it is true.
func TestTrustedCertificate(t *testing.T) {
	fake, another := newFake(t, flametest.Config{TLS: true}), newFake(t, flametest.Config{TLS: true})
	truth := func(value bool) tftypes.Value { return tftypes.NewValue(tftypes.Bool, value) }
	for name, test := range map[string]struct {
		ca      string
		skip    *bool
		trusted bool
	}{
		"its own authority":    {fake.CACertificate(), nil, true},
		"the first of two":     {fake.CACertificate() + another.CACertificate(), nil, true},
		"the last of two":      {another.CACertificate() + "\n" + fake.CACertificate(), nil, true},
		"any":                  {"", new(true), true},
		"any, another trusted": {another.CACertificate(), new(true), true},
		"not any":              {"", new(false), false},
	} {
		fake.Reset()
		arguments := flameArguments(fake)
		arguments["ca_certificate"] = noString
		if test.ca != "" {
			arguments["ca_certificate"] = stringValue(test.ca)
		}
		if test.skip != nil {
			arguments["insecure_skip_verify"] = truth(*test.skip)
		}
		run, err := newProtocolRun(t.Context(), arguments)
		if warns := err != nil && strings.HasPrefix(err.Error(), "WARNING: TLS certificates are not verified"); warns != (test.skip != nil && *test.skip) || err != nil && !warns {
			t.Errorf("%s: %v", name, err)
		}
		created := createWith(t, run, nil)
		if trusted := created.token != "" && fake.Count(flametest.OpOpen) == 1; trusted != test.trusted {
			t.Errorf("%s: a session is opened: %t; %s", name, trusted, diagnosticsText(created.diags))
		}
	}
}

// The same with Terraform, which finds the system's authorities afresh: ca_certificate
// adds to them.
func TestTLSWithTerraform(t *testing.T) {
	fake, another := newFake(t, flametest.Config{TLS: true}), newFake(t, flametest.Config{TLS: true})
	w := newWorkspace(t, fake, oneSession)
	authority := func(name, content string) string {
		w.write(name, content)
		return filepath.Join(w.terraform.Dir, name)
	}
	own, foreign := authority("own.pem", fake.CACertificate()), authority("foreign.pem", another.CACertificate())
	w.fails(append(untrusted, "Could not open a Flame session"), "apply", "-auto-approve", "-input=false")
	saw(t, fake, 0, 0, 0)
	noneLive(t, fake)

	w.write("provider.tf", providerBlock(`ca_certificate = file("own.pem")`))
	w.apply()
	w.quiet()
	w.agrees()
	saw(t, fake, 1, 0, 1)

	w.write("provider.tf", providerBlock(`ca_certificate = file("foreign.pem")`))
	w.must("plan", "-input=false").says(t, append(untrusted, "could not be verified", "No changes.")...)
	w.fails(append(untrusted, "Could not revoke the Flame session"), "destroy", "-auto-approve", "-input=false", "-refresh=false")
	saw(t, fake, 1, 0, 1)
	w.agrees()

	w.setenv("SSL_CERT_FILE", own)
	w.setenv("SSL_CERT_DIR", filepath.Join(w.terraform.Dir, "none"))
	w.quiet()
	w.write("provider.tf", "") // the system's alone
	w.quiet()
	w.setenv("SSL_CERT_FILE", foreign)
	w.write("provider.tf", providerBlock("insecure_skip_verify = true"))
	w.destroy("-refresh=false").says(t, "TLS certificates are not verified")
	saw(t, fake, 1, 1, 3)
	noneLive(t, fake)
}
