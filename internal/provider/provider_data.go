// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// providerData is what a configured provider hands to its resources, ephemeral
// resources and actions.
type providerData struct {
	run      *session.Run
	endpoint flame.Endpoint // zero: unknown
	user     types.String   // null: not set
	password types.String   // null: not set
	verify   bool
	revoke   bool // whether managed sessions that are destroyed or replaced are revoked

	// unknown names the arguments without which no request can be sent.
	unknown []string
}

// dataFromProvider returns the provider's data. It is nil before the provider was
// configured, as in `terraform validate`.
func dataFromProvider(data any, diags *diag.Diagnostics) *providerData {
	if data == nil {
		return nil
	}
	d, ok := data.(*providerData)
	if !ok {
		diags.AddError("Unexpected provider data", fmt.Sprintf("The provider's data is a %T. %s", data, reportDefect))
	}
	return d
}

// requireClient reports whether requests can be sent. Otherwise it adds an error
// that says why.
func (d *providerData) requireClient(diags *diag.Diagnostics) bool {
	switch {
	case d == nil:
		diags.AddError("The provider is not configured",
			"Terraform asked for a request before it configured the provider. "+reportDefect)
	case len(d.unknown) > 0:
		d.addUnknown(diags)
	default:
		return true
	}
	return false
}

// requireEndpoint is requireClient for requests to the provider's own endpoint.
func (d *providerData) requireEndpoint(diags *diag.Diagnostics) bool {
	if d != nil && d.endpoint.IsZero() {
		d.addUnknown(diags)
		return false
	}
	return d.requireClient(diags)
}

// canOpen reports whether everything is known that opening a session needs.
func (d *providerData) canOpen(c credentials) bool {
	return len(d.unknown) == 0 && !d.endpoint.IsZero() && !c.user.IsUnknown() && !c.password.IsUnknown()
}

func (d *providerData) addUnknown(diags *diag.Diagnostics) {
	diags.AddError("A provider argument is not known yet",
		fmt.Sprintf("The provider's %s has no value yet, so the provider cannot send a request. First apply the resources that it depends on, for example with -target. Then run again.", d.unknownArguments(true)))
}

// unknownArguments names the unknown arguments that a request needs.
func (d *providerData) unknownArguments(needsEndpoint bool) string {
	unknown := slices.Clone(d.unknown)
	if needsEndpoint && d.endpoint.IsZero() {
		unknown = append(unknown, "endpoint")
	}
	slices.Sort(unknown)
	return strings.Join(unknown, ", ")
}

// credentials are what a session is opened with. Either may be unknown.
type credentials struct{ user, password types.String }

// account returns whose session the credentials open.
func (d *providerData) account(c credentials) session.Account {
	return session.Account{Endpoint: d.endpoint, User: c.user.ValueString()}
}

// credentials returns the user and the password of a session's own block, or else
// the provider's. If there is none, it adds an error.
func (d *providerData) credentials(diags *diag.Diagnostics, user, password types.String) credentials {
	c := credentials{firstSet(user, d.user), firstSet(password, d.password)}
	if c.user.IsNull() {
		diags.AddAttributeError(path.Root("user"), "No user for this Flame session",
			"A session needs a user and a password, and no user is set. Set user here or in the provider block, or set the environment variable "+envUser+".")
	}
	if c.password.IsNull() {
		diags.AddError("No password for this Flame session",
			"A session needs a user and a password, and no password is set. Set password here or in the provider block, or set the environment variable "+envPassword+".")
	}
	return c
}

// firstSet returns the first value that is not null.
func firstSet(values ...types.String) types.String {
	for _, v := range values {
		if !v.IsNull() {
			return v
		}
	}
	return types.StringNull()
}

// checkNeeds adds an error if the provider's configuration is no longer the one
// that the plan of a replacement needs. id is the session to be replaced.
func (d *providerData) checkNeeds(diags *diag.Diagnostics, id string, needs replacementNeeds) {
	var missing string
	switch {
	case needs.User != "" && d.user.ValueString() != needs.User:
		missing = "user (" + envUser + ")"
	case needs.Password && d.password.IsNull():
		missing = "password (" + envPassword + ")"
	case needs.Endpoint != "" && d.endpoint.String() != needs.Endpoint:
		missing = "endpoint (" + envEndpoint + ")"
	default:
		return
	}
	diags.AddError("The Flame session cannot be replaced as planned",
		fmt.Sprintf("The provider's %s is missing, or differs from the one in the plan. So the provider could not open a replacement for session %s. Nothing was revoked. "+
			"Apply with the environment and variables of the plan, or make a new plan.", missing, id))
}

// keepsAlive returns why the token of a managed session that is destroyed or
// replaced is not revoked, or "" if it is.
func (d *providerData) keepsAlive(state sessionModel) (reason string) {
	switch {
	case d != nil && !d.revoke:
		return "the provider's revoke_on_destroy is false"
	case !state.revokes():
		return "its revoke_on_destroy is false in the state"
	}
	return ""
}

// resolveEndpoint sets the endpoint of a session that was moved here and has none
// yet: the provider's. It reports whether it did. It adds an error if the session
// was moved from another endpoint, because a token never goes to a host that a
// foreign state chose, and the provider's may not be the one it belongs to.
func (d *providerData) resolveEndpoint(state *sessionModel, private privateState, diags *diag.Diagnostics) (resolved bool) {
	if !state.Endpoint.IsNull() {
		return false
	}
	moved, err := flame.ParseEndpoint(private.MovedEndpoint)
	switch {
	case !private.Imported:
		// Terraform does not show what was moved if the session is tainted.
		diags.AddError("The endpoint of the moved session is not known",
			"The state does not say which endpoint the token belongs to, so nothing was sent. Plan with a refresh, which finds out.")
	case d.endpoint.IsZero():
		diags.AddError("The moved session cannot be taken over yet",
			"A moved session gets the provider's endpoint, which is unknown until apply. Nothing was sent or moved. Remove the moved block, apply the resources that the endpoint depends on, and add the block again.")
	case private.MovedEndpoint != "" && (err != nil || moved != d.endpoint):
		diags.AddError("The moved session belongs to another endpoint",
			fmt.Sprintf("The old state names an endpoint at %s, which is not the provider's. The provider sends a token only to the endpoint it belongs to, so nothing was sent or moved. "+
				"If that endpoint issued the token, set the provider's endpoint to it, including its path. Otherwise remove the moved block, and import the token or let Terraform open a new session.", moved.Origin()))
	default:
		state.Endpoint = types.StringValue(d.endpoint.String())
		return true
	}
	return false
}
