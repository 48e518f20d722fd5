// Command fakeflame runs the fake Flame Analytics API on its own, for
// demonstrations. It prints the endpoint and the user to sign in as, then a line
// for each request, and on SIGINT or SIGTERM what became of the sessions. It
// never prints a token, a password, a header or a body.
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

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var server *flametest.Server
	var starting sync.Mutex // the first request waits until server is set
	cfg.Observe = func(r flametest.Request, _ int) {
		starting.Lock()
		defer starting.Unlock()
		_, _ = fmt.Fprintln(stdout, line(r, server.Live()))
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

func parse(args []string, stderr io.Writer) (flametest.Config, error) {
	cfg := flametest.Config{RateLimit: flametest.RateLimit{RetryAfter: flametest.RetryAfterSeconds}}
	flags := flag.NewFlagSet("fakeflame", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.Addr, "addr", "127.0.0.1:0", "`host:port` to listen on; port 0 is any free one")
	flags.BoolVar(&cfg.SharedTokens, "shared", false, "one token per user instead of one per session")
	v2 := flags.Bool("v2", false, "version 2 of the API")
	flags.DurationVar(&cfg.Latency, "latency", 0, "time to pass before each answer, such as 200ms")
	flags.IntVar(&cfg.RateLimit.PerSecond, "rate", 0, "`requests` per second to let through; the others get a 429; 0: all")
	flags.BoolVar(&cfg.TLS, "tls", false, "HTTPS; the certificate of the CA is printed after the user")
	flags.BoolVar(&cfg.RequireAccessToken, "require-access-token", false, "DELETE wants access_token in its body")
	flags.BoolVar(&cfg.SampleID, "sample-id", false, `answer with "id": , as the vendor's sample does`)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "Usage: fakeflame [flags]\n\nAny user may sign in, %s for one, with the password %q.\n\n",
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

// line tells of a request. What a client makes up, such as an unknown path, is
// left out: it may hold anything.
func line(r flametest.Request, live []string) string {
	call := "another request"
	if r.Op != flametest.OpOther {
		call = r.Method + " " + r.Path
	}
	status := "no answer"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	const shown = 4 // more would drown the line
	var ids []string
	for i, token := range live {
		if i == shown {
			ids = append(ids, "…")
			break
		}
		sum := sha256.Sum256([]byte(token))
		ids = append(ids, hex.EncodeToString(sum[:8]))
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s, %d live %s", call, status, len(live), strings.Join(ids, " ")))
}
