// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"go/ast"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

const (
	troubleshooting = "../../templates/guides/when-something-fails.md.tmpl"
	// Its headings are Terraform's messages, and what follows has none.
	terraformsMessages = "\n## Messages from Terraform\n"
)

// The guide has a heading for the fixed part of each diagnostic's summary, so that a
// pasted message is found, and none that no diagnostic has.
func TestTroubleshootingHeadings(t *testing.T) {
	content, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	ours, _, found := strings.Cut(string(content), terraformsMessages)
	if !found {
		t.Fatalf("%s has no section %q", troubleshooting, terraformsMessages)
	}
	summaries := summariesInCode(t)
	if len(summaries) < 40 {
		t.Errorf("only %d summaries were found in the code", len(summaries))
	}
	for line := range strings.Lines(ours) {
		heading, isHeading := strings.CutPrefix(strings.TrimSpace(line), "### ")
		if !isHeading {
			continue
		}
		if summaries[heading] == "" {
			t.Errorf("no diagnostic has the summary %q, or the guide has it twice", heading)
		}
		delete(summaries, heading)
	}
	for _, summary := range slices.Sorted(maps.Keys(summaries)) {
		t.Errorf("%s has no heading for %q, of %s", troubleshooting, summary, summaries[summary])
	}
}

// reasonsByStatus has the reasons that a message says in other words, with the status.
var reasonsByStatus = map[string]string{
	"refused":                             "Flame answered another status",
	"not authorized":                      "Flame answered 401",
	"something other than Flame answered": "it did not come from Flame",
	"the answer is a redirect, which is not followed": "a redirect",
}

// The guide has each reason of a request that failed, as the message says it.
func TestTroubleshootingReasons(t *testing.T) {
	content, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	reasons := 0
	for _, file := range parseFiles(t, "../flame", false) {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "Err") {
				return true
			}
			reasons++
			text, _ := constantReader{}.fixed(spec.Values[0].(*ast.CallExpr).Args[0])
			described := cmp.Or(reasonsByStatus[text], text)
			if !strings.Contains(string(content), described) {
				t.Errorf("%s has not %q, of %s", troubleshooting, described, spec.Names[0].Name)
			}
			return true
		})
	}
	if reasons < 15 {
		t.Errorf("only %d reasons were found in the code", reasons)
	}
}

// The guide's command logs each request with its status and duration.
func TestTroubleshootingLog(t *testing.T) {
	w := newWorkspace(t, newFake(t, flametest.Config{}), oneReports)
	w.apply()
	out, code := w.paste("-e", snippet(t, "when-something-fails", "TF_LOG_PROVIDER"))
	_, line, _ := strings.Cut(out, "Flame request succeeded")
	line, _, _ = strings.Cut(line, "\n")
	for _, field := range []string{"method=GET", "status=200", "duration_ms="} {
		if code != 0 || !strings.Contains(line, field) {
			t.Errorf("exit code %d, and %s is not in: %s", code, field, line)
		}
	}
}

// summaryArgument has the functions that make a diagnostic, and which argument is its
// summary. Those that begin it with words of their own are in tasks.
var summaryArgument = map[string]int{
	"AddError": 0, "AddWarning": 0, "AddAttributeError": 1, "AddAttributeWarning": 1,
	"NewErrorDiagnostic": 0, "NewArgumentFuncError": 1,
}

// tasks has the functions that report a failure, and which argument names the call.
var tasks = map[string]int{"addFailure": 1, "addOpenFailure": 1, "failure": 0}

// summariesInCode returns the fixed part of each summary, with its place.
func summariesInCode(t *testing.T) map[string]string {
	t.Helper()
	summaries := map[string]string{}
	files := parseFiles(t, ".", false)
	for name, file := range files {
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			reader := newConstantReader(file, function)
			ast.Inspect(function, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok {
					return true
				}
				summary, known := reader.summary(call)
				switch {
				case !known:
				case summary == "":
					t.Errorf("%s: the summary in %s has no fixed part that this test can read", name, function.Name.Name)
				default:
					summaries[summary] = name + ", " + function.Name.Name
				}
				return true
			})
		}
	}
	return summaries
}

// summary returns the fixed part of the summary that a call makes, if it makes one:
// without the words that join it to an ID. A summary that was passed to the function is
// read where it was made.
func (r constantReader) summary(call *ast.CallExpr) (summary string, known bool) {
	name := callName(call)
	begin := ""
	argument, ok := summaryArgument[name]
	if !ok {
		if argument, ok = tasks[name]; !ok {
			return "", false
		}
		begin = "Could not "
	}
	expression := call.Args[argument]
	if ident, ok := expression.(*ast.Ident); ok && (r.params[ident.Name] || isCall(r.values[ident.Name])) {
		return "", false
	}
	text, _ := r.fixed(expression)
	if begin != "" && text == "" {
		return "", false // failure("", err), of which only the detail is used
	}
	text, _, _ = strings.Cut(begin+text, ": ")
	return strings.TrimSpace(text), true
}
