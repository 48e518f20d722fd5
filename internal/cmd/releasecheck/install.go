package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// example is the configuration that is applied, seen from the top folder.
const example = "examples/demo"

// user is Terraform or OpenTofu, installing from the registry.
type user struct {
	name, command string
	registry      *registry
	certificate   string // of the registry, a file
}

// install has Terraform and OpenTofu install the release and work with it.
func (c *check) install(ctx context.Context, rel *release) error {
	reg := startRegistry(rel, &c.key)
	defer reg.Close()
	certificate := filepath.Join(c.dir, "registry.pem")
	if err := os.WriteFile(certificate, reg.certificate(), 0o644); err != nil {
		return err
	}
	for _, u := range []user{
		{"Terraform", c.terraform, reg, certificate},
		{"OpenTofu", c.tofu, reg, certificate},
	} {
		began := time.Now()
		if err := u.check(ctx, c.key.id()); err != nil {
			return fmt.Errorf("%s: %w", u.name, err)
		}
		fmt.Printf("%s: done in %s\n", u.name, time.Since(began).Round(time.Second))
	}
	return nil
}

func (u *user) check(ctx context.Context, keyID string) (err error) {
	// First, so that nothing of the genuine one is there yet.
	for _, t := range []struct {
		how        tampering
		what, says string
	}{
		{withArchive, "an archive that was tampered with", "incorrect checksum"},
		{withSums, "one whose checksums were changed to fit", "signature"},
	} {
		u.registry.tamper(t.how)
		if err := u.refuses(ctx, t.what, t.says); err != nil {
			return err
		}
	}
	u.registry.tamper(none)
	w, err := u.workspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := u.installs(ctx, w, keyID); err != nil {
		return err
	}
	if err := u.locks(ctx, w); err != nil {
		return err
	}
	return u.works(ctx, w)
}

// workspace returns a workspace with the demo's configuration. It names no host,
// like those of users, so the registry stands in for the public ones.
func (u *user) workspace() (*terraformtest.Workspace, error) {
	w, err := terraformtest.New(u.command)
	if err != nil {
		return nil, err
	}
	w.Setenv("SSL_CERT_FILE", u.certificate)
	err = w.Registry(u.registry.service())
	if err == nil {
		err = os.CopyFS(w.Dir, os.DirFS(example))
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// refuses wants init to fail, and to say why.
func (u *user) refuses(ctx context.Context, what, says string) (err error) {
	w, err := u.workspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	r, err := w.Run(ctx, "init")
	if err == nil {
		return fmt.Errorf("it installs %s: %v", what, r)
	}
	if !strings.Contains(r.Text(), says) {
		return fmt.Errorf("init fails with %s, but not for its %s: %w", what, says, err)
	}
	_, why, _ := strings.Cut(r.Text(), "Error while installing ")
	fmt.Printf("%s refuses %s: %s\n", u.name, what, why)
	return nil
}

// installs wants init to succeed, and to say that the provider is signed.
func (u *user) installs(ctx context.Context, w *terraformtest.Workspace, keyID string) error {
	r, err := w.Run(ctx, "init")
	if err != nil {
		return err
	}
	for line := range strings.Lines(r.Stdout) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "Installed flameanalytics/flame v"+version) &&
			strings.Contains(line, "signed, key ID "+keyID) {
			fmt.Printf("%s says: %s\n", u.name, line)
			return nil
		}
	}
	return fmt.Errorf("init does not say that the provider is signed by %s: %v", keyID, r)
}

// locks has the archives for all platforms fetched and verified, as a team does
// that works on several.
func (u *user) locks(ctx context.Context, w *terraformtest.Workspace) error {
	args := []string{"providers", "lock"}
	for _, p := range platforms {
		args = append(args, "-platform="+p.String())
	}
	if _, err := w.Run(ctx, args...); err != nil {
		return err
	}
	fmt.Printf("%s locks it for all %d platforms\n", u.name, len(platforms))
	return nil
}

// works applies, plans and destroys with the installed provider.
func (u *user) works(ctx context.Context, w *terraformtest.Workspace) error {
	fake, err := flametest.Start(flametest.Config{})
	if err != nil {
		return err
	}
	defer fake.Close()
	w.Setenv("FLAME_ENDPOINT", fake.URL())
	w.Setenv("FLAME_USER", flametest.User)
	w.Setenv("FLAME_PASSWORD", flametest.Password)
	for _, args := range [][]string{
		{"apply", "-auto-approve", "-input=false"},
		{"plan", "-input=false", "-detailed-exitcode"}, // fails when there is anything to change
		{"destroy", "-auto-approve", "-input=false"},
	} {
		if _, err := w.Run(ctx, args...); err != nil {
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
