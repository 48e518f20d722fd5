// SPDX-License-Identifier: MPL-2.0

// Command probe asks a Flame API what its documentation does not tell. It opens two
// sessions for the user in FLAME_USER, looks at the answers, closes both, and prints a
// report without secrets, which can be pasted into an issue.
//
//	go run ./internal/cmd/probe [-yes]
//
// It exits with 1 if it could not ask everything, or if a session may be left alive.
package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
)

func main() {
	yes := flag.Bool("yes", false, "begin without asking")
	flag.Parse()
	// After an interrupt, the probe still closes its sessions.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv, *yes, nil, os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nprobe:", err)
		os.Exit(1)
	}
}

// run probes the API that the environment names. rootCAs are the authorities to trust;
// nil means those of the system.
func run(ctx context.Context, getenv func(string) string, yes bool, rootCAs *x509.CertPool, stdin io.Reader, stdout io.Writer) error {
	endpoint, err := flame.ParseEndpoint(cmp.Or(getenv("FLAME_ENDPOINT"), flame.DefaultEndpoint))
	if err != nil {
		return fmt.Errorf("FLAME_ENDPOINT is not valid: %w", err)
	}
	user, password := getenv("FLAME_USER"), flame.NewPassword(getenv("FLAME_PASSWORD"))
	if user == "" || password.IsZero() {
		return errors.New("set FLAME_USER and FLAME_PASSWORD, and FLAME_ENDPOINT if yours is not the default")
	}
	warn(stdout, endpoint)
	if !yes {
		if err := confirm(ctx, stdin, stdout); err != nil {
			return err
		}
	}
	p := newProbe(endpoint, user, password, rootCAs)
	defer p.transport.CloseIdleConnections()
	err = p.look(ctx)
	err = errors.Join(err, p.closeAll(ctx))
	p.report(stdout)
	return err
}

func warn(w io.Writer, endpoint flame.Endpoint) {
	_, _ = fmt.Fprintf(w, `This opens two sessions at %s for the user in FLAME_USER, and closes both.
Other sessions of this user may end: a login or a revocation may end all of them.
Use a user that nothing else uses. A wrong password is sent once, and not again.
`, endpoint.Origin())
	if endpoint.Plaintext() {
		_, _ = fmt.Fprintln(w, "The endpoint is plain http: anyone on the way can read the password and the tokens.")
	}
}

// confirm asks whether to begin, and returns an error unless the answer is yes.
func confirm(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	_, _ = fmt.Fprint(stdout, "Type yes to begin: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdin).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return errors.New("interrupted: nothing was sent")
	case line := <-answer:
		if !strings.EqualFold(line, "yes") {
			return errors.New("nothing was sent: answer yes, or pass -yes (with make: PROBE_FLAGS=-yes)")
		}
	}
	return nil
}
