// SPDX-License-Identifier: MPL-2.0

package live

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfversion"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/probe"
	"github.com/flameanalytics/terraform-provider-flame/internal/provider"
)

// liveCase is a case of the suite.
type liveCase struct {
	*testing.T
	kind     probe.Kind
	versions []tfversion.TerraformVersionCheck

	mu      sync.Mutex
	servers []*provider.Server
	said    string // diagnostics of the provider
}

// newCase begins a case. At its end, no session may be alive.
func newCase(t *testing.T, versions ...tfversion.TerraformVersionCheck) *liveCase {
	t.Helper()
	if !*live {
		t.Skip("it needs an account; run `make test-live`")
	}
	if target.interrupted.Err() != nil {
		t.Skip("interrupted")
	}
	kind, _ := target.Kind()
	c := &liveCase{T: t, kind: kind, versions: versions}
	t.Cleanup(func() {
		for _, server := range c.servers {
			server.Exit()
		}
		left, err := target.sweep(context.Background())
		target.swept += left
		if left > 0 || err != nil {
			t.Errorf("sessions left alive, and closed now: %d; error: %v", left, err)
		}
	})
	return c
}

// cannotHold skips the case if the account is of a kind.
func (c *liveCase) cannotHold(kind probe.Kind, because string) {
	c.Helper()
	if c.kind == kind {
		c.Skipf("the account is %s: %s", kind, because)
	}
}

// run runs the steps, and destroys what they leave.
func (c *liveCase) run(steps ...resource.TestStep) {
	c.Helper()
	resource.Test(c.T, resource.TestCase{
		TerraformVersionChecks: c.versions,
		ProtoV6ProviderFactories: map[string]func() (tfprotov6.ProviderServer, error){
			"flame": c.newServer, "echo": echoprovider.NewProviderServer(),
		},
		Steps: steps,
	})
}

// newServer returns what Terraform starts for each command.
func (c *liveCase) newServer() (tfprotov6.ProviderServer, error) {
	server, err := provider.NewServer(provider.Process{Version: "live", Orphaned: func() bool { return false }, Watch: target.watch})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers = append(c.servers, server)
	return listener{server, c}, nil
}

// login opens a session as another tool would.
func (c *liveCase) login() (token string) {
	c.Helper()
	token, err := target.login(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	return token
}

// revoke ends a session as another tool would.
func (c *liveCase) revoke(token string) {
	c.Helper()
	if err := target.End(c.Context(), target.Adopt(flame.NewToken(token)), "a token of a case"); err != nil {
		c.Fatal(err)
	}
	c.want(probe.Dead, token)
}

// want fails the case unless the API says this of a token.
func (c *liveCase) want(want probe.Verdict, token string) {
	c.Helper()
	if err := target.is(c.Context(), want, token); err != nil {
		c.Error(err)
	}
}

// says fails the case unless the provider has said each of the texts since the last call.
// Without texts, it must have said nothing.
func (c *liveCase) says(texts ...string) {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range texts {
		if !strings.Contains(c.said, text) {
			c.Errorf("%q is not in what the provider said: %s", text, c.said)
		}
	}
	if len(texts) == 0 && c.said != "" {
		c.Errorf("the provider said: %s", c.said)
	}
	c.said = ""
}

// sessionID returns the id of the session with a token.
func sessionID(token string) string { return flame.NewToken(token).SessionID() }

// check is a check of the state.
type check func(statecheck.CheckStateRequest) error

// CheckState implements statecheck.StateCheck.
func (f check) CheckState(_ context.Context, req statecheck.CheckStateRequest, resp *statecheck.CheckStateResponse) {
	resp.Error = f(req)
}

// checks returns state checks in a slice, as steps have them.
func checks(all ...check) (list []statecheck.StateCheck) {
	for _, c := range all {
		list = append(list, c)
	}
	return list
}

// attributes returns the attributes of an instance in the state.
func attributes(req statecheck.CheckStateRequest, address string) (map[string]any, error) {
	for _, r := range req.State.Values.RootModule.Resources {
		if r.Address == address {
			return r.AttributeValues, nil
		}
	}
	return nil, fmt.Errorf("%s is not in the state", address)
}

// holds checks that a session in the state is the account's, and what the API says of its
// token, which it stores in token.
func (c *liveCase) holds(address string, token *string, want probe.Verdict) check {
	return func(req statecheck.CheckStateRequest) error {
		got, err := attributes(req, address)
		if err != nil {
			return err
		}
		*token, _ = got["auth_token"].(string)
		for name, value := range map[string]string{"id": sessionID(*token), "endpoint": target.Endpoint().String()} {
			if got[name] != value {
				return fmt.Errorf("%s is %v, want %s", name, got[name], value)
			}
		}
		return target.is(c.Context(), want, *token)
	}
}

// alive is holds for a token that the API accepts.
func (c *liveCase) alive(address string, token *string) check {
	return c.holds(address, token, probe.Alive)
}

// replaced checks that the API refuses a token, which is not the other.
func (c *liveCase) replaced(old, current *string) check {
	return func(statecheck.CheckStateRequest) error {
		if *old == *current {
			return fmt.Errorf("the session is still %s", sessionID(*old))
		}
		return target.is(c.Context(), probe.Dead, *old)
	}
}

// listener is the provider, and listens to its diagnostics.
type listener struct {
	*provider.Server
	c *liveCase
}

func (l listener) hear(diagnostics []*tfprotov6.Diagnostic) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for _, d := range diagnostics {
		l.c.said += d.Summary + "\n" + d.Detail + "\n"
	}
}

// ReadResource implements tfprotov6.ProviderServer.
func (l listener) ReadResource(ctx context.Context, req *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	resp, err := l.Server.ReadResource(ctx, req)
	if resp != nil {
		l.hear(resp.Diagnostics)
	}
	return resp, err
}

// ApplyResourceChange implements tfprotov6.ProviderServer.
func (l listener) ApplyResourceChange(ctx context.Context, req *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	resp, err := l.Server.ApplyResourceChange(ctx, req)
	if resp != nil {
		l.hear(resp.Diagnostics)
	}
	return resp, err
}

// tokenFile writes a file to import from, and returns its path.
func (c *liveCase) tokenFile(token string) string {
	c.Helper()
	path := c.TempDir() + "/token"
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}
