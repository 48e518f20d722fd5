// SPDX-License-Identifier: MPL-2.0

// Package session holds what one run of Terraform knows about Flame sessions: who
// holds which token, which accounts are opening or revoking sessions just now, and
// what must still be revoked before the process exits. Every token that the
// provider opens, checks or revokes passes through a [Run].
//
//	run := session.NewRun(client)
//	held := session.Held{Instance: session.NewInstanceID(), Account: account}
//	opened, err := run.Open(ctx, held, password)
//	...
//	held.Token = opened.Token
//	revocation, err := run.Revoke(ctx, held)
//
// A run is one provider process. Terraform starts one for each provider
// configuration and each walk (plan, apply), and shows it only the resources that
// the walk touches, so a Run knows no other.
//
// # Rules
//
// Flame may give one token to several sessions of a user (the vendor's page says
// "the authentication token of the user"). Therefore a token is revoked only with
// its last holder, and sessions of one account are never opened and revoked at the
// same time: an open could be answered with a token that is just being revoked.
//
// A login may also end the user's earlier token, and a revocation all the user's
// tokens. A run that holds two sessions of a user finds out with one extra request for
// each question, and then opens or revokes nothing that would end a session it knows to
// be alive. See behavior.
//
// The package knows nothing of Terraform. It returns outcomes and errors; the
// caller tells the user.
package session
