// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/parent"
)

// Serve serves the provider to the Terraform that started this process, until
// that ends it, and then revokes the ephemeral sessions that are still open and what was
// being opened. With
// managedDebug it waits for any Terraform instead, and prints how to connect.
func Serve(version string, managedDebug bool) error {
	// net/http writes stray bytes of responses to the standard logger, and its HTTP/2
	// debugging writes bodies.
	log.SetOutput(io.Discard)
	ignoreSignals(managedDebug)
	logging := loggingRequested(os.Environ())
	if !logging {
		if err := tuneRuntime(); err != nil {
			return err
		}
	}
	parentDied := parent.Watch()
	var stopped atomic.Bool // a second interrupt ends the server while sessions are being opened
	server, err := NewServer(Process{
		Version:  version,
		Orphaned: func() bool { return stopped.Load() || !managedDebug && parentDied() },
		Logging:  logging,
	})
	if err != nil {
		return err
	}
	var options []tf6server.ServeOpt
	if managedDebug {
		options = append(options, tf6server.WithManagedDebug())
	} else {
		go server.exitIfOrphaned()
	}
	err = tf6server.Serve(Address, func() tfprotov6.ProviderServer { return server }, options...)
	stopped.Store(true)
	server.Exit()
	return err
}

// finish waits for the sessions that are being opened, and revokes what nobody is left to
// receive or close.
func (p *flameProvider) finish() {
	for _, run := range p.configured() {
		run.WaitForOpens()
	}
	p.revokeUnclosed()
}

// ignoreSignals has the provider survive signals to its process group: Terraform
// handles them, and asks the provider to stop. SIGHUP comes from a closed terminal,
// SIGPIPE from logging to a Terraform that died.
func ignoreSignals(managedDebug bool) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	if !managedDebug {
		signal.Ignore(syscall.SIGTERM)
	}
}

// exitIfOrphaned exits if Terraform dies without stopping the plugin: nobody is left
// to receive results.
func (s *Server) exitIfOrphaned() {
	for range time.Tick(time.Second) {
		if s.provider.orphaned() {
			s.Exit()
			os.Exit(1)
		}
	}
}

// Process is what the provider depends on outside of Terraform.
type Process struct {
	Version     string                                                               // part of the User-Agent
	Orphaned    func() bool                                                          // reports whether Terraform died
	DialContext func(ctx context.Context, network, address string) (net.Conn, error) // nil: a net.Dialer's
	Watch       func(http.RoundTripper) http.RoundTripper                            // sees all requests; nil: nobody does
	Jitter      func() float64                                                       // of waits, from 0 to 1; nil: at random
	Logging     bool                                                                 // somebody reads the logs
}

// Server is what Terraform calls in one process.
type Server struct {
	protocolServer
	provider *flameProvider
}

// NewServer returns the server of a process. The process must call Exit before it ends.
func NewServer(process Process) (*Server, error) {
	p := &flameProvider{
		version: process.Version, now: time.Now, jitter: process.Jitter, orphaned: process.Orphaned,
		dialContext: process.DialContext, watch: process.Watch,
	}
	inner, err := newServer(p, process.Logging)
	return &Server{inner, p}, err
}

// Exit waits for the sessions that are being opened, and revokes what nobody is left to
// receive or close.
func (s *Server) Exit() { s.provider.finish() }

// loggingRequested reports whether an environment asks for logs: a TF_LOG…
// variable other than TF_LOG_PATH with a value other than OFF.
func loggingRequested(environ []string) bool {
	return slices.ContainsFunc(environ, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		name = strings.ToUpper(name) // on Windows, names have no case
		return strings.HasPrefix(name, "TF_LOG") && name != "TF_LOG_PATH" && value != "" && !strings.EqualFold(value, "OFF")
	})
}

// tuneRuntime trades memory for speed. Only without logging: with it, the
// framework retains more per call.
func tuneRuntime() error {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
	}
	// The SDK writes several lines per call, which Terraform would parse and drop.
	return os.Setenv("TF_LOG_SDK", "OFF")
}

// protocolServer is what Terraform calls.
type protocolServer interface {
	tfprotov6.ProviderServer
	tfprotov6.ActionServer
}

// server gives frequent RPCs a bare context when logging is off, because the
// framework retains every context, with its loggers and buffers (30 KB per
// session), until exit; see registerContext in its internal/proto6server.
type server struct {
	protocolServer
	logging bool
}

func newServer(p provider.Provider, logging bool) (protocolServer, error) {
	inner, ok := providerserver.NewProtocol6(p)().(protocolServer)
	if !ok {
		return nil, errors.New("the framework's server has no actions")
	}
	return server{inner, logging}, nil
}

func (s server) ValidateResourceConfig(ctx context.Context, req *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	resp, err := withBareContext(ctx, s, s.protocolServer.ValidateResourceConfig, req)
	if resp != nil {
		hideSecretLines(resp.Diagnostics)
	}
	return resp, err
}

func (s server) UpgradeResourceState(ctx context.Context, req *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	return withBareContext(ctx, s, s.protocolServer.UpgradeResourceState, req)
}

func (s server) ReadResource(ctx context.Context, req *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	return withBareContext(ctx, s, s.protocolServer.ReadResource, req)
}

func (s server) PlanResourceChange(ctx context.Context, req *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	return withBareContext(ctx, s, s.protocolServer.PlanResourceChange, req)
}

func (s server) ApplyResourceChange(ctx context.Context, req *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	return withBareContext(ctx, s, s.protocolServer.ApplyResourceChange, req)
}

func (s server) ValidateProviderConfig(ctx context.Context, req *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	resp, err := s.protocolServer.ValidateProviderConfig(ctx, req)
	if resp != nil {
		hideSecretLines(resp.Diagnostics)
	}
	return resp, err
}

func (s server) ValidateEphemeralResourceConfig(ctx context.Context, req *tfprotov6.ValidateEphemeralResourceConfigRequest) (*tfprotov6.ValidateEphemeralResourceConfigResponse, error) {
	resp, err := s.protocolServer.ValidateEphemeralResourceConfig(ctx, req)
	if resp != nil {
		hideSecretLines(resp.Diagnostics)
	}
	return resp, err
}

func (s server) ValidateActionConfig(ctx context.Context, req *tfprotov6.ValidateActionConfigRequest) (*tfprotov6.ValidateActionConfigResponse, error) {
	resp, err := s.protocolServer.ValidateActionConfig(ctx, req)
	if resp != nil {
		hideSecretLines(resp.Diagnostics)
	}
	return resp, err
}

// hideSecretLines has diagnostics point at the whole block instead of an argument
// that holds a secret, because Terraform prints the source line that they point at.
// The framework points at a write-only argument that an old Terraform does not
// support.
func hideSecretLines(diagnostics []*tfprotov6.Diagnostic) {
	for _, d := range diagnostics {
		for _, step := range d.Attribute.Steps() {
			switch step {
			case tftypes.AttributeName("password"), tftypes.AttributeName("auth_token"):
				d.Attribute = nil
			}
		}
	}
}

// withBareContext calls an RPC with a context that ends with ctx and has none of
// its values.
func withBareContext[Req, Resp any](ctx context.Context, s server, rpc func(context.Context, Req) (Resp, error), req Req) (Resp, error) {
	if s.logging {
		return rpc(ctx, req)
	}
	bare, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return rpc(bare, req)
}
