// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newRelease returns a release with archives that contain empty binaries.
func newRelease(t *testing.T) *release {
	t.Helper()
	clone := t.TempDir()
	rel := &release{dist: filepath.Join(clone, "dist"), manifest: filepath.Join(clone, "manifest.json")}
	if err := os.Mkdir(rel.dist, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, rel.manifest, `{"version": 1, "metadata": {"protocol_versions": ["6.0"]}}`)
	var sums strings.Builder
	add := func(name, path string) {
		sum, err := hash(path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	for _, p := range platforms {
		var archive bytes.Buffer
		w := zip.NewWriter(&archive)
		if _, err := w.Create(p.binary()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(rel.dist, p.file(".zip"))
		write(t, path, archive.String())
		add(p.file(".zip"), path)
	}
	add(assetName("manifest.json"), rel.manifest)
	write(t, filepath.Join(rel.dist, assetName("SHA256SUMS")), sums.String())
	return rel
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSums(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(t *testing.T, rel *release, sums string)
	}{
		{"unchanged", "", func(*testing.T, *release, string) {}},
		{"extra line", "SHA256SUMS lists", func(t *testing.T, _ *release, sums string) {
			text, _ := os.ReadFile(sums)
			write(t, sums, string(text)+strings.Repeat("0", 64)+"  sbom.json\n")
		}},
		{"missing line", "SHA256SUMS lists", func(t *testing.T, _ *release, sums string) {
			text, _ := os.ReadFile(sums)
			_, rest, _ := strings.Cut(string(text), "\n")
			write(t, sums, rest)
		}},
		{"changed archive", "does not match its checksum", func(t *testing.T, rel *release, _ string) {
			write(t, filepath.Join(rel.dist, platforms[0].file(".zip")), "changed")
		}},
		{"changed manifest", "does not match its checksum", func(t *testing.T, rel *release, _ string) {
			write(t, rel.manifest, "{}")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rel := newRelease(t)
			test.change(t, rel, filepath.Join(rel.dist, assetName("SHA256SUMS")))
			wantError(t, rel.readSums(), test.want)
		})
	}
}

func TestCompare(t *testing.T) {
	first, second := newRelease(t), newRelease(t)
	write(t, filepath.Join(second.dist, "metadata.json"), "contains a time")
	write(t, filepath.Join(second.dist, assetName("SHA256SUMS.sig")), "contains a time")
	wantError(t, compare(first.dist, second.dist), "")

	name := platforms[1].file(".zip")
	write(t, filepath.Join(second.dist, name), "changed")
	wantError(t, compare(first.dist, second.dist), "differ in "+name)

	if err := os.Remove(filepath.Join(first.dist, name)); err != nil {
		t.Fatal(err)
	}
	wantError(t, compare(first.dist, second.dist), "only the second build has "+name)
}

// A changed file must stay valid, or Terraform would refuse it for another reason.
func TestTampering(t *testing.T) {
	rel := newRelease(t)
	if err := rel.readSums(); err != nil {
		t.Fatal(err)
	}
	reg := &registry{Server: httptest.NewUnstartedServer(nil), release: rel}
	name := platforms[0].file(".zip")
	read := func(mode tampering, name string) []byte {
		t.Helper()
		reg.tamper(mode)
		content, err := reg.read(name)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	if sumOf(read(none, name)) != rel.sums[name] {
		t.Error("the genuine archive was changed")
	}
	archive := read(withArchive, name)
	if sumOf(archive) == rel.sums[name] {
		t.Error("the archive was not changed")
	}
	if _, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive))); err != nil {
		t.Error("the changed archive is not valid:", err)
	}
	genuine := read(none, assetName("SHA256SUMS"))
	if !bytes.Equal(read(withArchive, assetName("SHA256SUMS")), genuine) {
		t.Error("the checksums were changed too")
	}
	if want := sumOf(archive) + "  " + name + "\n"; !strings.Contains(string(read(withSums, assetName("SHA256SUMS"))), want) {
		t.Error("the checksums do not match the changed archive")
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got the error %v, want %q", err, want)
	}
}
