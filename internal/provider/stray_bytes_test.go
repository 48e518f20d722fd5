// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// net/http logs the bytes that follow a whole response, through the standard logger
// of Go, which nothing masks.
func TestStrayBytesAreNotLogged(t *testing.T) {
	const canary = "stray-canary"
	fake := newFake(t, flametest.Config{})
	for _, op := range []flametest.Operation{flametest.OpOpen, flametest.OpCheck, flametest.OpRevoke} {
		fake.Always(op, &flametest.Fault{Stray: canary})
	}
	for name, environ := range map[string][2]string{
		"stray bytes":    {"TF_LOG", "TRACE"},
		"HTTP/2 debug":   {"GODEBUG", "http2debug=2"},
		"provider's log": {"TF_LOG_PROVIDER", "DEBUG"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t, fake, oneSession)
			w.setenv("TF_LOG", "TRACE")
			w.setenv(environ[0], environ[1])
			for _, args := range [][]string{{"apply", "-auto-approve", "-input=false"}, {"plan", "-input=false"}, {"destroy", "-auto-approve", "-input=false"}} {
				r := w.must(args...)
				if all := r.Stdout + r.Stderr; strings.Contains(all, canary) || strings.Contains(all, "Unsolicited response") {
					t.Errorf("%s: the log has what followed a response", args[0])
				}
			}
		})
	}
}
