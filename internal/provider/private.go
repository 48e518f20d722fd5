// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"

	"github.com/hashicorp/terraform-plugin-framework/diag"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/session"
)

// privateKey is the one key under which the provider keeps private data, beside
// the state of a managed session and in the memory of Terraform for an ephemeral
// one. See https://developer.hashicorp.com/terraform/plugin/framework/resources/private-state.
const privateKey = "session"

// privateState is all that the provider keeps beside the state of a managed
// session. Terraform hands a plan's private state to the Delete of the session
// that the plan destroys or replaces, but not if the session is tainted.
type privateState struct {
	// Instance tells the session apart from others that hold the same token. Create
	// and Read write it.
	Instance session.InstanceID `json:"instance,omitempty"`
	// Imported: the session was imported or moved here. Until the first update was
	// applied, it takes over its configuration without being replaced.
	Imported bool `json:"imported,omitempty"`
	// MovedEndpoint is the endpoint that the state of another provider named for a
	// session that was moved here; "" if it named none. The session has no endpoint
	// until a plan has compared this with the provider's: Terraform moves states with
	// a provider that is not configured.
	MovedEndpoint string `json:"moved_endpoint,omitempty"`
	// StillHeld: the plan saw another session that goes on holding the same token,
	// so Delete must not revoke it.
	StillHeld bool `json:"still_held,omitempty"`
	// HeldByOthers has the IDs of sessions whose token several instances hold, as the
	// plan saw it: a tainted session is planned without its own private state.
	HeldByOthers []string `json:"held_by_others,omitempty"`
	// Beside has the IDs of the sessions that the plan keeps, and that the login of the
	// planned one may end. Terraform drops what the second plan of a replacement says, so
	// Delete says it.
	Beside []string `json:"beside,omitempty"`
	// Needs: in a planned replacement, what the new session needs of the provider's
	// configuration. Delete checks it.
	Needs replacementNeeds `json:"needs,omitzero"`
}

// replacementNeeds is what the plan of a replacement expects of the provider's
// configuration. If it is another one when the plan is applied, the new session
// could not be opened, so the old one must not be revoked.
type replacementNeeds struct {
	User     string `json:"user,omitempty"`     // the provider's user; "" if the session has its own
	Password bool   `json:"password,omitempty"` // some password of the provider
	Endpoint string `json:"endpoint,omitempty"` // the provider's endpoint; "" if it was unknown
}

// ephemeralPrivate is what Close needs to revoke an ephemeral session.
type ephemeralPrivate struct {
	Instance session.InstanceID `json:"instance"`
	Endpoint string             `json:"endpoint"`
	User     string             `json:"user"`
	Token    string             `json:"token"`
}

// newEphemeralPrivate is the inverse of [ephemeralPrivate.held].
func newEphemeralPrivate(held session.Held) ephemeralPrivate {
	return ephemeralPrivate{held.Instance, held.Account.Endpoint.String(), held.Account.User, held.Token.Reveal()}
}

// held returns the token and who holds it. It fails if the endpoint is not one.
func (p ephemeralPrivate) held() (session.Held, error) {
	endpoint, err := flame.ParseEndpoint(p.Endpoint)
	return session.Held{
		Instance: p.Instance,
		Account:  session.Account{Endpoint: endpoint, User: p.User},
		Token:    flame.NewToken(p.Token),

		Ephemeral: true,
	}, err
}

type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// readPrivate returns the private data, or the zero value if there is none.
func readPrivate[T any](ctx context.Context, private privateReader) (value T, diags diag.Diagnostics) {
	raw, diags := private.GetKey(ctx, privateKey)
	if diags.HasError() || raw == nil {
		return value, diags
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		diags.AddError("The state's private data cannot be read",
			"The provider keeps data beside the state, and did not write what it found there. Restore the state from a backup.")
	}
	return value, diags
}

// writePrivate stores the private data.
func writePrivate(ctx context.Context, private privateWriter, value any) diag.Diagnostics {
	raw, err := json.Marshal(value)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("The private data cannot be written", "The provider could not encode the data that it keeps beside the state. "+reportDefect)}
	}
	return private.SetKey(ctx, privateKey, raw)
}
