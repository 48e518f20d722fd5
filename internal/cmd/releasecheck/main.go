// Command releasecheck tries out a release without making one. It builds the
// current commit twice as .goreleaser.yml says, signed with a throw-away key,
// and compares the two byte for byte; looks into every archive; then has real
// Terraform and OpenTofu install the provider from a registry on this machine,
// apply and destroy examples/demo with it, and refuse archives that were
// tampered with. It exits with 1 when anything is not as it should be.
//
// It works on Linux: elsewhere, Go programs cannot be told to trust the
// registry's certificate by an environment variable. gpg and git have to be on
// PATH.
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
	// version is the tag that the trial release gets, without its v.
	version = "0.0.1"
	origin  = "https://github.com/flameanalytics/terraform-provider-flame.git"
)

func main() {
	var c check
	var sbom string
	flag.StringVar(&c.goreleaser, "goreleaser", "goreleaser", "the goreleaser `command`")
	flag.StringVar(&sbom, "cyclonedx-gomod", "cyclonedx-gomod", "the cyclonedx-gomod `command`")
	flag.StringVar(&c.terraform, "terraform", "terraform", "the Terraform `command`")
	flag.StringVar(&c.tofu, "tofu", "tofu", "the OpenTofu `command`")
	flag.StringVar(&c.scratch, "scratch", "dist", "the `folder` to work in; what is made there is removed at the end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx, sbom); err != nil {
		fmt.Fprintln(os.Stderr, "release-check:", err)
		os.Exit(1)
	}
	fmt.Println("release-check: all is as it should be")
}

type check struct {
	goreleaser, terraform, tofu, scratch string

	dir    string   // everything but the key
	env    []string // for goreleaser and gpg
	key    key
	commit string
}

func (c *check) run(ctx context.Context, sbom string) (err error) {
	if runtime.GOOS != "linux" {
		return errors.New("this check works on Linux only")
	}
	if err := c.prepare(sbom); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	if err := c.key.make(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.key.remove()) }()
	c.env = append(c.env, "GNUPGHOME="+c.key.home, "GPG_FINGERPRINT="+c.key.fingerprint)

	if err := c.describe(ctx); err != nil {
		return err
	}
	// Far apart, so that neither path nor time zone can make the two the same.
	first, err := c.build(ctx, "first", "TZ=UTC")
	if err != nil {
		return err
	}
	second, err := c.build(ctx, filepath.Join("the", "second", "one"), "TZ=Asia/Kolkata")
	if err != nil {
		return err
	}
	if err := compare(first, second); err != nil {
		return err
	}
	rel, err := c.inspect(ctx, first)
	if err != nil {
		return err
	}
	return c.install(ctx, rel)
}

// prepare makes the scratch folder and the environment of goreleaser.
func (c *check) prepare(sbom string) (err error) {
	// The commands run in other folders than this one.
	for _, command := range []*string{&c.goreleaser, &c.terraform, &c.tofu, &sbom} {
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
	// No credentials: a trial cannot publish, whatever else goes wrong.
	c.env = without(os.Environ(), "GITHUB_TOKEN", "GITLAB_TOKEN", "GITEA_TOKEN", "TZ", "PATH", "GNUPGHOME", "GPG_FINGERPRINT")
	c.env = append(c.env, "PATH="+filepath.Dir(sbom)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return nil
}

// describe says what is going to be released.
func (c *check) describe(ctx context.Context) error {
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
		note = ", without what is not committed yet"
	}
	fmt.Printf("commit %s as version %s%s\n", c.commit[:12], version, note)
	return nil
}

// build makes a release of the current commit in a clone of its own, publishes
// nothing, and gives the folder with the result.
func (c *check) build(ctx context.Context, name string, env ...string) (dist string, err error) {
	began := time.Now()
	clone := filepath.Join(c.dir, name)
	for _, args := range [][]string{
		{"clone", "--quiet", "--no-tags", ".", clone},
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
	// Not a snapshot: that would leave out what goreleaser makes sure of before it
	// publishes.
	if _, err := output(ctx, clone, env, c.goreleaser, "release", "--clean", "--skip=publish,announce"); err != nil {
		return "", err
	}
	fmt.Printf("built and signed in %s\n", time.Since(began).Round(time.Second))
	return filepath.Join(clone, "dist"), nil
}

// output runs git, gpg or goreleaser and returns its standard output. An error
// holds its standard error too.
func output(ctx context.Context, dir string, env []string, command string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command, args...)
	// goreleaser ends its children when it is asked to stop.
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

// without gives env less the named variables.
func without(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(names, name)
	})
}
