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
	"time"

	"github.com/hashicorp/terraform-plugin-framework/types"

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
type storedSource struct{ Type, Name, Provider string }

// newMoveWorkspace makes a workspace whose state is that of a file in testdata,
// and whose configuration moves all of its resources to sessions of the same
// names. replace gives what stands for each of storedToken, storedUser and so
// on, by name.
func newMoveWorkspace(t *testing.T, fake *flametest.Server, file string, replace func(name string) *strings.Replacer) (*workspace, []storedSource) {
	t.Helper()
	w := newWorkspace(t, fake, "")
	content, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var state map[string]any
	var resources struct{ Resources []json.RawMessage }
	if err := json.Unmarshal(content, &resources); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &state); err != nil {
		t.Fatal(err)
	}
	sources := make([]storedSource, len(resources.Resources))
	moved := ""
	for i, resource := range resources.Resources {
		source := &sources[i]
		if err := json.Unmarshal(resource, source); err != nil {
			t.Fatal(err)
		}
		resources.Resources[i] = json.RawMessage(replace(source.Name).Replace(string(resource)))
		source.Provider = strings.TrimSuffix(strings.TrimPrefix(source.Provider, `provider["`), `"]`)
		moved += fmt.Sprintf("moved {\n  from = %s.%s\n  to   = flame_session.%s\n}\n", source.Type, source.Name, source.Name)
	}
	state["resources"] = resources.Resources
	if content, err = json.MarshalIndent(state, "", "  "); err != nil {
		t.Fatal(err)
	}
	w.write("terraform.tfstate", string(content))
	w.write("moved.tf", moved)
	pretendProviders(w, sources)
	return w, sources
}

// pretendProviders has Terraform find the providers of the sources: it wants
// to know where they are, although a move starts only the provider that is
// moved to. A copy of ours stands in for them.
func pretendProviders(w *workspace, sources []storedSource) {
	w.t.Helper()
	binaries := map[string]string{"flameanalytics/flame": providerBinary(w.t)}
	for _, source := range sources {
		host, name, _ := strings.Cut(source.Provider, "/")
		if strings.HasPrefix(name, "builtin/") {
			continue
		}
		binaries[host+"/"+name] = providerBinary(w.t)
		binaries[name] = providerBinary(w.t) // OpenTofu translates addresses to its own registry
	}
	w.override(binaries)
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
		"object_v2":           {"password_wo", ada},
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
	tokens, configurations := map[string]string{}, map[string]string{}
	for i, name := range slices.Sorted(maps.Keys(tests)) {
		tokens[name], configurations[name] = opened[i], normalConfigurations[tests[name].configuration]
	}
	w, sources := newMoveWorkspace(t, fake, "moves.tfstate", func(name string) *strings.Replacer {
		otherSpelling := strings.Replace(fake.URL(), "http://", "HTTP://", 1) + "/"
		return strings.NewReplacer(storedToken, tokens[name], storedUser, flametest.User, storedEndpoint, otherSpelling)
	})
	if len(sources) != len(tests) {
		t.Fatalf("%d sources, %d tests", len(sources), len(tests))
	}
	configure(w, configurations)
	w.write("provider.tf", providerBlock("verify_sessions = false"))

	before := time.Now()
	actions := plannedActions(w)
	for name := range tests {
		if action := actions[name]; action != "update" && action != "no-op" {
			t.Errorf("%s: the plan of the move is to %q", name, action)
		}
	}
	w.must("apply", "plan")
	saw(t, fake, 0, 0, 0)
	sessions := w.sessions()
	for name, test := range tests {
		sessions[name].has(t, name, map[string]any{
			"auth_token": tokens[name], "id": flame.NewToken(tokens[name]).SessionID(), "user": flametest.User, "endpoint": fake.URL(),
			"user_id": test.answered[0], "email": test.answered[1], "full_name": test.answered[2],
			"revoke_on_destroy": test.configuration != "revoke_on_destroy",
		})
		sessions[name].startedBetween(t, name, before, time.Now())
	}
	if strings.Contains(w.read("terraform.tfstate"), storedPassword) {
		t.Error("the source's password is in the state")
	}

	w.write("provider.tf", "")
	adoptedLife(w, tokens, configurations, map[string]string{
		"operation_v0":        `rotate_when_changed = { release = "2" }`,
		"object_v2_refreshed": `rotate_when_changed = { release = "1" }`,
	})
	sameTokens(t, "alive at the end", fake.Live(), bystander, tokens["operation_opentofu"])
}

// A session keeps to the user and the endpoint that its source knows: where the
// configuration has others, it is replaced, and its token goes nowhere but to
// its own endpoint.
func TestMoveToOtherUserOrEndpoint(t *testing.T) {
	needs(t, movesAcrossTypes)
	fake, elsewhere := newFake(t, flametest.Config{}), newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, sessionBlock("user", `user = "grace@example.com"`)+sessionBlock("endpoint", ""))
	tokens := map[*flametest.Server]string{}
	var resources []string
	for name, server := range map[string]*flametest.Server{"user": fake, "endpoint": elsewhere} {
		tokens[server] = openElsewhere(t, server, 1)[0]
		resources = append(resources, fmt.Sprintf(`{"mode": "managed", "type": "null_resource", "name": %q, "provider": "provider[\"registry.terraform.io/hashicorp/null\"]",
			"instances": [{"schema_version": 0, "attributes": {"id": "5577006791947779410", "triggers": {"auth_token": %q, "endpoint": %q, "user": %q}}}]}`,
			name, tokens[server], server.URL(), flametest.User))
		w.write(name+".tf", fmt.Sprintf("moved {\n  from = null_resource.%s\n  to   = flame_session.%[1]s\n}\n", name))
	}
	w.write("terraform.tfstate", `{"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "c80e8069-54ed-127a-f98a-7ea52772a72b", "resources": [`+strings.Join(resources, ",")+`]}`)
	pretendProviders(w, []storedSource{{Provider: "registry.terraform.io/hashicorp/null"}})

	w.apply().says(t, "2 added, 0 changed, 2 destroyed")
	saw(t, fake, 2, 1, 1)
	saw(t, elsewhere, 0, 1, 1)
	for server, token := range tokens {
		sameTokens(t, "revoked", endedTokens(server), token)
	}
	w.agrees()
}

// What holds no token stays where it is, and the state file as it is.
func TestMoveWithoutToken(t *testing.T) {
	needs(t, movesAcrossTypes)
	const noToken, notOurs = "No Flame token in the state to move from\nThe state of the %s holds no auth_token", "Unable to Move Resource State\n"
	fake := newFake(t, flametest.Config{})
	w, sources := newMoveWorkspace(t, fake, "moves-without-token.tfstate", func(string) *strings.Replacer { return strings.NewReplacer() })
	configurations := map[string]string{}
	var want []string
	for _, source := range sources {
		configurations[source.Name] = ""
		text := fmt.Sprintf(noToken, source.Type)
		if source.Name == "stranger" {
			text = notOurs
		}
		want = append(want, text)
	}
	configure(w, configurations)
	before := w.read("terraform.tfstate")

	r := w.run("apply", "-auto-approve", "-input=false", "-json")
	if r.ExitCode != 1 {
		t.Errorf("want exit code 1, got %v", r)
	}
	wantProblems(t, r.problems(t), want)
	if w.read("terraform.tfstate") != before {
		t.Error("the state has changed")
	}
	saw(t, fake, 0, 0, 0)
}

// terraform_data is built in: this is the whole of a move, as a user makes it.
func TestMoveFromTerraformData(t *testing.T) {
	needs(t, movesAcrossTypes)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "")
	values := map[string]string{
		"text":     "  input = %q\n",
		"object":   "  input = { auth_token = %q, id = 12345678901234567890, email = \"a@b.c\", user = \"" + flametest.User + "\" }\n",
		"json":     "  input = jsonencode({ auth_token = %q, id = 7, full_name = \"Ada B\" })\n",
		"secret":   "  input = sensitive({ auth_token = %q, endpoint = \"" + fake.URL() + "\" })\n",
		"triggers": "  triggers_replace = { auth_token = %q, user = \"" + flametest.User + "\" }\n",
		"store":    "  store {\n    input = { auth_token = %q, id = \"7\" }\n    version = 1\n  }\n",
		"bare":     "  store {\n    input = %q\n    version = 1\n  }\n",
	}
	if !hasStore(w) {
		t.Log("this command's terraform_data has no block store (Terraform 1.16 has): moved without")
		delete(values, "store")
		delete(values, "bare")
	}
	tokens, configurations := map[string]string{}, map[string]string{}
	opened := openElsewhere(t, fake, len(values))
	data, moved := "", ""
	for i, name := range slices.Sorted(maps.Keys(values)) {
		tokens[name], configurations[name] = opened[i], normalConfigurations["rotate_when_changed"]
		data += fmt.Sprintf("resource \"terraform_data\" %q {\n%s}\n", name, fmt.Sprintf(values[name], opened[i]))
		moved += fmt.Sprintf("moved {\n  from = terraform_data.%s\n  to   = flame_session.%[1]s\n}\n", name)
	}
	w.write("sessions.tf", data)
	w.apply()

	configure(w, configurations)
	w.write("moved.tf", moved)
	// Without a refresh, it is the plan that fills in the endpoint.
	w.apply("-refresh=false").says(t, fmt.Sprintf("0 added, %d changed, 0 destroyed", len(tokens)))
	saw(t, fake, 0, 0, 0)
	sessions := w.sessions()
	for name, token := range tokens {
		sessions[name].has(t, name, map[string]any{
			"auth_token": token, "id": flame.NewToken(token).SessionID(), "user": flametest.User, "endpoint": fake.URL(),
		})
	}
	sessions["object"].has(t, "object", map[string]any{"user_id": "12345678901234567890", "email": "a@b.c", "full_name": nil})
	sessions["json"].has(t, "json", map[string]any{"user_id": "7", "email": nil, "full_name": "Ada B"})
	if store, ok := sessions["store"]; ok {
		store.has(t, "store", map[string]any{"user_id": "7"})
	}
	adoptedLife(w, tokens, configurations, map[string]string{"text": `rotate_when_changed = { release = "2" }`})
}

// hasStore reports whether terraform_data has the block store.
func hasStore(w *workspace) bool {
	var major, minor int
	_, err := fmt.Sscanf(w.must("version").Stdout, "Terraform v%d.%d", &major, &minor)
	return err == nil && (major > 1 || minor >= 16)
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

// Where a token is looked for, in shapes that are rarer than those in testdata.
func TestMoveSourceFind(t *testing.T) {
	for name, test := range map[string]struct {
		resource, state string
		want            sessionModel
	}{
		"the sensitive output comes first": {
			"restful_operation", `{"output": {"value": {"auth_token": "a"}, "type": "dynamic"}, "sensitive_output": {"value": {"auth_token": "b"}, "type": "dynamic"}}`,
			sessionModel{AuthToken: types.StringValue("b")},
		},
		"what create answered comes first": {
			"restapi_object", `{"api_data": {"auth_token": "a"}, "create_response": "{\"auth_token\": \"b\"}"}`,
			sessionModel{AuthToken: types.StringValue("b")},
		},
		"a number's digits": {
			"restapi_object", `{"create_response": "{\"auth_token\": \"a\", \"id\": 123456789012345678901}"}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("123456789012345678901")},
		},
		"null as restapi writes it": {
			"restapi_object", `{"api_data": {"auth_token": "a", "email": "<nil>", "full_name": "<nil>", "id": "7"}}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("7")},
		},
		"no token as restapi writes it": {"restapi_object", `{"api_data": {"auth_token": "<nil>"}}`, sessionModel{}},
		"a UUID": {
			"restful_operation", `{"output": "{\"auth_token\": \"a\", \"id\": \"8d6f9a4e-0000-4000-8000-000000000000\"}", "body": "{\"user\": \"ada\"}"}`,
			sessionModel{AuthToken: types.StringValue("a"), UserID: types.StringValue("8d6f9a4e-0000-4000-8000-000000000000"), User: types.StringValue("ada")},
		},
		"a value that is not text": {"restful_operation", `{"output": {"value": {"auth_token": 7.5e300}, "type": "dynamic"}, "body": 1}`, sessionModel{AuthToken: types.StringValue("7.5e300")}},
		"text is a token for terraform_data": {
			"terraform_data", `{"input": {"value": "a", "type": "string"}, "output": {"value": "a", "type": "string"}}`,
			sessionModel{AuthToken: types.StringValue("a")},
		},
		"a store with all of it": {
			"terraform_data", `{"store": {"sensitive_output": {"value": {"auth_token": "a", "user": "ada", "endpoint": "https://FLAME.example/v2/"}, "type": "dynamic"}, "version": null}}`,
			sessionModel{AuthToken: types.StringValue("a"), User: types.StringValue("ada"), Endpoint: types.StringValue("https://flame.example/v2")},
		},
		"text is no token elsewhere":       {"restful_operation", `{"output": {"value": "a", "type": "string"}}`, sessionModel{}},
		"text in triggers_replace is none": {"terraform_data", `{"triggers_replace": {"value": "a", "type": "string"}}`, sessionModel{}},
		"other types":                      {"terraform_data", `{"input": {"value": ["a"], "type": ["list", "string"]}, "output": {"value": true, "type": "bool"}, "store": null}`, sessionModel{}},
		"an endpoint that is none": {
			"null_resource", `{"triggers": {"auth_token": "a", "endpoint": "example.com", "user": "ada"}}`,
			sessionModel{AuthToken: types.StringValue("a"), User: types.StringValue("ada")},
		},
		"members called value and type": {
			"null_resource", `{"triggers": {"auth_token": "a", "value": "b", "type": "c"}}`,
			sessionModel{AuthToken: types.StringValue("a")},
		},
		"a token that no header can carry": {"null_resource", `{"triggers": {"auth_token": "a\r\nX: b"}}`, sessionModel{}},
		"nothing":                          {"null_resource", `{}`, sessionModel{}},
	} {
		var attributes map[string]any
		decoder := json.NewDecoder(strings.NewReader(test.state))
		decoder.UseNumber()
		if err := decoder.Decode(&attributes); err != nil {
			t.Fatal(err)
		}
		source := moveSources[slices.IndexFunc(moveSources, func(s moveSource) bool { return s.resource == test.resource })]
		got, _, found := source.find(attributes)
		if found == test.want.AuthToken.IsNull() || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %v, %v", name, found, got)
		}
	}
}

// A session that comes without an endpoint while the provider's is unknown is
// neither sent anywhere nor in the way of the plan.
func TestMoveWithUnknownEndpoint(t *testing.T) {
	needs(t, movesAcrossTypes)
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, "resource \"terraform_data\" \"token\" {\n  input = \"ULzr7GuYA6iyo9EyiFrf\"\n}\n")
	w.apply()
	w.write("main.tf", requireFlame+fmt.Sprintf(`
resource "terraform_data" "later" {
  input = %q
}
provider "flame" {
  endpoint = terraform_data.later.output
}
moved {
  from = terraform_data.token
  to   = flame_session.this
}
`, fake.URL())+oneSession)
	w.must("plan", "-input=false").says(t, "The Flame session could not be verified", "endpoint is not known before the apply", "1 to add, 1 to change, 0 to destroy")
	if n := len(fake.Journal()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
