// SPDX-License-Identifier: MPL-2.0

package servertest

import (
	_ "embed"
	"path/filepath"
	"testing"
)

// RailsPassword is the password of every user of the API on Rails.
const RailsPassword = "correct horse battery staple"

// RailsConfig configures [StartRails]. The zero value is an API that works.
type RailsConfig struct {
	// Kind says what a login does to the user's earlier token, and DELETE to the user's
	// others: "independent" (the default), "shared", "superseding" or "sweeping".
	Kind             string
	TokenSuffix      string // ends each token
	FailsAfterCommit bool   // answers 500 to a login that has opened a session
	StrayBytes       string // follows each answer on the connection
}

// Rails is a running API on Rails and puma. Any user can log in, with RailsPassword.
type Rails struct {
	URL string // the endpoint

	log logFile
}

//go:embed rails.ru
var railsApp string

// StartRails starts the API.
func StartRails(t testing.TB, config RailsConfig) *Rails {
	t.Helper()
	need(t)
	dir := scratch(t)
	socket, port := listen(t)
	address := "tcp://127.0.0.1:" + port
	environ := []string{
		"PASSWORD=" + RailsPassword,
		"KIND=" + config.Kind,
		"TOKEN_SUFFIX=" + config.TokenSuffix,
		"STRAY_BYTES=" + config.StrayBytes,
		"PUMA_INHERIT_0=3:" + address, // as a new puma inherits the socket of the old
	}
	if config.FailsAfterCommit {
		environ = append(environ, "FAILS_AFTER_COMMIT=1")
	}
	write(t, dir, "rails.ru", railsApp)
	write(t, dir, "access.log", "")
	run(t, dir, socket, environ, "puma", "--environment", "production", "--bind", address, "rails.ru")
	return &Rails{URL: "http://127.0.0.1:" + port + "/api/v1", log: logFile{t: t, path: filepath.Join(dir, "access.log")}}
}

// Requests returns the requests since the last call. Each is in the log before it is
// answered.
func (r *Rails) Requests() Requests {
	r.log.t.Helper()
	return r.log.requests()
}
