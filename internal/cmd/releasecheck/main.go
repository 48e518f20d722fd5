// SPDX-License-Identifier: MPL-2.0

// Command releasecheck tests a release without publishing one. It exits with 1 if
// a check fails:
//
//   - Two builds of the current commit, made as .goreleaser.yml says and signed
//     with a temporary key, are identical.
//   - Each archive contains the right provider, and has a bill of materials.
//   - Real Terraform and OpenTofu install the provider from a local registry, and
//     apply and destroy examples/demo with it.
//   - Both refuse archives that were tampered with.
//   - Terraform applies and destroys examples/demo with the binary of each platform
//     that this machine can run, also with qemu and wine. The others are listed.
//
// With -release, it checks a release that was downloaded into a folder instead of two
// builds, against a given public key.
//
// It needs gpg and git on PATH, and runs only on Linux: elsewhere, no environment
// variable makes Go programs trust the registry's certificate.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	project = "terraform-provider-flame"
	origin  = "https://github.com/flameanalytics/terraform-provider-flame.git"
)

// version is the tag of the release, without the v.
var version = "0.0.1"

func main() {
	var c check
	var sbom string
	flag.StringVar(&c.goreleaser, "goreleaser", "goreleaser", "the goreleaser `command`")
	flag.StringVar(&sbom, "cyclonedx-gomod", "cyclonedx-gomod", "the cyclonedx-gomod `command`")
	flag.StringVar(&c.terraform, "terraform", "terraform", "the Terraform `command`")
	flag.StringVar(&c.tofu, "tofu", "tofu", "the OpenTofu `command`")
	flag.StringVar(&c.downloaded, "release", "", "check the release in this `folder` instead of building one")
	flag.StringVar(&c.publicKey, "key", "", "with -release: the `file` with the public key, armored")
	flag.StringVar(&version, "version", version, "with -release: its `version`, without the v")
	flag.StringVar(&c.scratch, "scratch", "dist", "the `folder` for temporary files, which are removed at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx, sbom); err != nil {
		fmt.Fprintln(os.Stderr, "release-check:", err)
		os.Exit(1)
	}
	fmt.Println("release-check: all checks passed")
}

type check struct {
	goreleaser, terraform, tofu, scratch string
	downloaded, publicKey                string // instead of a build

	dir    string   // temporary files, except the key
	env    []string // for goreleaser and gpg
	key    key
	commit string
}

func (c *check) run(ctx context.Context, sbom string) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("this check works only on Linux")
	}
	if err := c.prepare(sbom); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	defer func() { err = errors.Join(err, c.key.remove()) }()
	rel, err := c.release(ctx)
	if err != nil {
		return err
	}
	if err := c.inspect(ctx, rel); err != nil {
		return err
	}
	if err := c.install(ctx, rel); err != nil {
		return err
	}
	return c.start(ctx, rel)
}

// release returns the release to check, with the key that has signed it.
func (c *check) release(ctx context.Context) (*release, error) {
	if c.downloaded != "" {
		if err := c.key.load(ctx, c.publicKey); err != nil {
			return nil, err
		}
		rel := &release{dist: c.downloaded, manifest: filepath.Join(c.downloaded, assetName("manifest.json"))}
		return rel, c.describe(ctx, "checking the release of")
	}
	if err := c.key.generate(ctx); err != nil {
		return nil, err
	}
	c.env = append(c.env, "GNUPGHOME="+c.key.home, "GPG_FINGERPRINT="+c.key.fingerprint)
	if err := c.describe(ctx, "building"); err != nil {
		return nil, err
	}
	// Paths and time zones differ, to show that neither gets into a build.
	first, err := c.build(ctx, "first", "TZ=UTC")
	if err != nil {
		return nil, err
	}
	second, err := c.build(ctx, filepath.Join("the", "second", "one"), "TZ=Asia/Kolkata")
	if err != nil {
		return nil, err
	}
	// goreleaser renames the manifest only when it publishes.
	rel := &release{dist: first, manifest: filepath.Join(filepath.Dir(first), "terraform-registry-manifest.json")}
	return rel, compare(first, second)
}

// prepare creates the scratch folder and the environment for goreleaser.
func (c *check) prepare(sbom string) (err error) {
	// The commands run in other folders, so they need absolute paths.
	commands := []*string{&c.terraform, &c.tofu}
	if c.downloaded == "" {
		commands = append(commands, &c.goreleaser, &sbom)
	}
	for _, command := range commands {
		path, err := exec.LookPath(*command)
		if err != nil {
			return err
		}
		if *command, err = filepath.Abs(path); err != nil {
			return err
		}
	}
	if c.scratch, err = filepath.Abs(c.scratch); err != nil {
		return err
	}
	if err := os.MkdirAll(c.scratch, 0o755); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp(c.scratch, "check-"); err != nil {
		return err
	}
	// Without credentials, a test release cannot be published by mistake.
	c.env = without(os.Environ(), "GITHUB_TOKEN", "GITLAB_TOKEN", "GITEA_TOKEN", "TZ", "PATH", "GNUPGHOME", "GPG_FINGERPRINT")
	c.env = append(c.env, "PATH="+filepath.Dir(sbom)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return nil
}

// describe records the commit and prints it.
func (c *check) describe(ctx context.Context, doing string) error {
	commit, err := output(ctx, "", os.Environ(), "git", "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	c.commit = strings.TrimSpace(commit)
	changed, err := output(ctx, "", os.Environ(), "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	note := ""
	if changed != "" {
		note = ", without uncommitted changes"
	}
	fmt.Printf("%s commit %s as version %s%s\n", doing, c.commit[:12], version, note)
	return nil
}

// build builds a release of the current commit in a new clone, without publishing
// it, and returns the dist folder.
func (c *check) build(ctx context.Context, name string, env ...string) (dist string, err error) {
	started := time.Now()
	clone := filepath.Join(c.dir, name)
	for _, args := range [][]string{
		{"clone", "--quiet", "--no-tags", "--no-checkout", ".", clone},
		{"-C", clone, "checkout", "--quiet", "--detach", c.commit}, // HEAD may have moved since the first build
		{"-C", clone, "remote", "set-url", "origin", origin},
		{"-C", clone, "-c", "tag.gpgSign=false", "tag", "v" + version},
	} {
		if _, err := output(ctx, "", os.Environ(), "git", args...); err != nil {
			return "", err
		}
	}
	env = slices.Concat(c.env, env)
	if _, err := output(ctx, clone, env, c.goreleaser, "check"); err != nil {
		return "", err
	}
	// Not --snapshot, which skips goreleaser's validations.
	if _, err := output(ctx, clone, env, c.goreleaser, "release", "--clean", "--skip=publish,announce"); err != nil {
		return "", err
	}
	fmt.Printf("built and signed a release in %s\n", time.Since(started).Round(time.Second))
	return filepath.Join(clone, "dist"), nil
}

// output runs git, gpg or goreleaser and returns its standard output. An error
// contains all output.
func output(ctx context.Context, dir string, env []string, command string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	// An interrupt, unlike a kill, lets goreleaser stop its children.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Dir, cmd.Env = dir, env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(command), strings.Join(args, " "), err, &stdout, &stderr)
		return stdout.String(), err
	}
	return stdout.String(), nil
}

// without returns env without the named variables.
func without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(names, name)
	})
}
