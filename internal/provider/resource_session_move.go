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

// A moveSource is a kind of resource whose state may hold a session: where what
// Flame answered is kept, first the place that is surest to have the token, and
// where what it was asked is.
type moveSource struct {
	provider      string // namespace and type; the host of a registry does not matter
	resource      string
	answers, asks []string
	bare          []string // those of the answers that may be the token itself
}

// The places are from the schemas of the providers, in all of their versions:
// github.com/magodo/terraform-provider-restful, github.com/Mastercard/terraform-provider-restapi,
// github.com/hashicorp/terraform (internal/builtin/providers/terraform) and
// github.com/hashicorp/terraform-provider-null.
var moveSources = []moveSource{
	{provider: "magodo/restful", resource: "restful_operation", answers: []string{"sensitive_output", "output"}, asks: []string{"body"}},
	{provider: "magodo/restful", resource: "restful_resource", answers: []string{"sensitive_output", "output"}, asks: []string{"body"}},
	// A refresh rewrites all but create_response.
	{provider: "mastercard/restapi", resource: "restapi_object", answers: []string{"create_response", "api_data", "api_response"}, asks: []string{"data"}},
	{
		provider: "builtin/terraform", resource: "terraform_data", bare: []string{"store", "output", "input"},
		answers: []string{"store", "output", "input", "triggers_replace"}, asks: []string{"store", "input", "triggers_replace"},
	},
	{provider: "hashicorp/null", resource: "null_resource", answers: []string{"triggers"}, asks: []string{"triggers"}},
}

// MoveState takes over sessions that other providers have opened, by moved
// blocks, with no request to the API.
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
	session, found := source.find(attributes)
	if !found {
		resp.Diagnostics.AddError("No Flame token in the state to move from",
			fmt.Sprintf("The state of the %s holds no auth_token (looked for in %s), so there is no session that flame_session could take over. Nothing was moved. "+
				"Where you have the token elsewhere, remove the moved block and import it (env:NAME or file:PATH); else let Terraform open a new session, and end the old one at Flame.",
				source.resource, strings.Join(source.answers, ", ")))
		return
	}
	resp.Diagnostics.Append(adopt(ctx, &resp.TargetState, resp.TargetPrivate, r.now(), session)...)
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

// find looks for a token that can be used, and for what stands beside it.
func (s moveSource) find(attributes map[string]any) (sessionModel, bool) {
	for _, place := range s.answers {
		for _, answer := range candidates(attributes[place]) {
			members, isObject := answer.(map[string]any)
			token := stringMember(members, "auth_token")
			if !isObject && slices.Contains(s.bare, place) {
				token, _ = answer.(string)
			}
			if flame.CheckToken(token) != nil {
				continue
			}
			return sessionModel{
				AuthToken: types.StringValue(token),
				User:      textOrNull(s.asked(attributes, "user")),
				UserID:    textOrNull(stringMember(members, "id")),
				Email:     textOrNull(stringMember(members, "email")),
				FullName:  textOrNull(stringMember(members, "full_name")),
				Endpoint:  normalEndpoint(s.asked(attributes, "endpoint")),
			}, true
		}
	}
	return sessionModel{}, false
}

// asked gives a member of what Flame was asked with.
func (s moveSource) asked(attributes map[string]any, name string) string {
	for _, place := range s.asks {
		for _, ask := range candidates(attributes[place]) {
			members, _ := ask.(map[string]any)
			if value := stringMember(members, name); value != "" {
				return value
			}
		}
	}
	return ""
}

// normalEndpoint gives the endpoint in its normal spelling, null for none: the
// next refresh then takes the provider's.
func normalEndpoint(s string) types.String {
	endpoint, err := flame.ParseEndpoint(s)
	if err != nil {
		return types.StringNull()
	}
	return types.StringValue(endpoint.String())
}

// candidates gives what an attribute may mean: a value of dynamic type is
// stored with its type beside it, some versions store JSON as text, and
// terraform_data's store has values of its own within.
func candidates(attribute any) []any {
	members, isObject := attribute.(map[string]any)
	if inner, wrapped := members["value"]; wrapped && len(members) == 2 && members["type"] != nil {
		return candidates(inner)
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
				found = append(found, candidates(value)...)
			}
		}
	}
	return found
}

// stringMember gives a member that is a string or a number as text, else "".
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
