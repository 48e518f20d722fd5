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
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/flameanalytics/terraform-provider-flame/internal/probe"
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
	p, err := probe.Begin(ctx, probe.Options{
		What:   "This opens two sessions at %s for the user in FLAME_USER, and closes both.\n",
		Getenv: getenv, Yes: yes, Flags: "PROBE_FLAGS", RootCAs: rootCAs, Stdin: stdin, Stdout: stdout,
	})
	if err != nil {
		return err
	}
	err = p.Look(ctx)
	err = errors.Join(err, p.CloseAll(ctx))
	p.Report(stdout)
	return err
}
