// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"os"
	"strings"
)

// key is a temporary key that signs the test release.
type key struct {
	home        string // GNUPGHOME
	fingerprint string
	public      string // armored
}

// generate generates an RSA key: the Terraform registry does not accept gpg's
// default type.
func (k *key) generate(ctx context.Context) (err error) {
	// Not in the scratch folder: the path of the agent's socket is limited to about
	// 100 bytes.
	if k.home, err = os.MkdirTemp("", "gpg-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.remove())
		}
	}()
	if _, err := k.gpg(ctx, "--passphrase", "", "--quick-generate-key", "release-check <nobody@invalid>", "rsa3072", "sign", "1d"); err != nil {
		return err
	}
	listing, err := k.gpg(ctx, "--with-colons", "--list-secret-keys")
	if err != nil {
		return err
	}
	for line := range strings.Lines(listing) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" && len(fields) > 9 {
			k.fingerprint = fields[9]
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
	_, err := output(context.Background(), "", k.env(), "gpgconf", "--kill", "all")
	return errors.Join(err, os.RemoveAll(k.home))
}

func (k *key) gpg(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "", k.env(), "gpg", append([]string{"--batch", "--quiet", "--no-permission-warning"}, args...)...)
}

func (k *key) env() []string {
	return append(without(os.Environ(), "GNUPGHOME"), "GNUPGHOME="+k.home)
}
