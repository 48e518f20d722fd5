// SPDX-License-Identifier: MPL-2.0

// Package msix is empty; see the replace in the go.mod above.
package msix
