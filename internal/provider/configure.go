package provider

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// providerData is what a configured provider hands to everything it serves.
// One value lives as long as one run of Terraform over one provider block.
type providerData struct {
	client *flame.Client // nil while an argument that it needs is unknown
	// unknown names the arguments that the client waits for.
	unknown []string

	endpoint flame.Endpoint // zero while unknown
	user     types.String   // null: set nowhere
	password types.String   // null: set nowhere
	verify   bool

	sessions *sessions
}

// fromProvider gives the provider's data to what is served. It is nil before
// the provider was configured, as in `terraform validate`.
func fromProvider(data any, diags *diag.Diagnostics) *providerData {
	if data == nil {
		return nil
	}
	d, ok := data.(*providerData)
	if !ok {
		diags.AddError("Unexpected provider data",
			fmt.Sprintf("Configuring the provider gave a %T, which is a defect of the provider. Report it to its developers.", data))
	}
	return d
}

// The environment variables that stand in for provider arguments.
const (
	envEndpoint = "FLAME_ENDPOINT"
	envUser     = "FLAME_USER"
	envPassword = "FLAME_PASSWORD"
)

// fillFromEnvironment gives arguments that are not set the values of their
// environment variables. An empty variable counts as unset.
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
			diags.AddError("Environment variable "+name+" is not text",
				"The value of "+name+" is not valid UTF-8, so it cannot be sent as it is. Set it again in a UTF-8 locale, or set the provider's argument instead.")
			continue
		}
		*argument = types.StringValue(value)
	}
	return diags
}

// endpoint gives the base URL: zero while unknown, the default where not set.
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
		diags.AddAttributeError(path.Root("endpoint"), "The Flame endpoint is not usable",
			fmt.Sprintf("The endpoint, set as the provider's argument endpoint or in %s, cannot be used: %s. Give the base URL of the API, such as %s.",
				envEndpoint, err, flame.DefaultEndpoint))
	}
	return endpoint, diags
}

// rootCAs gives the roots to trust; nil: the system's.
func (m *providerModel) rootCAs() (*x509.CertPool, diag.Diagnostics) {
	var diags diag.Diagnostics
	if m.CACertificate.IsNull() || m.CACertificate.IsUnknown() {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a system without roots of its own
	}
	if !roots.AppendCertsFromPEM([]byte(m.CACertificate.ValueString())) {
		diags.AddAttributeError(path.Root("ca_certificate"), "No certificate in ca_certificate",
			"ca_certificate holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----. Give the content of the file, as file(\"ca.pem\") does, not its name.")
	}
	return roots, diags
}

// configured makes the provider's data of its arguments. Unknown arguments are
// no error: what needs them says so.
func (p *flameProvider) configured(m providerModel, terraformVersion string) (*providerData, diag.Diagnostics) {
	endpoint, diags := m.endpoint()
	if endpoint.Exposed() {
		diags.AddAttributeWarning(path.Root("endpoint"), "Passwords and tokens are sent unencrypted",
			"The endpoint is plain http to another machine, so everyone on the way can read the passwords and tokens that are sent. Use https.")
	}
	roots, moreDiags := m.rootCAs()
	diags.Append(moreDiags...)
	if m.InsecureSkipVerify.ValueBool() {
		diags.AddAttributeWarning(path.Root("insecure_skip_verify"), "TLS certificates are not verified",
			"While insecure_skip_verify is on, whoever stands between this machine and Flame can read the passwords and tokens that are sent. Trust the server's authority with ca_certificate instead.")
	}

	data := &providerData{
		endpoint: endpoint,
		user:     m.User,
		password: m.Password,
		verify:   m.VerifySessions.IsNull() || m.VerifySessions.ValueBool(),
		sessions: newSessions(),
	}
	for name, unknown := range map[string]bool{
		"request_timeout":      m.RequestTimeout.IsUnknown(),
		"max_retries":          m.MaxRetries.IsUnknown(),
		"requests_per_second":  m.RequestsPerSecond.IsUnknown(),
		"verify_sessions":      m.VerifySessions.IsUnknown(),
		"ca_certificate":       m.CACertificate.IsUnknown(),
		"insecure_skip_verify": m.InsecureSkipVerify.IsUnknown(),
	} {
		if unknown {
			data.unknown = append(data.unknown, name)
		}
	}
	if len(data.unknown) > 0 || diags.HasError() {
		return data, diags
	}

	config := flame.Config{
		UserAgent:          userAgent(terraformVersion, p.version),
		MaxRetries:         flame.DefaultMaxRetries,
		RequestsPerSecond:  m.RequestsPerSecond.ValueFloat64(),
		RootCAs:            roots,
		InsecureSkipVerify: m.InsecureSkipVerify.ValueBool(),
		BackoffCap:         p.backoffCap,
		Observe:            logAttempt,
	}
	if !m.MaxRetries.IsNull() {
		config.MaxRetries = int(m.MaxRetries.ValueInt64())
	}
	if !m.RequestTimeout.IsNull() {
		timeout, moreDiags := m.RequestTimeout.ValueGoDuration()
		diags.Append(moreDiags...)
		config.RequestTimeout = timeout
	}
	data.client = flame.New(config)
	return data, diags
}

// userAgent follows the convention of HashiCorp's own providers, with
// TF_APPEND_USER_AGENT at the end.
func userAgent(terraformVersion, version string) string {
	agent := fmt.Sprintf("Terraform/%s (+https://www.terraform.io) terraform-provider-flame/%s", terraformVersion, version)
	appended := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1 // it would make the header, and so every request, invalid
		}
		return r
	}, os.Getenv("TF_APPEND_USER_AGENT"))
	return strings.TrimSpace(agent + " " + strings.TrimSpace(appended))
}

// readyAtEndpoint is ready for what is sent to the provider's own endpoint.
func (d *providerData) readyAtEndpoint(diags *diag.Diagnostics) bool {
	if d != nil && d.endpoint.IsZero() {
		d.addUnknown(diags)
		return false
	}
	return d.ready(diags)
}

// ready reports whether requests can be sent; where not, an error says why.
func (d *providerData) ready(diags *diag.Diagnostics) bool {
	switch {
	case d == nil:
		diags.AddError("The provider is not configured",
			"Terraform asked for a request before it configured the provider, which is a defect of the provider or of Terraform. Report it.")
	case d.client == nil:
		d.addUnknown(diags)
	default:
		return true
	}
	return false
}

// addUnknown reports that no request can be sent yet.
func (d *providerData) addUnknown(diags *diag.Diagnostics) {
	diags.AddError("A provider argument is not known yet",
		fmt.Sprintf("The provider's %s has no value yet, so no request can be sent. Apply what it depends on first, for example with -target, and run again.", d.waitsFor(true)))
}

// waitsFor names the unknown arguments that a request waits for.
func (d *providerData) waitsFor(toProvidersEndpoint bool) string {
	unknown := slices.Clone(d.unknown)
	if toProvidersEndpoint && d.endpoint.IsZero() {
		unknown = append(unknown, "endpoint")
	}
	slices.Sort(unknown)
	return strings.Join(unknown, ", ")
}
