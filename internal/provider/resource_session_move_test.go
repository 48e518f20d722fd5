// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// What stands for a token, a user and an endpoint in testdata/moves*.tfstate:
// states that the real providers have written.
const (
	storedToken    = "ULzr7GuYA6iyo9EyiFrf"
	storedUser     = "alice"
	storedEndpoint = "https://x.example"
	storedPassword = "password-of-the-source"
)

// A storedSource is a resource of another provider in a state file.
type storedSource struct {
	Type, Name, Provider string
	Instances            []struct{ Attributes json.RawMessage }
	json                 string // all of it
}

// address returns the provider's address: the state has provider["…"] around it.
func (s storedSource) address() string {
	return strings.TrimSuffix(strings.TrimPrefix(s.Provider, `provider["`), `"]`)
}

// storedSources returns the resources in a state of testdata, by name.
func storedSources(t *testing.T, file string) map[string]storedSource {
	t.Helper()
	var state struct{ Resources []json.RawMessage }
	content, err := os.ReadFile(filepath.Join("testdata", file))
	if err == nil {
		err = json.Unmarshal(content, &state)
	}
	if err != nil || len(state.Resources) == 0 {
		t.Fatalf("no resources in %s: %v", file, err)
	}
	sources := map[string]storedSource{}
	for _, resource := range state.Resources {
		source := storedSource{json: string(resource)}
		if err := json.Unmarshal(resource, &source); err != nil {
			t.Fatal(err)
		}
		sources[source.Name] = source
	}
	return sources
}

// store gives the workspace a state with these resources. Terraform wants to find
// their providers, although a move starts only the provider that is moved to: a copy
// of ours stands in for them.
func (w *workspace) store(sources ...storedSource) {
	w.t.Helper()
	binaries := map[string]string{"flameanalytics/flame": providerBinary(w.t)}
	var resources []string
	for _, source := range sources {
		resources = append(resources, source.json)
		host, name, _ := strings.Cut(source.address(), "/")
		if !strings.HasPrefix(name, "builtin/") {
			binaries[host+"/"+name] = providerBinary(w.t)
			binaries[name] = providerBinary(w.t) // OpenTofu translates addresses to its own registry
		}
	}
	w.override(binaries)
	w.write("terraform.tfstate", `{"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "c80e8069-54ed-127a-f98a-7ea52772a72b", "resources": [`+strings.Join(resources, ",")+`]}`)
}

func movedBlock(from, name string) string {
	return fmt.Sprintf("moved {\n  from = %s.%s\n  to   = flame_session.%[2]s\n}\n", from, name)
}

func providerBlock(arguments string) string { return "provider \"flame\" {\n  " + arguments + "\n}\n" }

// Sessions that each of the sources holds are taken over without a request.
func TestMove(t *testing.T) {
	needs(t, movesAcrossTypes, writeOnlyArguments)
	type answered [3]any // user_id, email, full_name
	ada := answered{"7", "a@b.c", "Ada B"}
	tests := map[string]struct {
		configuration string // the name of one of normalConfigurations
		answered
	}{
		"operation_v0":        {"rotate_when_changed", ada},
		"operation_v1":        {"rotate_after", ada},
		"operation_v2":        {"user", ada},
		"operation_sensitive": {"timeouts", answered{"7", nil, nil}},
		"operation_opentofu":  {"revoke_on_destroy", ada},
		"resource_v0":         {"all", ada},
		"resource_v2":         {"password", ada},
		"object_v2":           {"timeouts", ada},
		"object_v2_refreshed": {"nothing", ada},
		"object_v3":           {"rotate_when_changed", ada},
		"object_v3_refreshed": {"user", ada},
		"object_mirror":       {"rotate_after", ada},
		"data_store":          {"rotate_when_changed", answered{}},
		"data_object":         {"all", answered{"7", "a@b.c", nil}},
		"null_triggers":       {"nothing", answered{}},
	}
	fake := newFake(t, flametest.Config{})
	opened := openElsewhere(t, fake, len(tests)+1)
	bystander := opened[len(tests)]
	otherSpelling := strings.Replace(fake.URL(), "http://", "HTTP://", 1) + "/"
	tokens, configurations, moved := map[string]string{}, map[string]string{}, ""
	sources := storedSources(t, "moves.tfstate")
	if len(sources) != len(tests) {
		t.Fatalf("%d sources, %d tests", len(sources), len(tests))
	}
	for name, source := range sources {
		tokens[name], configurations[name] = opened[len(tokens)], normalConfigurations[tests[name].configuration]
		source.json = strings.NewReplacer(storedToken, tokens[name], storedUser, flametest.User, storedEndpoint, otherSpelling).Replace(source.json)
		sources[name] = source
		moved += movedBlock(source.Type, name)
	}
	w := newWorkspace(t, fake, moved)
	w.store(slices.Collect(maps.Values(sources))...)
	configure(w, configurations)

	// Without a refresh, it is the plan that fills in the endpoint.
	w.must("plan", "-input=false", "-refresh=false", "-out=plan").says(t, "Plan: 0 to add, ", " to change, 0 to destroy.")
	w.must("apply", "plan")
	saw(t, fake, 0, 0, 0)
	sessions := w.sessions()
	for name, test := range tests {
		sessions[name].has(t, name, map[string]any{
			"auth_token": tokens[name], "id": flame.NewToken(tokens[name]).SessionID(), "user": flametest.User, "endpoint": fake.URL(),
			"user_id": test.answered[0], "email": test.answered[1], "full_name": test.answered[2],
			"revoke_on_destroy": test.configuration != "revoke_on_destroy",
		})
	}
	if strings.Contains(w.read("terraform.tfstate"), storedPassword) {
		t.Error("the source's password is in the state")
	}

	w.quiet()
	saw(t, fake, 0, 0, len(tokens))
	fake.Reset()
	w.destroy("-refresh=false")
	kept := tokens["operation_opentofu"] // revoke_on_destroy = false
	delete(tokens, "operation_opentofu")
	saw(t, fake, 0, len(tokens), 0)
	sameTokens(t, "revoked by destroy", endedTokens(fake), slices.Collect(maps.Values(tokens))...)
	sameTokens(t, "alive at the end", fake.Live(), bystander, kept)
	if left := w.sessions(); len(left) != 0 {
		t.Errorf("%d sessions are left in the state", len(left))
	}
}

// A session keeps to the user that its source knows. If the configuration has
// another, the session is replaced.
func TestAccSession_moveToOtherUser(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, movesAcrossTypes)
	token := openElsewhere(t, acc.fake, 1)[0]
	acc.run(
		resource.TestStep{Config: acc.config(fmt.Sprintf("resource \"terraform_data\" \"this\" {\n  triggers_replace = { auth_token = %q, user = %q }\n}\n", token, flametest.User))},
		resource.TestStep{
			Config: acc.config(sessionBlock("this", `user = "grace@example.com"`), movedBlock("terraform_data", "this")),
			ConfigPlanChecks: preApply(
				plancheck.ExpectResourceAction(this, plancheck.ResourceActionDestroyBeforeCreate), expectReplacedBecause(this, "user"),
			),
			PostApplyFunc: func() { sameTokens(t, "revoked", endedTokens(acc.fake), token) },
		},
	)
}

// What holds no token is not moved. Each state is one that a real provider has
// written.
func TestMoveWithoutToken(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run, err := newProtocolRun(t.Context(), flameArguments(fake))
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range storedSources(t, "moves-without-token.tfstate") {
		moved, err := run.MoveResourceState(t.Context(), &tfprotov6.MoveResourceStateRequest{
			SourceProviderAddress: source.address(), SourceTypeName: source.Type, SourceState: &tfprotov6.RawState{JSON: source.Instances[0].Attributes}, TargetTypeName: sessionType,
		})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("ERROR: No Flame token in the state to move from\nThe state of the %s has no auth_token", source.Type)
		if name == "stranger" {
			want = "ERROR: Unable to Move Resource State\n"
		}
		if text := diagnosticsText(moved.Diagnostics); len(moved.Diagnostics) != 1 || !strings.HasPrefix(text, want) || moved.TargetState != nil {
			t.Errorf("%s: want only the error %q, got %q", name, want, text)
		}
	}
	saw(t, fake, 0, 0, 0)
}

// terraform_data is built in: this is the whole of a move, as a user makes it.
func TestAccSession_move(t *testing.T) {
	acc := newAccTest(t, flametest.Config{}, movesAcrossTypes)
	values := map[string]string{
		"text":     "  input = %q\n",
		"object":   "  input = { auth_token = %q, id = 12345678901234567890, email = \"a@b.c\", user = \"" + flametest.User + "\" }\n",
		"json":     "  input = jsonencode({ auth_token = %q, id = 7, full_name = \"Ada B\" })\n",
		"secret":   "  input = sensitive({ auth_token = %q, endpoint = \"" + acc.fake.URL() + "\" })\n",
		"triggers": "  triggers_replace = { auth_token = %q, user = \"" + flametest.User + "\" }\n",
	}
	want := map[string]map[string]any{
		"object": {"user_id": "12345678901234567890", "email": "a@b.c", "full_name": nil},
		"json":   {"user_id": "7", "email": nil, "full_name": "Ada B"},
	}
	if command, err := commandVersion(); err != nil {
		t.Fatal(err)
	} else if command.product == "Terraform" && command.minor >= 16 {
		values["store"] = "  store {\n    input = { auth_token = %q, id = \"7\" }\n    version = 1\n  }\n"
		values["bare"] = "  store {\n    input = %q\n    version = 1\n  }\n"
		want["store"] = map[string]any{"user_id": "7"}
	}
	opened := openElsewhere(t, acc.fake, len(values))
	configurations := map[string]string{}
	data, moved, checks := "", "", []statecheck.StateCheck{acc.expectRequests()}
	for i, name := range slices.Sorted(maps.Keys(values)) {
		configurations[name] = normalConfigurations["rotate_when_changed"]
		data += fmt.Sprintf("resource \"terraform_data\" %q {\n%s}\n", name, fmt.Sprintf(values[name], opened[i]))
		moved += movedBlock("terraform_data", name)
		checks = append(checks, expectSession(name, map[string]any{
			"auth_token": opened[i], "id": flame.NewToken(opened[i]).SessionID(), "user": flametest.User, "endpoint": acc.fake.URL(), "created_at": "2026-02-27T10:30:00Z",
		})...)
		checks = append(checks, expectSession(name, want[name])...)
	}
	configurations["json"], configurations["secret"] = normalConfigurations["nothing"], normalConfigurations["rotate_after"]
	acc.run(
		resource.TestStep{Config: acc.config(data)},
		resource.TestStep{
			Config:            acc.config(sessionBlocks(configurations), moved),
			ConfigPlanChecks:  preApply(expectActions(plancheck.ResourceActionUpdate, configurations, nil)...),
			ConfigStateChecks: checks,
		},
		acc.replaceOnChange(configurations, map[string]string{
			"text": `rotate_when_changed = { release = "2" }`,
			"json": `rotate_when_changed = { release = "1" }`,
		}),
	)
	saw(t, acc.fake, 0, len(opened), acc.fake.Count(flametest.OpCheck))
	sameTokens(t, "revoked by destroy", endedTokens(acc.fake), opened...)
}

func TestFindMoveSource(t *testing.T) {
	for _, test := range []struct {
		address, resource string
		found             bool
	}{
		{"registry.terraform.io/magodo/restful", "restful_operation", true},
		{"registry.terraform.io/magodo/restful", "restful_resource", true},
		{"registry.opentofu.org/magodo/restful", "restful_operation", true},
		{"tf.example.com:8443/magodo/restful", "restful_operation", true},
		{"magodo/restful", "restful_operation", true},
		{"registry.terraform.io/mastercard/restapi", "restapi_object", true},
		{"registry.terraform.io/Mastercard/restapi", "restapi_object", true},
		{"registry.opentofu.org/mastercard/restapi", "restapi_object", true},
		{"terraform.io/builtin/terraform", "terraform_data", true},
		{"registry.terraform.io/hashicorp/null", "null_resource", true},
		{"registry.opentofu.org/hashicorp/null", "null_resource", true},

		{"registry.terraform.io/stranger/restful", "restful_operation", false},
		{"registry.terraform.io/magodo/restful2", "restful_operation", false},
		{"registry.terraform.io/xmagodo/restful", "restful_operation", false},
		{"magodo/restful/other", "restful_operation", false},
		{"registry.terraform.io/magodo/restful", "restful_other", false},
		{"registry.terraform.io/magodo/restful", "restapi_object", false},
		{"registry.terraform.io/hashicorp/terraform", "terraform_data", false},
		{"registry.terraform.io/hashicorp/null", "null_data_source", false},
		{"restful", "restful_operation", false},
		{"", "restful_operation", false},
		{"", "", false},
	} {
		source := findMoveSource(test.address, test.resource)
		if (source != nil) != test.found || source != nil && source.resource != test.resource {
			t.Errorf("%s of %q: got %v", test.resource, test.address, source)
		}
	}
}

// Each attribute that may hold Flame's answer, the token alone or the request is searched.
func TestMoveSourceAttributes(t *testing.T) {
	for resource, test := range map[string]struct{ responses, bareTokens, requests []string }{
		"restful_operation": {[]string{"sensitive_output", "output"}, nil, []string{"body"}},
		"restful_resource":  {[]string{"sensitive_output", "output"}, nil, []string{"body"}},
		"restapi_object":    {[]string{"create_response", "api_data", "api_response"}, nil, []string{"data"}},
		"terraform_data":    {[]string{"store", "output", "input", "triggers_replace"}, []string{"store", "output", "input"}, []string{"store", "input", "triggers_replace"}},
		"null_resource":     {[]string{"triggers"}, nil, []string{"triggers"}},
	} {
		source := moveSources[slices.IndexFunc(moveSources, func(s moveSource) bool { return s.resource == resource })]
		answer := map[string]any{"auth_token": "a", "id": "7", "email": "ada@example.com", "full_name": "Ada"}
		for _, response := range test.responses {
			got, _, found := source.find(map[string]any{response: answer})
			want := sessionModel{
				AuthToken: types.StringValue("a"), UserID: types.StringValue("7"),
				Email: types.StringValue("ada@example.com"), FullName: types.StringValue("Ada"),
			}
			if !found || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %v, %v", resource, response, got, found)
			}
		}
		for _, attribute := range test.bareTokens {
			if got, _, found := source.find(map[string]any{attribute: "a"}); !found || got.AuthToken.ValueString() != "a" {
				t.Errorf("%s, text in %s: got %v, %v", resource, attribute, got, found)
			}
		}
		for _, request := range test.requests {
			members := map[string]any{"user": "ada", "endpoint": "https://flame.example"}
			attributes := map[string]any{request: members}
			if response := test.responses[len(test.responses)-1]; response == request {
				members["auth_token"] = "a"
			} else {
				attributes[response] = answer
			}
			if got, endpoint, _ := source.find(attributes); got.User.ValueString() != "ada" || endpoint != "https://flame.example" {
				t.Errorf("%s, %s: got %v, endpoint %q", resource, request, got, endpoint)
			}
		}
		inner := map[string]any{"output": answer}
		if _, _, found := source.find(map[string]any{test.responses[0]: inner}); !found {
			t.Errorf("%s: an output inside is not searched", resource)
		}
	}
}

// Where a token is looked for, in shapes that are rarer than those in testdata.
func TestMoveSourceFind(t *testing.T) {
	for name, test := range map[string]struct {
		resource, state string
		want            sessionModel
		endpoint        string // as it stands in the state
	}{
		"the sensitive output comes first": {
			"restful_operation", `{"output": {"value": {"auth_token": "a"}, "type": "dynamic"}, "sensitive_output": {"value": {"auth_token": "b"}, "type": "dynamic"}}`,
			sessionModel{AuthToken: types.StringValue("b")},
			"",
		},
		"what create answered comes first": {
			"restapi_object", `{"api_data": {"auth_token": "a"}, "create_response": "{\"auth_token\": \"b\"}"}`,
			sessionModel{AuthToken: types.StringValue("b")},
			"",
		},
		"a number's digits": {
			"restapi_object", `{"create_response": "{\"auth_token\": \"a\", \"id\": 123456789012345678901}"}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("123456789012345678901")},
			"",
		},
		"null as restapi writes it": {
			"restapi_object", `{"api_data": {"auth_token": "a", "email": "<nil>", "full_name": "<nil>", "id": "7"}}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("7")},
			"",
		},
		"no token as restapi writes it": {"restapi_object", `{"api_data": {"auth_token": "<nil>"}}`, sessionModel{}, ""},
		"a UUID": {
			"restful_operation", `{"output": "{\"auth_token\": \"a\", \"id\": \"8d6f9a4e-0000-4000-8000-000000000000\"}", "body": "{\"user\": \"ada\"}"}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("8d6f9a4e-0000-4000-8000-000000000000"), User: types.StringValue("ada")},
			"",
		},
		"a member named value":     {"restapi_object", `{"api_data": {"auth_token": "a", "value": "b"}}`, sessionModel{AuthToken: types.StringValue("a")}, ""},
		"a member named type":      {"restapi_object", `{"api_data": {"auth_token": "a", "type": "b"}}`, sessionModel{AuthToken: types.StringValue("a")}, ""},
		"a value that is not text": {"restful_operation", `{"output": {"value": {"auth_token": 7.5e300}, "type": "dynamic"}, "body": 1}`, sessionModel{AuthToken: types.StringValue("7.5e300")}, ""},
		"text is a token for terraform_data": {
			"terraform_data", `{"input": {"value": "a", "type": "string"}, "output": {"value": "a", "type": "string"}}`,
			sessionModel{AuthToken: types.StringValue("a")},
			"",
		},
		"a store with all of it": {
			"terraform_data", `{"store": {"sensitive_output": {"value": {"auth_token": "a", "user": "ada", "endpoint": "https://FLAME.example/v2/"}, "type": "dynamic"}, "version": null}}`,
			sessionModel{AuthToken: types.StringValue("a"), User: types.StringValue("ada")},
			"https://FLAME.example/v2/",
		},
		"text is no token elsewhere":       {"restful_operation", `{"output": {"value": "a", "type": "string"}}`, sessionModel{}, ""},
		"text in triggers_replace is none": {"terraform_data", `{"triggers_replace": {"value": "a", "type": "string"}}`, sessionModel{}, ""},
		"other types":                      {"terraform_data", `{"input": {"value": ["a"], "type": ["list", "string"]}, "output": {"value": true, "type": "bool"}, "store": null}`, sessionModel{}, ""},
		"an endpoint that is none": {
			"null_resource", `{"triggers": {"auth_token": "a", "endpoint": "example.com", "user": "ada"}}`,
			sessionModel{AuthToken: types.StringValue("a"), User: types.StringValue("ada")},
			"example.com",
		},
		"members called value and type": {
			"null_resource", `{"triggers": {"auth_token": "a", "value": "b", "type": "c"}}`,
			sessionModel{AuthToken: types.StringValue("a")},
			"",
		},
		"a token that no header can carry": {"null_resource", `{"triggers": {"auth_token": "a\r\nX: b"}}`, sessionModel{}, ""},
		"nothing":                          {"null_resource", `{}`, sessionModel{}, ""},
	} {
		var attributes map[string]any
		decoder := json.NewDecoder(strings.NewReader(test.state))
		decoder.UseNumber()
		if err := decoder.Decode(&attributes); err != nil {
			t.Fatal(err)
		}
		source := moveSources[slices.IndexFunc(moveSources, func(s moveSource) bool { return s.resource == test.resource })]
		got, endpoint, found := source.find(attributes)
		if found == test.want.AuthToken.IsNull() || !reflect.DeepEqual(got, test.want) || endpoint != test.endpoint {
			t.Errorf("%s: got %v, %v, endpoint %q", name, found, got, endpoint)
		}
	}
}

// A session is not moved to an endpoint that is unknown until apply. Once it is known,
// the refresh asks there.
func TestMoveWithUnknownEndpoint(t *testing.T) {
	needs(t, movesAcrossTypes)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, fmt.Sprintf("resource \"terraform_data\" \"this\" {\n  input = %q\n}\n", openElsewhere(t, fake, 1)[0]))
	w.apply()
	w.write("main.tf", requireFlame+movedBlock("terraform_data", "this")+oneSession)
	w.write("later.tf", "resource \"terraform_data\" \"later\" {\n  input = "+hclString(fake.URL())+"\n}\n"+providerBlock("endpoint = terraform_data.later.output"))
	w.fails([]string{"The moved session cannot be taken over yet", "Remove the moved block"}, "plan", "-input=false")
	saw(t, fake, 0, 0, 0)
	w.write("later.tf", "")
	w.must("plan", "-input=false").doesNotSay(t, "a warning", "The Flame session could not be verified")
	saw(t, fake, 0, 0, 1)
}
