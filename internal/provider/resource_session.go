// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timeouts/resource/timeouts"
	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

var (
	_ resource.Resource               = (*sessionResource)(nil)
	_ resource.ResourceWithConfigure  = (*sessionResource)(nil)
	_ resource.ResourceWithModifyPlan = (*sessionResource)(nil)
)

// NewSessionResource returns the resource flame_session, which opens a session on
// create and revokes it on delete. now returns the current time.
func NewSessionResource(now func() time.Time) resource.Resource {
	return &sessionResource{now: now}
}

type sessionResource struct {
	now  func() time.Time
	data *providerData
}

// Default timeouts of whole operations, retries included.
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
		MarkdownDescription: "A session of the Flame Analytics API. Terraform opens the session when it creates the resource, and revokes its token when it destroys the resource.",
		Attributes: map[string]schema.Attribute{
			"user": schema.StringAttribute{
				Optional:            true,
				Computed:            true,
				Validators:          []validator.String{notEmpty},
				MarkdownDescription: "Login to open the session with. The default is the provider's `user`, or else the environment variable `FLAME_USER`. A change replaces the session.",
			},
			// Not sensitive too: nothing ever stores it, and Terraform would record the mark
			// in the state of each session, at 3 % of the time of an apply.
			"password": schema.StringAttribute{
				Optional:            true,
				WriteOnly:           true,
				Validators:          []validator.String{notEmpty},
				MarkdownDescription: "Password to open the session with. The default is the provider's `password`, or else the environment variable `FLAME_PASSWORD`. It is write-only: no plan and no state ever holds it, and it may be ephemeral. You need Terraform 1.11 or OpenTofu 1.11; with older versions, set the provider's. A change does not touch the open session: the next one is opened with it.",
			},
			"rotate_after": schema.StringAttribute{
				Optional:            true,
				CustomType:          timetypes.GoDurationType{},
				Validators:          []validator.String{positiveDuration{}},
				MarkdownDescription: "Age at which to replace the session, as a duration such as `\"720h\"` (30 days). The first plan after this age replaces it. Nothing happens between runs. A change moves `rotate_at`, and does not touch a session that is younger.",
			},
			"rotate_when_changed": schema.MapAttribute{
				Optional:            true,
				ElementType:         types.StringType,
				MarkdownDescription: "Any values, such as a version number. If one changes, the session is replaced.",
			},
			"revoke_on_destroy": schema.BoolAttribute{
				Optional:            true,
				Computed:            true,
				Default:             booldefault.StaticBool(true),
				MarkdownDescription: "Whether to revoke the token when the session is destroyed or replaced. The default is `true`. With `false`, the token stays alive, and a warning names the session. The value in the state is used, so apply a change before you destroy.",
			},
			"timeouts": timeouts.Attributes(ctx, timeouts.Opts{
				Create: true, Read: true, Delete: true,
				CreateDescription: "How long opening the session may take, retries included. A duration such as `\"90s\"`; the default is `\"5m\"`.",
				ReadDescription:   "How long a refresh may take to check the token, retries included. The default is `\"1m\"`.",
				DeleteDescription: "How long revoking the token may take, retries included. The default is `\"5m\"`. The value in the state is used, so apply a change before you destroy.",
			}),
			"id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The first 16 hex digits of the SHA-256 of the token. It tells sessions apart, changes with every rotation, and reveals nothing about the token.",
			},
			"auth_token": schema.StringAttribute{
				Computed:            true,
				Sensitive:           true,
				MarkdownDescription: "The session's token. Send it as `Authorization: Token token=…`.",
			},
			"user_id": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's ID at Flame, an integer or a UUID. Null if Flame returns none, and for an imported session until it is replaced.",
			},
			"email": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's e-mail address. Null if Flame returns none, and for an imported session until it is replaced.",
			},
			"full_name": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The user's full name. Null if Flame returns none, and for an imported session until it is replaced.",
			},
			"endpoint": schema.StringAttribute{
				Computed:            true,
				MarkdownDescription: "The endpoint that issued the token. The token is never sent to another one. If the provider's endpoint changes, the session is replaced.",
			},
			"created_at": schema.StringAttribute{
				Computed:            true,
				CustomType:          timetypes.RFC3339Type{},
				MarkdownDescription: "When the session was opened, or, for an imported one, when it was imported (RFC 3339, UTC).",
			},
			"rotate_at": schema.StringAttribute{
				Computed:            true,
				CustomType:          timetypes.RFC3339Type{},
				MarkdownDescription: "When the session is due: `created_at` plus `rotate_after` (RFC 3339, UTC). The first plan after this time replaces it. Null without `rotate_after`.",
			},
		},
	}
	describeTimeouts(resp.Schema.Attributes)
}

// describeTimeouts adds what the library leaves out: a description of the attribute
// itself, and the check that a timeout is longer than zero.
func describeTimeouts(attributes map[string]schema.Attribute) {
	timeouts, ok := attributes["timeouts"].(schema.SingleNestedAttribute)
	if !ok {
		return
	}
	timeouts.MarkdownDescription = "How long whole operations may take, retries included. Each must be longer than zero."
	for name, attribute := range timeouts.Attributes {
		if timeout, ok := attribute.(schema.StringAttribute); ok {
			timeout.Validators = append(timeout.Validators, positiveDuration{})
			timeouts.Attributes[name] = timeout
		}
	}
	attributes["timeouts"] = timeouts
}

func (r *sessionResource) Configure(_ context.Context, req resource.ConfigureRequest, resp *resource.ConfigureResponse) {
	r.data = dataFromProvider(req.ProviderData, &resp.Diagnostics)
}

func (r *sessionResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var config, plan sessionModel
	resp.Diagnostics.Append(config.read(ctx, req.Config)...)
	resp.Diagnostics.Append(plan.read(ctx, req.Plan)...)
	if resp.Diagnostics.HasError() || !r.data.requireEndpoint(&resp.Diagnostics) {
		return
	}
	// A write-only value is in the configuration alone.
	login := r.data.credentials(&resp.Diagnostics, plan.User, config.Password)
	password := login.password.ValueString()
	ctx, cancel := withTimeout(maskSecrets(ctx, password), plan.Timeouts.Create, createTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}

	held := session.Held{Instance: session.NewInstanceID(), Account: r.data.account(login)}
	opened, err := r.data.run.Open(ctx, held, flame.NewPassword(password))
	if err != nil {
		addOpenFailure(&resp.Diagnostics, "open a Flame session", err, password)
		addEndedByLogin(&resp.Diagnostics, lostSession, opened.Casualties)
		return
	}
	held.Token = opened.Token
	plan.User = login.user
	resp.Diagnostics.Append(plan.setFromAPI(opened.Session, held.Account.Endpoint, r.now())...)
	resp.Diagnostics.Append(plan.write(ctx, &resp.State)...)
	resp.Diagnostics.Append(writePrivate(ctx, resp.Private, privateState{Instance: held.Instance})...)
	if resp.Diagnostics.HasError() {
		// This takes a defect of the provider. Even so, no token may be orphaned.
		if _, err := r.data.run.Close(maskSecrets(ctx, held.Token.Reveal()), held); err != nil {
			addFailure(&resp.Diagnostics, "revoke the session "+held.Token.SessionID()+", which could not be stored", err)
		}
		resp.State.RemoveResource(ctx)
		return
	}
	id := held.Token.SessionID()
	addLostAnswers(&resp.Diagnostics, id, opened.Lost)
	if opened.Shared {
		addShared(&resp.Diagnostics, id)
	}
	addEndedByLogin(&resp.Diagnostics, "session "+id, opened.Casualties)
}

func (r *sessionResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var state sessionModel
	resp.Diagnostics.Append(state.read(ctx, req.State)...)
	private, diags := readPrivate[privateState](ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || r.data == nil {
		return
	}
	if private.Instance == "" {
		private.Instance = session.NewInstanceID()
		resp.Diagnostics.Append(writePrivate(ctx, resp.Private, private)...)
	}
	if r.data.resolveEndpoint(&state, private, &resp.Diagnostics) {
		private.MovedEndpoint = ""
		resp.Diagnostics.Append(state.write(ctx, &resp.State)...)
		resp.Diagnostics.Append(writePrivate(ctx, resp.Private, private)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	held, err := state.held(private.Instance)
	if err != nil {
		addUnusableEndpoint(&resp.Diagnostics, state, err)
		return
	}
	if r.data.run.Refreshed(held) {
		addShared(&resp.Diagnostics, state.ID.ValueString())
	}
	if !r.data.verify {
		return
	}
	if len(r.data.unknown) > 0 {
		resp.Diagnostics.AddWarning("The Flame session could not be verified: session "+state.ID.ValueString(),
			fmt.Sprintf("The token of session %s was not checked because the provider's %s is unknown until apply. The next plan checks it.",
				state.ID.ValueString(), r.data.unknownArguments(false)))
		return
	}
	r.verify(ctx, state, held, resp)
}

// verify removes the session from the state if its token no longer works.
func (r *sessionResource) verify(ctx context.Context, state sessionModel, held session.Held, resp *resource.ReadResponse) {
	ctx, cancel := withTimeout(maskSecrets(ctx, held.Token.Reveal()), state.Timeouts.Read, readTimeout, &resp.Diagnostics)
	defer cancel()
	alive, err := r.data.run.Check(ctx, held)
	switch {
	case err != nil:
		_, detail := failure("", err)
		resp.Diagnostics.AddWarning("The Flame session could not be verified: session "+state.ID.ValueString(),
			fmt.Sprintf("The provider could not check whether the token of session %s still works, so it keeps the session in the state. %s\n\nTo plan without this check, set verify_sessions = false in the provider block.",
				state.ID.ValueString(), detail))
	case !alive:
		resp.State.RemoveResource(ctx)
		addEndedElsewhere(&resp.Diagnostics, state.ID.ValueString(), r.data.run.Suspects(held))
	}
}

// Update sends nothing: only the state changes.
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

// Delete revokes the token, at the endpoint and with the settings in the state.
func (r *sessionResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var state sessionModel
	resp.Diagnostics.Append(state.read(ctx, req.State)...)
	private, diags := readPrivate[privateState](ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() {
		return
	}
	id := state.ID.ValueString()
	if reason := r.data.keepsAlive(state); reason != "" {
		addLeftAlive(&resp.Diagnostics, id, reason)
		addMayEnd(&resp.Diagnostics, private.Beside...)
		return
	}
	if !r.data.requireClient(&resp.Diagnostics) {
		return
	}
	r.data.resolveEndpoint(&state, private, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	held, err := state.held(private.Instance)
	if err != nil {
		addUnusableEndpoint(&resp.Diagnostics, state, err)
		return
	}
	r.data.checkNeeds(&resp.Diagnostics, id, private.Needs)
	ctx, cancel := withTimeout(maskSecrets(ctx, held.Token.Reveal()), state.Timeouts.Delete, deleteTimeout, &resp.Diagnostics)
	defer cancel()
	if resp.Diagnostics.HasError() {
		return
	}
	var revocation session.Revocation
	if private.StillHeld || slices.Contains(private.HeldByOthers, id) || slices.Contains(private.Beside, id) {
		revocation = r.data.run.LeaveToOthers(held)
	} else if revocation, err = r.data.run.Revoke(ctx, held); err != nil {
		addRevokeFailure(&resp.Diagnostics, id, err)
		addEndedByRevocation(&resp.Diagnostics, id, revocation.Casualties)
		return
	}
	replaced := private.Needs != replacementNeeds{}
	addRevocation(&resp.Diagnostics, id, revocation, replaced)
	addMayEnd(&resp.Diagnostics, private.Beside...)
}

// addUnusableEndpoint reports that a state does not say where its token belongs,
// which takes a state that was edited.
func addUnusableEndpoint(diags *diag.Diagnostics, state sessionModel, err error) {
	diags.AddError("The session's endpoint is not usable",
		fmt.Sprintf("The provider cannot use the endpoint in the state of session %s: %s. Nothing was sent. Restore the state from a backup. %s",
			state.ID.ValueString(), err, letGo))
}
