// SPDX-License-Identifier: MPL-2.0

//go:build !windows

package parent

import "os"

// Watch returns a function that reports whether the parent has died since. Then
// another process has become the parent.
func Watch() (died func() bool) {
	parent := os.Getppid()
	return func() bool { return os.Getppid() != parent }
}
