// SPDX-License-Identifier: MPL-2.0

// Package backends stands in for the remote state backends of Terraform that
// are not published as Go modules of the same version.
package backends

import (
	"fmt"
	"os"

	"github.com/hashicorp/terraform/internal/backend"
)

// New ends the program: a backend that does not know its arguments would be
// reported as a wrong configuration instead.
func New() backend.Backend {
	fmt.Fprintln(os.Stderr, "Error: this build of Terraform is made for tests and does not hold the chosen backend; use the local backend.")
	os.Exit(1)
	return nil
}
