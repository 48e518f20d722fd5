package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// TestFaultMatrix puts every operation of the provider under every fault of the
// API, once and for good, with a token per session and a token per user. What
// has to come of it is worked out from a few rules (see expect). It speaks the
// provider's protocol as Terraform does, so it needs no Terraform. With
// FLAME_FAULT_TABLE set, it prints what came of each cell.
func TestFaultMatrix(t *testing.T) {
	cells := faultCells()
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	// Those that spend their time waiting come last, many at a time, so that the
	// others do not eat up the time that their answers may take.
	for pool, atOnce := range []int{quick: 8, slow: 100, alone: 1} {
		var all sync.WaitGroup
		turns := make(chan struct{}, atOnce)
		for i := range cells {
			c := &cells[i]
			if c.fault.pool() != pool {
				continue
			}
			turns <- struct{}{}
			all.Go(func() {
				defer func() { <-turns }()
				c.run(ctx, filepath.Join(folder, fmt.Sprint(i)))
			})
		}
		all.Wait()
	}

	for _, c := range cells {
		if len(c.problems) > 0 {
			t.Run(c.String(), func(t *testing.T) {
				t.Error(strings.Join(c.problems, "\n"))
			})
		}
	}
	var table strings.Builder
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "OPERATION\tFAULT\tHOW OFTEN\tTOKENS\tREQUESTS\tOUTCOME\tLIVE, HELD\tTOLD OF IT")
	for i := 0; i < len(cells); i++ {
		c, tokens := cells[i], cells[i].tokens()
		if i+1 < len(cells) && cells[i+1].shared && cells[i+1].saw == c.saw {
			tokens = "either"
			i++
		}
		fmt.Fprintf(rows, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.op, c.fault.name, c.often(), tokens, c.saw.requests, c.saw.outcome, c.saw.tokens, c.saw.told)
	}
	if err := rows.Flush(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&table, "%d cells", len(cells))
	if os.Getenv("FLAME_FAULT_TABLE") != "" {
		if _, err := fmt.Fprintln(os.Stdout, table.String()); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("\n" + table.String())
	}
}

// The operations, and the call of the API that each makes.
type faultOp string

const (
	opCreate faultOp = "create"
	opRead   faultOp = "read"
	opDelete faultOp = "delete"
	opImport faultOp = "import"
	opOpen   faultOp = "ephemeral open"
	opClose  faultOp = "ephemeral close"
	opInvoke faultOp = "action"
)

var faultOps = []faultOp{opCreate, opRead, opDelete, opImport, opOpen, opClose, opInvoke}

func (op faultOp) call() flametest.Operation {
	switch op {
	case opCreate, opOpen:
		return flametest.OpOpen
	case opRead, opImport:
		return flametest.OpCheck
	}
	return flametest.OpRevoke
}

// A namedFault is what befalls the calls of an operation.
type namedFault struct {
	name string
	flametest.Fault
	unreachable bool             // nothing listens at the endpoint
	pause       time.Duration    // what Retry-After asks for
	sendable    bool             // the useless token of the answer can be sent in a header
	cleanUp     *flametest.Fault // befalls the DELETE that revokes such a token; nil: none does
}

// The pools that the cells run in, one after the other.
const (
	quick = iota
	slow  // spends its time waiting
	alone // leaves a port that another might take
)

func (f namedFault) pool() int {
	switch {
	case f.unreachable:
		return alone
	case f.Hang, f.Status == http.StatusTooManyRequests, f.pause > 0 && f.pause < time.Minute:
		return slow
	}
	return quick
}

// in gives the fault as it befalls an operation. An answer that says that a
// session is gone is true: the API that gives it has ended the session. One that
// reports success has done what was asked, but for a page: that is not the API's.
func (f namedFault) in(op faultOp) flametest.Fault {
	fault := f.Fault
	end := op.call() == flametest.OpRevoke
	if fault.Status/100 == 2 && !f.page() || end && fault.Cut || end && slices.Contains([]int{401, 404, 410}, fault.Status) {
		fault.CarryOut = !f.believedGone()
	}
	return fault
}

// page: the answer is a page for people, from something in between.
func (f namedFault) page() bool { return strings.HasPrefix(f.Body, "<") }

// believedGone: the answer to the DELETE of a useless token is success. So that
// this is true, no session was opened in the first place.
func (f namedFault) believedGone() bool { return f.cleanUp != nil && f.cleanUp.Status/100 == 2 }

const (
	// What answers hold beside what the client reads, and nobody may see.
	bodyCanary   = "canary-in-the-body"
	headerCanary = "canary-in-a-header"
	requestName  = "req-7f3a.1"
	faultRetries = 2
	// So many answers of 429 come before one that asks for longer than any
	// operation waits: more than what is tried again otherwise.
	limitedTries = faultRetries + 2
)

// faults gives all of them.
func faults() []namedFault {
	var all []namedFault
	add := func(f namedFault) {
		header := http.Header{"X-Request-Id": {requestName}, "X-Note": {headerCanary}}
		if f.Status/100 == 3 {
			header.Set("Location", "https://elsewhere.example/"+bodyCanary+"?next="+bodyCanary)
		}
		for name, values := range f.Header {
			header[name] = values
		}
		f.Header = header
		all = append(all, f)
	}
	for _, status := range []int{301, 302, 307, 400, 401, 403, 404, 405, 406, 410, 422, 429, 500, 502, 503, 504} {
		refusal := flametest.Fault{Status: status, Body: `{"error": "` + bodyCanary + `"}`}
		add(namedFault{name: fmt.Sprint(status), Fault: refusal})
		forms := []string{"0", "3600"}
		if status == 429 || status == 503 {
			forms = append(forms, "1", "past date", "date soon", "date in an hour", "nonsense")
		}
		for _, form := range forms {
			f := namedFault{name: fmt.Sprintf("%d, Retry-After: %s", status, form), Fault: refusal}
			value := form
			switch form {
			case "3600":
				f.pause = time.Hour
			case "1":
				f.pause = time.Second
			case "past date":
				value = time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
			case "date soon":
				f.pause = time.Second // set when it is put to use, since the matrix takes time
			case "date in an hour":
				f.pause = time.Hour
				value = time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
			}
			f.Header = http.Header{"Retry-After": {value}}
			add(f)
		}
	}
	for name, body := range map[string]string{
		"empty":        "",
		"HTML":         "<!doctype html><title>Log in</title><p>" + bodyCanary + "</p>",
		"garbage":      "\x00\xff\xfe{{{" + bodyCanary,
		"null":         "null",
		"list":         `[{"auth_token": "` + bodyCanary + `"}]`,
		"no token":     `{"id": 7, "email": "` + bodyCanary + `"}`,
		"empty token":  `{"id": 7, "auth_token": ""}`,
		"token null":   `{"id": 7, "auth_token": null}`,
		"token number": `{"id": 7, "auth_token": 12345678}`,
		"over 1 MiB":   `{"auth_token": "` + bodyCanary + `", "more": "` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		add(namedFault{name: "200, " + name, Fault: flametest.Fault{Status: 200, Body: body}})
	}
	add(namedFault{name: "204", Fault: flametest.Fault{Status: 204}})
	for name, token := range map[string]string{
		"line break": `line\nbreak-` + bodyCanary, "NUL": `\u0000` + bodyCanary, "lost bytes": "\xff" + bodyCanary,
		"space": "two " + bodyCanary, "quote": `quote\"` + bodyCanary, "not ASCII": "ü" + bodyCanary,
	} {
		f := namedFault{
			name:     "200, token with " + name,
			Fault:    flametest.Fault{Status: 200, Body: `{"auth_token": "` + token + `", "id": 7}`},
			sendable: slices.Contains([]string{"space", "quote", "not ASCII"}, name),
		}
		add(f)
		for _, status := range []int{200, 204, 404, 500} {
			if f.sendable {
				f := f
				f.name += fmt.Sprintf(", DELETE %d", status)
				f.cleanUp = &flametest.Fault{Status: status}
				add(f)
			}
		}
	}
	add(namedFault{name: "cut, carried out", Fault: flametest.Fault{Cut: true, CarryOut: true}})
	add(namedFault{name: "cut", Fault: flametest.Fault{Cut: true}})
	add(namedFault{name: "dropped", Fault: flametest.Fault{Drop: true}})
	add(namedFault{name: "dropped, carried out", Fault: flametest.Fault{Drop: true, CarryOut: true}})
	add(namedFault{name: "no answer", Fault: flametest.Fault{Hang: true}})
	add(namedFault{name: "no answer, carried out", Fault: flametest.Fault{Hang: true, CarryOut: true}})
	add(namedFault{name: "nobody listens", unreachable: true})
	slices.SortStableFunc(all, func(a, b namedFault) int { return strings.Compare(a.name, b.name) })
	return all
}

// A faultCell is one operation under one fault.
type faultCell struct {
	op     faultOp
	fault  namedFault
	always bool
	shared bool

	saw struct{ requests, outcome, tokens, told string }

	problems []string
}

func faultCells() []faultCell {
	var cells []faultCell
	all := faults()
	for _, op := range faultOps {
		for _, f := range all {
			if f.cleanUp != nil && op.call() != flametest.OpOpen {
				continue // differs from the plain one in a call that is not made
			}
			for _, always := range []bool{false, true} {
				// One that is not there stays away. Real pauses take too long to be had often.
				if f.unreachable && !always || f.pause > 0 && f.pause < time.Minute && always {
					continue
				}
				for _, shared := range []bool{false, true} {
					cells = append(cells, faultCell{op: op, fault: f, always: always, shared: shared})
				}
			}
		}
	}
	return cells
}

func (c *faultCell) often() string {
	if c.always {
		return "always"
	}
	return "once"
}

func (c *faultCell) tokens() string {
	if c.shared {
		return "per user"
	}
	return "per session"
}

func (c *faultCell) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", c.op, c.fault.name, c.often(), c.tokens())
}

func (c *faultCell) errorf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// A verdict is what one answer means for one call. The rules are those of the
// contract: what is a success, what is tried again, and what is not.
type verdict int

const (
	fine    verdict = iota
	dead            // the token does not work any more
	refused         // never tried again
	useless         // success, without a token that can be kept
	unclear         // tried once more in another form
	limited         // tried again, not counted
	unwell          // tried again
	lost            // tried again; it may have been carried out
)

func (f namedFault) verdict(call flametest.Operation) verdict {
	is := func(statuses ...int) bool { return slices.Contains(statuses, f.Status) }
	open, check, end := call == flametest.OpOpen, call == flametest.OpCheck, call == flametest.OpRevoke
	switch {
	case f.Drop, f.Hang, f.Cut && open:
		return lost
	case f.unreachable, is(500, 502, 503, 504):
		return unwell
	case is(429):
		return limited
	case open && f.Status/100 == 2:
		return useless
	case f.page():
		return refused
	case f.Status == 0, f.Status/100 == 2, check && is(403), end && is(401, 404, 410):
		return fine
	case check && is(401):
		return dead
	case end && is(400, 422):
		return unclear
	}
	return refused
}

// expected is what has to come of a cell.
type expected struct {
	tries   int // of the operation's own call
	cleanUp int // DELETE of a token that cannot be kept
	verdict verdict
	done    bool // what was asked for
	maybe   bool // Flame may have opened a session that nobody holds
	revoked bool // the token that cannot be kept was revoked
	paused  bool // Flame asks for a longer wait than there is time for
}

func (c *faultCell) expect() expected {
	call := c.op.call()
	e := expected{tries: 1, verdict: c.fault.verdict(call)}
	switch e.verdict {
	case fine:
		e.done = true
	case unclear:
		e.tries, e.done = 2, !c.always
	case limited, unwell, lost:
		switch {
		case c.fault.pause > time.Minute:
			e.paused = true
		case !c.always:
			e.tries, e.done = 2, true
		case e.verdict == limited:
			e.tries, e.paused = limitedTries+1, true
		default:
			e.tries = 1 + faultRetries
		}
	}
	if e.verdict == useless && c.fault.sendable {
		clean := faultCell{op: opDelete, fault: namedFault{Fault: flametest.Fault{Status: 401}}, always: true}
		if c.fault.cleanUp != nil {
			clean.fault.Fault = *c.fault.cleanUp
		}
		outcome := clean.expect()
		e.cleanUp = outcome.tries
		// That there is no such session may mean that the token came garbled.
		e.revoked = outcome.done && clean.fault.Status/100 == 2
	}
	if call == flametest.OpOpen {
		// A gateway that answers in Flame's place does not know what became of the call.
		e.maybe = e.verdict == lost || e.verdict == useless && !e.revoked || slices.Contains([]int{502, 504}, c.fault.Status)
	}
	return e
}

// outcome is what an operation left behind.
type faultOutcome struct {
	diags    []*tfprotov6.Diagnostic
	progress []string
	held     string // the token in the state, or in the hands of the ephemeral resource
	again    func() (faultOutcome, error)
}

// run brings the cell about and compares what came of it with what was expected.
func (c *faultCell) run(ctx context.Context, file string) {
	fake, err := flametest.Start(flametest.Config{SharedTokens: c.shared})
	if err != nil {
		c.errorf("%v", err)
		return
	}
	defer fake.Close()

	operate, before, err := c.prepare(ctx, fake, file)
	if err != nil {
		c.errorf("before the fault: %v", err)
		return
	}
	soon := c.bring(fake)
	got, err := operate()
	if err != nil {
		c.errorf("%v", err)
		return
	}
	journal, live := fake.Journal(), fake.Live()

	want := c.expect()
	c.checkRequests(want, journal, soon)
	c.checkState(want, got, before)
	c.checkTexts(want, got, append(live, before))
	c.checkRule(got, live, before)
	c.saw.tokens = fmt.Sprintf("%d, %d", len(live), map[bool]int{true: 1}[got.held != ""])

	if got.again == nil || c.fault.unreachable {
		return
	}
	// With the API well again, what is held can be ended, and nothing is left
	// that nobody was told of.
	fake.Reset()
	last, err := got.again()
	switch {
	case err != nil:
		c.errorf("afterwards: %v", err)
	case len(last.diags) > 0 || last.held != "":
		c.errorf("afterwards: %s", diagnosticsText(last.diags))
	case len(fake.Live()) > 0 && (!want.maybe || c.shared && got.held != ""):
		c.errorf("afterwards, %d tokens are alive", len(fake.Live()))
	}
}

// bring lines up the fault. It gives the moment that a Retry-After names, if one does.
func (c *faultCell) bring(fake *flametest.Server) (soon time.Time) {
	if c.fault.unreachable {
		fake.Close()
		return time.Time{}
	}
	call, fault := c.op.call(), c.fault.in(c.op)
	if strings.HasSuffix(c.fault.name, "date soon") {
		soon = time.Now().Add(2 * time.Second).Truncate(time.Second)
		fault.Header = fault.Header.Clone()
		fault.Header.Set("Retry-After", soon.UTC().Format(http.TimeFormat))
	}
	switch {
	case !c.always:
		fake.Script(call, fault)
	case c.fault.verdict(call) == limited && c.fault.pause < time.Minute:
		for range limitedTries {
			fake.Script(call, fault)
		}
		fault.Header = fault.Header.Clone()
		fault.Header.Set("Retry-After", "3600")
		fallthrough
	default:
		fake.Always(call, &fault)
	}
	if c.fault.cleanUp != nil {
		fake.Always(flametest.OpRevoke, c.fault.cleanUp)
	}
	return soon
}

func (c *faultCell) checkRequests(want expected, journal []flametest.Request, soon time.Time) {
	wanted := map[flametest.Operation]int{c.op.call(): want.tries}
	if c.fault.unreachable {
		wanted = nil
	}
	if want.cleanUp > 0 {
		wanted[flametest.OpRevoke] = want.cleanUp
	}
	seen := map[flametest.Operation]int{}
	var arrived []time.Time
	for _, r := range journal {
		seen[r.Op]++
		if r.Op == c.op.call() {
			arrived = append(arrived, r.Arrived)
		}
	}
	for _, op := range []flametest.Operation{flametest.OpOpen, flametest.OpRevoke, flametest.OpCheck, flametest.OpOther} {
		if seen[op] != wanted[op] {
			c.errorf("%d requests %q, want %d", seen[op], op, wanted[op])
		}
		if seen[op] > 0 {
			c.saw.requests = strings.TrimSpace(fmt.Sprintf("%s %d×%s", c.saw.requests, seen[op], strings.Fields(string(op))[0]))
		}
	}
	if len(arrived) < 2 || want.verdict == unclear { // a Retry-After is for what is tried again as it was
		return
	}
	// What Retry-After asks for is obeyed.
	switch first, second := arrived[0], arrived[1]; {
	case !soon.IsZero() && second.Before(soon):
		c.errorf("the second request came %v before the moment that Retry-After named", soon.Sub(second))
	case soon.IsZero() && second.Sub(first) < c.fault.pause:
		c.errorf("the second request came after %v, although Retry-After asked for %v", second.Sub(first), c.fault.pause)
	}
}

// checkState compares what is held, and how bad it is said to be.
func (c *faultCell) checkState(want expected, got faultOutcome, before string) {
	worst := tfprotov6.DiagnosticSeverityInvalid
	for _, d := range got.diags {
		if worst != tfprotov6.DiagnosticSeverityError {
			worst = d.Severity
		}
	}
	none, warning, failure := tfprotov6.DiagnosticSeverityInvalid, tfprotov6.DiagnosticSeverityWarning, tfprotov6.DiagnosticSeverityError
	var outcome string
	var severity tfprotov6.DiagnosticSeverity
	switch c.op {
	case opCreate, opOpen:
		outcome, severity = "none", failure
		if want.done {
			outcome, severity = "held", none
			if want.maybe {
				severity = warning
			}
		}
	case opRead:
		outcome, severity = "held", none
		switch {
		case want.verdict == dead:
			outcome, severity = "none", warning
		case !want.done:
			severity = warning
		}
	case opImport:
		outcome, severity = "none", failure
		if want.done {
			outcome, severity = "held", none
		}
	case opDelete:
		outcome, severity = "held", failure
		if want.done {
			outcome, severity = "none", none
		}
	case opClose:
		// There is no state, and the run's own work is done.
		outcome, severity = "none", warning
		if want.done {
			severity = none
		}
	case opInvoke:
		outcome, severity = "none", failure
		if want.done {
			severity = none
		}
	}
	held := "none"
	if got.held != "" {
		held = "held"
	}
	if held != outcome {
		c.errorf("afterwards the session is %s, want %s", held, outcome)
	}
	if got.held != "" && before != "" && got.held != before {
		c.errorf("another token is held than before")
	}
	if worst != severity || severity == none && len(got.diags) > 0 || severity != none && len(got.diags) != 1 {
		c.errorf("got %d diagnostics, the worst %s; want %s\n%s", len(got.diags), worst, severity, diagnosticsText(got.diags))
	}
	c.saw.outcome = map[tfprotov6.DiagnosticSeverity]string{none: "", warning: "warning, ", failure: "error, "}[worst] + held
	if c.op == opInvoke && severity == none {
		final := "is revoked"
		switch {
		case slices.Contains([]int{401, 404, 410}, c.fault.Status), want.verdict == lost && c.fault.CarryOut:
			final = "was dead already"
		}
		if len(got.progress) != 2 || !strings.Contains(got.progress[1], final) || !strings.Contains(got.progress[1], flame.NewToken(before).SessionID()) {
			c.errorf("progress is %q, want at last that the session %s", got.progress, final)
		}
	}
}

// The statuses as api.md explains them; the others as HTTP does.
var statusMeanings = map[int]string{
	400: "400 (invalid request)", 401: "401", 403: "403 (administrators only)", 404: "404 (not found)",
	405: "405 (wrong method)", 406: "406 (the format is not JSON)", 410: "410 (gone)", 422: "422 (unprocessable entity)",
	429: "429 (too many requests)", 500: "500 (server error)", 502: "502 (bad gateway)", 503: "503 (down for maintenance)",
	504: "504 (gateway timeout)", 301: "301 (moved permanently)", 302: "302 (found)", 307: "307 (temporary redirect)",
}

var (
	faultTitles = regexp.MustCompile(`^(Could not (open a Flame session|open an ephemeral Flame session|revoke the (ephemeral )?Flame session [0-9a-f]{16})` +
		`|The Flame session could not be verified|The Flame session has ended elsewhere` +
		`|The token to import (could not be verified|does not work)|Flame may hold a session that nobody knows the token of)$`)
	// Every text says what to do.
	faultAdvice = regexp.MustCompile(`(Run again|Check |Set the |set |Import a token|The next apply|end the user's sessions|Report this)`)
)

const maybeOpenedText = "Flame may have opened a session"

// checkTexts reads what the user was told.
func (c *faultCell) checkTexts(want expected, got faultOutcome, secrets []string) {
	text := diagnosticsText(got.diags)
	for _, d := range got.diags {
		if !faultTitles.MatchString(d.Summary) {
			c.errorf("the title %q is none of the known ones", d.Summary)
		}
		if len(d.Detail) < 40 || !faultAdvice.MatchString(d.Detail) {
			c.errorf("the text does not say what happened and what to do: %q", d.Detail)
		}
	}
	secrets = append(secrets, flametest.Password, bodyCanary, headerCanary, "auth_token\":")
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text+strings.Join(got.progress, "\n"), secret) {
			c.errorf("a secret is repeated: %s", text)
		}
	}
	says := func(when bool, what string) {
		if has := strings.Contains(text, what); has != when {
			c.errorf("whether %q is said: %v, want %v\n%s", what, has, when, text)
		}
	}
	failed := !want.done
	says(want.maybe, maybeOpenedText)
	if want.paused {
		says(true, "Flame asked for a pause of ")
		says(true, "which is longer than this operation's time limit allows")
	}
	if failed && want.tries > 1 && want.verdict != unclear {
		says(true, fmt.Sprintf("was tried %d times", want.tries))
	}
	switch {
	case !failed:
		return
	case c.fault.Status == 0 || want.verdict == lost:
		reason := map[bool]string{true: "no connection could be made (connection refused)", false: "before the whole answer had arrived"}[c.fault.unreachable]
		if c.fault.Hang {
			reason = "no whole answer arrived in time"
		}
		says(true, reason)
	case want.verdict == useless, c.fault.page():
		says(true, fmt.Sprintf("although the status was %d", c.fault.Status))
		says(want.revoked, "so it was revoked and nothing is stored")
	default:
		says(true, statusMeanings[c.fault.Status])
	}
	if c.fault.Status != 0 && want.verdict != dead {
		says(true, requestName)
	}
	if c.fault.Status/100 == 3 {
		says(true, "to https://elsewhere.example;")
	}
}

// checkRule holds the one rule, whatever else was expected: every live token is
// held, or the user was told of it; and what is held works, or the user was told.
func (c *faultCell) checkRule(got faultOutcome, live []string, before string) {
	text := diagnosticsText(got.diags)
	told := strings.Contains(text, maybeOpenedText) ||
		before != "" && strings.Contains(text, flame.NewToken(before).SessionID()) || c.op == opImport && text != ""
	c.saw.told = map[bool]string{true: "yes", false: "-"}[told]
	if got.held != "" && !slices.Contains(live, got.held) && !told {
		c.errorf("a token is held that does not work, and nobody was told")
	}
	for _, token := range live {
		if token != got.held && !told {
			c.errorf("a token is alive that nobody holds, and nobody was told")
		}
	}
}

func diagnosticsText(diags []*tfprotov6.Diagnostic) string {
	var b strings.Builder
	for _, d := range diags {
		fmt.Fprintf(&b, "%s: %s\n%s\n", d.Severity, d.Summary, d.Detail)
	}
	return b.String()
}

// prepare does what comes before the operation, with an API that is well. before
// is the token that there is by then, if there is one.
func (c *faultCell) prepare(ctx context.Context, fake *flametest.Server, file string) (operate func() (faultOutcome, error), before string, err error) {
	arguments := flameArguments(fake)
	arguments["max_retries"] = tftypes.NewValue(tftypes.Number, faultRetries)
	run, err := newProtocolRun(ctx, arguments)
	if err != nil {
		return nil, "", err
	}
	var held heldSession
	switch c.op {
	case opRead, opDelete:
		if held, err = run.create(ctx); err == nil && len(held.diags) > 0 {
			err = errors.New(diagnosticsText(held.diags))
		}
		if err != nil {
			return nil, "", err
		}
		before = held.token
	case opImport, opInvoke:
		endpoint, err := flame.ParseEndpoint(fake.URL())
		if err != nil {
			return nil, "", err
		}
		client := flame.New(flame.Config{})
		defer client.CloseIdleConnections()
		session, err := client.Open(ctx, endpoint, flame.Credentials{User: flametest.User, Password: flame.NewPassword(flametest.Password)})
		if err != nil {
			return nil, "", err
		}
		before = session.Token.Reveal()
		if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
			return nil, "", err
		}
	case opClose:
		if held, err = run.open(ctx); err == nil && len(held.diags) > 0 {
			err = errors.New(diagnosticsText(held.diags))
		}
		if err != nil {
			return nil, "", err
		}
		before = held.token
	}
	fake.Reset()

	// What follows is another run.
	if c.fault.Hang {
		// Long enough for a busy machine to answer the tries that are answered.
		arguments["request_timeout"] = tftypes.NewValue(tftypes.String, "4s")
	}
	if run, err = newProtocolRun(ctx, arguments); err != nil {
		return nil, "", err
	}
	delete(arguments, "request_timeout")
	destroy := func(s heldSession) func() (faultOutcome, error) {
		if s.token == "" {
			return nil
		}
		return func() (faultOutcome, error) {
			after, err := newProtocolRun(ctx, arguments)
			if err != nil {
				return faultOutcome{}, err
			}
			s, err := after.destroy(ctx, s)
			return faultOutcome{diags: s.diags, held: s.token}, err
		}
	}
	return func() (faultOutcome, error) {
		var got heldSession
		var err error
		switch c.op {
		case opCreate:
			got, err = run.create(ctx)
			return faultOutcome{diags: got.diags, held: got.token, again: destroy(got)}, err
		case opRead:
			got, err = run.read(ctx, held)
			return faultOutcome{diags: got.diags, held: got.token, again: destroy(got)}, err
		case opDelete:
			got, err = run.destroy(ctx, held)
			return faultOutcome{diags: got.diags, held: got.token, again: destroy(got)}, err
		case opImport:
			got, err = run.importFrom(ctx, "file:"+file)
			return faultOutcome{diags: got.diags, held: got.token, again: destroy(got)}, err
		case opOpen:
			got, err = run.open(ctx)
			outcome := faultOutcome{diags: got.diags, held: got.token}
			if got.token != "" {
				outcome.again = func() (faultOutcome, error) {
					diags, err := run.close(ctx, got)
					return faultOutcome{diags: diags}, err
				}
			}
			return outcome, err
		case opClose:
			diags, err := run.close(ctx, held)
			return faultOutcome{diags: diags}, err
		default:
			diags, progress, err := run.invoke(ctx, before)
			return faultOutcome{diags: diags, progress: progress, again: func() (faultOutcome, error) {
				next := run
				if c.expect().paused { // this run's requests are held back
					if next, err = newProtocolRun(ctx, arguments); err != nil {
						return faultOutcome{}, err
					}
				}
				diags, _, err := next.invoke(ctx, before)
				return faultOutcome{diags: diags}, err
			}}, err
		}
	}, before, nil
}
