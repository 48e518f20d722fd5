package provider

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

var (
	_ ephemeral.EphemeralResource              = (*ephemeralSession)(nil)
	_ ephemeral.EphemeralResourceWithConfigure = (*ephemeralSession)(nil)
	_ ephemeral.EphemeralResourceWithClose     = (*ephemeralSession)(nil)
)

// ephemeralSession is the flame_session that lives no longer than a run, and
// of which nothing is stored.
type ephemeralSession struct {
	data *providerData
	open *openEphemerals
}

const (
	// closeTimeout bounds the revocation when the session is closed.
	closeTimeout = 30 * time.Second
	// finishTimeout bounds the revocation of what was not closed. Terraform kills
	// a provider that does not end within two seconds.
	finishTimeout = 1800 * time.Millisecond
)

// openEphemerals are the ephemeral sessions of this process that were opened
// and not closed. Terraform does not close what something that failed was
// using, nor, where it was interrupted, anything; it ends the provider though.
type openEphemerals struct {
	revocations sync.Map // func(context.Context), by mark
}

// revoke revokes them all, side by side.
func (o *openEphemerals) revoke() {
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	var all sync.WaitGroup
	o.revocations.Range(func(_, revoke any) bool {
		if revoke, ok := revoke.(func(context.Context)); ok {
			all.Go(func() { revoke(ctx) })
		}
		return true
	})
	all.Wait()
}

type ephemeralModel struct {
	User          types.String `tfsdk:"user"`
	Password      types.String `tfsdk:"password"`
	RevokeOnClose types.Bool   `tfsdk:"revoke_on_close"`
	ID            types.String `tfsdk:"id"`
	AuthToken     types.String `tfsdk:"auth_token"`
	UserID        types.String `tfsdk:"user_id"`
	Email         types.String `tfsdk:"email"`
	FullName      types.String `tfsdk:"full_name"`
	Endpoint      types.String `tfsdk:"endpoint"`
}

// ephemeralPrivate is what Close needs. Terraform keeps it in memory only.
type ephemeralPrivate struct {
	Endpoint string `json:"endpoint"`
	User     string `json:"user"`
	Token    string `json:"token"`
	Mark     string `json:"mark"`
}

const ephemeralKey = "session"

func (e *ephemeralSession) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_session"
}

func (e *ephemeralSession) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
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

func (e *ephemeralSession) Configure(_ context.Context, req ephemeral.ConfigureRequest, resp *ephemeral.ConfigureResponse) {
	e.data = fromProvider(req.ProviderData, &resp.Diagnostics)
}

func (e *ephemeralSession) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var model ephemeralModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if e.data == nil {
		e.data.ready(&resp.Diagnostics)
		return
	}
	login := e.data.credentials(&resp.Diagnostics, model.User, model.Password)
	if resp.Diagnostics.HasError() {
		return
	}
	model.User = login.user
	if model.RevokeOnClose.IsNull() {
		model.RevokeOnClose = types.BoolValue(true)
	}
	// While planning, what the provider is configured with may not exist yet.
	// The session is then opened by the apply, and planned with as unknown.
	if e.data.client == nil || e.data.endpoint.IsZero() || login.user.IsUnknown() || login.password.IsUnknown() {
		model.ID, model.AuthToken, model.Endpoint = types.StringUnknown(), types.StringUnknown(), types.StringUnknown()
		model.UserID, model.Email, model.FullName = types.StringUnknown(), types.StringUnknown(), types.StringUnknown()
		resp.Diagnostics.Append(resp.Result.Set(ctx, &model)...)
		return
	}

	ctx, cancel := context.WithTimeout(masked(ctx, login.password.ValueString()), createTimeout)
	defer cancel()
	const task = "open an ephemeral Flame session"
	held := ephemeralPrivate{Endpoint: e.data.endpoint.String(), User: login.user.ValueString(), Mark: rand.Text()}
	end, err := e.data.sessions.wait(ctx, opening, held.account())
	if err != nil {
		addNoTurn(&resp.Diagnostics, task)
		return
	}
	session, err := e.data.client.Open(ctx, e.data.endpoint, held.User, login.password.ValueString())
	held.Token = session.Token
	if err == nil {
		e.data.sessions.hold(held.heldToken(), held.Mark)
	}
	end()
	if err != nil {
		addFailure(&resp.Diagnostics, task, err)
		return
	}
	model.ID = types.StringValue(flame.SessionID(session.Token))
	model.AuthToken = types.StringValue(session.Token)
	model.UserID, model.Email, model.FullName = textOrNull(session.UserID), textOrNull(session.Email), textOrNull(session.FullName)
	model.Endpoint = types.StringValue(held.Endpoint)
	resp.Diagnostics.Append(resp.Result.Set(ctx, &model)...)
	if model.RevokeOnClose.ValueBool() {
		resp.Diagnostics.Append(setPrivate(ctx, resp.Private, ephemeralKey, held)...)
	}
	if resp.Diagnostics.HasError() {
		// Terraform does not close what was not opened, whatever Close was to do.
		e.close(ctx, &resp.Diagnostics, held)
		return
	}
	if model.RevokeOnClose.ValueBool() {
		e.open.revocations.Store(held.Mark, func(ctx context.Context) {
			var nobodyReads diag.Diagnostics
			e.revoke(ctx, &nobodyReads, held)
		})
	}
	addLostAnswers(&resp.Diagnostics, model.ID.ValueString(), session.Lost)
}

func (e *ephemeralSession) Close(ctx context.Context, req ephemeral.CloseRequest, resp *ephemeral.CloseResponse) {
	held, diags := getPrivate[ephemeralPrivate](ctx, req.Private, ephemeralKey)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || held.Token == "" || !e.data.ready(&resp.Diagnostics) {
		return
	}
	e.open.revocations.Delete(held.Mark)
	e.close(ctx, &resp.Diagnostics, held)
}

// close revokes the session, also where the run was interrupted.
func (e *ephemeralSession) close(ctx context.Context, diags *diag.Diagnostics, held ephemeralPrivate) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	e.revoke(ctx, diags, held)
}

// revoke ends the session. That it could not be ended is a warning: the run's
// own work is done.
func (e *ephemeralSession) revoke(ctx context.Context, diags *diag.Diagnostics, held ephemeralPrivate) {
	ctx = masked(ctx, held.Token)
	id := flame.SessionID(held.Token)
	task := "revoke the ephemeral Flame session " + id
	end, err := e.data.sessions.wait(ctx, revoking, held.account())
	if err != nil {
		diags.AddWarning("Could not "+task, "Other sessions of the same user were being opened all the time that closing may take. Its token still works: "+lostSession)
		return
	}
	defer end()
	if e.data.sessions.release(held.heldToken(), held.Mark) {
		addNotRevoked(diags, id)
		return
	}
	endpoint, err := flame.ParseEndpoint(held.Endpoint)
	if err == nil {
		_, err = e.data.client.Revoke(ctx, endpoint, held.Token)
	}
	if err != nil {
		summary, detail := failure(task, err)
		diags.AddWarning(summary, fmt.Sprintf("%s\n\nIts token may still work: %s", detail, lostSession))
	}
}

func (p ephemeralPrivate) account() account { return account{p.Endpoint, p.User} }

func (p ephemeralPrivate) heldToken() heldToken { return heldToken{p.Endpoint, p.Token} }
