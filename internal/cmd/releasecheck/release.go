// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// platforms lists the platforms of a release, with the registries' names.
var platforms = []platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"linux", "arm"},
	{"linux", "386"},
	{"linux", "s390x"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "386"},
	{"windows", "arm64"},
	{"freebsd", "amd64"},
	{"freebsd", "386"},
}

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// file returns the name of the platform's file in a release.
func (p platform) file(ext string) string { return assetName(p.String() + ext) }

// binary returns the name of the provider in the archive.
func (p platform) binary() string {
	if p.os == "windows" {
		return project + "_v" + version + ".exe"
	}
	return project + "_v" + version
}

func assetName(suffix string) string { return project + "_" + version + "_" + suffix }

// release is what is published, as the registry serves it.
type release struct {
	dist      string
	manifest  string // path of the registry manifest
	protocols []string
	sums      map[string]string // file name → SHA-256, in hex
}

// compare returns an error that lists the files that differ in two builds of one
// commit. It skips signatures and goreleaser's metadata, which contain times.
func compare(first, second string) error {
	one, err := hashes(first)
	if err != nil {
		return err
	}
	two, err := hashes(second)
	if err != nil {
		return err
	}
	var differences []error
	for _, name := range slices.Sorted(maps.Keys(one)) {
		if two[name] != one[name] {
			differences = append(differences, fmt.Errorf("the two builds differ in %s", name))
		}
		delete(two, name)
	}
	for name := range two {
		differences = append(differences, fmt.Errorf("only the second build has %s", name))
	}
	if err := errors.Join(differences...); err != nil {
		return err
	}
	fmt.Printf("the two builds are identical: %d files\n", len(one))
	return nil
}

func hashes(dist string) (map[string]string, error) {
	skip := []string{"artifacts.json", "config.yaml", "metadata.json", "CHANGELOG.md"}
	sums := map[string]string{}
	err := filepath.WalkDir(dist, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || slices.Contains(skip, entry.Name()) || filepath.Ext(path) == ".sig" {
			return err
		}
		name, err := filepath.Rel(dist, path)
		if err != nil {
			return err
		}
		sums[name], err = hash(path)
		return err
	})
	return sums, err
}

func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// inspect checks everything that would be published.
func (c *check) inspect(ctx context.Context, rel *release) error {
	if err := rel.readSums(); err != nil {
		return err
	}
	if err := rel.readManifest(); err != nil {
		return err
	}
	signed := []string{assetName("SHA256SUMS")}
	var archives int64
	for _, p := range platforms {
		if err := c.inspectArchive(rel.dist, p); err != nil {
			return fmt.Errorf("%s: %w", p.file(".zip"), err)
		}
		if err := inspectSBOM(filepath.Join(rel.dist, p.file(".cdx.json"))); err != nil {
			return fmt.Errorf("%s: %w", p.file(".cdx.json"), err)
		}
		signed = append(signed, p.file(".cdx.json"))
		info, err := os.Stat(filepath.Join(rel.dist, p.file(".zip")))
		if err != nil {
			return err
		}
		archives += info.Size()
	}
	for _, name := range signed {
		path := filepath.Join(rel.dist, name)
		if err := c.key.verify(ctx, path+".sig", path); err != nil {
			return err
		}
	}
	fmt.Printf("checked %d archives (%.1f MB) with their bills of materials, and %d signatures\n", len(platforms), float64(archives)/1e6, len(signed))
	return nil
}

// readSums checks that SHA256SUMS lists exactly the archives and the manifest,
// because users' lock files contain every hash in it.
func (r *release) readSums() error {
	text, err := os.ReadFile(filepath.Join(r.dist, assetName("SHA256SUMS")))
	if err != nil {
		return err
	}
	r.sums = map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || r.sums[name] != "" {
			return fmt.Errorf("SHA256SUMS has an invalid or duplicate line: %q", line)
		}
		r.sums[name] = sum
	}
	want := []string{assetName("manifest.json")}
	for _, p := range platforms {
		want = append(want, p.file(".zip"))
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(r.sums)); !slices.Equal(got, want) {
		return fmt.Errorf("SHA256SUMS lists\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for name, want := range r.sums {
		path := filepath.Join(r.dist, name)
		if name == assetName("manifest.json") {
			path = r.manifest
		}
		if got, err := hash(path); err != nil {
			return err
		} else if got != want {
			return fmt.Errorf("%s does not match its checksum in SHA256SUMS", name)
		}
	}
	return nil
}

func (r *release) readManifest() error {
	text, err := os.ReadFile(r.manifest)
	if err != nil {
		return err
	}
	var manifest struct {
		Version  int
		Metadata struct {
			ProtocolVersions []string `json:"protocol_versions"`
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return fmt.Errorf("the registry manifest is not valid: %w", err)
	}
	r.protocols = manifest.Metadata.ProtocolVersions
	if manifest.Version != 1 || !slices.Equal(r.protocols, []string{"6.0"}) {
		return fmt.Errorf("the registry manifest has version %d and protocols %q, want 1 and 6.0", manifest.Version, r.protocols)
	}
	return nil
}

// inspectArchive checks that an archive contains only the licence and the right
// provider.
func (c *check) inspectArchive(dist string, p platform) error {
	archive, err := zip.OpenReader(filepath.Join(dist, p.file(".zip")))
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	if want := []string{"LICENSE", p.binary()}; !slices.Equal(names, want) {
		return fmt.Errorf("the archive contains %q, want %q", names, want)
	}
	f, err := archive.Open(p.binary())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Mode() != 0o755 {
		return fmt.Errorf("the provider has mode %s, want 0755", info.Mode())
	}
	binary, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return c.inspectBinary(binary, p)
}

func (c *check) inspectBinary(binary []byte, p platform) error {
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	want := map[string]string{
		"GOOS": p.os, "GOARCH": p.arch, "CGO_ENABLED": "0", "-trimpath": "true",
		"vcs.revision": c.commit, "vcs.modified": "false",
	}
	if p.arch == "arm" {
		want["GOARM"] = "6"
	}
	for name, value := range want {
		if settings[name] != value {
			return fmt.Errorf("the provider was built with %s=%q, want %q", name, settings[name], value)
		}
	}
	if info.Main.Version != "v"+version {
		return fmt.Errorf("the provider's module has version %q, want v%s", info.Main.Version, version)
	}
	if bytes.Contains(binary, []byte(c.dir)) {
		return errors.New("the provider contains the path of its build folder")
	}
	if p == (platform{"linux", "amd64"}) {
		fmt.Printf("the binary for %s has %.1f MB\n", p, float64(len(binary))/1e6)
	}
	return nil
}

// inspectSBOM checks that a bill of materials describes this release, and lists
// Go's standard library and the plugin framework.
func inspectSBOM(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	type component struct{ Name, Version string }
	var sbom struct {
		Format     string `json:"bomFormat"`
		Metadata   struct{ Component component }
		Components []component
	}
	if err := json.Unmarshal(text, &sbom); err != nil {
		return err
	}
	subject := sbom.Metadata.Component
	if sbom.Format != "CycloneDX" || subject.Version != "v"+version || filepath.Base(subject.Name) != project {
		return fmt.Errorf("the bill of materials has format %q and describes %s %s", sbom.Format, subject.Name, subject.Version)
	}
	for _, want := range []string{"std", "github.com/hashicorp/terraform-plugin-framework"} {
		if !slices.ContainsFunc(sbom.Components, func(c component) bool { return c.Name == want }) {
			return fmt.Errorf("the bill of materials does not list %s", want)
		}
	}
	return nil
}
