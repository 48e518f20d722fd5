// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-log/tflogtest"
	"github.com/hashicorp/terraform-plugin-log/tfsdklogtest"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// faultWant is one side of a cell of the table.
type faultWant struct {
	requests int
	outcome  string // ok, fails, dead or gone
	deletes  int    // requests that try to revoke a token that cannot be kept
	checks   int    // requests that check a token after a refused revocation

	paused, inBody, orphan, revoked bool
}

func (w faultWant) done() bool { return w.outcome == "ok" || w.outcome == "gone" }

func newFaultWant(t *testing.T, text string) faultWant {
	t.Helper()
	words := strings.Fields(text)
	has := func(word string) bool { return slices.Contains(words, word) }
	w := faultWant{outcome: words[1], paused: has("pauses"), inBody: has("body"), orphan: has("orphan"), revoked: has("revoked")}
	var err error
	if w.requests, err = strconv.Atoi(words[0]); err != nil {
		t.Fatal(err)
	}
	if i := slices.Index(words, "DELETE"); i > 0 {
		if w.deletes, err = strconv.Atoi(words[i-1]); err != nil {
			t.Fatal(err)
		}
	}
	if i := slices.Index(words, "GET"); i > 0 {
		if w.checks, err = strconv.Atoi(words[i-1]); err != nil {
			t.Fatal(err)
		}
	}
	if w.paused {
		w.outcome = "fails"
	}
	return w
}

// faultCell is one operation under one fault.
type faultCell struct {
	op    *faultOp
	fault fault
	want  faultWant
	often string // once or always: which requests get the fault
	kind  flametest.Kind

	saw      struct{ requests, outcome, live, told string }
	problems []string
}

const (
	once   = "once"
	always = "always"
)

var faultColumns = map[flametest.Operation]int{flametest.OpOpen: 2, flametest.OpCheck: 3, flametest.OpRevoke: 4}

// faultCells returns every operation under every fault of the table.
func faultCells(t *testing.T) (cells []*faultCell) {
	t.Helper()
	for _, op := range faultOps {
		for line := range strings.Lines(faultTable) {
			column := strings.Split(line, "|")
			if len(column) == 1 || strings.HasPrefix(line, "FAULT") {
				continue
			}
			for _, f := range newFaults(t, column[0], column[1]) {
				cells = append(cells, newFaultCells(t, op, f, column[faultColumns[op.call]])...)
			}
		}
	}
	return cells
}

// newFaultCells returns the cells of an operation under a fault, four for each side
// of the slash.
func newFaultCells(t *testing.T, op *faultOp, f fault, text string) (cells []*faultCell) {
	t.Helper()
	first, every, differ := strings.Cut(text, "/")
	for _, side := range [][2]string{{once, first}, {always, every}} {
		if strings.TrimSpace(side[1]) == "" {
			continue
		}
		for i, kind := range flametest.Kinds() {
			c := &faultCell{op: op, fault: f, want: newFaultWant(t, side[1]), often: side[0], kind: kind}
			if !differ && i%2 == 1 {
				c.often = always
			}
			cells = append(cells, c)
		}
	}
	return cells
}

// inTurn sorts cells that wait first, because the others can use their time, and
// those that leave a free port behind last.
func inTurn(a, b *faultCell) int {
	turn := func(c *faultCell) int {
		switch {
		case c.fault.waits():
			return 0
		case c.fault.unreachable:
			return 2
		}
		return 1
	}
	return turn(a) - turn(b)
}

func (c *faultCell) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", c.op.name, c.fault.name, c.often, c.kind)
}

func (c *faultCell) errorf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// faultResult is what an operation left behind.
type faultResult struct {
	heldSession
	progress []string
}

// run does the operation under the fault and compares the result with the table.
// It leaves its place among the busy cells while it waits.
func (c *faultCell) run(ctx context.Context, folder string, busy chan struct{}) error {
	fake, err := flametest.Start(flametest.Config{Kind: c.kind, TLS: c.fault.encrypted})
	if err != nil {
		return err
	}
	defer fake.Close()
	before, err := c.prepare(ctx, fake)
	if err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	run, err := newProtocolRun(ctx, c.arguments(fake))
	if err != nil {
		return err
	}
	if c.fault.accepted && before.token != "" {
		if accepted, err := c.importToken(ctx, run, before.token, folder); err != nil || accepted.token != before.token {
			return fmt.Errorf("before the fault: %w; %s", err, diagnosticsText(accepted.diags))
		}
		fake.Reset()
	}
	var log strings.Builder
	logged := tfsdklogtest.RootLogger(tflogtest.RootLogger(ctx, &log), &log)
	run.protocolServer = server{run.protocolServer.(server).protocolServer, true}
	soon := c.inject(fake)
	if c.fault.waits() {
		<-busy
	}
	got, err := c.operate(logged, run, before, folder)
	if c.fault.waits() {
		busy <- struct{}{}
	}
	if err != nil {
		return err
	}
	live := fake.Live()
	c.checkRequests(fake.Journal(), soon)
	c.checkOutcome(got, before.token)
	c.checkTexts(got)
	c.checkSecrets(got, log.String(), append(live, before.token))
	c.checkRule(got, live, before.token)
	schema := run.resource
	if c.op.name == "ephemeral open" {
		schema = run.ephemeral
	}
	if err := c.checkMembers(schema, got.heldSession); err != nil || c.fault.unreachable {
		return err
	}
	return c.checkAfterwards(ctx, fake, run, got, before)
}

// prepare opens the session that the operation is about, if it needs one.
func (c *faultCell) prepare(ctx context.Context, fake *flametest.Server) (before heldSession, err error) {
	if c.op.call == flametest.OpOpen {
		return heldSession{}, nil
	}
	if c.op.name == "import" || c.op.name == "action" {
		before.token = fake.Open(flametest.User)
		fake.Reset()
		return before, nil
	}
	earlier, err := newProtocolRun(ctx, flameArguments(fake))
	if err != nil {
		return heldSession{}, err
	}
	open := earlier.create
	if c.op.name == "ephemeral close" {
		open = earlier.open
	}
	before, err = open(ctx)
	if err == nil && len(before.diags) > 0 {
		err = errors.New(diagnosticsText(before.diags))
	}
	fake.Reset()
	return before, err
}

func (c *faultCell) arguments(fake *flametest.Server) map[string]tftypes.Value {
	arguments := flameArguments(fake)
	arguments["max_retries"] = tftypes.NewValue(tftypes.Number, faultRetries)
	if c.fault.Hang {
		timeout := "4s" // for a busy machine to answer the second request in
		if c.often == always {
			timeout = "2s"
		}
		arguments["request_timeout"] = tftypes.NewValue(tftypes.String, timeout)
	}
	return arguments
}

// inject lines up the fault. It returns the time that a Retry-After names, if one
// does.
func (c *faultCell) inject(fake *flametest.Server) (soon time.Time) {
	if c.fault.unreachable {
		fake.Close()
		return time.Time{}
	}
	f := c.fault.Fault
	f.Header = f.Header.Clone()
	if f.Header.Get("Retry-After") == dateSoon {
		soon = time.Now().Add(2 * time.Second).Truncate(time.Second)
		f.Header.Set("Retry-After", httpDate(soon))
	}
	switch c.op.call { // a response that reports a session opened or ended is true
	case flametest.OpOpen:
		f.CarryOut = f.CarryOut || c.fault.opens
	case flametest.OpRevoke:
		f.CarryOut = f.CarryOut || c.want.requests == 1 && c.want.done()
	}
	fake.Always(flametest.OpRevoke, c.fault.cleanUp)
	fake.Always(flametest.OpCheck, c.fault.check)
	if c.often == once {
		fake.Script(c.op.call, f)
		return soon
	}
	if c.want.paused && c.want.requests > 1 { // 429 is retried until the pause is too long
		for range c.want.requests - 1 {
			fake.Script(c.op.call, f)
		}
		f.Header = f.Header.Clone()
		f.Header.Set("Retry-After", "3600")
	}
	fake.Always(c.op.call, &f)
	return soon
}

// operate sends what Terraform sends for the operation.
func (c *faultCell) operate(ctx context.Context, run *protocolRun, before heldSession, folder string) (got faultResult, err error) {
	switch c.op.name {
	case "create":
		got.heldSession, err = run.create(ctx)
	case "read":
		got.heldSession, err = run.read(ctx, before)
	case "delete":
		got.heldSession, err = run.destroy(ctx, before)
	case "import":
		got.heldSession, err = c.importToken(ctx, run, before.token, folder)
	case "ephemeral open":
		got.heldSession, err = run.open(ctx)
	case "ephemeral close":
		got.diags, err = run.close(ctx, before)
	case "action":
		got.diags, got.progress, err = run.invoke(ctx, before.token)
	}
	return got, err
}

func (c *faultCell) importToken(ctx context.Context, run *protocolRun, token, folder string) (heldSession, error) {
	name := filepath.Join(folder, flame.NewToken(token).SessionID())
	if err := os.WriteFile(name, []byte(token), 0o600); err != nil {
		return heldSession{}, err
	}
	return run.importFrom(ctx, "file:"+name)
}

func (c *faultCell) checkRequests(journal []flametest.Request, soon time.Time) {
	want := map[flametest.Operation]int{c.op.call: c.want.requests}
	if c.want.deletes > 0 {
		want[flametest.OpRevoke] = c.want.deletes
	}
	if c.want.checks > 0 {
		want[flametest.OpCheck] = c.want.checks
	}
	if c.fault.unreachable {
		want = nil
	}
	seen := map[flametest.Operation]int{}
	var own []flametest.Request
	for _, r := range journal {
		seen[r.Op]++
		if r.Op == c.op.call {
			own = append(own, r)
		}
	}
	for _, op := range []flametest.Operation{flametest.OpOpen, flametest.OpRevoke, flametest.OpCheck, flametest.OpOther} {
		if seen[op] != want[op] {
			c.errorf("%d requests %q, want %d", seen[op], op, want[op])
		}
		if seen[op] > 0 {
			c.saw.requests = strings.TrimSpace(fmt.Sprintf("%s %d×%s", c.saw.requests, seen[op], strings.Fields(string(op))[0]))
		}
	}
	if len(own) < 2 {
		return
	}
	switch first, second := own[0].Arrived, own[1].Arrived; {
	case c.want.inBody != (c.op.call == flametest.OpRevoke && len(own[1].Body) > 0):
		c.errorf("the second request has the body %q", own[1].Body)
	case c.want.inBody: // Retry-After is for retries
	case !soon.IsZero() && second.Before(soon):
		c.errorf("the second request came %v before the moment that Retry-After named", soon.Sub(second))
	case soon.IsZero() && second.Sub(first) < c.fault.pause:
		c.errorf("the second request came after %v, although Retry-After asked for %v", second.Sub(first), c.fault.pause)
	}
}

// checkOutcome compares how bad the diagnostic is and whether a session is held.
func (c *faultCell) checkOutcome(got faultResult, before string) {
	want := c.op.outcomes[c.want.outcome]
	if c.want.outcome == "ok" && c.want.orphan {
		want = "warning, " + want
	}
	for _, d := range got.diags {
		c.saw.outcome += strings.ToLower(d.Severity.String()) + ", "
	}
	if got.token != "" {
		c.saw.outcome += "held"
	} else {
		c.saw.outcome += "none"
	}
	if c.saw.outcome != want {
		c.errorf("the outcome is %q, want %q\n%s", c.saw.outcome, want, diagnosticsText(got.diags))
	}
	if got.token != "" && before != "" && got.token != before {
		c.errorf("another token is held than before")
	}
	if final := map[string]string{"ok": "is revoked", "gone": "was dead already"}[c.want.outcome]; c.op.name == "action" && final != "" {
		final = "Session " + flame.NewToken(before).SessionID() + " " + final
		if len(got.progress) != 2 || got.progress[1] != final {
			c.errorf("progress is %q, want at last %q", got.progress, final)
		}
	}
}

var (
	faultTitles = regexp.MustCompile(`^(Could not (open a Flame session|open an ephemeral Flame session|revoke the (ephemeral )?Flame session [0-9a-f]{16})` +
		`|The Flame session (could not be verified|has ended elsewhere): session [0-9a-f]{16}` +
		`|The token to import (could not be verified|does not work)|Flame may hold an orphaned session: opened before session [0-9a-f]{16})$`)
	// Every text says what to do.
	faultAdvice = regexp.MustCompile(`(Run again|Check |Ask |Set the |set |Import a token|The next apply|end the user's sessions|Report this)`)
)

const orphanText = "Flame may have opened "

// checkTexts reads what the user reads.
func (c *faultCell) checkTexts(got faultResult) {
	text := diagnosticsText(got.diags)
	for _, d := range got.diags {
		if !faultTitles.MatchString(d.Summary) {
			c.errorf("the title %q is none of the known ones", d.Summary)
		}
		if len(d.Detail) < 40 || !faultAdvice.MatchString(d.Detail) {
			c.errorf("the text does not say what happened and what to do: %q", d.Detail)
		}
	}
	if strings.Contains(text, orphanText) != c.want.orphan {
		c.errorf("%q is said: %v, want %v\n%s", orphanText, !c.want.orphan, c.want.orphan, text)
	}
	if lost := lostText(c.want); !strings.Contains(text, lost) {
		c.errorf("%q is not in: %s", lost, text)
	}
	const revoked = "so the provider revoked it and stored nothing"
	if strings.Contains(text, revoked) != c.want.revoked {
		c.errorf("%q is said: %v, want %v\n%s", revoked, !c.want.revoked, c.want.revoked, text)
	}
	var says []string
	if c.op.name == "delete" && !c.want.done() {
		says = append(says, "set revoke_on_destroy = false in the provider block")
	}
	if !c.want.done() {
		says = append(says, c.fault.says)
		if c.want.requests > 1 && !c.want.inBody {
			says = append(says, fmt.Sprintf("was tried %d times", c.want.requests))
		}
		if c.fault.Status != 0 && c.want.outcome != "dead" {
			says = append(says, requestName)
		}
	}
	if c.want.paused {
		says = append(says, "Flame asked the provider to wait ", "which is longer than this operation's time limit allows")
	}
	if c.fault.never != "" && strings.Contains(text, c.fault.never) {
		c.errorf("%q is untrue: %s", c.fault.never, text)
	}
	for _, want := range says {
		if !strings.Contains(text, want) {
			c.errorf("%q is not in: %s", want, text)
		}
	}
}

// lostText returns how many sessions the user reads may have been lost.
func lostText(want faultWant) string {
	switch {
	case !want.orphan:
		return ""
	case want.outcome == "ok" && want.requests == 2:
		return "an answer to an earlier attempt never arrived"
	case want.requests == 1:
		return "a session, but its token never arrived"
	}
	return fmt.Sprintf("%d sessions, but their tokens never arrived", want.requests)
}

// checkMembers finds no secret in what is held, but where it belongs.
func (c *faultCell) checkMembers(schema *tfprotov6.SchemaBlock, got heldSession) error {
	if got.token == "" {
		return nil
	}
	object, err := got.value.Unmarshal(schema.ValueType())
	if err != nil {
		return err
	}
	var members map[string]tftypes.Value
	if err := object.As(&members); err != nil {
		return err
	}
	delete(members, "auth_token")
	for name, value := range members {
		if text := value.String(); strings.Contains(text, got.token) || strings.Contains(text, flametest.Password) {
			c.errorf("%s holds a secret", name)
		}
	}
	for _, name := range []string{"user_id", "email", "full_name"} {
		if c.fault.Members != "" && !members[name].IsNull() {
			c.errorf("%s is %v, want null", name, members[name])
		}
	}
	return nil
}

// checkSecrets finds no secret, and nothing of a body or a header, in what the user
// reads and in the log.
func (c *faultCell) checkSecrets(got faultResult, log string, tokens []string) {
	var scan leakScan
	for _, secret := range append(tokens, flametest.Password, bodyCanary, headerCanary, `auth_token":`) {
		scan.add("secret", secret)
	}
	for _, found := range scan.file("diagnostics and progress", []byte(diagnosticsText(got.diags)+strings.Join(got.progress, "\n"))) {
		c.errorf("%v", found)
	}
	if requests := c.want.requests + c.want.deletes + c.want.checks; strings.Count(log, "Flame request ") != requests {
		c.errorf("the log has other than %d requests: %s", requests, log)
	}
	for _, found := range scan.file("log", []byte(log)) {
		c.errorf("%v", found)
	}
}

// checkRule holds whatever the table says: every live token is held or the user
// was told of it, and what is held works or the user was told.
func (c *faultCell) checkRule(got faultResult, live []string, before string) {
	text := diagnosticsText(got.diags)
	told := strings.Contains(text, orphanText) ||
		before != "" && strings.Contains(text, flame.NewToken(before).SessionID()) || c.op.name == "import" && text != ""
	c.saw.told = map[bool]string{true: "yes", false: "-"}[told]
	c.saw.live = fmt.Sprintf("%d, %d", len(live), map[bool]int{true: 1}[got.token != ""])
	if got.token != "" && !slices.Contains(live, got.token) && !told {
		c.errorf("a token is held that does not work, and nobody was told")
	}
	for _, token := range live {
		if token != got.token && !told {
			c.errorf("a token is alive that nobody holds, and nobody was told")
		}
	}
}

// checkAfterwards ends the session once the API is well again. Only an orphan may
// be left.
func (c *faultCell) checkAfterwards(ctx context.Context, fake *flametest.Server, run *protocolRun, got faultResult, before heldSession) error {
	if got.token == "" && c.op.name != "action" {
		return nil
	}
	fake.Reset()
	next, err := newProtocolRun(ctx, flameArguments(fake))
	if err != nil {
		return err
	}
	var last heldSession
	switch {
	case c.op.name == "ephemeral open":
		last.diags, err = run.close(ctx, got.heldSession)
	case c.op.name == "action" && c.want.paused: // the run's requests are held back
		last.diags, _, err = next.invoke(ctx, before.token)
	case c.op.name == "action":
		last.diags, _, err = run.invoke(ctx, before.token)
	default:
		last, err = next.destroy(ctx, got.heldSession)
	}
	switch {
	case err != nil:
		return fmt.Errorf("afterwards: %w", err)
	case len(last.diags) > 0 || last.token != "":
		c.errorf("afterwards: %s", diagnosticsText(last.diags))
	case len(fake.Live()) > 0 && (!c.want.orphan || c.kind != flametest.Independent && got.token != ""):
		c.errorf("afterwards, %d tokens are alive", len(fake.Live()))
	}
	return nil
}

func diagnosticsText(diags []*tfprotov6.Diagnostic) string {
	var b strings.Builder
	for _, d := range diags {
		fmt.Fprintf(&b, "%s: %s\n%s\n", d.Severity, d.Summary, d.Detail)
	}
	return b.String()
}
