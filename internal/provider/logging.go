// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/terraform-plugin-log/tflog"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// maskSecrets returns a context whose log lines never show the secrets, as they are
// or as JSON escapes them. No line should hold one: this is the second line of
// defence.
func maskSecrets(ctx context.Context, secrets ...string) context.Context {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		forms := []string{secret}
		if quoted, err := json.Marshal(secret); err == nil {
			if escaped := string(quoted[1 : len(quoted)-1]); escaped != secret {
				forms = append(forms, escaped)
			}
		}
		ctx = tflog.MaskLogStrings(ctx, forms...)
	}
	return ctx
}

// logAttempt logs one attempt. See flame.Config.Observe.
func logAttempt(ctx context.Context, a flame.Attempt) {
	fields := map[string]any{
		"method":      a.Method,
		"host":        a.Host,
		"path":        a.Path,
		"attempt":     a.Number,
		"status":      a.Status,
		"duration_ms": a.Duration.Milliseconds(),
	}
	if a.RequestID != "" {
		fields["request_id"] = a.RequestID
	}
	if a.SessionID != "" {
		fields["session_id"] = a.SessionID
	}
	if a.Err != nil {
		fields["error"] = a.Err.Error()
		tflog.Warn(ctx, "Flame request failed", fields)
		return
	}
	tflog.Debug(ctx, "Flame request succeeded", fields)
}
