// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/servertest"
)

// A proxy's refusal is reported as the proxy's. Wrong passwords and forbidden
// destinations are not tried again.
func TestSquidRefuses(t *testing.T) {
	const (
		wrong = servertest.SquidUser + ":wr0ng-s3cret@"
		needs = "http_access allow users\nhttp_access deny all"
		deny  = "http_access deny all"
		down  = "deny_info 503:ERR_CONNECT_FAIL all\nhttp_access deny all"
	)
	for name, test := range map[string]struct {
		tunnel          bool
		rules, userInfo string
		says            string
		requests        int // that squid gets
	}{
		"plain http, no password":    {false, needs, "", "the proxy answered 407", 1},
		"plain http, wrong password": {false, needs, wrong, "the proxy answered 407", 1},
		"plain http, forbidden":      {false, deny, squidUser, "403", 1}, // nothing tells it from a gateway's
		"CONNECT, no password":       {true, needs, "", "the proxy answered 407", 1},
		"CONNECT, wrong password":    {true, needs, wrong, "the proxy answered 407", 1},
		"CONNECT, forbidden":         {true, deny, squidUser, "the proxy answered 403", 1},
		"CONNECT, down":              {true, down, squidUser, "the proxy answered 503", 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newProxied(t, test.tunnel, test.rules, test.userInfo)
			r := w.fails([]string{"Could not open a Flame session", test.says}, "apply", "-auto-approve", "-input=false")
			r.doesNotSay(t, "that Flame answered", "Flame answered")
			r.doesNotSay(t, "a lost session", "Flame may have opened")
			r.doesNotSay(t, "the proxy's password", "s3cret")
			if seen := w.squid.Requests(); len(seen) != test.requests {
				t.Errorf("squid got %v, want %d requests", seen, test.requests)
			}
			saw(t, w.fake, 0, 0, 0)
		})
	}
}

// What is wrong with the proxy's address is reported so, and nothing goes around it.
func TestSquidAddress(t *testing.T) {
	for name, test := range map[string]struct{ before, says, not string }{
		"TLS on a plain port": {"https://", "proxy", "is it a plain http endpoint?"},
		"cannot be parsed":    {"http://" + servertest.SquidUser + ":s3cret%zz@", "HTTPS_PROXY", "no connection could be made"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newProxied(t, true, "http_access allow all", "")
			w.setenv("HTTPS_PROXY", test.before+w.squid.Address)
			r := w.fails([]string{test.says}, "apply", "-auto-approve", "-input=false")
			r.doesNotSay(t, "that the endpoint is to blame", test.not)
			r.doesNotSay(t, "the proxy's password", "s3cret")
			saw(t, w.fake, 0, 0, 0)
		})
	}
}
