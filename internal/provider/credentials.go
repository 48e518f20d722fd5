package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// credentials are what a session is opened with. Either may be unknown.
type credentials struct{ user, password types.String }

// credentials gives the first that is set of what the session's own block and
// the provider say; what neither says is an error on the attribute.
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

// firstSet gives the first value that is not null, be it unknown.
func firstSet(values ...types.String) types.String {
	for _, v := range values {
		if !v.IsNull() {
			return v
		}
	}
	return types.StringNull()
}
