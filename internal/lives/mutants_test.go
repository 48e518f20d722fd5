// SPDX-License-Identifier: MPL-2.0

package lives

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutants are breaks of the code, each of one promise. The lives must find each of them,
// or they prove nothing.
var mutants = []struct {
	promise  string
	file     string // below internal/
	old, new string
}{
	{
		"a token that another session holds is not revoked", "session/run.go",
		"	if release(held) {\n", "	if release(held); false {\n",
	},
	{
		"a token is revoked at its own endpoint", "provider/resource_session.go",
		"	r.data.checkNeeds(", "	held.Account.Endpoint = r.data.endpoint\n	r.data.checkNeeds(",
	},
	{
		"lost answers are counted", "flame/retry.go",
		"			lost++\n", "			lost += 0\n",
	},
	{
		"only attempts that may have been carried out count as lost", "flame/retry.go",
		"	return e.sent && (errors.Is(e, ErrLost)", "	return true || e.sent && (errors.Is(e, ErrLost)",
	},
	{
		"a login that is on the wire is not aborted", "flame/attempt.go",
		"(!w.sent || call.op != OpOpen)", "(!w.sent || true)",
	},
	{
		"an error says how many sessions were lost", "provider/diagnostics.go",
		"	if e.Lost > 0 {", "	if e.Lost > 1000 {",
	},
	{
		"a session that was opened at last says how many were lost", "provider/resource_session.go",
		"	addLostAnswers(&resp.Diagnostics, id, opened.Lost)\n", "",
	},
	{
		"a 404 proves nothing", "flame/client.go",
		"		if err == nil && !alive {", "		if err != nil || !alive {",
	},
	{
		"a page of HTML with 401 proves nothing", "flame/response.go",
		"http.StatusForbidden) && isHTML(response.Header, body):", "http.StatusForbidden) && false:",
	},
	{
		"a 401 for another scheme proves nothing", "flame/response.go",
		"!accepted && asksForOtherScheme", "false && asksForOtherScheme",
	},
	{
		"a page of HTML with 200 proves nothing", "flame/response.go",
		"	case isHTML(header, body):", "	case false && isHTML(header, body):",
	},
	{
		"max_retries bounds the retries", "flame/retry.go",
		"counted > c.config.MaxRetries {", "counted > c.config.MaxRetries+1 {",
	},
	{
		"access_token is sent where the API misses it", "flame/client.go",
		"	if apiErr != nil && !wantsBody && (", "	if false && apiErr != nil && !wantsBody && (",
	},
	{
		"a session that could not be revoked stays in the state", "provider/resource_session.go",
		"		addRevokeFailure(&resp.Diagnostics, id, err)\n", "",
	},
	{
		"revoke_on_destroy = false is kept", "provider/provider_data.go",
		"	case !state.revokes():", "	case false && !state.revokes():",
	},
	{
		"the provider's revoke_on_destroy = false is kept", "provider/provider_data.go",
		"	case d != nil && !d.revoke:", "	case false && d != nil && !d.revoke:",
	},
	{
		"whatever Delete does not revoke, it reports", "provider/resource_session.go",
		"		addLeftAlive(&resp.Diagnostics, id, reason)\n", "		_ = reason\n",
	},
	{
		"a refresh keeps what it could not check", "provider/resource_session.go",
		"	case err != nil:\n		_, detail := failure(\"\", err)\n", "	case err != nil:\n		resp.State.RemoveResource(ctx)\n		_, detail := failure(\"\", err)\n",
	},
	{
		"a refresh drops a dead session", "provider/resource_session.go",
		"	case !alive:\n		resp.State.RemoveResource(ctx)\n", "	case !alive:\n",
	},
	{
		"verify_sessions = false sends no check", "provider/resource_session.go",
		"	if !r.data.verify {\n", "	if false && !r.data.verify {\n",
	},
	{
		"an ephemeral session that could not be revoked is told", "provider/ephemeral_session.go",
		"	case err != nil:\n		summary, detail", "	case false && err != nil:\n		summary, detail",
	},
	{
		"an ephemeral session that was not closed is revoked at exit", "provider/ephemeral_session.go",
		"		e.data.run.RevokeAtExit(held)\n", "		_ = held\n",
	},
	{
		"a session opened for a Terraform that died is revoked", "session/run.go",
		"	if err == nil && r.orphaned() {", "	if err == nil && false && r.orphaned() {",
	},
	{
		"no password is shown", "provider/diagnostics.go",
		"	summary, detail := failure(task, err)\n	if errors.Is(err, flame.ErrUnauthorized)", "	summary, detail := failure(task+password, err)\n	if errors.Is(err, flame.ErrUnauthorized)",
	},
	{
		"no token is stored but in auth_token", "provider/resource_session_model.go",
		"	m.Email = textOrNull(s.Email)", "	m.Email = textOrNull(s.Token.Reveal())",
	},
	{
		"no token is logged", "provider/resource_session.go",
		"	held.Token = opened.Token\n	plan.User", "	held.Token = opened.Token\n	logAttempt(ctx, flame.Attempt{Method: held.Token.Reveal()})\n	plan.User",
	},
	{
		"the second plan of an apply is the first", "provider/resource_session_plan.go",
		"	if unchanged || r.data.run.WasRefreshed(private.Instance) {", "	if unchanged || !moved {",
	},
	{
		"rotation does not depend on a refresh", "provider/resource_session_plan.go",
		"	if unchanged || r.data.run.WasRefreshed(private.Instance) {", "	if unchanged && moved || r.data.run.WasRefreshed(private.Instance) {",
	},
	{
		"rotation comes when it is due", "provider/resource_session_plan.go",
		"	if due {", "	if due && !config.User.IsNull() {",
	},
	{
		"another user means another session", "provider/resource_session_plan.go",
		"	if !state.User.IsNull() && !plan.User.Equal(state.User) {", "	if false && !plan.User.Equal(state.User) {",
	},
	{
		"another endpoint means another session", "provider/resource_session_plan.go",
		"		replace.Append(path.Root(\"endpoint\"))\n", "",
	},
	{
		"an import is not replaced", "provider/resource_session_plan.go",
		"	adopts := private.Imported &&", "	adopts := false && private.Imported &&",
	},
	{
		"the action tells a failure from a success", "provider/action_session_revoke.go",
		"	case err != nil:\n", "	case false && err != nil:\n",
	},
	{
		"a refused login is not sent again", "flame/login.go",
		"	case apiErr.refusesLogin():", "	case false && apiErr.refusesLogin():",
	},
	{
		"what a plan ends is in use until that is applied", "session/known.go",
		"	k.Ending, k.kept = true, false\n", "	k.Ending, k.leaving, k.kept = true, true, false\n",
	},
	{
		"a revocation whose answer was lost is checked", "flame/client.go",
		"alreadyGone && lost == 0", "alreadyGone && lost >= 0",
	},
	{
		"a login whose answer was lost is checked", "session/run.go",
		"	case errors.As(err, &apiErr) && apiErr.Lost > 0:", "	case false && errors.As(err, &apiErr):",
	},
	{
		"a plan keeps what is computed", "provider/resource_session_plan.go",
		"	plan.ID, plan.AuthToken, plan.CreatedAt = state.ID, state.AuthToken, state.CreatedAt\n", "	plan.ID, plan.CreatedAt = state.ID, state.CreatedAt\n",
	},
}

// TestMutants breaks the code and lives until that is found. Each break takes the place of
// its file in a build of its own; the files themselves stay as they are.
func TestMutants(t *testing.T) {
	limit, err := time.ParseDuration(os.Getenv("FLAME_LIVES_MUTANTS"))
	if err != nil {
		t.Skip("run make test-lives-mutants")
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.promise, " ", "_"), func(t *testing.T) {
			overlay := writeMutant(t, filepath.Join("..", filepath.FromSlash(m.file)), m.old, m.new)
			binary := filepath.Join(filepath.Dir(overlay), "lives.test")
			if output, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay="+overlay, "-o", binary, ".").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, output)
			}
			started := time.Now()
			command := exec.CommandContext(t.Context(), binary, "-test.run=TestLives$", "-test.timeout="+limit.String(), "-lives=100000", "-rapid.shrinktime=0s")
			output, err := command.CombinedOutput()
			took := fmt.Sprintf("%.1f s, of the processor %.1f s", time.Since(started).Seconds(), command.ProcessState.UserTime().Seconds())
			_, reason, found := strings.Cut(string(output), "[rapid] f")
			if err == nil || !found {
				t.Fatalf("not found in %s: %v\n%.2000s", took, err, output)
			}
			reason, _, _ = strings.Cut(reason, "\n")
			t.Logf("found in %s: f%s", took, reason)
		})
	}
}

// TestMutantsFit checks that what the mutants break is still there.
func TestMutantsFit(t *testing.T) {
	for _, m := range mutants {
		writeMutant(t, filepath.Join("..", filepath.FromSlash(m.file)), m.old, m.new)
	}
}

// writeMutant writes the file with a break, and the overlay for the go command.
func writeMutant(t *testing.T, file, old, broken string) (overlay string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), old); n != 1 {
		t.Fatalf("%s has %d of %q: say what stands there now", file, n, old)
	}
	mutant := filepath.Join(t.TempDir(), "mutant.go")
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(source), old, broken, 1)
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(filepath.Dir(mutant), "overlay.json")
	for name, content := range map[string]string{mutant: text, overlay: string(replace)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}
