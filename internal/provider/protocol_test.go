// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// A protocolRun is one run of Terraform over one configured provider, without
// Terraform: it sends the requests that Terraform sends.
type protocolRun struct {
	protocolServer
	resource, ephemeral, action *tfprotov6.SchemaBlock
}

func newProtocolRun(ctx context.Context, arguments map[string]tftypes.Value) (*protocolRun, error) {
	return newProtocolRunAt(ctx, arguments, newClock().Now)
}

// newProtocolRunAt is newProtocolRun with a clock.
func newProtocolRunAt(ctx context.Context, arguments map[string]tftypes.Value, now func() time.Time) (*protocolRun, error) {
	return configureProvider(ctx, newTestProvider(now, time.Millisecond), arguments)
}

// configureProvider configures a provider. An error that is a warning of it comes with a
// run.
func configureProvider(ctx context.Context, p *flameProvider, arguments map[string]tftypes.Value) (*protocolRun, error) {
	server, err := newServer(p, false)
	if err != nil {
		return nil, err
	}
	schemas, err := providerSchema()
	if err != nil {
		return nil, err
	}
	config, err := protocolValue(schemas.Provider.Block, arguments)
	if err != nil {
		return nil, err
	}
	configured, err := server.ConfigureProvider(ctx, &tfprotov6.ConfigureProviderRequest{TerraformVersion: "1.11.0", Config: config})
	if err != nil {
		return nil, err
	}
	run := &protocolRun{
		server,
		schemas.ResourceSchemas[sessionType].Block, schemas.EphemeralResourceSchemas[sessionType].Block, schemas.ActionSchemas[sessionType+"_revoke"].Schema.Block,
	}
	if len(configured.Diagnostics) > 0 {
		err = errors.New(diagnosticsText(configured.Diagnostics))
	}
	return run, err
}

// providerSchema is what every run gets for GetProviderSchema.
var providerSchema = sync.OnceValues(func() (*tfprotov6.GetProviderSchemaResponse, error) {
	server, err := newServer(newTestProvider(time.Now, 0), false)
	if err != nil {
		return nil, err
	}
	return server.GetProviderSchema(context.Background(), &tfprotov6.GetProviderSchemaRequest{})
})

// flameArguments is the provider block of one that signs in at the fake.
func flameArguments(fake *flametest.Server) map[string]tftypes.Value {
	arguments := map[string]tftypes.Value{
		"endpoint": tftypes.NewValue(tftypes.String, fake.URL()),
		"user":     tftypes.NewValue(tftypes.String, flametest.User),
		"password": tftypes.NewValue(tftypes.String, flametest.Password),
	}
	if ca := fake.CACertificate(); ca != "" {
		arguments["ca_certificate"] = tftypes.NewValue(tftypes.String, ca)
	}
	return arguments
}

const sessionType = "flame_session"

// protocolValue gives an object with these attributes; the others are null.
func protocolValue(schema *tfprotov6.SchemaBlock, attributes map[string]tftypes.Value) (*tfprotov6.DynamicValue, error) {
	members := map[string]tftypes.Value{}
	for _, a := range schema.Attributes {
		members[a.Name] = tftypes.NewValue(a.ValueType(), nil)
		if value, ok := attributes[a.Name]; ok {
			members[a.Name] = value
		}
	}
	value, err := tfprotov6.NewDynamicValue(schema.ValueType(), tftypes.NewValue(schema.ValueType(), members))
	return &value, err
}

func protocolNull(schema *tfprotov6.SchemaBlock) (*tfprotov6.DynamicValue, error) {
	value, err := tfprotov6.NewDynamicValue(schema.ValueType(), tftypes.NewValue(schema.ValueType(), nil))
	return &value, err
}

// heldSession is a session as Terraform holds it.
type heldSession struct {
	value   *tfprotov6.DynamicValue
	private []byte
	token   string // "": the value is null, or there is none
	diags   []*tfprotov6.Diagnostic
}

func newHeldSession(schema *tfprotov6.SchemaBlock, value *tfprotov6.DynamicValue, private []byte, diags []*tfprotov6.Diagnostic) (heldSession, error) {
	s := heldSession{value: value, private: private, diags: diags}
	if value == nil {
		return s, nil
	}
	object, err := value.Unmarshal(schema.ValueType())
	if err != nil || object.IsNull() {
		return s, err
	}
	var members map[string]tftypes.Value
	if err := object.As(&members); err != nil {
		return s, err
	}
	if !object.IsFullyKnown() {
		return s, errors.New("what is held is not wholly known")
	}
	return s, members["auth_token"].As(&s.token)
}

// change plans from one state to another and applies the plan.
func (p *protocolRun) change(ctx context.Context, from heldSession, config, to *tfprotov6.DynamicValue) (heldSession, error) {
	plan, err := p.PlanResourceChange(ctx, &tfprotov6.PlanResourceChangeRequest{
		TypeName: sessionType, PriorState: from.value, PriorPrivate: from.private, Config: config, ProposedNewState: to,
	})
	if err != nil {
		return heldSession{}, err
	}
	if len(plan.Diagnostics) > 0 {
		return heldSession{}, errors.New(diagnosticsText(plan.Diagnostics))
	}
	applied, err := p.ApplyResourceChange(ctx, &tfprotov6.ApplyResourceChangeRequest{
		TypeName: sessionType, PriorState: from.value, Config: config, PlannedState: plan.PlannedState, PlannedPrivate: plan.PlannedPrivate,
	})
	if err != nil {
		return heldSession{}, err
	}
	return newHeldSession(p.resource, applied.NewState, applied.Private, applied.Diagnostics)
}

func (p *protocolRun) create(ctx context.Context) (heldSession, error) {
	nothing, err := protocolNull(p.resource)
	if err != nil {
		return heldSession{}, err
	}
	config, err := protocolValue(p.resource, nil)
	if err != nil {
		return heldSession{}, err
	}
	return p.change(ctx, heldSession{value: nothing}, config, config)
}

func (p *protocolRun) read(ctx context.Context, s heldSession) (heldSession, error) {
	read, err := p.ReadResource(ctx, &tfprotov6.ReadResourceRequest{TypeName: sessionType, CurrentState: s.value, Private: s.private})
	if err != nil {
		return heldSession{}, err
	}
	return newHeldSession(p.resource, read.NewState, read.Private, read.Diagnostics)
}

func (p *protocolRun) destroy(ctx context.Context, s heldSession) (heldSession, error) {
	nothing, err := protocolNull(p.resource)
	if err != nil {
		return heldSession{}, err
	}
	return p.change(ctx, s, nothing, nothing)
}

func (p *protocolRun) importFrom(ctx context.Context, id string) (heldSession, error) {
	imported, err := p.ImportResourceState(ctx, &tfprotov6.ImportResourceStateRequest{TypeName: sessionType, ID: id})
	if err != nil {
		return heldSession{}, err
	}
	s := heldSession{diags: imported.Diagnostics}
	if len(imported.ImportedResources) == 0 {
		return s, nil
	}
	return newHeldSession(p.resource, imported.ImportedResources[0].State, imported.ImportedResources[0].Private, imported.Diagnostics)
}

func (p *protocolRun) open(ctx context.Context) (heldSession, error) { return p.openWith(ctx, nil) }

func (p *protocolRun) openWith(ctx context.Context, arguments map[string]tftypes.Value) (heldSession, error) {
	config, err := protocolValue(p.ephemeral, arguments)
	if err != nil {
		return heldSession{}, err
	}
	opened, err := p.OpenEphemeralResource(ctx, &tfprotov6.OpenEphemeralResourceRequest{TypeName: sessionType, Config: config})
	if err != nil {
		return heldSession{}, err
	}
	for _, d := range opened.Diagnostics {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			return heldSession{diags: opened.Diagnostics}, nil // Terraform then holds nothing
		}
	}
	return newHeldSession(p.ephemeral, opened.Result, opened.Private, opened.Diagnostics)
}

func (p *protocolRun) close(ctx context.Context, s heldSession) ([]*tfprotov6.Diagnostic, error) {
	closed, err := p.CloseEphemeralResource(ctx, &tfprotov6.CloseEphemeralResourceRequest{TypeName: sessionType, Private: s.private})
	if err != nil {
		return nil, err
	}
	return closed.Diagnostics, nil
}

func (p *protocolRun) invoke(ctx context.Context, token string) (diags []*tfprotov6.Diagnostic, progress []string, err error) {
	config, err := protocolValue(p.action, map[string]tftypes.Value{"auth_token": tftypes.NewValue(tftypes.String, token)})
	if err != nil {
		return nil, nil, err
	}
	stream, err := p.InvokeAction(ctx, &tfprotov6.InvokeActionRequest{ActionType: sessionType + "_revoke", Config: config})
	if err != nil {
		return nil, nil, err
	}
	completed := false
	for event := range stream.Events {
		switch event := event.Type.(type) {
		case tfprotov6.ProgressInvokeActionEventType:
			progress = append(progress, event.Message)
		case tfprotov6.CompletedInvokeActionEventType:
			completed, diags = true, event.Diagnostics
		}
	}
	if !completed {
		return nil, nil, errors.New("the action did not complete")
	}
	return diags, progress, nil
}

// mustRun is newProtocolRun where the provider's arguments are right.
func mustRun(t *testing.T, arguments map[string]tftypes.Value) *protocolRun {
	t.Helper()
	run, err := newProtocolRun(t.Context(), arguments)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// wantTexts checks that got has each of the texts, and none of the others.
func wantTexts(t *testing.T, got string, texts []string, not ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("%q is not in %s", text, got)
		}
	}
	for _, text := range not {
		if strings.Contains(got, text) {
			t.Errorf("%q is in %s", text, got)
		}
	}
}

// wantInvalid validates one argument of the provider, the ephemeral resource or the
// action. The first error must name the argument; see wantTexts for the texts.
func wantInvalid(t *testing.T, kind, argument string, value any, texts []string, not ...string) {
	t.Helper()
	ctx, run := t.Context(), mustRun(t, nil)
	schemas, err := providerSchema()
	if err != nil {
		t.Fatal(err)
	}
	schema := map[string]*tfprotov6.SchemaBlock{"provider": schemas.Provider.Block, "ephemeral": run.ephemeral, "action": run.action}[kind]
	index := slices.IndexFunc(schema.Attributes, func(a *tfprotov6.SchemaAttribute) bool { return a.Name == argument })
	config, err := protocolValue(schema, map[string]tftypes.Value{argument: tftypes.NewValue(schema.Attributes[index].Type, value)})
	if err != nil {
		t.Fatal(err)
	}
	var diags []*tfprotov6.Diagnostic
	switch kind {
	case "provider":
		resp, callErr := run.ValidateProviderConfig(ctx, &tfprotov6.ValidateProviderConfigRequest{Config: config})
		diags, err = resp.Diagnostics, callErr
	case "ephemeral":
		resp, callErr := run.ValidateEphemeralResourceConfig(ctx, &tfprotov6.ValidateEphemeralResourceConfigRequest{TypeName: sessionType, Config: config})
		diags, err = resp.Diagnostics, callErr
	case "action":
		resp, callErr := run.ValidateActionConfig(ctx, &tfprotov6.ValidateActionConfigRequest{ActionType: sessionType + "_revoke", Config: config})
		diags, err = resp.Diagnostics, callErr
	}
	if err != nil {
		t.Fatal(err)
	}
	// Terraform prints the line of the argument that an error points at, so one about a
	// secret names it in words only.
	want := fmt.Sprintf("AttributeName(%q)", argument)
	if slices.Contains([]string{"endpoint", "password", "auth_token"}, argument) {
		want = ""
	}
	text := diagnosticsText(diags)
	if len(diags) == 0 || diags[0].Severity != tfprotov6.DiagnosticSeverityError || diags[0].Attribute.String() != want || want == "" && !strings.Contains(text, argument) {
		t.Errorf("%s = %v: no error names it, or points where it should: %s", argument, value, text)
	}
	wantTexts(t, diagnosticsText(diags), texts, not...)
}
