// SPDX-License-Identifier: MPL-2.0

package parent

import (
	"os"

	"golang.org/x/sys/windows"
)

// Watch returns a function that reports whether the parent has died since. On
// Windows, an orphan keeps its parent's ID, which another process may get. So it
// holds a handle of the parent, which is signalled when the parent ends. If the
// parent cannot be opened, the function returns false.
func Watch() (died func() bool) {
	parent, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(os.Getppid()))
	if err != nil {
		return func() bool { return false }
	}
	return func() bool {
		event, err := windows.WaitForSingleObject(parent, 0)
		return err == nil && event == windows.WAIT_OBJECT_0
	}
}
