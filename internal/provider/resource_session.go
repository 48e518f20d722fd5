package provider

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

var (
	_ resource.Resource               = (*sessionResource)(nil)
	_ resource.ResourceWithConfigure  = (*sessionResource)(nil)
	_ resource.ResourceWithModifyPlan = (*sessionResource)(nil)
)

// sessionResource is flame_session: opened on create, revoked on delete.
type sessionResource struct {
	now  func() time.Time
	data *providerData
}

// The time limits of whole operations, retries included.
const (
	createTimeout = 5 * time.Minute
	readTimeout   = time.Minute
	deleteTimeout = 5 * time.Minute
)

func (r *sessionResource) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_session"
}

func (r *sessionResource) Schema(ctx context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	notEmpty := stringvalidator.LengthAtLeast(1)
	resp.Schema = schema.Schema{
		MarkdownDescription: "A session of the Flame Analytics API. Creating it opens the session and gives its token, destroying it revokes the token.",
		Attributes: map[string]schema.Attribute{
			"user": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Validators:          []validator.String{notEmpty},
				MarkdownDescription: "Login to open the session with. Without it, the provider's `user` or the environment variable `FLAME_USER` is used. Changing it replaces the session.",
			},
			"password": schema.StringAttribute{
				Optional:  true,
				Sensitive: true,
				Validators: []validator.String{
					notEmpty, stringvalidator.ConflictsWith(path.MatchRoot("password_wo")),
				},
				MarkdownDescription: "Password to open the session with. It is stored in the state: prefer `password_wo`, the provider's `password` or the environment variable `FLAME_PASSWORD`, which are not. Changing it leaves an open session as it is.",
			},
			// Not sensitive besides: no plan or state ever has it, and Terraform would
			// note that it is in the state of each session: 3 % of the time of an apply.
			"password_wo": schema.StringAttribute{
				Optional:            true,
				WriteOnly:           true,
				Validators:          []validator.String{notEmpty},
				MarkdownDescription: "Password to open the session with, never stored in plan or state. It may come from an ephemeral resource or variable. It needs Terraform 1.11 or OpenTofu 1.11. Changing it leaves an open session as it is.",
			},
			"password_wo_version": schema.Int64Attribute{
				Optional:            true,
				Validators:          []validator.Int64{int64validator.AlsoRequires(path.MatchRoot("password_wo"))},
				MarkdownDescription: "A number to raise whenever `password_wo` changes, so that the state records it. An open session stays as it is.",
			},
			"rotate_after": schema.StringAttribute{
				Optional:            true,
				CustomType:          timetypes.GoDurationType{},
				Validators:          []validator.String{positiveDuration{}},
				MarkdownDescription: "Age at which the session is replaced, as a duration such as `\"720h\"` (30 days). The first plan with a refresh after this age replaces it; nothing happens between runs. Changing it moves `rotate_at` and leaves a session that is younger as it is.",
			},
			"rotate_when_changed": schema.MapAttribute{
				Optional:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "Any values whose change means that the session is to be replaced, such as the version of what uses the token.",
			},
			"revoke_on_destroy": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				Default:             booldefault.StaticBool(true),
				MarkdownDescription: "Whether destroying the session revokes its token; the default is `true`. With `false`, the token stays alive after destroy, and the plan warns of it. It counts as it is in the state: apply a change before you destroy.",
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Read: true, Delete: true,
				CreateDescription: "How long opening the session may take, retries included, as a duration such as `\"90s\"`; the default is `\"5m\"`.",
				ReadDescription:   "How long checking the token may take on refresh, retries included; the default is `\"1m\"`.",
				DeleteDescription: "How long revoking the token may take, retries included; the default is `\"5m\"`. It counts as it is in the state: apply a change before you destroy.",
			}),
			"id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The first 16 hex digits of the SHA-256 of the token. It tells sessions apart, changes with every rotation, and reveals nothing of the token.",
			},
			"auth_token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The session's token. Send it as `Authorization: Token token=…`.",
			},
			"user_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's ID at Flame, an integer or a UUID; null where Flame gives none, and for an imported session until it is replaced.",
			},
			"email": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's e-mail address; null where Flame gives none, and for an imported session until it is replaced.",
			},
			"full_name": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's full name; null where Flame gives none, and for an imported session until it is replaced.",
			},
			"endpoint": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The endpoint that issued the token, the only one that it is ever sent to. When the provider's endpoint changes, the session is replaced.",
			},
			"created_at": schema.StringAttribute{
				Computed:            true,
				CustomType:          timetypes.RFC3339Type{},
				MarkdownDescription: "When the session was opened (RFC 3339, UTC); for an imported one, when it was imported.",
			},
			"rotate_at": schema.StringAttribute{
				Computed:            true,
				CustomType:          timetypes.RFC3339Type{},
				MarkdownDescription: "When the session is due to be replaced (RFC 3339, UTC): `created_at` and `rotate_after` added; null without `rotate_after`.",
			},
		},
	}
	// Descriptions alone are set by the library that makes this attribute.
	limits, ok := resp.Schema.Attributes["timeouts"].(schema.SingleNestedAttribute)
	if ok {
		limits.MarkdownDescription = "How long whole operations may take, retries included."
		resp.Schema.Attributes["timeouts"] = limits
	}
}

func (r *sessionResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.data = fromProvider(req.ProviderData, &resp.Diagnostics)
}

func (r *sessionResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var config, plan sessionModel
	resp.Diagnostics.Append(config.read(ctx, req.Config)...)
	resp.Diagnostics.Append(plan.read(ctx, req.Plan)...)
	if resp.Diagnostics.HasError() || !r.data.readyAtEndpoint(&resp.Diagnostics) {
		return
	}
	if plan.Endpoint.IsUnknown() {
		plan.Endpoint = types.StringValue(r.data.endpoint.String())
	}
	// A write-only value is in the configuration alone.
	login := r.data.credentials(&resp.Diagnostics, plan.User, config.PasswordWO, plan.Password)
	mark := rand.Text()
	ctx, cancel := within(masked(ctx, login.password.ValueString()), plan.Timeouts.Create, createTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	plan.User = login.user
	end, err := r.data.sessions.wait(ctx, opening, plan.account())
	if err != nil {
		addNoTurn(&resp.Diagnostics, "open a Flame session")
		return
	}
	defer end()
	session, err := r.data.client.Open(ctx, r.data.endpoint, login.user.ValueString(), login.password.ValueString())
	if err != nil {
		addFailure(&resp.Diagnostics, "open a Flame session", err)
		return
	}
	// What follows cannot fail short of a defect; should it, no token may be left over.
	resp.Diagnostics.Append(plan.fill(session, r.now())...)
	resp.Diagnostics.Append(plan.write(ctx, &resp.State)...)
	resp.Diagnostics.Append(setMark(ctx, resp.Private, mark)...)
	if resp.Diagnostics.HasError() {
		r.discard(ctx, &resp.Diagnostics, session)
		resp.State.RemoveResource(ctx)
		return
	}
	addLostAnswers(&resp.Diagnostics, plan.ID.ValueString(), session.Lost)
	if r.data.sessions.hold(plan.heldToken(), mark) {
		addShared(&resp.Diagnostics, plan.ID.ValueString())
	}
}

// discard revokes a token that cannot be kept.
func (r *sessionResource) discard(ctx context.Context, diags *diag.Diagnostics, session flame.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(masked(ctx, session.Token)), 30*time.Second)
	defer cancel()
	if _, err := r.data.client.Revoke(ctx, r.data.endpoint, session.Token); err != nil {
		addFailure(diags, "revoke the session "+flame.SessionID(session.Token)+", which could not be stored", err)
	}
}

func (r *sessionResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state sessionModel
	resp.Diagnostics.Append(state.read(ctx, req.State)...)
	mark, diags := getMark(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || r.data == nil {
		return
	}
	if mark == "" {
		mark = rand.Text()
		resp.Diagnostics.Append(setMark(ctx, resp.Private, mark)...)
	}
	// A session that was moved here comes without an endpoint: it belongs to the provider's.
	if state.Endpoint.IsNull() && !r.data.endpoint.IsZero() {
		state.Endpoint = types.StringValue(r.data.endpoint.String())
		resp.Diagnostics.Append(state.write(ctx, &resp.State)...)
	}
	r.data.sessions.setRefreshed(mark)
	if r.data.sessions.hold(state.heldToken(), mark) {
		addShared(&resp.Diagnostics, state.ID.ValueString())
	}
	if !r.data.verify || resp.Diagnostics.HasError() {
		return
	}
	if r.data.client == nil || state.Endpoint.IsNull() {
		resp.Diagnostics.AddWarning("The Flame session could not be verified",
			fmt.Sprintf("Whether the token of session %s still works was not asked, because the provider's %s is not known before the apply. The state is kept. The next plan asks again.",
				state.ID.ValueString(), r.data.waitsFor(state.Endpoint.IsNull())))
		return
	}

	ctx, cancel := within(masked(ctx, state.AuthToken.ValueString()), state.Timeouts.Read, readTimeout, &resp.Diagnostics)
	defer cancel()
	endpoint, ok := sessionEndpoint(state, &resp.Diagnostics)
	if !ok {
		return
	}
	alive, err := r.data.client.Check(ctx, endpoint, state.AuthToken.ValueString())
	switch {
	case err != nil:
		_, detail := failure("", err)
		resp.Diagnostics.AddWarning("The Flame session could not be verified",
			fmt.Sprintf("Whether the token of session %s still works could not be learned, so the state is kept. %s\n\nTo plan without this check, set verify_sessions = false in the provider block.",
				state.ID.ValueString(), detail))
	case !alive:
		r.data.sessions.release(state.heldToken(), mark)
		resp.State.RemoveResource(ctx)
		resp.Diagnostics.AddWarning("The Flame session has ended elsewhere",
			fmt.Sprintf("Flame answered 401 to the token of session %s, so it was revoked behind Terraform's back, or has expired. The next apply opens a new session in its place.",
				state.ID.ValueString()))
	}
}

// Update sends nothing: what it changes concerns the state alone.
func (r *sessionResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var plan sessionModel
	resp.Diagnostics.Append(plan.read(ctx, req.Plan)...)
	if resp.Diagnostics.HasError() {
		return
	}
	if plan.RotateAt.IsUnknown() {
		resp.Diagnostics.Append(plan.setRotateAt()...)
	}
	resp.Diagnostics.Append(plan.write(ctx, &resp.State)...)
}

// Delete revokes the token, with nothing but what the state holds.
func (r *sessionResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state sessionModel
	resp.Diagnostics.Append(state.read(ctx, req.State)...)
	mark, diags := getMark(ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	shared, diags := getFlag(ctx, req.Private, sharedKey)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || !state.RevokeOnDestroy.ValueBool() && !state.RevokeOnDestroy.IsNull() {
		return
	}
	if !r.data.ready(&resp.Diagnostics) {
		return
	}
	task := "revoke the Flame session " + state.ID.ValueString()
	ctx, cancel := within(masked(ctx, state.AuthToken.ValueString()), state.Timeouts.Delete, deleteTimeout, &resp.Diagnostics)
	defer cancel()
	endpoint, ok := sessionEndpoint(state, &resp.Diagnostics)
	if !ok || resp.Diagnostics.HasError() {
		return
	}
	next, diags := getPrivate[successor](ctx, req.Private, successorKey)
	resp.Diagnostics.Append(diags...)
	r.data.checkSuccessor(&resp.Diagnostics, state.ID.ValueString(), next)
	if resp.Diagnostics.HasError() {
		return
	}
	end, err := r.data.sessions.wait(ctx, revoking, state.account())
	if err != nil {
		addNoTurn(&resp.Diagnostics, task)
		return
	}
	defer end()
	if r.data.sessions.release(state.heldToken(), mark) || shared {
		addNotRevoked(&resp.Diagnostics, state.ID.ValueString())
		return
	}
	if _, err := r.data.client.Revoke(ctx, endpoint, state.AuthToken.ValueString()); err != nil {
		addFailure(&resp.Diagnostics, task, err)
	}
}

// sessionEndpoint gives the endpoint that issued the session's token.
func sessionEndpoint(state sessionModel, diags *diag.Diagnostics) (flame.Endpoint, bool) {
	endpoint, err := flame.ParseEndpoint(state.Endpoint.ValueString())
	if err != nil {
		diags.AddAttributeError(path.Root("endpoint"), "The session's endpoint is not usable",
			fmt.Sprintf("The state of session %s does not say which endpoint its token belongs to: %s. Nothing was sent. Configure the provider's endpoint and run a plan with a refresh, which fills it in.",
				state.ID.ValueString(), err))
	}
	return endpoint, err == nil
}

// What the provider keeps beside the state. A mark tells a session from others
// with the same token; a session that was imported or moved here takes over
// what its configuration says without being replaced, once; one whose token
// another session goes on holding is not revoked when it is destroyed.
const (
	markKey      = "mark"
	adoptedKey   = "adopted"
	sharedKey    = "shared"
	successorKey = "successor"
)

// A successor is what the plan of a replacement expects of the provider's
// configuration: it may be another one when the plan is applied, and then the
// session must not be revoked, because there would be none in its place.
type successor struct {
	User     string `json:"user,omitempty"` // the provider's, where it is what the new session is opened with
	Password bool   `json:"password,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
}

// checkSuccessor reports that a session is not revoked, because the one that is
// to replace it could not be opened.
func (d *providerData) checkSuccessor(diags *diag.Diagnostics, id string, next successor) {
	var missing string
	switch {
	case next.User != "" && d.user.ValueString() != next.User:
		missing = "user (" + envUser + ")"
	case next.Password && d.password.IsNull():
		missing = "password (" + envPassword + ")"
	case next.Endpoint != "" && d.endpoint.String() != next.Endpoint:
		missing = "endpoint (" + envEndpoint + ")"
	default:
		return
	}
	diags.AddError("The Flame session cannot be replaced as planned",
		fmt.Sprintf("The provider's %s is missing or another one than when the plan was made, so the session that is to replace session %s could not be opened. Nothing was revoked. "+
			"Apply with the same environment and variables as the plan was made with, or make a new plan.", missing, id))
}

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

func getMark(ctx context.Context, private privateReader) (mark string, diags diag.Diagnostics) {
	return getPrivate[string](ctx, private, markKey)
}

func setMark(ctx context.Context, private privateWriter, mark string) diag.Diagnostics {
	return setPrivate(ctx, private, markKey, mark)
}

func getFlag(ctx context.Context, private privateReader, key string) (flag bool, diags diag.Diagnostics) {
	return getPrivate[bool](ctx, private, key)
}

func getPrivate[T any](ctx context.Context, private privateReader, key string) (value T, diags diag.Diagnostics) {
	raw, diags := private.GetKey(ctx, key)
	if diags.HasError() || raw == nil {
		return value, diags
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		diags.AddError("The state's private data cannot be read",
			"What the provider keeps beside the state under the key "+key+" is not what it wrote. Restore the state from a backup.")
	}
	return value, diags
}

func setPrivate(ctx context.Context, private privateWriter, key string, value any) diag.Diagnostics {
	raw, err := json.Marshal(value)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("The private data cannot be written", "Key "+key+" is a defect of the provider. Report it to its developers.")}
	}
	return private.SetKey(ctx, key, raw)
}
