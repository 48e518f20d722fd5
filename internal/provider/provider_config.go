// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// Environment variables that are used for provider arguments that are not set.
const (
	envEndpoint = "FLAME_ENDPOINT"
	envUser     = "FLAME_USER"
	envPassword = "FLAME_PASSWORD"
)

// fillFromEnvironment sets arguments that are not set from their environment
// variables. An empty variable counts as unset.
func (m *providerModel) fillFromEnvironment() diag.Diagnostics {
	var diags diag.Diagnostics
	for name, argument := range map[string]*types.String{
		envEndpoint: &m.Endpoint, envUser: &m.User, envPassword: &m.Password,
	} {
		value := os.Getenv(name)
		if !argument.IsNull() || value == "" {
			continue
		}
		if !utf8.ValidString(value) {
			diags.AddError("An environment variable is not valid UTF-8: "+name,
				"The provider cannot send the value of "+name+", because it is not valid UTF-8. Set it again in a UTF-8 locale, or set the provider's argument instead.")
			continue
		}
		*argument = types.StringValue(value)
	}
	return diags
}

// endpoint returns the base URL: zero if it is unknown, the default if it is not
// set.
func (m *providerModel) endpoint() (flame.Endpoint, diag.Diagnostics) {
	var diags diag.Diagnostics
	if m.Endpoint.IsUnknown() {
		return flame.Endpoint{}, nil
	}
	value := flame.DefaultEndpoint
	if !m.Endpoint.IsNull() {
		value = m.Endpoint.ValueString()
	}
	endpoint, err := flame.ParseEndpoint(value)
	if err != nil {
		// Not on the attribute: Terraform prints its line, which may hold a password.
		diags.AddError("The Flame endpoint is not usable",
			fmt.Sprintf("The provider cannot use the endpoint, set in the provider block or in %s: %s. Give the base URL of the API, such as %s.",
				envEndpoint, err, flame.DefaultEndpoint))
	}
	return endpoint, diags
}

// rootCAs returns the roots to trust. Nil means those of the system.
func (m *providerModel) rootCAs() (*x509.CertPool, diag.Diagnostics) {
	var diags diag.Diagnostics
	if m.CACertificate.IsNull() || m.CACertificate.IsUnknown() {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // the system has none
	}
	content, parsed := m.CACertificate.ValueString(), 0
	for block, rest := pem.Decode([]byte(content)); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			break
		}
		roots.AddCert(certificate)
		parsed++
	}
	switch blocks := strings.Count(content, "-----BEGIN "); {
	case blocks == 0:
		diags.AddAttributeError(path.Root("ca_certificate"), "No certificate in ca_certificate",
			"ca_certificate has no PEM certificate, which begins with -----BEGIN CERTIFICATE-----. Give the content of the file, as file(\"ca.pem\") does, not its name.")
	case parsed < blocks:
		diags.AddAttributeError(path.Root("ca_certificate"), "A block in ca_certificate is not a certificate",
			fmt.Sprintf("The provider cannot read block %d of %d in ca_certificate as a certificate. Give only PEM certificates, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.", parsed+1, blocks))
	}
	return roots, diags
}

// newProviderData returns the data for the arguments of the provider. Unknown
// arguments are no error: whoever needs them reports that.
func (p *flameProvider) newProviderData(m providerModel, terraformVersion string) (*providerData, diag.Diagnostics) {
	endpoint, diags := m.endpoint()
	if endpoint.Plaintext() {
		diags.AddAttributeWarning(path.Root("endpoint"), "Passwords and tokens are sent unencrypted",
			"The endpoint is plain http to another machine, so anyone who can intercept the connection can read its passwords and tokens. Use https.")
	}
	if m.InsecureSkipVerify.ValueBool() {
		diags.AddAttributeWarning(path.Root("insecure_skip_verify"), "TLS certificates are not verified",
			"While insecure_skip_verify is on, anyone who can intercept the connection can read its passwords and tokens. Set ca_certificate instead to trust the server's authority.")
	}
	config, moreDiags := p.clientConfig(m, terraformVersion)
	diags.Append(moreDiags...)
	data := &providerData{
		endpoint: endpoint,
		user:     m.User,
		password: m.Password,
		verify:   m.VerifySessions.IsNull() || m.VerifySessions.ValueBool(),
		revoke:   m.RevokeOnDestroy.IsNull() || m.RevokeOnDestroy.IsUnknown() || m.RevokeOnDestroy.ValueBool(),
		unknown:  m.unknownArguments(),
	}
	var client *flame.Client
	if len(data.unknown) == 0 {
		client = flame.New(config)
	}
	data.run = session.NewRun(client, p.orphaned)
	return data, diags
}

// unknownArguments names the unknown arguments without which there is no client.
func (m *providerModel) unknownArguments() (names []string) {
	for name, argument := range map[string]attr.Value{
		"request_timeout":      m.RequestTimeout,
		"max_retries":          m.MaxRetries,
		"requests_per_second":  m.RequestsPerSecond,
		"verify_sessions":      m.VerifySessions,
		"revoke_on_destroy":    m.RevokeOnDestroy,
		"ca_certificate":       m.CACertificate,
		"insecure_skip_verify": m.InsecureSkipVerify,
	} {
		if argument.IsUnknown() {
			names = append(names, name)
		}
	}
	return names
}

// clientConfig returns the configuration of the client, if all arguments are known.
func (p *flameProvider) clientConfig(m providerModel, terraformVersion string) (flame.Config, diag.Diagnostics) {
	roots, diags := m.rootCAs()
	config := flame.Config{
		UserAgent:          userAgent(terraformVersion, p.version),
		MaxRetries:         flame.DefaultMaxRetries,
		RequestsPerSecond:  m.RequestsPerSecond.ValueFloat64(),
		RootCAs:            roots,
		InsecureSkipVerify: m.InsecureSkipVerify.ValueBool(),
		FirstBackoff:       p.firstBackoff,
		Jitter:             p.jitter,
		DialContext:        p.dialContext,
		Watch:              p.watch,
		Observe:            logAttempt,
	}
	if !m.MaxRetries.IsNull() {
		config.MaxRetries = int(m.MaxRetries.ValueInt64())
	}
	if !m.RequestTimeout.IsNull() && !m.RequestTimeout.IsUnknown() {
		timeout, moreDiags := m.RequestTimeout.ValueGoDuration()
		diags.Append(moreDiags...)
		config.RequestTimeout = timeout
	}
	return config, diags
}

// userAgent returns a User-Agent like that of HashiCorp's own providers, with
// TF_APPEND_USER_AGENT at the end.
func userAgent(terraformVersion, version string) string {
	agent := fmt.Sprintf("Terraform/%s (+https://www.terraform.io) terraform-provider-flame/%s", terraformVersion, version)
	appended := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1 // it would make every request invalid
		}
		return r
	}, os.Getenv("TF_APPEND_USER_AGENT"))
	return strings.TrimSpace(agent + " " + strings.TrimSpace(appended))
}
