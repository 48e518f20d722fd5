// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// startRefusingProxy starts a proxy that refuses every request with a status.
func startRefusingProxy(t *testing.T, status int) (address string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
	}))
	t.Cleanup(proxy.Close)
	return proxy.Listener.Addr().String(), asked
}

// beyondProxy returns the fake's URL at a host that a proxy is used for.
func beyondProxy(fake *flametest.Server) string {
	return strings.Replace(fake.URL(), "127.0.0.1", "0.0.0.0", 1)
}

// What users read when the proxy is at fault, and that Flame is not blamed for it.
func TestProxyDiagnostics(t *testing.T) {
	fake := newFake(t, flametest.Config{TLS: true})
	host := strings.Split(beyondProxy(fake), "/")[2]
	for name, test := range map[string]struct {
		status int // of the proxy
		scheme string
		value  string // of HTTPS_PROXY, instead of the proxy's URL
		asked  int64
		texts  []string
	}{
		"407": {status: 407, asked: 1, texts: []string{
			"POST " + host + "/api/v1/sessions failed: the proxy answered 407 (proxy authentication required).",
			"Check the proxy's user and password in HTTPS_PROXY", "does not send wrong credentials twice", "NO_PROXY",
		}},
		"403": {status: 403, asked: 1, texts: []string{
			"failed: the proxy answered 403 (forbidden)", "the proxy's administrator whether it allows connections to 0.0.0.0",
		}},
		"405": {status: 405, asked: 1, texts: []string{
			"failed: the proxy answered 405 (method not allowed)", "Check that HTTPS_PROXY names a proxy that accepts CONNECT",
		}},
		"503": {status: 503, asked: 3, texts: []string{
			"was tried 3 times; the last result: the proxy answered 503 (service unavailable)", "The request did not reach Flame", "run again later",
		}},
		"https on a plain port": {scheme: "https", texts: []string{
			"was tried 3 times; the last result: no trusted TLS connection could be made (the proxy did not answer in TLS; is it a plain http proxy?)",
			"Check the proxy in HTTPS_PROXY", "https:// only if the proxy itself speaks TLS",
		}},
		"unreachable": {value: "http://ada:s3cret@127.0.0.1:1", texts: []string{
			"the proxy could not be reached", "Check the scheme, host and port of the proxy in HTTPS_PROXY",
		}},
		"no URL": {value: "http://ada:s3cret%@127.0.0.1:1", texts: []string{
			"failed: the proxy in the environment cannot be used (HTTPS_PROXY is not a URL)", "Nothing was sent. Correct or unset HTTPS_PROXY", "%40 for @",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			address, asked := startRefusingProxy(t, test.status)
			if test.value == "" {
				test.value = cmp.Or(test.scheme, "http") + "://ada:s3cret@" + address
			}
			t.Setenv("HTTPS_PROXY", test.value)
			run := newSessionRun(t, fake, map[string]tftypes.Value{
				"endpoint": stringValue(beyondProxy(fake)), "max_retries": tftypes.NewValue(tftypes.Number, 2),
			})
			session := createWith(t, run, nil)
			expectDiagnostics(t, session.diags, anError, append(test.texts, "Could not open a Flame session")...)
			wantTexts(t, diagnosticsText(session.diags), nil, "s3cret", "Flame answered", "may have opened", "Check the user and password", "Check the endpoint, the network")
			if asked.Load() != test.asked || len(fake.Journal()) != 0 || session.token != "" {
				t.Errorf("%d requests to the proxy, want %d; %d to Flame", asked.Load(), test.asked, len(fake.Journal()))
			}
		})
	}
}

// A proxy's refusal says nothing of a session: refresh and destroy keep it.
func TestProxyRefusalKeepsSession(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	w := newWorkspace(t, fake, oneSession)
	w.setenv(envEndpoint, beyondProxy(fake))
	w.setenv("HTTP_PROXY", "")
	w.apply()
	address, asked := startRefusingProxy(t, http.StatusProxyAuthRequired)
	w.setenv("HTTP_PROXY", "http://ada:s3cret@"+address)
	w.setenv("TF_LOG_PROVIDER", "TRACE")
	const reason = "the proxy answered 407 (proxy authentication required)"
	refreshed := w.must("plan", "-input=false")
	refreshed.says(t, "could not be verified", reason, "No changes.")
	destroyed := w.fails([]string{"Could not revoke the Flame session", reason, "Check the proxy's user and password in HTTP_PROXY"},
		"destroy", "-auto-approve", "-input=false", "-refresh=false")
	for _, r := range []result{refreshed, destroyed} {
		r.doesNotSay(t, "the proxy's password", "s3cret")
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the proxy was asked %d times, want 2", n)
	}
	saw(t, fake, 1, 0, 0)
	w.agrees()
	w.setenv("HTTP_PROXY", "")
	w.destroy()
	saw(t, fake, 1, 1, 1)
	w.agrees()
}
