// SPDX-License-Identifier: MPL-2.0

// Command standin stands in for providers that tests cannot download. It plays
// the one that its own name ends in: terraform-provider-http plays
// hashicorp/http, and so on. Each has no more than the examples use, under the
// names that the real one has, and sends real requests.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	datasourceschema "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	ephemeralschema "github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	resourceschema "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func main() {
	name := strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-")
	address := "registry.terraform.io/standin/" + name
	err := providerserver.Serve(context.Background(), func() provider.Provider { return &standIn{name: name} }, providerserver.ServeOpts{Address: address})
	if err != nil {
		log.Fatal(err)
	}
}

type standIn struct{ name string }

func (p *standIn) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = p.name
}

func (p *standIn) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	if p.name == "restapi" {
		resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
			"uri":     schema.StringAttribute{Required: true},
			"headers": schema.MapAttribute{Optional: true, ElementType: types.StringType},
		}}
	}
}

func (p *standIn) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var c client
	if p.name == "restapi" {
		var uri types.String
		var headers types.Map
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("uri"), &uri)...)
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("headers"), &headers)...)
		c.base = uri.ValueString()
		if !headers.IsUnknown() {
			resp.Diagnostics.Append(headers.ElementsAs(ctx, &c.headers, false)...)
		}
	}
	if p.name == "vault" {
		c.base = os.Getenv("VAULT_ADDR") + "/v1"
	}
	resp.DataSourceData, resp.ResourceData, resp.EphemeralResourceData = c, c, c
}

func (p *standIn) DataSources(context.Context) []func() datasource.DataSource {
	switch p.name {
	case "http":
		return []func() datasource.DataSource{func() datasource.DataSource { return &httpData{} }}
	case "restapi":
		return []func() datasource.DataSource{func() datasource.DataSource { return &restObject{} }}
	}
	return nil
}

func (p *standIn) Resources(context.Context) []func() resource.Resource {
	if p.name == "vault" {
		return []func() resource.Resource{func() resource.Resource { return &vaultSecret{} }}
	}
	var all []func() resource.Resource
	for name, s := range secrets {
		if strings.HasPrefix(name, p.name+"_") {
			all = append(all, func() resource.Resource { return &storedSecret{name: name, schema: s} })
		}
	}
	return all
}

func (p *standIn) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	if p.name == "vault" {
		return []func() ephemeral.EphemeralResource{func() ephemeral.EphemeralResource { return &vaultRead{} }}
	}
	return nil
}

type client struct {
	base    string
	headers map[string]string
}

func (c client) send(ctx context.Context, diags *diag.Diagnostics, method, where, body string) (status int, answer string) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+where, strings.NewReader(body))
	if err != nil {
		diags.AddError("No request", err.Error())
		return 0, ""
	}
	for name, value := range c.headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		diags.AddError("No answer", err.Error())
		return 0, ""
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		diags.AddError("No answer", err.Error())
	}
	return resp.StatusCode, string(content)
}

// httpData is the data source http.
type httpData struct{}

func (*httpData) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "http"
}

func (*httpData) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = datasourceschema.Schema{Attributes: map[string]datasourceschema.Attribute{
		"url":             datasourceschema.StringAttribute{Required: true},
		"request_headers": datasourceschema.MapAttribute{Optional: true, ElementType: types.StringType},
		"status_code":     datasourceschema.Int64Attribute{Computed: true},
		"response_body":   datasourceschema.StringAttribute{Computed: true},
	}}
}

func (*httpData) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var model struct {
		URL     types.String `tfsdk:"url"`
		Headers types.Map    `tfsdk:"request_headers"`
		Status  types.Int64  `tfsdk:"status_code"`
		Body    types.String `tfsdk:"response_body"`
	}
	resp.Diagnostics.Append(req.Config.Get(ctx, &model)...)
	var c client
	resp.Diagnostics.Append(model.Headers.ElementsAs(ctx, &c.headers, false)...)
	if resp.Diagnostics.HasError() {
		return
	}
	c.base = model.URL.ValueString()
	status, body := c.send(ctx, &resp.Diagnostics, http.MethodGet, "", "")
	model.Status, model.Body = types.Int64Value(int64(status)), types.StringValue(body)
	resp.Diagnostics.Append(resp.State.Set(ctx, &model)...)
}

// restObject is the data source restapi_object: it looks for nothing, and has
// what was answered.
type restObject struct{ client client }

func (*restObject) Metadata(_ context.Context, _ datasource.MetadataRequest, resp *datasource.MetadataResponse) {
	resp.TypeName = "restapi_object"
}

func (*restObject) Schema(_ context.Context, _ datasource.SchemaRequest, resp *datasource.SchemaResponse) {
	resp.Schema = datasourceschema.Schema{Attributes: map[string]datasourceschema.Attribute{
		"path":         datasourceschema.StringAttribute{Required: true},
		"search_key":   datasourceschema.StringAttribute{Required: true},
		"search_value": datasourceschema.StringAttribute{Required: true},
		"api_response": datasourceschema.StringAttribute{Computed: true},
	}}
}

func (d *restObject) Configure(_ context.Context, req datasource.ConfigureRequest, _ *datasource.ConfigureResponse) {
	d.client, _ = req.ProviderData.(client)
}

func (d *restObject) Read(ctx context.Context, req datasource.ReadRequest, resp *datasource.ReadResponse) {
	var where types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("path"), &where)...)
	resp.State.Raw = req.Config.Raw
	status, body := d.client.send(ctx, &resp.Diagnostics, http.MethodGet, where.ValueString(), "")
	if status != http.StatusOK && !resp.Diagnostics.HasError() {
		resp.Diagnostics.AddError("Unexpected status", fmt.Sprint(status))
	}
	resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root("api_response"), body)...)
}

// vaultSecret is the resource vault_kv_secret_v2: it writes when the version
// changes.
type vaultSecret struct{ client client }

func (*vaultSecret) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "vault_kv_secret_v2"
}

func (*vaultSecret) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = resourceschema.Schema{Attributes: map[string]resourceschema.Attribute{
		"mount":                resourceschema.StringAttribute{Required: true},
		"name":                 resourceschema.StringAttribute{Required: true},
		"data_json_wo":         resourceschema.StringAttribute{Optional: true, WriteOnly: true},
		"data_json_wo_version": resourceschema.Int64Attribute{Optional: true},
	}}
}

func (v *vaultSecret) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	v.client, _ = req.ProviderData.(client)
}

type getter interface {
	GetAttribute(context.Context, path.Path, any) diag.Diagnostics
}

func (v *vaultSecret) write(ctx context.Context, config getter, diags *diag.Diagnostics, method string) {
	var mount, name, data types.String
	diags.Append(config.GetAttribute(ctx, path.Root("mount"), &mount)...)
	diags.Append(config.GetAttribute(ctx, path.Root("name"), &name)...)
	if method == http.MethodPost {
		diags.Append(config.GetAttribute(ctx, path.Root("data_json_wo"), &data)...)
	}
	if diags.HasError() {
		return
	}
	status, _ := v.client.send(ctx, diags, method, "/"+mount.ValueString()+"/data/"+name.ValueString(), `{"data":`+data.ValueString()+`}`)
	if status >= 300 {
		diags.AddError("Unexpected status", fmt.Sprint(status))
	}
}

func (v *vaultSecret) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	v.write(ctx, req.Config, &resp.Diagnostics, http.MethodPost)
	resp.State.Raw = req.Plan.Raw
}

func (*vaultSecret) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

func (v *vaultSecret) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	v.write(ctx, req.Config, &resp.Diagnostics, http.MethodPost)
	resp.State.Raw = req.Plan.Raw
}

func (v *vaultSecret) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	v.write(ctx, req.State, &resp.Diagnostics, http.MethodDelete)
}

// secrets are the resources of other stores, by their type.
var secrets = map[string]resourceschema.Schema{
	"aws_secretsmanager_secret": {Attributes: map[string]resourceschema.Attribute{
		"name": resourceschema.StringAttribute{Required: true},
		"id":   resourceschema.StringAttribute{Computed: true, Default: stringdefault.StaticString("arn")},
	}},
	"aws_secretsmanager_secret_version": {Attributes: map[string]resourceschema.Attribute{
		"secret_id":                resourceschema.StringAttribute{Required: true},
		"secret_string_wo":         resourceschema.StringAttribute{Optional: true, WriteOnly: true},
		"secret_string_wo_version": resourceschema.Int64Attribute{Optional: true, PlanModifiers: []planmodifier.Int64{int64planmodifier.RequiresReplace()}},
	}},
	"github_actions_secret": {Attributes: map[string]resourceschema.Attribute{
		"repository":  resourceschema.StringAttribute{Required: true},
		"secret_name": resourceschema.StringAttribute{Required: true},
		"value":       resourceschema.StringAttribute{Optional: true, Sensitive: true},
	}},
	"kubernetes_secret_v1": {
		Attributes: map[string]resourceschema.Attribute{
			"data_wo":          resourceschema.MapAttribute{Optional: true, WriteOnly: true, ElementType: types.StringType},
			"data_wo_revision": resourceschema.Int64Attribute{Optional: true},
		},
		Blocks: map[string]resourceschema.Block{
			"metadata": resourceschema.ListNestedBlock{NestedObject: resourceschema.NestedBlockObject{Attributes: map[string]resourceschema.Attribute{
				"name": resourceschema.StringAttribute{Optional: true},
			}}},
		},
	},
}

// storedSecret is one of them. It sends its whole configuration to the store.
type storedSecret struct {
	name   string
	schema resourceschema.Schema
}

func (s *storedSecret) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = s.name
}

func (s *storedSecret) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = s.schema
}

func (s *storedSecret) write(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) {
	c := client{base: os.Getenv("STORE_ADDR")}
	c.send(ctx, diags, http.MethodPost, "/"+s.name, config.Raw.String())
}

func (s *storedSecret) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	s.write(ctx, req.Config, &resp.Diagnostics)
	resp.State.Raw = req.Plan.Raw
}

func (*storedSecret) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

func (s *storedSecret) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	s.write(ctx, req.Config, &resp.Diagnostics)
	resp.State.Raw = req.Plan.Raw
}

func (*storedSecret) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}

// vaultRead is the ephemeral resource vault_kv_secret_v2.
type vaultRead struct{ client client }

func (*vaultRead) Metadata(_ context.Context, _ ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = "vault_kv_secret_v2"
}

func (*vaultRead) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	resp.Schema = ephemeralschema.Schema{Attributes: map[string]ephemeralschema.Attribute{
		"mount":     ephemeralschema.StringAttribute{Required: true},
		"name":      ephemeralschema.StringAttribute{Required: true},
		"data_json": ephemeralschema.StringAttribute{Computed: true, Sensitive: true},
		"data":      ephemeralschema.MapAttribute{Computed: true, Sensitive: true, ElementType: types.StringType},
	}}
}

func (v *vaultRead) Configure(_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse) {
	v.client, _ = req.ProviderData.(client)
}

func (v *vaultRead) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	var mount, name types.String
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("mount"), &mount)...)
	resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root("name"), &name)...)
	_, body := v.client.send(ctx, &resp.Diagnostics, http.MethodGet, "/"+mount.ValueString()+"/data/"+name.ValueString(), "")
	var answer struct {
		Data struct{ Data map[string]string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		resp.Diagnostics.AddError("Unexpected answer", err.Error())
		return
	}
	resp.Diagnostics.Append(resp.Result.SetAttribute(ctx, path.Root("data"), answer.Data.Data)...)
	resp.Diagnostics.Append(resp.Result.SetAttribute(ctx, path.Root("data_json"), body)...)
}
