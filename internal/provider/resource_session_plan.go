// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// ModifyPlan decides what a run does to a session: open it, replace it, update its
// state, or revoke it.
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
	private, diags := readPrivate[privateState](ctx, req.Private)
	resp.Diagnostics.Append(diags...)
	if resp.Diagnostics.HasError() || destroy && create {
		return
	}
	switch {
	case destroy:
		r.planDelete(state, &private, &resp.Diagnostics)
	case create:
		r.planCreate(config, &plan, &private, &resp.Diagnostics)
	default:
		resp.RequiresReplace.Append(r.planUpdate(config, state, &plan, &private, &resp.Diagnostics)...)
	}
	if !destroy {
		resp.Diagnostics.Append(plan.write(ctx, &resp.Plan)...)
	}
	resp.Diagnostics.Append(writePrivate(ctx, resp.Private, private)...)
}

// planCreate plans what is known before the session is opened. Missing credentials
// are an error here, not halfway through an apply.
func (r *sessionResource) planCreate(config sessionModel, plan *sessionModel, private *privateState, diags *diag.Diagnostics) {
	login := r.data.credentials(diags, config.User, config.PasswordWO, config.Password)
	plan.User = login.user
	plan.Endpoint = r.plannedEndpoint()
	if plan.RotateAfter.IsNull() {
		plan.RotateAt = timetypes.NewRFC3339Null()
	}
	// In a replacement, Delete of the old session checks this.
	private.Needs = replacementNeeds{
		Password: config.PasswordWO.IsNull() && config.Password.IsNull() && !login.password.IsUnknown(),
		Endpoint: plan.Endpoint.ValueString(),
	}
	if config.User.IsNull() {
		private.Needs.User = login.user.ValueString()
	}
}

// plannedEndpoint returns the provider's endpoint.
func (r *sessionResource) plannedEndpoint() types.String {
	if r.data.endpoint.IsZero() {
		return types.StringUnknown()
	}
	return types.StringValue(r.data.endpoint.String())
}

// planUpdate keeps the session, or returns the attributes that force its
// replacement.
func (r *sessionResource) planUpdate(config, state sessionModel, plan *sessionModel, private *privateState, diags *diag.Diagnostics) (replace path.Paths) {
	plan.ID, plan.AuthToken, plan.CreatedAt = state.ID, state.AuthToken, state.CreatedAt
	plan.UserID, plan.Email, plan.FullName = state.UserID, state.Email, state.FullName

	plan.User = r.planUser(config, state)
	if !state.User.IsNull() && !plan.User.Equal(state.User) {
		replace.Append(path.Root("user"))
	}
	plan.Endpoint = state.Endpoint
	if endpoint := r.plannedEndpoint(); !endpoint.IsUnknown() || state.Endpoint.IsNull() {
		plan.Endpoint = endpoint
	}
	if !state.Endpoint.IsNull() && !plan.Endpoint.Equal(state.Endpoint) {
		replace.Append(path.Root("endpoint"))
	}
	adopts := private.Imported && state.RotateWhenChanged.IsNull()
	if !adopts && !plan.RotateWhenChanged.Equal(state.RotateWhenChanged) {
		replace.Append(path.Root("rotate_when_changed"))
	}
	if r.planRotation(plan, private.Instance, diags) {
		replace.Append(path.Root("rotate_at"))
	}

	if len(replace) > 0 {
		r.planDelete(state, private, diags)
	} else {
		private.Imported = false
	}
	return replace
}

// planUser returns the user that is configured here or in the provider, or else the
// one in the state.
func (r *sessionResource) planUser(config, state sessionModel) types.String {
	switch {
	case !config.User.IsNull():
		return config.User
	case r.data.user.IsNull(), r.data.user.IsUnknown():
		return state.User
	}
	return r.data.user
}

// planRotation plans rotate_at, and reports whether the session is due. Only a plan
// that has refreshed the session decides that: the plan that Terraform makes during
// apply, maybe after rotate_at, must not differ from the first.
func (r *sessionResource) planRotation(plan *sessionModel, instance session.InstanceID, diags *diag.Diagnostics) (due bool) {
	diags.Append(plan.setRotateAt()...)
	if !r.data.run.WasRefreshed(instance) {
		return false
	}
	due, moreDiags := plan.rotationDue(r.now())
	diags.Append(moreDiags...)
	if due {
		plan.RotateAt = timetypes.NewRFC3339Unknown()
	}
	return due
}

// planDelete plans the end of a session that is destroyed or replaced. It warns of
// a token that stays alive.
func (r *sessionResource) planDelete(state sessionModel, private *privateState, diags *diag.Diagnostics) {
	if !state.revokes() {
		diags.AddAttributeWarning(path.Root("revoke_on_destroy"), "The Flame token stays alive",
			"Session "+state.ID.ValueString()+" ends in Terraform, but revoke_on_destroy is false in its state, so its token goes on working. "+
				"To have it revoked, set revoke_on_destroy = true and apply before you destroy or replace it.")
		return
	}
	private.Needs = replacementNeeds{}
	// An endpoint that is not usable is reported by Delete.
	held, err := state.held(private.Instance)
	private.StillHeld = err == nil && r.data.run.Release(held)
	if private.StillHeld {
		addNotRevoked(diags, state.ID.ValueString())
	}
}
