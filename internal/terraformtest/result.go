// SPDX-License-Identifier: MPL-2.0

package terraformtest

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// A Result is the outcome of a command. Its output has no colours.
type Result struct {
	Stdout, Stderr string
	ExitCode       int           // -1 if the command did not start, or was killed
	CPU            time.Duration // processor time of the command and its providers
}

// String returns the exit code and all output.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d\n--- stdout\n%s\n--- stderr\n%s", r.ExitCode, r.Stdout, r.Stderr)
}

// Text returns the output as one line, without the frames and line breaks of
// diagnostics, so that a test can look for whole sentences.
func (r Result) Text() string {
	var words []string
	for line := range strings.Lines(r.Stdout + "\n" + r.Stderr) {
		words = append(words, strings.Fields(strings.TrimLeft(line, "│╷╵ "))...)
	}
	return strings.Join(words, " ")
}

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func withoutColours(text string) string { return colour.ReplaceAllString(text, "") }
