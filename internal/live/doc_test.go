// SPDX-License-Identifier: MPL-2.0

// Package live tests the provider with real Terraform against the account that FLAME_ENDPOINT,
// FLAME_USER and FLAME_PASSWORD name, as `make test-live` does:
//
//	go test -c -o live.test . && TF_ACC=1 ./live.test -test.v -live
//
// The suite knows nothing else of that account: which kind it is of, it finds out first. It
// sees each answer to a login on the wire, so it knows each token, whatever becomes of it in
// the provider, and closes what a failed case leaves.
//
// Without -live, the package tests the suite: it runs it against the fake API and an API on
// Rails, of each kind, as if they were Flame.
package live
