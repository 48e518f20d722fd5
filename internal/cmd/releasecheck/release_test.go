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

// trial makes the folder of a release in which each file holds what write says.
func trial(t *testing.T) *release {
	t.Helper()
	clone := t.TempDir()
	rel := &release{dist: filepath.Join(clone, "dist")}
	if err := os.Mkdir(rel.dist, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, rel.manifest(), `{"version": 1, "metadata": {"protocol_versions": ["6.0"]}}`)
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
	add(assetName("manifest.json"), rel.manifest())
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
		spoil      func(t *testing.T, rel *release, sums string)
	}{
		{"as it should be", "", func(*testing.T, *release, string) {}},
		{"one more", "should be of", func(t *testing.T, _ *release, sums string) {
			text, _ := os.ReadFile(sums)
			write(t, sums, string(text)+strings.Repeat("0", 64)+"  sbom.json\n")
		}},
		{"one less", "should be of", func(t *testing.T, _ *release, sums string) {
			text, _ := os.ReadFile(sums)
			_, rest, _ := strings.Cut(string(text), "\n")
			write(t, sums, rest)
		}},
		{"another archive", "has not the checksum", func(t *testing.T, rel *release, _ string) {
			write(t, filepath.Join(rel.dist, platforms[0].file(".zip")), "another")
		}},
		{"another manifest", "has not the checksum", func(t *testing.T, rel *release, _ string) {
			write(t, rel.manifest(), "{}")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rel := trial(t)
			test.spoil(t, rel, filepath.Join(rel.dist, assetName("SHA256SUMS")))
			wantError(t, rel.readSums(), test.want)
		})
	}
}

func TestCompare(t *testing.T) {
	first, second := trial(t), trial(t)
	write(t, filepath.Join(second.dist, "metadata.json"), "has a date")
	write(t, filepath.Join(second.dist, assetName("SHA256SUMS.sig")), "has a date")
	wantError(t, compare(first.dist, second.dist), "")

	name := platforms[1].file(".zip")
	write(t, filepath.Join(second.dist, name), "another")
	wantError(t, compare(first.dist, second.dist), "differ in "+name)

	if err := os.Remove(filepath.Join(first.dist, name)); err != nil {
		t.Fatal(err)
	}
	wantError(t, compare(first.dist, second.dist), "only the second build has "+name)
}

// What is tampered with has to be what it claims to be, or it would be refused
// for another reason than the one that is to be seen.
func TestTampering(t *testing.T) {
	rel := trial(t)
	if err := rel.readSums(); err != nil {
		t.Fatal(err)
	}
	reg := &registry{Server: httptest.NewUnstartedServer(nil), release: rel}
	name := platforms[0].file(".zip")
	read := func(how tampering, name string) []byte {
		t.Helper()
		reg.tamper(how)
		content, err := reg.read(name)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	if sumOf(read(none, name)) != rel.sums[name] {
		t.Error("the genuine archive is not served as it is")
	}
	archive := read(withArchive, name)
	if sumOf(archive) == rel.sums[name] {
		t.Error("the archive was not tampered with")
	}
	if _, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive))); err != nil {
		t.Error("it is no archive any more:", err)
	}
	genuine := read(none, assetName("SHA256SUMS"))
	if !bytes.Equal(read(withArchive, assetName("SHA256SUMS")), genuine) {
		t.Error("the checksums were changed with the archive")
	}
	if want := sumOf(archive) + "  " + name + "\n"; !strings.Contains(string(read(withSums, assetName("SHA256SUMS"))), want) {
		t.Error("the checksums were not changed to fit")
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("the error is %v, and should say %q", err, want)
	}
}
