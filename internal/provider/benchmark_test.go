// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// BenchmarkSession opens, refreshes and revokes a session by the requests that
// Terraform sends, with the HTTP exchanges that belong to them.
func BenchmarkSession(b *testing.B) {
	b.Setenv("TF_LOG_SDK", "OFF") // as main does where nobody asks for logs
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(fake.Close)
	run, err := newProtocolRun(b.Context(), flameArguments(fake))
	if err != nil {
		b.Fatal(err)
	}
	var session heldSession
	check := func(held heldSession, err error) heldSession {
		if err != nil || len(held.diags) > 0 {
			b.Fatal(err, diagnosticsText(held.diags))
		}
		return held
	}
	b.Run("create and delete", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			session = check(run.create(b.Context()))
			check(run.destroy(b.Context(), session))
		}
	})
	session = check(run.create(b.Context()))
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			check(run.read(b.Context(), session))
		}
	})
}
