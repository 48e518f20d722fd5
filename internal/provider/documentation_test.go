// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"go/ast"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A codeBlock is a fenced block of a page.
type codeBlock struct {
	page     string // its path below the repository's root
	section  string // the heading of second level that it is below
	language string
	text     string
}

// notRun has each code block that no test runs, by a line of it, and why.
var notRun = []struct{ page, line, why string }{
	{"docs/actions/session_revoke.md", "  read -rs TF_VAR_leaked_token && export TF_VAR_leaked_token", "TestGuideLeakAction runs these commands of the guide, with the same example"},
	{"docs/functions/authorization_header.md", "authorization_header(auth_token string) string", "the function's signature, written by the generator"},
	{"docs/guides/a-leaked-token-the-first-five-minutes.md", "terraform apply -replace=flame_session.reports", "TestGuideLeakReplace runs this command with each kind of account"},
	{"docs/guides/a-leaked-token-the-first-five-minutes.md", `terraform plan    # "The Flame session has ended elsewhere": it plans a new one`, "TestGuideLeakCurl and TestAccSession_disappears plan and apply after a revocation"},
	{"docs/guides/keeping-tokens-and-passwords-out-of-state.md", "Error: Error acquiring the state lock", "what OpenTofu prints; TestEncryptState reads it"},
	{"docs/guides/one-token-or-many.md", "export FLAME_USER=probe@example.com FLAME_PASSWORD=…", "a real account's password; the tests set both"},
	{"docs/guides/teams-remote-state-and-locking.md", `    bucket       = "example-terraform-state"`, "needs S3"},
	{"docs/guides/teams-remote-state-and-locking.md", "tofu force-unlock LOCK_ID", "needs a lock that a killed run left behind"},
	{"docs/guides/teams-remote-state-and-locking.md", `  backend "pg" {`, "needs PostgreSQL"},
	{"docs/guides/teams-remote-state-and-locking.md", "createdb terraform_state", "needs PostgreSQL"},
	{"docs/guides/teams-remote-state-and-locking.md", "tofu apply -lock-timeout=10m", "needs two runs and a backend that locks"},
	{"docs/guides/teams-remote-state-and-locking.md", "terraform state push errored.tfstate", "TestErroredState runs this command"},
	{"docs/guides/thousands-of-sessions.md", "make bench", "takes ten minutes on a quiet machine"},
	{"docs/index.md", `printf %s "$TOKEN" | sha256sum | cut -c1-16`, "flame.TestSessionID computes this; TestGuideLeakFind runs the command"},
}

// Each code block of the documentation is in an example that a test applies, or is run
// from its page by a test, or is in the list above.
func TestCodeBlocks(t *testing.T) {
	examples := readExamples(t)
	snippets := snippetsInTests(t)
	listed := make([]int, len(notRun))
	for _, block := range codeBlocks(t) {
		runs := block.inExample(examples) || block.inQuickStart() || slices.ContainsFunc(snippets, block.isSnippet)
		excused := slices.IndexFunc(notRun, func(e struct{ page, line, why string }) bool {
			return e.page == block.page && slices.Contains(strings.Split(block.text, "\n"), e.line)
		})
		first, _, _ := strings.Cut(block.text, "\n")
		switch {
		case runs && excused >= 0:
			t.Errorf("%s: a test runs the block that begins with %q: remove it from the list", block.page, first)
		case excused >= 0:
			listed[excused]++
		case !runs:
			t.Errorf("%s: no test runs the block that begins with %q: make it part of an example, run it with snippet, or list it with the reason", block.page, first)
		}
	}
	exists := testsOfModule(t)
	for i, count := range listed {
		for _, name := range regexp.MustCompile(`(\w+\.)?Test\w+`).FindAllString(notRun[i].why, -1) {
			if !slices.Contains(exists, name) {
				t.Errorf("there is no test %s, which the list names", name)
			}
		}
		if count != 1 {
			t.Errorf("%s: %d blocks have the listed line %q, want one", notRun[i].page, count, notRun[i].line)
		}
	}
}

// codeBlocks returns the code blocks of README.md and docs/.
func codeBlocks(t *testing.T) (blocks []codeBlock) {
	t.Helper()
	for page, content := range documentation(t) {
		var block *codeBlock
		var section, indent string
		for line := range strings.Lines(content) {
			line = strings.TrimRight(line, "\n")
			switch trimmed := strings.TrimLeft(line, " "); {
			case block != nil && trimmed == "```":
				blocks = append(blocks, *block)
				block = nil
			case block != nil:
				block.text += strings.TrimPrefix(line, indent) + "\n"
			case strings.HasPrefix(trimmed, "```"):
				indent = line[:len(line)-len(trimmed)]
				block = &codeBlock{page: page, section: section, language: trimmed[len("```"):]}
			case strings.HasPrefix(line, "## "):
				section = line
			}
		}
		if block != nil {
			t.Errorf("%s: a code block does not end", page)
		}
	}
	return blocks
}

// documentation returns README.md and the pages of docs/.
func documentation(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	root := os.DirFS("../..")
	for _, start := range []string{"README.md", "docs"} {
		err := fs.WalkDir(root, start, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" {
				return err
			}
			content, err := fs.ReadFile(root, path)
			pages[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

// readExamples returns the contents of the files below examples/, each of which a test
// applies.
func readExamples(t *testing.T) (contents []string) {
	t.Helper()
	for folder, files := range exampleFiles(t) {
		for _, name := range files {
			content, err := os.ReadFile(filepath.Join(examplesDir, folder, name))
			if err != nil {
				t.Fatal(err)
			}
			contents = append(contents, "\n"+string(content)+"\n")
		}
	}
	return contents
}

// inExample reports whether the block is a file of an example, or whole lines of one.
func (b codeBlock) inExample(examples []string) bool {
	return slices.ContainsFunc(examples, func(example string) bool { return strings.Contains(example, "\n"+b.text) })
}

// inQuickStart reports whether TestQuickStart runs the block.
func (b codeBlock) inQuickStart() bool {
	return b.section == "## Quick start" && b.language == "shell" && (b.page == "README.md" || b.page == "docs/index.md")
}

// A snippetCall is a call of snippet in a test: a page and a part of a block.
type snippetCall struct{ page, part string }

func (b codeBlock) isSnippet(call snippetCall) bool {
	return b.page == call.page && strings.Contains(b.text, call.part)
}

// snippetsInTests returns what the tests of this package run with snippet.
func snippetsInTests(t *testing.T) (calls []snippetCall) {
	t.Helper()
	for _, file := range parseFiles(t, ".", true) {
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			reader := newConstantReader(file, function)
			ast.Inspect(function, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok || callName(call) != "snippet" {
					return true
				}
				guides, parts := reader.all(call.Args[1]), reader.all(call.Args[2])
				if len(guides) == 0 || len(parts) == 0 {
					t.Errorf("%s: the arguments of a call of snippet are no constants", function.Name.Name)
				}
				for _, guide := range guides {
					for _, part := range parts {
						calls = append(calls, snippetCall{"docs/guides/" + guide + ".md", part})
					}
				}
				return true
			})
		}
	}
	return calls
}
