// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

var (
	_ action.Action              = (*sessionRevokeAction)(nil)
	_ action.ActionWithConfigure = (*sessionRevokeAction)(nil)
)

// NewSessionRevokeAction returns the action flame_session_revoke, which revokes a
// token from anywhere.
func NewSessionRevokeAction() action.Action { return &sessionRevokeAction{} }

type sessionRevokeAction struct {
	data *providerData
}

func (a *sessionRevokeAction) Metadata(_ context.Context, req action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_session_revoke"
}

func (a *sessionRevokeAction) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Revokes the token of a Flame session, wherever it comes from: one that leaked, or one that you no longer need. If the token is already dead, the action succeeds.",
		Attributes: map[string]schema.Attribute{
			"auth_token": schema.StringAttribute{
				Required:            true,
				Validators:          []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "The token to revoke, at the provider's endpoint. Pass it in a variable that is `sensitive`, so that Terraform masks it. A saved plan holds it in clear text, but it is dead after the apply.",
			},
		},
	}
}

func (a *sessionRevokeAction) Configure(_ context.Context, req action.ConfigureRequest, resp *action.ConfigureResponse) {
	a.data = dataFromProvider(req.ProviderData, &resp.Diagnostics)
}

func (a *sessionRevokeAction) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var config types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("auth_token"), &config)...)
	if resp.Diagnostics.HasError() || !a.data.requireEndpoint(&resp.Diagnostics) {
		return
	}
	token := flame.NewToken(config.ValueString())
	if err := token.Validate(); err != nil {
		resp.Diagnostics.AddError("auth_token is not a valid token",
			fmt.Sprintf("auth_token cannot be a token: %s. Nothing was sent. Give the token alone, without Token token= before it.", err))
		return
	}
	progress := func(format string, args ...any) {
		resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf(format, args...)})
	}

	ctx, cancel := context.WithTimeout(maskSecrets(ctx, token.Reveal()), deleteTimeout)
	defer cancel()
	progress("Revoking session %s at %s", token.SessionID(), a.data.endpoint)
	revocation, err := a.data.run.RevokeForAll(ctx, session.Account{Endpoint: a.data.endpoint}, token)
	switch {
	case err != nil:
		addFailure(&resp.Diagnostics, "revoke the Flame session "+token.SessionID(), err)
		addEndedByRevocation(&resp.Diagnostics, token.SessionID(), revocation.Casualties)
	case revocation.Result == session.Spared:
		addSpared(&resp.Diagnostics, token.SessionID(), revocation.Others, diag.SeverityError)
	case revocation.Result == session.AlreadyGone:
		progress("Session %s was dead already", token.SessionID())
	default:
		progress("Session %s is revoked", token.SessionID())
		addRevocation(&resp.Diagnostics, token.SessionID(), revocation, false)
		// Terraform drops the warnings of an action that a lifecycle triggers.
		for _, warning := range resp.Diagnostics.Warnings() {
			progress("Warning: %s. %s", warning.Summary(), warning.Detail())
		}
	}
}
