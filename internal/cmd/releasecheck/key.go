package main

import (
	"context"
	"errors"
	"os"
	"strings"
)

// key is a throw-away key to sign the trial release with.
type key struct {
	home        string // GNUPGHOME
	fingerprint string
	public      string // armored
}

// make makes the key. RSA, since the Terraform registry takes no other kind that
// gpg makes by default.
func (k *key) make(ctx context.Context) (err error) {
	// Not in the scratch folder: the agent's socket is there too, and its path may
	// have no more than some hundred bytes.
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
		return errors.New("gpg lists no key:\n" + listing)
	}
	k.public, err = k.gpg(ctx, "--armor", "--export", k.fingerprint)
	return err
}

// id is how Terraform and OpenTofu name the key.
func (k *key) id() string { return k.fingerprint[24:] }

// verify checks a detached signature.
func (k *key) verify(ctx context.Context, signature, file string) error {
	_, err := k.gpg(ctx, "--verify", signature, file)
	return err
}

// remove ends the agent, which would otherwise outlive the key, and removes it.
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
