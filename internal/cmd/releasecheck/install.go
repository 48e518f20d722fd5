// SPDX-License-Identifier: MPL-2.0

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

// example is the configuration to apply, relative to the top folder.
const example = "examples/demo"

// installer is Terraform or OpenTofu, which installs from the registry.
type installer struct {
	name, command string
	registry      *registry
	certificate   string // file with the registry's certificate
}

// install checks that Terraform and OpenTofu can install and use the release.
func (c *check) install(ctx context.Context, rel *release) error {
	reg := startRegistry(rel, &c.key)
	defer reg.Close()
	certificate := filepath.Join(c.dir, "registry.pem")
	if err := os.WriteFile(certificate, reg.certificate(), 0o644); err != nil {
		return err
	}
	for _, i := range []installer{
		{"Terraform", c.terraform, reg, certificate},
		{"OpenTofu", c.tofu, reg, certificate},
	} {
		started := time.Now()
		if err := i.check(ctx, c.key.id()); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
		fmt.Printf("%s: all checks took %s\n", i.name, time.Since(started).Round(time.Second))
	}
	return nil
}

func (i *installer) check(ctx context.Context, keyID string) (err error) {
	// Test tampering first, before a genuine provider is installed.
	for _, test := range []struct {
		tampering     tampering
		archive, want string
	}{
		{withArchive, "a changed archive", "incorrect checksum"},
		{withSums, "a changed archive with matching checksums", "signature"},
	} {
		i.registry.tamper(test.tampering)
		if err := i.wantRefusal(ctx, test.archive, test.want); err != nil {
			return err
		}
	}
	i.registry.tamper(none)
	w, err := i.workspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := i.wantInstalled(ctx, w, keyID); err != nil {
		return err
	}
	if err := i.lock(ctx, w); err != nil {
		return err
	}
	return use(ctx, w, i.name)
}

// workspace returns a workspace with the demo's configuration. Its source names no
// host, as in users' configurations, so the registry replaces the public ones.
func (i *installer) workspace() (*terraformtest.Workspace, error) {
	w, err := terraformtest.New(i.command)
	if err != nil {
		return nil, err
	}
	w.Setenv("SSL_CERT_FILE", i.certificate)
	err = w.Registry(i.registry.service())
	if err == nil {
		err = os.CopyFS(w.Dir, os.DirFS(example))
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// wantRefusal checks that init fails with the wanted reason.
func (i *installer) wantRefusal(ctx context.Context, archive, want string) (err error) {
	w, err := i.workspace()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	r, err := w.Run(ctx, "init")
	if err == nil {
		return fmt.Errorf("init installed %s: %v", archive, r)
	}
	if !strings.Contains(r.Text(), want) {
		return fmt.Errorf("init with %s failed without the reason %q: %w", archive, want, err)
	}
	_, reason, _ := strings.Cut(r.Text(), "Error while installing ")
	fmt.Printf("%s refused %s: %s\n", i.name, archive, reason)
	return nil
}

// wantInstalled checks that init succeeds, and reports the provider as signed.
func (i *installer) wantInstalled(ctx context.Context, w *terraformtest.Workspace, keyID string) error {
	r, err := w.Run(ctx, "init")
	if err != nil {
		return err
	}
	for line := range strings.Lines(r.Stdout) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "Installed flameanalytics/flame v"+version) &&
			strings.Contains(line, "signed, key ID "+keyID) {
			fmt.Printf("%s init: %s\n", i.name, line)
			return nil
		}
	}
	return fmt.Errorf("init does not report the provider as signed with key %s: %v", keyID, r)
}

// lock downloads and verifies the archives for all platforms, as teams with
// several platforms do.
func (i *installer) lock(ctx context.Context, w *terraformtest.Workspace) error {
	args := []string{"providers", "lock"}
	for _, p := range platforms {
		args = append(args, "-platform="+p.String())
	}
	if _, err := w.Run(ctx, args...); err != nil {
		return err
	}
	fmt.Printf("%s locked the provider for all %d platforms\n", i.name, len(platforms))
	return nil
}

// use applies, plans and destroys with the workspace's provider.
func use(ctx context.Context, w *terraformtest.Workspace, who string) error {
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
		{"plan", "-input=false", "-detailed-exitcode"}, // fails if there are changes
		{"destroy", "-auto-approve", "-input=false"},
	} {
		if _, err := w.Run(ctx, args...); err != nil {
			return err
		}
	}
	if opened, alive := fake.Opened(), len(fake.Live()); opened != 1 || alive != 0 {
		return fmt.Errorf("sessions opened %d, left alive %d; want 1 and 0", opened, alive)
	}
	agent := fake.Journal()[0].Header.Get("User-Agent")
	if !strings.Contains(agent, project+"/"+version) {
		return fmt.Errorf("the provider does not know its version: its User-Agent is %q", agent)
	}
	fmt.Printf("%s applied, planned and destroyed the demo: sessions opened 1, left alive 0; User-Agent %s\n", who, agent)
	return nil
}
