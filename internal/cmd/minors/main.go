// SPDX-License-Identifier: MPL-2.0

// Command minors fails if Terraform or OpenTofu has a minor version that the matrix of
// the test workflow does not name yet. It reads the product's index of releases:
//
//	curl -fsS https://releases.hashicorp.com/terraform/index.json | go run ./internal/cmd/minors -product terraform .github/workflows/test.yml
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

func main() {
	product := flag.String("product", "terraform", "terraform or opentofu: the `name` of the matrix's line")
	flag.Parse()
	if err := run(*product, flag.Arg(0), os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "minors:", err)
		os.Exit(1)
	}
}

func run(product, workflow string, index io.Reader) error {
	text, err := os.ReadFile(workflow)
	if err != nil {
		return err
	}
	releases, err := io.ReadAll(index)
	if err != nil {
		return err
	}
	return check(product, string(text), string(releases))
}

// A pre-release has more before the closing quote.
var release = regexp.MustCompile(`"1\.(\d+)\.\d+"`)

var entry = regexp.MustCompile(`"1\.(\d+)\.[^"]+"`)

// check compares the newest minor version (of version 1) in an index of releases with
// the newest one that a workflow's matrix names.
func check(product, workflow, index string) error {
	line := regexp.MustCompile(`(?m)^ +` + product + `: \[.*\]$`).FindString(workflow)
	tested, released := newest(entry, line), newest(release, index)
	switch {
	case tested < 0:
		return fmt.Errorf("the workflow has no line with versions of %s", product)
	case released < 0:
		return errors.New("the index of releases names no version: has its format changed?")
	case released > tested:
		return fmt.Errorf("%s 1.%d is out, and the tests stop at 1.%d. Read https://github.com/%s/blob/v1.%d/CHANGELOG.md for what concerns a provider, then add it to the matrix",
			product, released, tested, repositories[product], released)
	}
	fmt.Printf("%s: the newest minor version, 1.%d, is tested\n", product, released)
	return nil
}

var repositories = map[string]string{"terraform": "hashicorp/terraform", "opentofu": "opentofu/opentofu"}

// newest returns the greatest number that the pattern finds, or -1.
func newest(pattern *regexp.Regexp, text string) int {
	greatest := -1
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		if minor, err := strconv.Atoi(match[1]); err == nil {
			greatest = max(greatest, minor)
		}
	}
	return greatest
}
