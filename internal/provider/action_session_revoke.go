package provider

import (
	"context"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/action/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

var (
	_ action.Action              = (*revokeAction)(nil)
	_ action.ActionWithConfigure = (*revokeAction)(nil)
)

// revokeAction is flame_session_revoke: it revokes a token from anywhere.
type revokeAction struct {
	data *providerData
}

func (a *revokeAction) Metadata(_ context.Context, req action.MetadataRequest, resp *action.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_session_revoke"
}

func (a *revokeAction) Schema(_ context.Context, _ action.SchemaRequest, resp *action.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Revokes the token of a Flame session, wherever it comes from: one that leaked, or one that was handed over and is no longer needed. A token that is dead already is a success.",
		Attributes: map[string]schema.Attribute{
			"auth_token": schema.StringAttribute{
				Required:            true,
				Validators:          []validator.String{stringvalidator.LengthAtLeast(1)},
				MarkdownDescription: "The token to revoke, at the provider's endpoint. Pass it by a variable that is `sensitive`, so that Terraform masks it. A plan file holds it, but it is dead after the apply.",
			},
		},
	}
}

func (a *revokeAction) Configure(_ context.Context, req action.ConfigureRequest, resp *action.ConfigureResponse) {
	a.data = fromProvider(req.ProviderData, &resp.Diagnostics)
}

func (a *revokeAction) Invoke(ctx context.Context, req action.InvokeRequest, resp *action.InvokeResponse) {
	var config types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("auth_token"), &config)...)
	if resp.Diagnostics.HasError() || !a.data.readyAtEndpoint(&resp.Diagnostics) {
		return
	}
	token := config.ValueString()
	if err := flame.CheckToken(token); err != nil {
		resp.Diagnostics.AddAttributeError(path.Root("auth_token"), "What is to be revoked is no token",
			fmt.Sprintf("auth_token cannot be a token: %s. Nothing was sent. Give the token alone, without the words Token token= before it.", err))
		return
	}
	progress := func(format string, args ...any) {
		resp.SendProgress(action.InvokeProgressEvent{Message: fmt.Sprintf(format, args...)})
	}

	id := flame.SessionID(token)
	ctx, cancel := context.WithTimeout(masked(ctx, token), deleteTimeout)
	defer cancel()
	progress("Revoking session %s at %s", id, a.data.endpoint)
	gone, err := a.data.client.Revoke(ctx, a.data.endpoint, token)
	switch {
	case err != nil:
		addFailure(&resp.Diagnostics, "revoke the Flame session "+id, err)
	case gone:
		progress("Session %s was dead already", id)
	default:
		progress("Session %s is revoked", id)
	}
}
