// SPDX-License-Identifier: MPL-2.0

package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

// emulators are the commands that run other platforms' binaries, from Debian's
// packages qemu-user-static, wine64 and wine32. Debian's wine command would pick one
// by itself, but not say which is missing.
var emulators = map[platform]string{
	{"linux", "amd64"}:   "qemu-x86_64-static",
	{"linux", "arm64"}:   "qemu-aarch64-static",
	{"linux", "arm"}:     "qemu-arm-static",
	{"linux", "s390x"}:   "qemu-s390x-static",
	{"windows", "amd64"}: "/usr/lib/wine/wine64",
	{"windows", "386"}:   "/usr/lib/wine/wine",
}

// start has Terraform apply and destroy the example with the binary of each platform
// that this machine can run, and prints which it cannot.
func (c *check) start(ctx context.Context, rel *release) (err error) {
	defer func() { err = errors.Join(err, c.stopWine(ctx)) }()
	var missing []string
	for _, p := range platforms {
		emulator, reason := findEmulator(p)
		if reason != "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", p, reason))
			continue
		}
		if err := c.startPlatform(ctx, rel, p, emulator); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	fmt.Printf("started %d of %d platforms; not started: %s\n", len(platforms)-len(missing), len(platforms), strings.Join(missing, ", "))
	return nil
}

// findEmulator returns the command that runs a platform's binaries, "" if they run
// without one, or the reason why they cannot run.
func findEmulator(p platform) (path, reason string) {
	own := platform{runtime.GOOS, runtime.GOARCH}
	// A kernel for amd64 runs 386 too. In qemu-i386, Go's threads crash.
	if p == own || own == (platform{"linux", "amd64"}) && p == (platform{"linux", "386"}) {
		return "", ""
	}
	name := emulators[p]
	if name == "" {
		return "", "no emulator is known"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", name + " is not installed"
	}
	// Go's runtime needs it, and old wines lack it.
	if found, _ := filepath.Glob("/usr/lib/*/wine/*-windows/bcryptprimitives.dll"); p.os == "windows" && len(found) == 0 {
		return "", "this wine has no bcryptprimitives.dll, which Go needs"
	}
	return path, ""
}

func (c *check) startPlatform(ctx context.Context, rel *release, p platform, emulator string) (err error) {
	folder := filepath.Join(c.dir, "start", p.String())
	binary, err := unpack(filepath.Join(rel.dist, p.file(".zip")), p.binary(), folder)
	if err != nil {
		return err
	}
	command, how := binary, "without an emulator"
	if emulator != "" {
		command, how = filepath.Join(folder, "start"), "with "+filepath.Base(emulator)
		script := fmt.Sprintf("#!/bin/sh\nexec env WINEPREFIX='%s' WINEDEBUG=-all '%s' '%s' \"$@\"\n", c.wine(), emulator, binary)
		if err := os.WriteFile(command, []byte(script), 0o755); err != nil {
			return err
		}
	}
	w, err := terraformtest.New(c.terraform)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	err = w.Override(map[string]string{"flameanalytics/flame": command})
	if err == nil {
		err = os.CopyFS(w.Dir, os.DirFS(example))
	}
	if err != nil {
		return err
	}
	return use(ctx, w, fmt.Sprintf("%s %s: Terraform", p, how))
}

// unpack copies the provider from an archive to a folder, and returns its path.
func unpack(archive, name, folder string) (path string, err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	content, err := fs.ReadFile(r, name)
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, name)
	return path, errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(path, content, 0o755))
}

// wine is the folder in which wine keeps its Windows.
func (c *check) wine() string { return filepath.Join(c.dir, "wine") }

// stopWine stops wine's server, which would otherwise keep running for a while.
func (c *check) stopWine(ctx context.Context) error {
	if _, err := os.Stat(c.wine()); err != nil {
		return nil // it was not used
	}
	_, err := output(ctx, "", append(os.Environ(), "WINEPREFIX="+c.wine()), "wineserver", "-k", "-w")
	return err
}
