// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// proxied is a workspace whose requests go through squid, in plain http, or in a tunnel
// to nginx in front of the fake.
type proxied struct {
	*workspace
	squid *servertest.Squid
}

// newProxied starts squid with these rules. The environment names the proxy with the
// user info.
func newProxied(t *testing.T, tunnel bool, rules, userInfo string) *proxied {
	t.Helper()
	fake := newFake(t, flametest.Config{})
	squid := servertest.StartSquid(t, rules)
	w := &proxied{newWorkspace(t, fake, ""), squid}
	endpoint, provider := fake.URL(), "max_retries = 2"
	if tunnel {
		nginx := startNginx(t, fake, true, "location / { PASS }")
		w.write("ca.pem", nginx.CACertificate)
		endpoint, provider = nginx.URL+"/api/v1", provider+"\nca_certificate = file(\"ca.pem\")"
	}
	w.write("main.tf", requireFlame+oneSession+providerBlock(provider))
	w.setenv(envEndpoint, strings.Replace(endpoint, "127.0.0.1", servertest.SquidHost, 1))
	for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		w.setenv(variable, "http://"+userInfo+squid.Address)
	}
	return w
}

// ways are how a request goes through a proxy.
var ways = map[string]bool{"plain http": false, "CONNECT": true}

// squidUser is user info that squid accepts.
const squidUser = servertest.SquidUser + ":" + servertest.SquidPassword + "@"

// A session lives behind a proxy that wants a password as it does without one.
func TestSquidPassesThrough(t *testing.T) {
	for way, tunnel := range ways {
		t.Run(way, func(t *testing.T) {
			w := newProxied(t, tunnel, "http_access allow users\nhttp_access deny all", squidUser)
			w.apply()
			w.must("plan", "-input=false", "-detailed-exitcode")
			w.apply("-replace=" + this)
			w.agrees()
			w.destroy()
			w.agrees()
			saw(t, w.fake, 2, 2, 3)
			seen := w.squid.Requests()
			if tunnel && seen.Count(http.MethodConnect) == 0 || !tunnel && len(seen) != 7 {
				t.Errorf("squid got %v", seen)
			}
		})
	}
}
