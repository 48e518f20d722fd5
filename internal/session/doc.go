// SPDX-License-Identifier: MPL-2.0

// Package session holds what one run of Terraform knows about Flame sessions: who
// holds which token, which accounts are opening or revoking sessions just now, and
// what must still be revoked before the process exits. Every token that the
// provider opens, checks or revokes passes through a [Run].
//
//	run := session.NewRun(client)
//	instance := session.NewInstanceID()
//	opened, err := run.Open(ctx, account, password, instance)
//	...
//	outcome, err := run.Revoke(ctx, session.Held{Instance: instance, Account: account, Token: opened.Token})
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
// The package knows nothing of Terraform. It returns outcomes and errors; the
// caller tells the user.
package session
