// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestFindEmulator(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	arm := filepath.Join(folder, "qemu-arm-static")
	if err := os.WriteFile(arm, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		platform     platform
		path, reason string
	}{
		{platform{runtime.GOOS, runtime.GOARCH}, "", ""},
		{platform{"linux", "arm"}, arm, ""},
		{platform{"linux", "s390x"}, "", "qemu-s390x-static is not installed"},
		{platform{"darwin", "arm64"}, "", "no emulator is known"},
	} {
		if path, reason := findEmulator(test.platform); path != test.path || reason != test.reason {
			t.Errorf("%s: got %q, %q; want %q, %q", test.platform, path, reason, test.path, test.reason)
		}
	}
}

func TestUnpack(t *testing.T) {
	rel := newRelease(t)
	p := platforms[0]
	folder := filepath.Join(t.TempDir(), "a", "b")
	path, err := unpack(filepath.Join(rel.dist, p.file(".zip")), p.binary(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o100 == 0 || !strings.HasPrefix(path, folder) {
		t.Errorf("%s: %v, %v", path, info, err)
	}
	if _, err := unpack(filepath.Join(rel.dist, p.file(".zip")), "absent", folder); err == nil {
		t.Error("a file that is not in the archive was unpacked")
	}
}
