package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

// example is the configuration that is applied, seen from the top folder.
const example = "examples/demo"

// user is Terraform or OpenTofu, with the registry for its own.
type user struct {
	command string
	name    string
	env     []string
	scratch string
}

// install has Terraform and OpenTofu install the release and work with it.
func (c *check) install(ctx context.Context, rel *release) error {
	reg := startRegistry(rel, &c.key)
	defer reg.Close()
	certificate := filepath.Join(c.dir, "registry.pem")
	if err := os.WriteFile(certificate, reg.certificate(), 0o644); err != nil {
		return err
	}
	// In place of discovery, so that the configuration can be the one that users
	// write, without a host. Nothing but this registry is ever asked.
	var rc strings.Builder
	for _, host := range []string{"registry.terraform.io", "registry.opentofu.org"} {
		fmt.Fprintf(&rc, "host %q {\n  services = {\n    \"providers.v1\" = %q\n  }\n}\n", host, reg.service())
	}
	cliConfig := filepath.Join(c.dir, "cli.tfrc")
	if err := os.WriteFile(cliConfig, []byte(rc.String()), 0o644); err != nil {
		return err
	}
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "TF_") || strings.HasPrefix(s, "FLAME_") || strings.HasPrefix(s, "OPENTOFU_")
	})
	env = append(without(env, "SSL_CERT_FILE"), "SSL_CERT_FILE="+certificate,
		"TF_CLI_CONFIG_FILE="+cliConfig, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1")

	for _, u := range []user{
		{command: c.terraform, name: "Terraform", env: env, scratch: c.dir},
		{command: c.tofu, name: "OpenTofu", env: env, scratch: c.dir},
	} {
		began := time.Now()
		if err := u.check(ctx, reg, c.key.id()); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
		fmt.Printf("%s: done in %s\n", u.name, time.Since(began).Round(time.Second))
	}
	return nil
}

func (u *user) check(ctx context.Context, reg *registry, keyID string) error {
	// First, so that nothing of the genuine one is there yet.
	for _, t := range []struct {
		how        tampering
		what, says string
	}{
		{withArchive, "an archive that was tampered with", "incorrect checksum"},
		{withSums, "one whose checksums were changed to fit", "signature"},
	} {
		reg.tamper(t.how)
		if err := u.refuses(ctx, t.what, t.says); err != nil {
			return err
		}
	}
	reg.tamper(none)
	dir, err := u.installs(ctx, keyID)
	if err != nil {
		return err
	}
	if err := u.locks(ctx, dir); err != nil {
		return err
	}
	return u.works(ctx, dir)
}

// refuses wants init to fail, and to say why.
func (u *user) refuses(ctx context.Context, what, says string) error {
	dir, err := u.configuration()
	if err != nil {
		return err
	}
	out, err := u.run(ctx, dir, "init")
	if err == nil {
		return fmt.Errorf("it installs %s:\n%s", what, out)
	}
	message := oneLine(err.Error())
	if !strings.Contains(message, says) {
		return fmt.Errorf("init fails with %s, but not for its %s: %w", what, says, err)
	}
	fmt.Printf("%s refuses %s: %s\n", u.name, what, after(message, "Error while installing "))
	return nil
}

// installs wants init to succeed, and to say that the provider is signed.
func (u *user) installs(ctx context.Context, keyID string) (dir string, err error) {
	if dir, err = u.configuration(); err != nil {
		return "", err
	}
	out, err := u.run(ctx, dir, "init")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "Installed flameanalytics/flame v"+version) &&
			strings.Contains(line, "signed, key ID "+keyID) {
			fmt.Printf("%s says: %s\n", u.name, line)
			return dir, nil
		}
	}
	return "", fmt.Errorf("init does not say that the provider is signed by %s:\n%s", keyID, out)
}

// locks has the archives for all platforms fetched and verified, as a team does
// that works on several.
func (u *user) locks(ctx context.Context, dir string) error {
	args := []string{"providers", "lock"}
	for _, p := range platforms {
		args = append(args, "-platform="+p.String())
	}
	if _, err := u.run(ctx, dir, args...); err != nil {
		return err
	}
	fmt.Printf("%s locks it for all %d platforms\n", u.name, len(platforms))
	return nil
}

// works applies, plans and destroys with the installed provider.
func (u *user) works(ctx context.Context, dir string) error {
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		return err
	}
	defer fake.Close()
	u.env = append(u.env, "FLAME_ENDPOINT="+fake.URL(), "FLAME_USER="+flametest.User, "FLAME_PASSWORD="+flametest.Password)
	for _, args := range [][]string{
		{"apply", "-auto-approve", "-input=false"},
		{"plan", "-input=false", "-detailed-exitcode"}, // fails when there is anything to change
		{"destroy", "-auto-approve", "-input=false"},
	} {
		if _, err := u.run(ctx, dir, args...); err != nil {
			return err
		}
	}
	if opened, alive := fake.Opened(), len(fake.Live()); opened != 1 || alive != 0 {
		return fmt.Errorf("%d sessions were opened and %d left alive", opened, alive)
	}
	agent := fake.Journal()[0].Header.Get("User-Agent")
	if !strings.Contains(agent, project+"/"+version) {
		return fmt.Errorf("the provider does not know its version: its user agent is %q", agent)
	}
	fmt.Printf("%s applies, plans and destroys the demo: 1 session opened, none left alive; User-Agent %s\n", u.name, agent)
	return nil
}

// configuration makes a folder with the demo's configuration.
func (u *user) configuration() (string, error) {
	dir, err := os.MkdirTemp(u.scratch, "configuration-")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		return "", fmt.Errorf("%w: run this in the top folder", err)
	}
	return dir, nil
}

func (u *user) run(ctx context.Context, dir string, args ...string) (string, error) {
	// Colours would get into the comparisons.
	return output(ctx, dir, append(u.env, "TF_CLI_ARGS=-no-color"), u.command, args...)
}

// oneLine undoes the frame and the line breaks of an error message.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "│", " ")), " ")
}

// after gives what follows the last mark in text.
func after(text, mark string) string {
	if i := strings.LastIndex(text, mark); i >= 0 {
		text = text[i+len(mark):]
	}
	return strings.TrimRight(text, " ╵")
}
