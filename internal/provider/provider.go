// SPDX-License-Identifier: MPL-2.0

// Package provider is the Terraform provider for Flame Analytics: its schemas,
// plans, states and diagnostics, and the server that Terraform starts. It is the
// only package that knows Terraform. What happens to tokens is in package session.
package provider

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/float64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// Address is the provider's address in the registry of Terraform.
const Address = "registry.terraform.io/flameanalytics/flame"

var (
	_ provider.Provider                       = (*flameProvider)(nil)
	_ provider.ProviderWithValidateConfig     = (*flameProvider)(nil)
	_ provider.ProviderWithEphemeralResources = (*flameProvider)(nil)
	_ provider.ProviderWithActions            = (*flameProvider)(nil)
	_ provider.ProviderWithFunctions          = (*flameProvider)(nil)
)

type (
	dialContext func(ctx context.Context, network, address string) (net.Conn, error)
	watch       func(http.RoundTripper) http.RoundTripper
)

type flameProvider struct {
	version      string // part of the User-Agent
	now          func() time.Time
	firstBackoff time.Duration  // see flame.Config
	jitter       func() float64 // see flame.Config
	orphaned     func() bool    // reports whether Terraform died
	dialContext  dialContext    // see flame.Config
	watch        watch          // see flame.Config

	mu   sync.Mutex
	runs []*session.Run // one for each time the provider was configured
}

// unclosedTimeout bounds the revocation of ephemeral sessions at exit. Terraform
// kills a provider that does not exit within two seconds; see
// https://github.com/hashicorp/go-plugin/blob/v1.8.0/client.go (Kill).
const unclosedTimeout = 1800 * time.Millisecond

// revokeUnclosed revokes the ephemeral sessions that Terraform has not closed. It
// closes none that a failed resource was using, and none at all if it was
// interrupted, but it ends the provider.
func (p *flameProvider) revokeUnclosed() {
	ctx, cancel := context.WithTimeout(context.Background(), unclosedTimeout)
	defer cancel()
	for _, run := range p.configured() {
		run.RevokeUnclosed(ctx)
	}
}

// configured returns the runs of this process: one for each configuration.
func (p *flameProvider) configured() []*session.Run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.runs)
}

func (p *flameProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "flame"
	resp.Version = p.version
}

func (p *flameProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	notEmpty := []validator.String{stringvalidator.LengthAtLeast(1)}
	resp.Schema = schema.Schema{
		MarkdownDescription: "Opens, checks, rotates and revokes sessions of the Flame Analytics API, and hands their tokens to other resources.",
		Attributes: map[string]schema.Attribute{
			"endpoint": schema.StringAttribute{
				Optional: true,
				MarkdownDescription: "Base URL of the Flame API, path included. The provider appends `sessions`. It must be an absolute `https` or `http` URL without user name, query or fragment. " +
					"Set it here, or in the environment variable `FLAME_ENDPOINT`. The default is `https://pull.flameanalytics.com/api/v1`. " +
					"Plain `http` to another machine sends passwords and tokens unencrypted, and the provider warns.",
			},
			"user": schema.StringAttribute{
				Optional:            true,
				Validators:          notEmpty,
				MarkdownDescription: "Login of the sessions that do not set `user`. Set it here, or in the environment variable `FLAME_USER`. It is printed and stored with each session, so do not use a secret.",
			},
			"password": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				Validators:          notEmpty,
				MarkdownDescription: "Password of the sessions that do not set `password`. It is never stored in the state. Set it in the environment variable `FLAME_PASSWORD`, or here, from a variable that is `ephemeral`. If the variable is only `sensitive`, a saved plan holds it.",
			},
			"request_timeout": schema.StringAttribute{
				Optional:            true,
				CustomType:          timetypes.GoDurationType{},
				Validators:          []validator.String{positiveDuration{}},
				MarkdownDescription: "How long one HTTP request may take, from connecting to the last byte of the answer. A duration such as `\"30s\"`, which is the default.",
			},
			"max_retries": schema.Int64Attribute{
				Optional:            true,
				Validators:          []validator.Int64{int64validator.Between(0, 20)},
				MarkdownDescription: "How many times to retry a request after a transient failure, from 0 to 20. The default is 5. A 429 (too many requests) does not count: the provider retries it until the operation's own timeout.",
			},
			"requests_per_second": schema.Float64Attribute{
				Optional:            true,
				Validators:          []validator.Float64{float64validator.AtLeast(0), float64validator.NoneOf(0)},
				MarkdownDescription: "How many requests per second this provider sends at most, for all sessions together. By default, there is no limit. Set it a little below the limit of your Flame account.",
			},
			"verify_sessions": schema.BoolAttribute{
				Optional:            true,
				MarkdownDescription: "Whether a refresh checks that each token still works, with one request per session. The default is `true`. With `false`, you do not notice a token that was revoked elsewhere.",
			},
			"revoke_on_destroy": schema.BoolAttribute{
				Optional:            true,
				MarkdownDescription: "Whether to revoke managed sessions that are destroyed or replaced. The default is `true`. With `false`, the provider revokes none of them, whatever the state says, and a warning names each token that stays alive. Use it if an endpoint is gone for good: it covers tainted and deposed sessions too. Ephemeral sessions and the action still revoke.",
			},
			"ca_certificate": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "One or more certificates of authorities, in PEM, to trust besides those of the system. Read a file with `file(\"ca.pem\")`.",
			},
			"insecure_skip_verify": schema.BoolAttribute{
				Optional:            true,
				MarkdownDescription: "Whether to accept any TLS certificate. The default is `false`. With `true`, anyone who can intercept the connection can read passwords and tokens, and the provider warns. Use `ca_certificate` instead.",
			},
		},
	}
}

func (p *flameProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		func() resource.Resource { return NewSessionResource(p.now) },
	}
}

func (p *flameProvider) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{NewSessionEphemeralResource}
}

func (p *flameProvider) Actions(context.Context) []func() action.Action {
	return []func() action.Action{NewSessionRevokeAction}
}

func (p *flameProvider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{NewAuthorizationHeaderFunction}
}

func (p *flameProvider) DataSources(context.Context) []func() datasource.DataSource { return nil }

type providerModel struct {
	Endpoint           types.String         `tfsdk:"endpoint"`
	User               types.String         `tfsdk:"user"`
	Password           types.String         `tfsdk:"password"`
	RequestTimeout     timetypes.GoDuration `tfsdk:"request_timeout"`
	MaxRetries         types.Int64          `tfsdk:"max_retries"`
	RequestsPerSecond  types.Float64        `tfsdk:"requests_per_second"`
	VerifySessions     types.Bool           `tfsdk:"verify_sessions"`
	RevokeOnDestroy    types.Bool           `tfsdk:"revoke_on_destroy"`
	CACertificate      types.String         `tfsdk:"ca_certificate"`
	InsecureSkipVerify types.Bool           `tfsdk:"insecure_skip_verify"`
}

// ValidateConfig validates the arguments that have no validator of their own.
func (p *flameProvider) ValidateConfig(ctx context.Context, req provider.ValidateConfigRequest, resp *provider.ValidateConfigResponse) {
	var model providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	_, diags := model.endpoint()
	resp.Diagnostics.Append(diags...)
	_, diags = model.rootCAs()
	resp.Diagnostics.Append(diags...)
}

func (p *flameProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var model providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(model.fillFromEnvironment()...)
	data, diags := p.newProviderData(model, req.TerraformVersion)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	p.mu.Lock()
	p.runs = append(p.runs, data.run)
	p.mu.Unlock()
	resp.ResourceData = data
	resp.EphemeralResourceData = data
	resp.ActionData = data
}
