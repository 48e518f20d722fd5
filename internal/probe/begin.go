// SPDX-License-Identifier: MPL-2.0

// Package probe asks a Flame API what its documentation does not tell, above all what kind
// of account a user has. It is for the commands and tests that go to a real account:
//
//	p, err := probe.Begin(ctx, probe.Options{ … }) // says what will be done, and asks
//	err = p.Look(ctx)                              // opens two sessions and closes them
//	err = errors.Join(err, p.CloseAll(ctx))
//	p.Report(os.Stdout)
package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

// Options say how to begin.
type Options struct {
	What    string // what will be done; a format with one %s, for the endpoint's origin
	Getenv  func(string) string
	Yes     bool   // begin without asking
	Flags   string // the variable of make that passes -yes
	RootCAs *x509.CertPool
	Stdin   io.Reader
	Stdout  io.Writer
}

// Begin says what will be done to the account that the environment names, and asks
// whether to go on. Nothing is sent yet.
func Begin(ctx context.Context, o Options) (*Probe, error) {
	endpoint, err := flame.ParseEndpoint(cmp.Or(o.Getenv("FLAME_ENDPOINT"), flame.DefaultEndpoint))
	if err != nil {
		return nil, fmt.Errorf("FLAME_ENDPOINT is not valid: %w", err)
	}
	user, password := o.Getenv("FLAME_USER"), flame.NewPassword(o.Getenv("FLAME_PASSWORD"))
	if user == "" || password.IsZero() {
		return nil, errors.New("set FLAME_USER and FLAME_PASSWORD, and FLAME_ENDPOINT if yours is not the default")
	}
	_, _ = fmt.Fprintf(o.Stdout, o.What, endpoint.Origin())
	_, _ = fmt.Fprint(o.Stdout, `Other sessions of this user may end: a login or a revocation may end all of them.
Use a user that nothing else uses. A wrong password is sent once, and not again.
`)
	if endpoint.Plaintext() {
		_, _ = fmt.Fprintln(o.Stdout, "The endpoint is plain http: anyone on the way can read the password and the tokens.")
	}
	if !o.Yes {
		if err := confirm(ctx, o); err != nil {
			return nil, err
		}
	}
	return newProbe(endpoint, user, password, o.RootCAs), nil
}

// confirm asks whether to begin, and returns an error unless the answer is yes.
func confirm(ctx context.Context, o Options) error {
	_, _ = fmt.Fprint(o.Stdout, "Type yes to begin: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(o.Stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return errors.New("interrupted: nothing was sent")
	case line := <-answer:
		if !strings.EqualFold(line, "yes") {
			return fmt.Errorf("nothing was sent: answer yes, or pass -yes (with make: %s=-yes)", o.Flags)
		}
	}
	return nil
}
