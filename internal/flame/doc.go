// Package flame is a client of the sessions calls of the Flame Analytics API:
// it opens a session, checks that its token still works, and revokes it.
//
// The package knows nothing of Terraform. Its errors and its [Attempt] records
// never hold a password, a token, a header, a body or a query, whatever the
// server answers, so that callers may print them.
package flame
