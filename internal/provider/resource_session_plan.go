package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// ModifyPlan decides what a run does to a session: open it, replace it, change
// its state alone, or revoke it.
func (r *sessionResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	if r.data == nil {
		return // nothing is decided before the provider is configured
	}
	var config, state, plan sessionModel
	destroy, create := req.Plan.Raw.IsNull(), req.State.Raw.IsNull()
	if !destroy {
		resp.Diagnostics.Append(config.read(ctx, req.Config)...)
		resp.Diagnostics.Append(plan.read(ctx, req.Plan)...)
	}
	if !create {
		resp.Diagnostics.Append(state.read(ctx, req.State)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	switch {
	case destroy && create:
	case destroy:
		r.planEnd(ctx, state, resp)
	case create:
		r.planCreate(ctx, config, &plan, resp)
		resp.Diagnostics.Append(plan.write(ctx, &resp.Plan)...)
	default:
		r.planChange(ctx, config, state, &plan, resp)
		resp.Diagnostics.Append(plan.write(ctx, &resp.Plan)...)
	}
}

// planCreate shows what is known before the session is opened. Missing
// credentials are found here, not half-way through an apply.
func (r *sessionResource) planCreate(ctx context.Context, config sessionModel, plan *sessionModel, resp *resource.ModifyPlanResponse) {
	login := r.data.credentials(&resp.Diagnostics, config.User, config.PasswordWO, config.Password)
	plan.User = login.user
	plan.Endpoint = r.endpoint()
	if plan.RotateAfter.IsNull() {
		plan.RotateAt = timetypes.NewRFC3339Null()
	}
	// In a replacement, this reaches the Delete of the session to be replaced.
	next := successor{
		Password: config.PasswordWO.IsNull() && config.Password.IsNull() && !login.password.IsUnknown(),
		Endpoint: plan.Endpoint.ValueString(),
	}
	if config.User.IsNull() {
		next.User = login.user.ValueString()
	}
	resp.Diagnostics.Append(setPrivate(ctx, resp.Private, successorKey, next)...)
}

// endpoint gives the provider's endpoint, unknown while that is.
func (r *sessionResource) endpoint() types.String {
	if r.data.endpoint.IsZero() {
		return types.StringUnknown()
	}
	return types.StringValue(r.data.endpoint.String())
}

// planChange keeps the session, unless something says that there must be a new one.
func (r *sessionResource) planChange(ctx context.Context, config, state sessionModel, plan *sessionModel, resp *resource.ModifyPlanResponse) {
	mark, diags := getMark(ctx, resp.Private)
	resp.Diagnostics.Append(diags...)
	adopted, diags := getFlag(ctx, resp.Private, adoptedKey)
	resp.Diagnostics.Append(diags...)

	plan.ID, plan.AuthToken, plan.CreatedAt = state.ID, state.AuthToken, state.CreatedAt
	plan.UserID, plan.Email, plan.FullName = state.UserID, state.Email, state.FullName
	var replace path.Paths

	if config.User.IsNull() {
		plan.User = state.User
		if !r.data.user.IsNull() && !r.data.user.IsUnknown() {
			plan.User = r.data.user
		}
	}
	if !state.User.IsNull() && !plan.User.Equal(state.User) {
		replace.Append(path.Root("user"))
	}

	plan.Endpoint = state.Endpoint
	if endpoint := r.endpoint(); !endpoint.IsUnknown() || state.Endpoint.IsNull() {
		plan.Endpoint = endpoint
	}
	if !state.Endpoint.IsNull() && !plan.Endpoint.Equal(state.Endpoint) {
		replace.Append(path.Root("endpoint"))
	}

	adopts := adopted && state.RotateWhenChanged.IsNull()
	if !adopts && !plan.RotateWhenChanged.Equal(state.RotateWhenChanged) {
		replace.Append(path.Root("rotate_when_changed"))
	}

	resp.Diagnostics.Append(plan.setRotateAt()...)
	// The refresh of this run decides whether the session is due. Without that
	// condition, an apply that comes after rotate_at would decide otherwise than
	// its plan, which Terraform refuses.
	if r.data.sessions.wasRefreshed(mark) {
		due, diags := plan.due(r.now())
		resp.Diagnostics.Append(diags...)
		if due {
			plan.RotateAt = timetypes.NewRFC3339Unknown()
			replace.Append(path.Root("rotate_at"))
		}
	}

	if len(replace) > 0 {
		resp.RequiresReplace.Append(replace...)
		r.planEnd(ctx, state, resp)
		return
	}
	if adopted {
		resp.Diagnostics.Append(setPrivate(ctx, resp.Private, adoptedKey, false)...)
	}
}

// planEnd warns of tokens that stay alive when their session is destroyed or
// replaced, and has Delete leave those alone that another session holds.
func (r *sessionResource) planEnd(ctx context.Context, state sessionModel, resp *resource.ModifyPlanResponse) {
	if !state.RevokeOnDestroy.IsNull() && !state.RevokeOnDestroy.ValueBool() {
		resp.Diagnostics.AddAttributeWarning(path.Root("revoke_on_destroy"), "The Flame token stays alive",
			"Session "+state.ID.ValueString()+" ends in Terraform, but revoke_on_destroy is false in its state, so its token goes on working. "+
				"To have it revoked, set revoke_on_destroy = true and apply before you destroy or replace it.")
		return
	}
	resp.Diagnostics.Append(setPrivate(ctx, resp.Private, successorKey, successor{})...)
	mark, diags := getMark(ctx, resp.Private)
	resp.Diagnostics.Append(diags...)
	shared := r.data.sessions.release(state.heldToken(), mark)
	resp.Diagnostics.Append(setPrivate(ctx, resp.Private, sharedKey, shared)...)
	if shared {
		addNotRevoked(&resp.Diagnostics, state.ID.ValueString())
	}
}
