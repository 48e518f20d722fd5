// SPDX-License-Identifier: MPL-2.0

package flametest

import (
	"fmt"
	"slices"
)

// Kind is a kind of account: what a login does to the user's earlier token, and
// what DELETE does to the user's other tokens. The vendor documents neither.
type Kind int

// The kinds of account.
const (
	Independent Kind = iota // each login returns a new token; DELETE ends that token
	Shared                  // a login returns the user's live token again; DELETE ends it for every holder
	Superseding             // a login returns a new token and ends the earlier one; DELETE ends that token
	Sweeping                // each login returns a new token; DELETE ends all tokens of the user
)

var kindNames = []string{"independent", "shared", "superseding", "sweeping"}

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{Independent, Shared, Superseding, Sweeping} }

func (k Kind) valid() bool { return k >= 0 && int(k) < len(kindNames) }

// String returns the name of the kind, such as "superseding".
func (k Kind) String() string {
	if !k.valid() {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// MarshalText returns the name of the kind.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText sets the kind by its name.
func (k *Kind) UnmarshalText(name []byte) error {
	i := slices.Index(kindNames, string(name))
	if i < 0 {
		return fmt.Errorf("flametest: no kind of account is called %q", name)
	}
	*k = Kind(i)
	return nil
}
