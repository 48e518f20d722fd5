// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

var _ resource.ResourceWithMoveState = (*sessionResource)(nil)

// moveSource is a type of resource whose state may hold a session, and the
// attributes to look in.
type moveSource struct {
	provider   string // namespace and type; the registry's host does not matter
	resource   string
	responses  []string // may hold Flame's response; the likeliest first
	requests   []string // may hold the request that opened the session
	bareTokens []string // those of responses that may be the token itself
}

// The attributes are from the schemas of all versions of the providers:
// https://github.com/magodo/terraform-provider-restful,
// https://github.com/Mastercard/terraform-provider-restapi,
// https://github.com/hashicorp/terraform (internal/builtin/providers/terraform) and
// https://github.com/hashicorp/terraform-provider-null.
var moveSources = []moveSource{
	{provider: "magodo/restful", resource: "restful_operation", responses: []string{"sensitive_output", "output"}, requests: []string{"body"}},
	{provider: "magodo/restful", resource: "restful_resource", responses: []string{"sensitive_output", "output"}, requests: []string{"body"}},
	// A refresh overwrites all but create_response.
	{provider: "mastercard/restapi", resource: "restapi_object", responses: []string{"create_response", "api_data", "api_response"}, requests: []string{"data"}},
	{
		provider: "builtin/terraform", resource: "terraform_data", bareTokens: []string{"store", "output", "input"},
		responses: []string{"store", "output", "input", "triggers_replace"}, requests: []string{"store", "input", "triggers_replace"},
	},
	{provider: "hashicorp/null", resource: "null_resource", responses: []string{"triggers"}, requests: []string{"triggers"}},
}

// MoveState moves sessions here that other providers have opened. It sends no
// request.
func (r *sessionResource) MoveState(context.Context) []resource.StateMover {
	return []resource.StateMover{{StateMover: r.move}}
}

func (r *sessionResource) move(ctx context.Context, req resource.MoveStateRequest, resp *resource.MoveStateResponse) {
	source := findMoveSource(req.SourceProviderAddress, req.SourceTypeName)
	if source == nil {
		return // Terraform says that this move is not supported
	}
	var attributes map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(req.SourceRawState.JSON)))
	decoder.UseNumber() // an id must keep its digits
	if err := decoder.Decode(&attributes); err != nil {
		resp.Diagnostics.AddError("The state to move from cannot be read",
			fmt.Sprintf("The state of the %s is not a JSON object. Nothing was moved. Restore it from a backup, or remove the moved block.", source.resource))
		return
	}
	session, endpoint, found := source.find(attributes)
	if !found {
		resp.Diagnostics.AddError("No Flame token in the state to move from",
			fmt.Sprintf("The state of the %s has no auth_token (looked for in %s), so flame_session has no session to take over. Nothing was moved. "+
				"Remove the moved block. If you have the token elsewhere, import it (env:NAME or file:PATH). Otherwise let Terraform open a new session.",
				source.resource, strings.Join(source.responses, ", ")))
		return
	}
	private := privateState{Imported: true}
	if endpoint != "" {
		parsed, err := flame.ParseEndpoint(endpoint)
		if err != nil {
			resp.Diagnostics.AddError("The state to move from names an endpoint that cannot be used",
				fmt.Sprintf("The provider cannot use the endpoint in the state of the %s: %s. It sends a token only to the endpoint it belongs to, so nothing was sent or moved. "+
					"Remove the moved block, and import the token (env:NAME or file:PATH) or let Terraform open a new session.", source.resource, err))
			return
		}
		private.MovedEndpoint = parsed.String()
	}
	resp.Diagnostics.Append(importState(ctx, &resp.TargetState, r.now(), session)...)
	resp.Diagnostics.Append(writePrivate(ctx, resp.TargetPrivate, private)...)
}

func findMoveSource(address, resourceType string) *moveSource {
	parts := strings.Split(strings.ToLower(address), "/")
	provider := strings.Join(parts[max(0, len(parts)-2):], "/")
	for _, source := range moveSources {
		if source.resource == resourceType && source.provider == provider {
			return &source
		}
	}
	return nil
}

// find returns the session in a state and the endpoint that stands beside it, and
// whether there is a token that can be used.
func (s moveSource) find(attributes map[string]any) (session sessionModel, endpoint string, found bool) {
	for _, name := range s.responses {
		for _, response := range unwrap(attributes[name]) {
			members, isObject := response.(map[string]any)
			token := stringMember(members, "auth_token")
			if !isObject && slices.Contains(s.bareTokens, name) {
				token, _ = response.(string)
			}
			if flame.NewToken(token).Validate() != nil {
				continue
			}
			return sessionModel{
				AuthToken: types.StringValue(token),
				User:      textOrNull(s.requested(attributes, "user")),
				UserID:    textOrNull(stringMember(members, "id")),
				Email:     textOrNull(stringMember(members, "email")),
				FullName:  textOrNull(stringMember(members, "full_name")),
			}, s.requested(attributes, "endpoint"), true
		}
	}
	return sessionModel{}, "", false
}

// requested returns a member of the request that opened the session, or "".
func (s moveSource) requested(attributes map[string]any, name string) string {
	for _, attribute := range s.requests {
		for _, request := range unwrap(attributes[attribute]) {
			members, _ := request.(map[string]any)
			if value := stringMember(members, name); value != "" {
				return value
			}
		}
	}
	return ""
}

// unwrap returns the values that an attribute may stand for: a value of dynamic
// type is stored beside its type, some versions store JSON as text, and the store
// of terraform_data has values inside.
func unwrap(attribute any) []any {
	members, isObject := attribute.(map[string]any)
	if inner, wrapped := members["value"]; wrapped && len(members) == 2 && members["type"] != nil {
		return unwrap(inner)
	}
	if text, ok := attribute.(string); ok {
		var object map[string]any
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&object) == nil {
			return []any{object}
		}
	}
	found := []any{attribute}
	if isObject {
		for _, inner := range []string{"sensitive_output", "output"} {
			if value, ok := members[inner]; ok {
				found = append(found, unwrap(value)...)
			}
		}
	}
	return found
}

// stringMember returns a member that is a string or a number as text, or else "".
// Mastercard/restapi writes null as the text <nil>.
func stringMember(members map[string]any, name string) string {
	switch value := members[name].(type) {
	case string:
		if value != "<nil>" {
			return value
		}
	case json.Number:
		return value.String()
	}
	return ""
}
