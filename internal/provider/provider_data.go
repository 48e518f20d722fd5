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
		fmt.Sprintf("The provider's %s has no value yet, so no request can be sent. Apply what it depends on first, for example with -target, and run again.", d.unknownArguments(true)))
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

// credentials returns the user and the first password that are set, in the
// session's own block or else in the provider's. If none is, it adds an error.
func (d *providerData) credentials(diags *diag.Diagnostics, user types.String, passwords ...types.String) credentials {
	c := credentials{firstSet(user, d.user), firstSet(append(passwords, d.password)...)}
	if c.user.IsNull() {
		diags.AddAttributeError(path.Root("user"), "No user for this Flame session",
			"A session needs a user and a password, and no user is set. Set user here, or user in the provider block, or the environment variable "+envUser+".")
	}
	if c.password.IsNull() {
		argument := "password"
		if len(passwords) > 1 {
			argument = "password_wo (or password)"
		}
		diags.AddAttributeError(path.Root("password"), "No password for this Flame session",
			"A session needs a user and a password, and no password is set. Set "+argument+" here, or password in the provider block, or the environment variable "+envPassword+".")
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
		fmt.Sprintf("The provider's %s is missing or another one than when the plan was made, so the session that is to replace session %s could not be opened. Nothing was revoked. "+
			"Apply with the same environment and variables as the plan was made with, or make a new plan.", missing, id))
}
