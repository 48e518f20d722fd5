// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// An origin that is down is learned once, and not again for each session.
func TestNginxIsDown(t *testing.T) {
	const (
		sessions = 100
		few      = 40 // requests: of ten sessions at a time until it is learned, then of one
	)
	fake := newFake(t, flametest.Config{})
	nginx := startNginx(t, fake, false, "location / { PASS }")
	w := newWorkspace(t, fake, fmt.Sprintf("resource \"flame_session\" \"this\" {\n  count = %d\n}\n", sessions))
	w.setenv(envEndpoint, nginx.URL+"/api/v1")
	w.setenv("TF_LOG_PROVIDER", "WARN")
	w.apply()
	nginx.Requests()

	w.write("provider.tf", providerBlock("max_retries = 2\nrequest_timeout = \"500ms\""))
	fake.Always(flametest.OpCheck, &flametest.Fault{Hang: true})
	r := w.must("plan", "-input=false")
	if n := strings.Count(r.Stdout, "Warning: The Flame session could not be verified: session "); n != sessions {
		t.Errorf("%d warnings, want %d", n, sessions)
	}
	if n := nginx.Requests().Count(http.MethodGet); n > few {
		t.Errorf("silent: nginx got %d GETs in a plan, want %d at most", n, few)
	}
	w.write("provider.tf", providerBlock("max_retries = 2"))
	fake.Always(flametest.OpCheck, nil)
	w.must("plan", "-input=false", "-detailed-exitcode").doesNotSay(t, "a warning", "could not be verified")
	if n := nginx.Requests().Count(http.MethodGet); n < sessions || n > sessions+2 {
		t.Errorf("healthy: nginx got %d GETs in a plan, want one for each of %d sessions, and two at most for their user", n, sessions)
	}

	nginx.Stop()
	r = w.fails(nil, "destroy", "-auto-approve", "-input=false", "-refresh=false")
	if n := strings.Count(r.Stderr, "Error: Could not revoke the Flame session "); n != sessions {
		t.Errorf("%d errors, want %d", n, sessions)
	}
	if n := strings.Count(r.Stderr, "Flame request failed"); n > few {
		t.Errorf("refused: %d requests were tried in a destroy, want %d at most", n, few)
	}
	w.agrees()
}
