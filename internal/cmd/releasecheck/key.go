// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"os"
	"strings"
)

// key is what the release is signed with: a temporary key, or the project's public one.
type key struct {
	home        string // GNUPGHOME
	fingerprint string
	public      string // armored
}

// generate generates an RSA key: the Terraform registry does not accept gpg's
// default type.
func (k *key) generate(ctx context.Context) error {
	if err := k.makeHome(); err != nil {
		return err
	}
	if _, err := k.gpg(ctx, "--passphrase", "", "--quick-generate-key", "release-check <nobody@invalid>", "rsa3072", "sign", "1d"); err != nil {
		return err
	}
	return k.read(ctx)
}

// load imports a public key, so that nothing but its signatures is accepted.
func (k *key) load(ctx context.Context, file string) error {
	if err := k.makeHome(); err != nil {
		return err
	}
	if _, err := k.gpg(ctx, "--import", file); err != nil {
		return err
	}
	return k.read(ctx)
}

// makeHome does not use the scratch folder: the path of the agent's socket is limited
// to about 100 bytes.
func (k *key) makeHome() (err error) {
	k.home, err = os.MkdirTemp("", "gpg-")
	return err
}

// read finds out what the key is.
func (k *key) read(ctx context.Context) error {
	listing, err := k.gpg(ctx, "--with-colons", "--list-keys")
	if err != nil {
		return err
	}
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 {
			k.fingerprint = fields[9]
			break // those of subkeys follow
		}
	}
	if len(k.fingerprint) != 40 {
		return errors.New("gpg lists no fingerprint:\n" + listing)
	}
	k.public, err = k.gpg(ctx, "--armor", "--export", k.fingerprint)
	return err
}

// id returns the key ID that Terraform and OpenTofu print.
func (k *key) id() string { return k.fingerprint[24:] }

// verify checks a detached signature.
func (k *key) verify(ctx context.Context, signature, file string) error {
	_, err := k.gpg(ctx, "--verify", signature, file)
	return err
}

// remove removes the key, and stops its agent, which would otherwise keep running.
func (k *key) remove() error {
	if k.home == "" {
		return nil
	}
	_, err := output(context.Background(), "", k.env(), "gpgconf", "--kill", "all")
	return errors.Join(err, os.RemoveAll(k.home))
}

func (k *key) gpg(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "", k.env(), "gpg", append([]string{"--batch", "--quiet", "--no-permission-warning"}, args...)...)
}

func (k *key) env() []string {
	return append(without(os.Environ(), "GNUPGHOME"), "GNUPGHOME="+k.home)
}
