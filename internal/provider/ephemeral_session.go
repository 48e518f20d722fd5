// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

var (
	_ ephemeral.EphemeralResource              = (*sessionEphemeralResource)(nil)
	_ ephemeral.EphemeralResourceWithConfigure = (*sessionEphemeralResource)(nil)
	_ ephemeral.EphemeralResourceWithClose     = (*sessionEphemeralResource)(nil)
)

// NewSessionEphemeralResource returns the ephemeral resource flame_session, whose
// session lives no longer than a run and is never stored.
func NewSessionEphemeralResource() ephemeral.EphemeralResource { return &sessionEphemeralResource{} }

type sessionEphemeralResource struct {
	data *providerData
}

type sessionEphemeralModel struct {
	User          types.String `tfsdk:"user"`
	Password      types.String `tfsdk:"password"`
	RevokeOnClose types.Bool   `tfsdk:"revoke_on_close"`
	OpenSession   types.Bool   `tfsdk:"open"`
	ID            types.String `tfsdk:"id"`
	AuthToken     types.String `tfsdk:"auth_token"`
	UserID        types.String `tfsdk:"user_id"`
	Email         types.String `tfsdk:"email"`
	FullName      types.String `tfsdk:"full_name"`
	Endpoint      types.String `tfsdk:"endpoint"`
}

func (e *sessionEphemeralResource) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_session"
}

func (e *sessionEphemeralResource) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	notEmpty := []validator.String{stringvalidator.LengthAtLeast(1)}
	resp.Schema = schema.Schema{
		MarkdownDescription: "A session of the Flame Analytics API for one run: opened when something needs its token, and revoked when nothing needs it any more. Neither token nor password gets into a plan file or a state.",
		Attributes: map[string]schema.Attribute{
			"user": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Validators:          notEmpty,
				MarkdownDescription: "Login to open the session with. It may be ephemeral. The default is the provider's `user`, or else the environment variable `FLAME_USER`.",
			},
			"password": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				Validators:          notEmpty,
				MarkdownDescription: "Password to open the session with. It may be ephemeral. The default is the provider's `password`, or else the environment variable `FLAME_PASSWORD`.",
			},
			"revoke_on_close": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				MarkdownDescription: "Whether to revoke the token when the run no longer needs it. The default is `true`. Set it to `false` only if Flame returns the same token for each login, and something else holds it. Otherwise each plan and each apply leaves a token alive that nobody revokes.",
			},
			"open": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				MarkdownDescription: "Whether to open the session. The default is `true`. With `open = terraform.applying`, a plan sends no request, and the attributes are unknown. Do not use a constant `false`: the attributes would stay unknown during apply too, which Terraform reports as a bug of the provider. OpenTofu refuses unknown attributes.",
			},
			"id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The first 16 hex digits of the SHA-256 of the token. It tells sessions apart, and reveals nothing about the token.",
			},
			"auth_token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The session's token. Send it as `Authorization: Token token=…`.",
			},
			"user_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's ID at Flame, an integer or a UUID. Null if Flame returns none.",
			},
			"email": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's e-mail address. Null if Flame returns none.",
			},
			"full_name": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's full name. Null if Flame returns none.",
			},
			"endpoint": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The endpoint that issued the token: the provider's.",
			},
		},
	}
}

func (e *sessionEphemeralResource) Configure(_ context.Context, req ephemeral.ConfigureRequest, resp *ephemeral.ConfigureResponse) {
	e.data = dataFromProvider(req.ProviderData, &resp.Diagnostics)
}

func (e *sessionEphemeralResource) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var model sessionEphemeralModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if e.data == nil {
		e.data.requireClient(&resp.Diagnostics)
		return
	}
	if model.RevokeOnClose.IsNull() {
		model.RevokeOnClose = types.BoolValue(true)
	}
	if model.OpenSession.IsNull() {
		model.OpenSession = types.BoolValue(true)
	}
	login := credentials{firstSet(model.User, e.data.user), model.Password}
	if model.OpenSession.ValueBool() {
		login = e.data.credentials(&resp.Diagnostics, model.User, model.Password)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	model.User = login.user
	// In a plan, an argument may be unknown, or open be false. Then the apply opens
	// the session.
	if !model.OpenSession.ValueBool() || !e.data.canOpen(login) {
		e.planOpen(login, &resp.Diagnostics)
		model.setUnknown()
		resp.Diagnostics.Append(resp.Result.Set(ctx, &model)...)
		return
	}
	e.open(ctx, &model, login, resp)
}

// planOpen warns in a plan of what the login during apply may end.
func (e *sessionEphemeralResource) planOpen(login credentials, diags *diag.Diagnostics) {
	if e.data.endpoint.IsZero() || login.user.IsUnknown() || login.user.IsNull() {
		return // whose session it will be is not known
	}
	for _, held := range e.data.run.PlanOpen(e.data.account(login), "").Beside {
		addMayEnd(diags, held.Token.SessionID())
	}
}

// open opens the session, and revokes it at once if Terraform cannot take it.
func (e *sessionEphemeralResource) open(ctx context.Context, model *sessionEphemeralModel, login credentials, resp *ephemeral.OpenResponse) {
	password := login.password.ValueString()
	ctx, cancel := context.WithTimeout(maskSecrets(ctx, password), createTimeout)
	defer cancel()
	held := session.Held{Instance: session.NewInstanceID(), Account: e.data.account(login), Ephemeral: true}
	opened, err := e.data.run.Open(ctx, held, flame.NewPassword(password))
	if err != nil {
		addOpenFailure(&resp.Diagnostics, "open an ephemeral Flame session", err, password)
		addEndedByLogin(&resp.Diagnostics, lostSession, opened.Casualties)
		return
	}
	held.Token = opened.Token
	model.setFromAPI(opened.Session, held.Account.Endpoint)
	resp.Diagnostics.Append(resp.Result.Set(ctx, model)...)
	if model.RevokeOnClose.ValueBool() {
		resp.Diagnostics.Append(writePrivate(ctx, resp.Private, newEphemeralPrivate(held))...)
	}
	addLostAnswers(&resp.Diagnostics, model.ID.ValueString(), opened.Lost)
	addEndedByEphemeral(&resp.Diagnostics, opened)
	if resp.Diagnostics.HasError() {
		// Terraform does not close an ephemeral resource whose Open failed.
		e.close(ctx, held, &resp.Diagnostics)
		return
	}
	if model.RevokeOnClose.ValueBool() {
		e.data.run.RevokeAtExit(held)
	}
	for _, held := range opened.Beside {
		addMayEnd(&resp.Diagnostics, held.Token.SessionID())
	}
}

func (e *sessionEphemeralResource) Close(ctx context.Context, req ephemeral.CloseRequest, resp *ephemeral.CloseResponse) {
	private, diags := readPrivate[ephemeralPrivate](ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	// Without revoke_on_close, there is no private data.
	if resp.Diagnostics.HasError() || private.Token == "" || !e.data.requireClient(&resp.Diagnostics) {
		return
	}
	held, err := private.held()
	if err != nil {
		addFailure(&resp.Diagnostics, "close an ephemeral Flame session", err)
		return
	}
	e.close(ctx, held, &resp.Diagnostics)
}

// close revokes the token. A failure is a warning: the run's own work is done.
func (e *sessionEphemeralResource) close(ctx context.Context, held session.Held, diags *diag.Diagnostics) {
	task := "revoke the ephemeral Flame session " + held.Token.SessionID()
	revocation, err := e.data.run.Close(maskSecrets(ctx, held.Token.Reveal()), held)
	switch {
	case errors.Is(err, session.ErrAccountBusy):
		diags.AddWarning("Could not "+task, "The provider never opens and revokes sessions of one user at the same time, and other sessions of this user were being opened until the time limit ended. The token still works. "+orphanedSession)
	case err != nil:
		summary, detail := failure(task, err)
		diags.AddWarning(summary, fmt.Sprintf("%s\n\nThe token may still work. %s", detail, orphanedSession))
		addEndedByRevocation(diags, held.Token.SessionID(), revocation.Casualties)
	case revocation.Kept:
		addSharedWithKept(diags, held.Token.SessionID())
	default:
		addRevocation(diags, held.Token.SessionID(), revocation, false)
	}
}

// setFromAPI sets what Flame responded when the session was opened.
func (m *sessionEphemeralModel) setFromAPI(s flame.Session, endpoint flame.Endpoint) {
	m.ID = types.StringValue(s.Token.SessionID())
	m.AuthToken = types.StringValue(s.Token.Reveal())
	m.UserID, m.Email, m.FullName = textOrNull(s.UserID), textOrNull(s.Email), textOrNull(s.FullName)
	m.Endpoint = types.StringValue(endpoint.String())
}

// setUnknown sets the results of a session that is not open yet.
func (m *sessionEphemeralModel) setUnknown() {
	if m.User.IsNull() {
		m.User = types.StringUnknown()
	}
	for _, result := range []*types.String{&m.ID, &m.AuthToken, &m.UserID, &m.Email, &m.FullName, &m.Endpoint} {
		*result = types.StringUnknown()
	}
}
