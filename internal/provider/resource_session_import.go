// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

var _ resource.ResourceWithImportState = (*sessionResource)(nil)

// ImportState imports a session whose token is in an environment variable or a
// file. The token itself is refused as an import ID, because Terraform prints those.
func (r *sessionResource) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	token := flame.NewToken(readToken(req.ID, &resp.Diagnostics))
	if resp.Diagnostics.HasError() || !r.data.requireEndpoint(&resp.Diagnostics) {
		return
	}
	if r.data.verify {
		r.verifyImport(ctx, token, &resp.Diagnostics)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	resp.Diagnostics.Append(importState(ctx, &resp.State, r.now(), sessionModel{
		AuthToken: types.StringValue(token.Reveal()),
		Endpoint:  types.StringValue(r.data.endpoint.String()),
	})...)
	resp.Diagnostics.Append(writePrivate(ctx, resp.Private, privateState{Imported: true})...)
}

// verifyImport adds an error unless the token works.
func (r *sessionResource) verifyImport(ctx context.Context, token flame.Token, diags *diag.Diagnostics) {
	ctx, cancel := context.WithTimeout(maskSecrets(ctx, token.Reveal()), readTimeout)
	defer cancel()
	alive, err := r.data.run.Check(ctx, session.Held{Account: session.Account{Endpoint: r.data.endpoint}, Token: token})
	switch {
	case err != nil:
		_, detail := failure("", err)
		diags.AddError("The token to import could not be verified",
			detail+"\n\nTo import without this check, set verify_sessions = false in the provider block.")
	case !alive:
		diags.AddError("The token to import does not work",
			fmt.Sprintf("Flame at %s answered 401 to the token of session %s: it was revoked, has expired, or belongs to another endpoint. Import a token that works, or let Terraform open a new session.",
				r.data.endpoint, token.SessionID()))
	}
}

// importState writes the state of a session that was not opened here. The next
// update takes what m does not say from the configuration, without replacing the
// session.
func importState(ctx context.Context, state *tfsdk.State, now time.Time, m sessionModel) (diags diag.Diagnostics) {
	for name, value := range map[string]any{
		"auth_token":        m.AuthToken,
		"id":                flame.NewToken(m.AuthToken.ValueString()).SessionID(),
		"user":              m.User,
		"user_id":           m.UserID,
		"email":             m.Email,
		"full_name":         m.FullName,
		"endpoint":          m.Endpoint,
		"created_at":        timestamp(now),
		"revoke_on_destroy": true,
	} {
		diags.Append(state.SetAttribute(ctx, path.Root(name), value)...)
	}
	return diags
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// readToken returns the token that an import ID points to.
func readToken(id string, diags *diag.Diagnostics) string {
	kind, where, _ := strings.Cut(id, ":")
	var token string
	switch {
	case kind == "env" && variableName.MatchString(where):
		token = os.Getenv(where)
		if token == "" {
			diags.AddError("The environment variable to import from is not set",
				fmt.Sprintf("%s is unset or empty in the environment of the provider. Set it to the token, then import again.", where))
			return ""
		}
	case kind == "file" && where != "":
		token = readTokenFile(where, diags)
		if diags.HasError() {
			return ""
		}
	default:
		// The ID is not repeated: it may be a token.
		diags.AddError("The import ID does not say where the token is",
			"The import ID must be env:NAME, for a token in the environment variable NAME, or file:PATH, for a token in a file. "+
				"The provider refuses a token itself, because Terraform prints import IDs. If you gave one, revoke it: it is in your shell's history and in logs.")
		return ""
	}
	if strings.HasPrefix(token, "\xff\xfe") || strings.HasPrefix(token, "\xfe\xff") {
		diags.AddError("The imported value is not a token",
			fmt.Sprintf("The value of %s:%s is in UTF-16. Write it in UTF-8: in PowerShell, use Set-Content -Encoding utf8.", kind, where))
		return ""
	}
	token = strings.TrimSpace(strings.TrimPrefix(token, "\ufeff")) // PowerShell and editors write a byte order mark
	if err := flame.NewToken(token).Validate(); err != nil {
		diags.AddError("The imported value is not a token",
			fmt.Sprintf("The value of %s:%s cannot be a token: %s. Give the token and nothing else.", kind, where, err))
	}
	return token
}

// readTokenFile returns the content of a small file, and warns if other users can
// read it too.
func readTokenFile(name string, diags *diag.Diagnostics) string {
	const title = "The file to import from cannot be read"
	cannot := func(err error) string {
		diags.AddError(title, fmt.Sprintf("%s: %s. Write the token to this file, or give another path. A relative path starts where Terraform runs.", name, reasonOf(err)))
		return ""
	}
	info, err := os.Stat(name) // first: opening a pipe would wait for somebody to write to it
	if err != nil {
		return cannot(err)
	}
	if !info.Mode().IsRegular() {
		diags.AddError(title, name+" is not a regular file. Write the token to its own file.")
		return ""
	}
	file, err := os.Open(name) //nolint:gosec // the user names the file
	if err != nil {
		return cannot(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	// Windows keeps access rights elsewhere.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o044 != 0 {
		diags.AddWarning("Others can read the file with the token",
			fmt.Sprintf("The permissions of %s are %04o, so other users of this machine can read the token. Use chmod 600, or delete the file after the import.", name, info.Mode().Perm()))
	}
	content, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return cannot(err)
	}
	return string(content)
}

// reasonOf returns why a file could not be read, without its name.
func reasonOf(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return "it could not be read"
}
