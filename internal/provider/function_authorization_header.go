// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/function"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

var _ function.Function = authorizationHeaderFunction{}

// NewAuthorizationHeaderFunction returns the function authorization_header, which
// returns the Authorization header for a token.
func NewAuthorizationHeaderFunction() function.Function { return authorizationHeaderFunction{} }

type authorizationHeaderFunction struct{}

func (authorizationHeaderFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "authorization_header"
}

func (authorizationHeaderFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary:             "The Authorization header for a Flame token.",
		MarkdownDescription: "Returns the value of the `Authorization` header that Flame expects, `Token token=…`. It refuses a token that could break out of the header.",
		Parameters: []function.Parameter{
			function.StringParameter{
				Name:                "auth_token",
				MarkdownDescription: "The token of a session, such as `flame_session.example.auth_token`.",
			},
		},
		Return: function.StringReturn{},
	}
}

func (authorizationHeaderFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var text string
	if resp.Error = req.Arguments.Get(ctx, &text); resp.Error != nil {
		return
	}
	token := flame.NewToken(text)
	if err := token.Validate(); err != nil {
		resp.Error = function.NewArgumentFuncError(0, "This cannot be a Flame token: "+err.Error()+". Pass the token alone, as flame_session gives it in auth_token") // Terraform ends the sentence
		return
	}
	resp.Error = resp.Result.Set(ctx, flame.AuthorizationHeader(token))
}
