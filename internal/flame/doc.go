// SPDX-License-Identifier: MPL-2.0

// Package flame is a client of the sessions calls of the Flame Analytics API: it
// opens a session, checks that its token still works, and revokes it.
//
//	client := flame.New(flame.Config{UserAgent: "example/1.0", MaxRetries: flame.DefaultMaxRetries})
//	endpoint, err := flame.ParseEndpoint(flame.DefaultEndpoint)
//	...
//	session, err := client.Open(ctx, endpoint, flame.Credentials{User: user, Password: flame.NewPassword(password)})
//	...
//	alreadyGone, err := client.Revoke(ctx, endpoint, session.Token)
//
// # Retries
//
// [Client] retries what may succeed the next time: no connection, a lost
// connection, a timeout, and the statuses 429, 500, 502, 503, 504 and 520 to 524. It never
// retries a refusal, because a wrong password that is sent again may lock an
// account. Retries wait with exponential backoff and full jitter, and end with
// the caller's context.
//
// A 429 does not count against [Config.MaxRetries]. It slows down all calls to the same
// origin, and a Retry-After pauses them. While an origin is down, one call goes on
// trying and the others fail at once. Credentials that were refused are not sent again:
// see [Error.NotSent].
//
// # Proxies
//
// A proxy comes from the environment, as it is when [New] is called. A variable that
// cannot be used is an error, [ErrProxyVariable]: no request goes around the proxy.
// What the proxy refuses is [ErrProxy]; it is never taken for an answer of Flame.
//
// # Lost sessions
//
// An attempt to open a session that was carried out, but whose response was lost,
// leaves a session whose token nobody has. [Session] and [Error] count such
// attempts in Lost. Once a request to open a session is on the wire, cancelling
// the context does not abort it, so that its token is not lost.
//
// # Secrets
//
// [Token] and [Password] print as [Redacted]. An [Error] and an [Attempt] never hold
// a password, a token, a header, a body or a query, whatever the server responds,
// so they may be printed and logged.
//
// The package knows nothing of Terraform.
package flame
