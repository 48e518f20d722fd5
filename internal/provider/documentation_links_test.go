// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noSlug   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Links between pages lead to a page and a heading that exist.
func TestDocumentationLinks(t *testing.T) {
	pages := documentation(t)
	for _, page := range []string{"SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "DESIGN.md"} {
		content, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		pages[page] = string(content)
	}
	anchors := map[string][]string{}
	for page, content := range pages {
		for _, heading := range headings.FindAllStringSubmatch(content, -1) {
			slug := noSlug.ReplaceAllString(strings.ToLower(strings.ReplaceAll(heading[1], `\_`, "_")), "")
			anchors[page] = append(anchors[page], strings.ReplaceAll(slug, " ", "-"))
		}
		for _, id := range regexp.MustCompile(`<a id="([^"]+)">`).FindAllStringSubmatch(content, -1) {
			anchors[page] = append(anchors[page], id[1])
		}
	}
	const repository = "https://github.com/flameanalytics/terraform-provider-flame/blob/main/"
	for page, content := range pages {
		for _, link := range links.FindAllStringSubmatch(content, -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			switch path, inRepository := strings.CutPrefix(target, repository); {
			case inRepository:
				target = path
			case strings.Contains(target, "://"):
				continue
			case target == "":
				target = page
			default:
				target = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat("../../" + target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, link[1])
			} else if anchor != "" && !slices.Contains(anchors[target], anchor) {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
}
