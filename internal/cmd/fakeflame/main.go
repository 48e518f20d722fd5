// SPDX-License-Identifier: MPL-2.0

// Command fakeflame serves the fake Flame Analytics API of package flametest,
// for demonstrations and for configurations tried by hand.
//
//	go run ./internal/cmd/fakeflame [flags]
//
// It prints the endpoint and a user name, then a line per request. On SIGINT or
// SIGTERM it prints the number of sessions opened, revoked and left alive, and
// exits. Its output never contains a token, a password, a header or a body. The
// flag -help lists the flags and the password.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "fakeflame:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then prints the totals.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	var server *flametest.Server
	var starting sync.Mutex // makes the first request wait until server is set
	cfg.Observe = func(r flametest.Request, _ int) {
		starting.Lock()
		defer starting.Unlock()
		_, _ = fmt.Fprintln(stdout, logLine(r, server.Live()))
	}

	starting.Lock()
	server, err = flametest.Start(cfg)
	if err != nil {
		starting.Unlock()
		return err
	}
	_, _ = fmt.Fprintf(stdout, "endpoint %s\nuser %s\n%s", server.URL(), flametest.User, server.CACertificate())
	starting.Unlock()

	<-ctx.Done()
	server.Close()
	_, err = fmt.Fprintf(stdout, "sessions opened %d, revoked %d, left alive %d\n",
		server.Opened(), server.Revoked(), len(server.Live()))
	return err
}

// parseFlags returns flag.ErrHelp if the flags ask for help.
func parseFlags(args []string, stderr io.Writer) (flametest.Config, error) {
	cfg := flametest.Config{RateLimit: flametest.RateLimit{RetryAfter: flametest.RetryAfterSeconds}}
	flags := flag.NewFlagSet("fakeflame", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.Addr, "addr", "127.0.0.1:0", "`host:port` to listen on; port 0 selects a free one")
	flags.TextVar(&cfg.Kind, "kind", flametest.Independent, "`kind` of every account: independent, shared, superseding or sweeping")
	flags.IntVar(&cfg.MaxTokens, "max-tokens", 0, "live `tokens` per user, a login that would exceed it ends the oldest; 0 means no limit")
	v2 := flags.Bool("v2", false, "version 2 of the API")
	flags.DurationVar(&cfg.Latency, "latency", 0, "delay before each response, such as 200ms")
	flags.IntVar(&cfg.RateLimit.PerSecond, "rate", 0, "maximum `requests` per second, the others get a 429; 0 means no limit")
	flags.BoolVar(&cfg.TLS, "tls", false, "serve HTTPS; the CA certificate is printed after the user")
	flags.BoolVar(&cfg.RequireAccessToken, "require-access-token", false, "DELETE needs access_token in its body")
	flags.BoolVar(&cfg.SampleID, "sample-id", false, `send "id": without a value, as in the vendor's sample`)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "Usage: fakeflame [flags]\n\nLog in as any user, such as %s, with the password %q.\n\n",
			flametest.User, flametest.Password)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if flags.NArg() > 0 {
		return cfg, errors.New("flags only, no arguments")
	}
	if *v2 {
		cfg.Version = 2
	}
	return cfg, nil
}

// logLine describes a request and the live sessions. It omits an unknown method
// or path, because a client may put a secret there.
func logLine(r flametest.Request, live []string) string {
	call := "another request"
	if r.Op != flametest.OpOther {
		call = r.Method + " " + r.Path
	}
	status := "no answer"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	const shown = 4 // keeps the line short
	var ids []string
	for i, token := range live {
		if i == shown {
			ids = append(ids, "…")
			break
		}
		ids = append(ids, sessionID(token))
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s, %d live %s", call, status, len(live), strings.Join(ids, " ")))
}

// sessionID returns the provider's id for the session of a token, so that a line
// can be matched with the Terraform state.
func sessionID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}
