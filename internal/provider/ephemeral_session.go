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
		MarkdownDescription: "A session of the Flame Analytics API for the time of one run: opened when its token is needed, revoked when it no longer is. Neither token nor password gets into a plan file or a state.",
		Attributes: map[string]schema.Attribute{
			"user": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Validators:          notEmpty,
				MarkdownDescription: "Login to open the session with; it may be ephemeral. Without it, the provider's `user` or the environment variable `FLAME_USER` is used.",
			},
			"password": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				Validators:          notEmpty,
				MarkdownDescription: "Password to open the session with; it may be ephemeral. Without it, the provider's `password` or the environment variable `FLAME_PASSWORD` is used.",
			},
			"revoke_on_close": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				MarkdownDescription: "Whether the token is revoked when the run no longer needs it; the default is `true`. Set it to `false` where Flame gives one token per user and something else holds that token; elsewhere each plan and each apply then leaves a token alive that nobody revokes.",
			},
			"open": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				MarkdownDescription: "Whether to open the session; the default is `true`. With `open = terraform.applying`, a plan opens none: it sends no request, and the results are unknown. It is meant for `terraform.applying` alone: with a constant `false`, the results stay unknown during apply too, which Terraform reports as a bug of the provider. OpenTofu refuses unknown results.",
			},
			"id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The first 16 hex digits of the SHA-256 of the token. It tells sessions apart and reveals nothing of the token.",
			},
			"auth_token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The session's token. Send it as `Authorization: Token token=…`.",
			},
			"user_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's ID at Flame, an integer or a UUID; null where Flame gives none.",
			},
			"email": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's e-mail address; null where Flame gives none.",
			},
			"full_name": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's full name; null where Flame gives none.",
			},
			"endpoint": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The endpoint that issued the token, the provider's.",
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
		diags.AddWarning("Could not "+task, "Other sessions of the same user were being opened all the time that closing may take. Its token still works: "+orphanedSession)
	case err != nil:
		summary, detail := failure(task, err)
		diags.AddWarning(summary, fmt.Sprintf("%s\n\nIts token may still work: %s", detail, orphanedSession))
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
