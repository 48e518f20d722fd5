// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-log/tflog"
	"github.com/hashicorp/terraform-plugin-log/tflogtest"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// logged returns a context and what is logged of requests with it, line by line.
func logged(t *testing.T, run *protocolRun) (ctx context.Context, lines func() []map[string]any) {
	t.Helper()
	inner, ok := run.protocolServer.(server)
	if !ok {
		t.Fatalf("the provider is served by %T", run.protocolServer)
	}
	run.protocolServer = server{inner.protocolServer, true}
	var log bytes.Buffer
	return tflogtest.RootLogger(t.Context(), &log), func() []map[string]any {
		lines, err := tflogtest.MultilineJSONDecode(&log)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(lines, func(line map[string]any) bool { return line["host"] == nil }) // those of libraries
	}
}

// The log never shows the password or the token that an operation is about, wherever
// they turn up: here, in the path of the endpoint.
func TestLogMasksSecrets(t *testing.T) {
	const password = "s3cret-canary"
	fake := newFake(t, flametest.Config{Users: map[string]string{"ada": password}})
	token := openElsewhereFor(fake, "ada")
	t.Setenv("A_TOKEN", token)
	arguments := func(endpoint string, verify bool) map[string]tftypes.Value {
		return map[string]tftypes.Value{
			"endpoint": stringValue(endpoint), "user": stringValue("ada"), "password": stringValue(password),
			"max_retries": tftypes.NewValue(tftypes.Number, 0), "verify_sessions": tftypes.NewValue(tftypes.Bool, verify),
		}
	}
	ephemeral, err := mustRun(t, arguments(fake.URL(), true)).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := closeElsewhere(t, ephemeral, ephemeral.token)
	for name, test := range map[string]struct {
		secret string
		do     func(ctx context.Context, run *protocolRun, imported heldSession) error
	}{
		"create": {password, func(ctx context.Context, run *protocolRun, _ heldSession) error {
			_, err := run.create(ctx)
			return err
		}},
		"ephemeral open": {password, func(ctx context.Context, run *protocolRun, _ heldSession) error {
			_, err := run.open(ctx)
			return err
		}},
		"read": {token, func(ctx context.Context, run *protocolRun, imported heldSession) error {
			_, err := run.read(ctx, imported)
			return err
		}},
		"delete": {token, func(ctx context.Context, run *protocolRun, imported heldSession) error {
			_, err := run.destroy(ctx, imported)
			return err
		}},
		"import": {token, func(ctx context.Context, run *protocolRun, _ heldSession) error {
			_, err := run.importFrom(ctx, "env:A_TOKEN")
			return err
		}},
		"action": {token, func(ctx context.Context, run *protocolRun, _ heldSession) error {
			_, _, err := run.invoke(ctx, token)
			return err
		}},
		"ephemeral close": {ephemeral.token, func(ctx context.Context, run *protocolRun, _ heldSession) error {
			_, err := run.close(ctx, elsewhere)
			return err
		}},
	} {
		endpoint := fake.URL() + "/" + test.secret
		imported, err := mustRun(t, arguments(endpoint, false)).importFrom(t.Context(), "env:A_TOKEN")
		if err != nil || imported.token == "" {
			t.Fatal(err, diagnosticsText(imported.diags))
		}
		run := mustRun(t, arguments(endpoint, true))
		ctx, lines := logged(t, run)
		if err := test.do(ctx, run, imported); err != nil {
			t.Fatal(err)
		}
		masked := false
		for _, line := range lines() {
			path, _ := line["path"].(string)
			masked = masked || strings.HasPrefix(path, "/api/v1/***/")
			for field, value := range line {
				if text, _ := value.(string); strings.Contains(text, test.secret) {
					t.Errorf("%s: the secret is in %s of the log", name, field)
				}
			}
		}
		if !masked {
			t.Errorf("%s: the log has no path", name)
		}
	}
}

// openElsewhereFor opens a session of a user without Terraform.
func openElsewhereFor(fake *flametest.Server, user string) string {
	token := fake.Open(user)
	fake.Reset()
	return token
}

// closeElsewhere returns an ephemeral session whose endpoint has one more segment in its
// path.
func closeElsewhere(t *testing.T, session heldSession, segment string) heldSession {
	t.Helper()
	var keys map[string][]byte
	var private ephemeralPrivate
	err := json.Unmarshal(session.private, &keys)
	if err == nil {
		err = json.Unmarshal(keys[privateKey], &private)
	}
	private.Endpoint += "/" + segment
	if err == nil {
		keys[privateKey], err = json.Marshal(private)
	}
	if err == nil {
		session.private, err = json.Marshal(keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// Secrets are masked as they are and as JSON has them, each of several.
func TestMaskSecrets(t *testing.T) {
	var log bytes.Buffer
	ctx := maskSecrets(tflogtest.RootLogger(t.Context(), &log), "first", "", "quoted \"<\n", "last")
	tflog.Info(ctx, "message last", map[string]any{"raw": "quoted \"<\n", "escaped": `{"password":"quoted \"\u003c\n"}`, "all": "first, last"})
	if !strings.Contains(log.String(), `"message ***"`) {
		t.Errorf("more than the secrets is masked: %s", log.String())
	}
	for _, secret := range []string{"first", "quoted", "last"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log: %s", secret, log.String())
		}
	}
}

// What the log says of each request.
func TestLogHasEveryRequest(t *testing.T) {
	fake := newFake(t, flametest.Config{})
	run := mustRun(t, flameArguments(fake))
	session := createWith(t, run, nil)
	ctx, lines := logged(t, run)
	fake.Script(flametest.OpCheck, flametest.Fault{Status: 503, Header: map[string][]string{"X-Request-Id": {"request-1"}}}, flametest.Fault{Header: map[string][]string{"X-Request-Id": {"request-2"}}})
	if _, err := run.read(ctx, session); err != nil {
		t.Fatal(err)
	}
	common := map[string]any{
		"method": "GET", "host": strings.Split(fake.URL(), "/")[2], "path": "/api/v1/organizations", "session_id": flame.NewToken(session.token).SessionID(), "@module": "provider",
	}
	want := []map[string]any{
		{"@message": "Flame request failed", "@level": "warn", "status": 503.0, "attempt": 1.0, "request_id": "request-1"},
		{"@message": "Flame request succeeded", "@level": "debug", "status": 200.0, "attempt": 2.0, "request_id": "request-2"},
	}
	got := lines()
	if len(got) != len(want) {
		t.Fatalf("%d lines are logged: %v", len(got), got)
	}
	for i, line := range got {
		maps.Copy(want[i], common)
		for field, value := range want[i] {
			if line[field] != value {
				t.Errorf("attempt %d: %s is %v, want %v", i+1, field, line[field], value)
			}
		}
		if _, ok := line["duration_ms"].(float64); !ok {
			t.Errorf("attempt %d: the duration is %v", i+1, line["duration_ms"])
		}
		if text, _ := line["error"].(string); strings.Contains(text, "503") != (i == 0) {
			t.Errorf("attempt %d: the error is %q", i+1, text)
		}
	}
}
