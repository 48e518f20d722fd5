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
	if !create && private.Instance == "" { // taken over, and not refreshed since
		private.Instance = session.NewInstanceID()
	}
	moved := !create && r.data.resolveEndpoint(&state, private, &resp.Diagnostics)
	if resp.Diagnostics.HasError() {
		return
	}
	switch {
	case destroy:
		r.planDelete(state, &private, false, &resp.Diagnostics)
	case create:
		r.planCreate(config, &plan, &private, &resp.Diagnostics)
	default:
		resp.RequiresReplace.Append(r.planUpdate(config, state, &plan, &private, moved, &resp.Diagnostics)...)
	}
	if !destroy {
		resp.Diagnostics.Append(plan.write(ctx, &resp.Plan)...)
	}
	resp.Diagnostics.Append(writePrivate(ctx, resp.Private, private)...)
}

// planCreate plans what is known before the session is opened. Missing credentials
// are an error here, not halfway through an apply.
func (r *sessionResource) planCreate(config sessionModel, plan *sessionModel, private *privateState, diags *diag.Diagnostics) {
	login := r.data.credentials(diags, config.User, config.Password)
	plan.User = login.user
	plan.Endpoint = r.plannedEndpoint()
	if plan.RotateAfter.IsNull() {
		plan.RotateAt = timetypes.NewRFC3339Null()
	}
	// In a replacement, Delete of the old session checks this.
	private.Needs = replacementNeeds{
		Password: config.Password.IsNull() && !login.password.IsUnknown(),
		Endpoint: plan.Endpoint.ValueString(),
	}
	if config.User.IsNull() {
		private.Needs.User = login.user.ValueString()
	}
	r.planOpen(*plan, private, diags)
}

// planOpen records that a session is to be opened, and warns of what its login may end.
// Terraform drops these warnings if it forces a replacement itself; then Delete has them.
func (r *sessionResource) planOpen(plan sessionModel, private *privateState, diags *diag.Diagnostics) {
	if r.data.endpoint.IsZero() || plan.User.IsUnknown() || plan.User.IsNull() {
		return // whose session it will be is not known
	}
	account := session.Account{Endpoint: r.data.endpoint, User: plan.User.ValueString()}
	planned := r.data.run.PlanOpen(account, private.Instance)
	private.StillHeld = private.StillHeld || planned.StillHeld
	private.HeldByOthers = r.data.run.SharedSessions(account)
	private.Beside = nil
	for _, held := range planned.Beside {
		private.Beside = append(private.Beside, held.Token.SessionID())
		addMayEnd(diags, held.Token.SessionID())
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
//
// Terraform plans a changed resource a second time during apply, without a refresh
// before, and refuses a result that differs. The clock and the provider's user and
// endpoint may have changed by then. So they force a replacement only in a plan that
// has refreshed the session, or that would leave it unchanged: Terraform does not
// plan that one again.
func (r *sessionResource) planUpdate(config, state sessionModel, plan *sessionModel, private *privateState, moved bool, diags *diag.Diagnostics) (replace path.Paths) {
	plan.ID, plan.AuthToken, plan.CreatedAt = state.ID, state.AuthToken, state.CreatedAt
	plan.UserID, plan.Email, plan.FullName = state.UserID, state.Email, state.FullName
	plan.Endpoint = state.Endpoint
	diags.Append(plan.setRotateAt()...)
	plan.User = firstSet(config.User, state.User, r.data.user)
	if !state.User.IsNull() && !plan.User.Equal(state.User) {
		replace.Append(path.Root("user"))
	}
	adopts := private.Imported && state.RotateWhenChanged.IsNull()
	if !adopts && !plan.RotateWhenChanged.Equal(state.RotateWhenChanged) {
		replace.Append(path.Root("rotate_when_changed"))
	}
	unchanged := !moved && plan.equal(state, diags)
	if unchanged || r.data.run.WasRefreshed(private.Instance) {
		replace.Append(r.planFromOutside(config, state, plan, diags)...)
	}

	if len(replace) > 0 {
		r.planDelete(state, private, true, diags)
		r.planOpen(*plan, private, diags)
	} else {
		private.Imported, private.MovedEndpoint = false, ""
		r.planKeep(state, private.Instance, diags)
	}
	return replace
}

// planKeep records that a session stays as it is, and warns of what else the plan does
// to it.
func (r *sessionResource) planKeep(state sessionModel, instance session.InstanceID, diags *diag.Diagnostics) {
	held, err := state.held(instance)
	if err != nil {
		return // Read reports it
	}
	beside := r.data.run.Keep(held)
	if beside.Opens {
		addMayEnd(diags, state.ID.ValueString())
	}
	if beside.Revokes {
		addWillEnd(diags, state.ID.ValueString())
	}
}

// planFromOutside plans what does not come from the resource's own block, and
// returns the attributes that force a replacement.
func (r *sessionResource) planFromOutside(config, state sessionModel, plan *sessionModel, diags *diag.Diagnostics) (replace path.Paths) {
	if user := r.data.user; config.User.IsNull() && !state.User.IsNull() && !user.IsNull() && !user.IsUnknown() && !user.Equal(state.User) {
		plan.User = user
		replace.Append(path.Root("user"))
	}
	if endpoint := r.plannedEndpoint(); !endpoint.IsUnknown() && !endpoint.Equal(state.Endpoint) {
		plan.Endpoint = endpoint
		replace.Append(path.Root("endpoint"))
	}
	due, moreDiags := plan.rotationDue(r.now())
	diags.Append(moreDiags...)
	if due {
		plan.RotateAt = timetypes.NewRFC3339Unknown()
		replace.Append(path.Root("rotate_at"))
	}
	return replace
}

// planDelete plans the end of a session that is destroyed or replaced. It warns of
// a token that stays alive.
func (r *sessionResource) planDelete(state sessionModel, private *privateState, replaces bool, diags *diag.Diagnostics) {
	if reason := r.data.keepsAlive(state); reason != "" {
		addWillStayAlive(diags, state.ID.ValueString(), reason)
		return
	}
	private.Needs = replacementNeeds{}
	// An endpoint that is not usable is reported by Delete.
	held, err := state.held(private.Instance)
	if err != nil {
		return
	}
	var givenAgain bool
	private.StillHeld, givenAgain = r.data.run.PlanEnd(held)
	if private.StillHeld {
		addNotRevoked(diags, state.ID.ValueString(), replaces || givenAgain)
	}
}
