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

// platforms are those that a release is for, by the names that the registries
// give them.
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
	{"freebsd", "amd64"},
	{"freebsd", "386"},
}

type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// file names the file of a release that is for the platform.
func (p platform) file(ext string) string { return assetName(p.String() + ext) }

// binary names the provider in the archive.
func (p platform) binary() string {
	if p.os == "windows" {
		return project + "_v" + version + ".exe"
	}
	return project + "_v" + version
}

func assetName(suffix string) string { return project + "_" + version + "_" + suffix }

// release is what is needed of a trial release to serve it.
type release struct {
	dist      string
	protocols []string
	sums      map[string]string // file name → SHA-256, in hex
}

// compare reports what is not the same in two builds of one commit. Signatures
// and goreleaser's own notes have times in them, and are not compared.
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
			differences = append(differences, fmt.Errorf("two builds of one commit differ in %s", name))
		}
		delete(two, name)
	}
	for name := range two {
		differences = append(differences, fmt.Errorf("only the second build has %s", name))
	}
	if err := errors.Join(differences...); err != nil {
		return err
	}
	fmt.Printf("two builds are the same, bit for bit: %d files\n", len(one))
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

// inspect looks into everything that would be published.
func (c *check) inspect(ctx context.Context, dist string) (*release, error) {
	rel := &release{dist: dist}
	if err := rel.readSums(); err != nil {
		return nil, err
	}
	if err := rel.readManifest(); err != nil {
		return nil, err
	}
	signed := []string{assetName("SHA256SUMS")}
	var archives int64
	for _, p := range platforms {
		if err := c.inspectArchive(dist, p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.file(".zip"), err)
		}
		if err := inspectSBOM(filepath.Join(dist, p.file(".cdx.json"))); err != nil {
			return nil, fmt.Errorf("%s: %w", p.file(".cdx.json"), err)
		}
		signed = append(signed, p.file(".cdx.json"))
		info, err := os.Stat(filepath.Join(dist, p.file(".zip")))
		if err != nil {
			return nil, err
		}
		archives += info.Size()
	}
	for _, name := range signed {
		path := filepath.Join(dist, name)
		if err := c.key.verify(ctx, path+".sig", path); err != nil {
			return nil, err
		}
	}
	fmt.Printf("%d archives (%.1f MB), each with its bill of materials; %d signatures are good\n", len(platforms), float64(archives)/1e6, len(signed))
	return rel, nil
}

// readSums wants the checksums to be those of all archives and of the manifest,
// and of nothing else: each is a hash in the lock file of every user.
func (r *release) readSums() error {
	text, err := os.ReadFile(filepath.Join(r.dist, assetName("SHA256SUMS")))
	if err != nil {
		return err
	}
	r.sums = map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || r.sums[name] != "" {
			return fmt.Errorf("SHA256SUMS has the line %q", line)
		}
		r.sums[name] = sum
	}
	want := []string{assetName("manifest.json")}
	for _, p := range platforms {
		want = append(want, p.file(".zip"))
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(r.sums)); !slices.Equal(got, want) {
		return fmt.Errorf("SHA256SUMS is of\n  %s\nand should be of\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	for name, want := range r.sums {
		path := filepath.Join(r.dist, name)
		if name == assetName("manifest.json") {
			path = r.manifest()
		}
		if got, err := hash(path); err != nil {
			return err
		} else if got != want {
			return fmt.Errorf("%s has not the checksum that SHA256SUMS says", name)
		}
	}
	return nil
}

// manifest is beside dist: goreleaser renames it only when it publishes.
func (r *release) manifest() string {
	return filepath.Join(filepath.Dir(r.dist), "terraform-registry-manifest.json")
}

func (r *release) readManifest() error {
	text, err := os.ReadFile(r.manifest())
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
		return fmt.Errorf("the registry's manifest: %w", err)
	}
	r.protocols = manifest.Metadata.ProtocolVersions
	if manifest.Version != 1 || !slices.Equal(r.protocols, []string{"6.0"}) {
		return fmt.Errorf("the registry's manifest is of version %d, with protocols %q", manifest.Version, r.protocols)
	}
	return nil
}

// inspectArchive wants the provider and the licence in an archive, and the
// provider to be the one that its name says.
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
		return fmt.Errorf("holds %q, not %q", names, want)
	}
	f, err := archive.Open(p.binary())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Mode() != 0o755 {
		return fmt.Errorf("the provider has mode %s", info.Mode())
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
			return fmt.Errorf("the provider was built with %s=%q, not %q", name, settings[name], value)
		}
	}
	if info.Main.Version != "v"+version {
		return fmt.Errorf("the provider's module has the version %q", info.Main.Version)
	}
	if bytes.Contains(binary, []byte(c.dir)) {
		return errors.New("the provider names the folder that it was built in")
	}
	if p == (platform{"linux", "amd64"}) {
		fmt.Printf("%s has %.1f MB\n", p, float64(len(binary))/1e6)
	}
	return nil
}

// inspectSBOM wants a bill of materials to be of this release, and to name what
// the provider is built of.
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
		return fmt.Errorf("is in the format %q, of %s %s", sbom.Format, subject.Name, subject.Version)
	}
	for _, want := range []string{"std", "github.com/hashicorp/terraform-plugin-framework"} {
		if !slices.ContainsFunc(sbom.Components, func(c component) bool { return c.Name == want }) {
			return fmt.Errorf("does not name %s", want)
		}
	}
	return nil
}
