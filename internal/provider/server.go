package provider

import (
	"context"
	"errors"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
)

// protocolServer is what Terraform calls.
type protocolServer interface {
	tfprotov6.ProviderServer
	tfprotov6.ActionServer
}

// server serves a provider to Terraform. The calls of which there are many get
// contexts of their own where nobody reads a log: the framework keeps every
// context until the process ends, with the loggers and buffers that belong to it
// (30 KB a session), and writes lines to loggers that throw them away.
type server struct {
	protocolServer
	logged bool
}

func newServer(p provider.Provider, logged bool) (protocolServer, error) {
	inner, ok := providerserver.NewProtocol6(p)().(protocolServer)
	if !ok {
		return nil, errors.New("the framework serves no actions")
	}
	return server{inner, logged}, nil
}

func (s server) ValidateResourceConfig(ctx context.Context, req *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return call(ctx, s, s.protocolServer.ValidateResourceConfig, req)
}

func (s server) UpgradeResourceState(ctx context.Context, req *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	return call(ctx, s, s.protocolServer.UpgradeResourceState, req)
}

func (s server) ReadResource(ctx context.Context, req *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	return call(ctx, s, s.protocolServer.ReadResource, req)
}

func (s server) PlanResourceChange(ctx context.Context, req *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	return call(ctx, s, s.protocolServer.PlanResourceChange, req)
}

func (s server) ApplyResourceChange(ctx context.Context, req *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	return call(ctx, s, s.protocolServer.ApplyResourceChange, req)
}

// call calls with a context that ends when the given one does, and has nothing
// else of it.
func call[Req, Resp any](ctx context.Context, s server, method func(context.Context, Req) (Resp, error), req Req) (Resp, error) {
	if s.logged {
		return method(ctx, req)
	}
	own, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return method(own, req)
}
