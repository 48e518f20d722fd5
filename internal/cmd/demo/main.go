// SPDX-License-Identifier: MPL-2.0

// Command demo applies examples/demo with real Terraform, plans again, destroys,
// and prints the requests that the API received. It uses the real API if
// FLAME_USER and FLAME_PASSWORD are set, and otherwise the fake one. It exits with
// 1 if a session is left alive.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/flameanalytics/terraform-provider-flame/internal/flame"
	"github.com/flameanalytics/terraform-provider-flame/internal/flame/flametest"
	"github.com/flameanalytics/terraform-provider-flame/internal/terraformtest"
)

func main() {
	var d demo
	var command, binary, example string
	flag.StringVar(&command, "terraform", terraformtest.DefaultCommand(), "the Terraform or OpenTofu `command`")
	flag.StringVar(&binary, "provider", "", "the provider's `binary`")
	flag.StringVar(&example, "example", "examples/demo", "the `folder` with the configuration to apply")
	flag.Parse()
	// After an interrupt, the demo still destroys.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := d.run(ctx, command, binary, example); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

type demo struct {
	terraform *terraformtest.Workspace
	fake      *flametest.Server // nil: the real API
	endpoint  flame.Endpoint    // of the real API
}

func (d *demo) run(ctx context.Context, command, binary, example string) (err error) {
	if binary == "" {
		return errors.New("no provider: pass its binary with -provider, as `make demo` does")
	}
	if d.terraform, err = terraformtest.New(command); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.terraform.Close()) }()
	if err := d.terraform.Mirror("flameanalytics/flame", binary); err != nil {
		return err
	}
	if err := os.CopyFS(d.terraform.Dir, os.DirFS(example)); err != nil {
		return err
	}
	if err := d.chooseAPI(); err != nil {
		return err
	}
	if d.fake != nil {
		defer d.fake.Close()
	}
	// Hide the output of init: it is only about the mirror.
	if _, err := d.terraform.Run(ctx, "init", "-input=false"); err != nil {
		return err
	}
	token, err := d.applyAndPlan(ctx)
	ctx = context.WithoutCancel(ctx) // an interrupt or an error must not leave a session alive
	err = errors.Join(err, d.show(ctx, "Destroy: the provider revokes the token", "destroy", "-auto-approve", "-input=false"))
	return errors.Join(err, d.verify(ctx, token))
}

// chooseAPI uses the real API if the user has credentials for it, and otherwise
// starts a fake one.
func (d *demo) chooseAPI() (err error) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if passedOn.MatchString(name) {
			d.terraform.Setenv(name, value)
		}
	}
	if os.Getenv("FLAME_USER") != "" && os.Getenv("FLAME_PASSWORD") != "" {
		if d.endpoint, err = flame.ParseEndpoint(cmp.Or(os.Getenv("FLAME_ENDPOINT"), flame.DefaultEndpoint)); err != nil {
			return fmt.Errorf("FLAME_ENDPOINT is not valid: %w", err)
		}
		fmt.Println("This uses the real Flame API, because FLAME_USER and FLAME_PASSWORD are set.")
		return nil
	}
	fmt.Println("This uses a fake Flame API on this machine.\nTo use the real one, set FLAME_USER and FLAME_PASSWORD.")
	if d.fake, err = flametest.Start(flametest.Config{Version: 1}); err != nil {
		return err
	}
	d.terraform.Setenv("FLAME_ENDPOINT", d.fake.URL())
	d.terraform.Setenv("FLAME_USER", flametest.User)
	d.terraform.Setenv("FLAME_PASSWORD", flametest.Password)
	return nil
}

// passedOn matches the user's variables that Terraform gets: credentials, the
// network settings for the real API, and logging.
var passedOn = regexp.MustCompile(`^(FLAME_(ENDPOINT|USER|PASSWORD)|(?i:HTTPS?_PROXY|NO_PROXY)|SSL_CERT_(FILE|DIR)|TF_LOG.*)$`)

// applyAndPlan applies the configuration, plans again, and returns the token.
func (d *demo) applyAndPlan(ctx context.Context) (token string, err error) {
	if err := d.show(ctx, "Apply: the provider opens a session, and another resource uses its token", "apply", "-auto-approve", "-input=false"); err != nil {
		return "", err
	}
	if token, err = d.token(ctx); err != nil {
		return "", err
	}
	return token, d.show(ctx, "Plan again: the provider checks the token, and there is nothing to change", "plan", "-input=false", "-detailed-exitcode")
}

// show runs Terraform and prints its output under a title.
func (d *demo) show(ctx context.Context, title string, args ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// Ctrl-C already reaches Terraform through the terminal. A second interrupt would
	// make it exit without saving the state.
	cmd := d.terraform.Command(context.WithoutCancel(ctx), args...)
	fmt.Printf("\n== %s\n   %s %s\n\n", title, filepath.Base(cmd.Path), strings.Join(args, " "))
	if out, err := os.Stdout.Stat(); err != nil || out.Mode()&os.ModeCharDevice == 0 {
		cmd.Args = append(cmd.Args, "-no-color")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(cmd.Path), args[0], err)
	}
	return nil
}

// token returns the session's token from the outputs.
func (d *demo) token(ctx context.Context) (string, error) {
	r, err := d.terraform.Run(ctx, "output", "-raw", "auth_token")
	return r.Stdout, err
}

// verify prints the requests that the API received, and returns an error if a
// session is left alive.
func (d *demo) verify(ctx context.Context, token string) error {
	fmt.Printf("\n== Requests to the API\n\n")
	if d.fake != nil {
		for _, r := range d.fake.Journal() {
			session := ""
			if r.Token != "" {
				session = "  session " + flame.NewToken(r.Token).SessionID()
			}
			fmt.Printf("   %-18s status %d%s\n", r.Op, r.Status, session)
		}
		alive := len(d.fake.Live())
		fmt.Printf("\n   sessions opened %d, revoked %d, left alive %d\n", d.fake.Opened(), d.fake.Revoked(), alive)
		if alive > 0 || d.fake.Opened() == 0 {
			return fmt.Errorf("sessions opened %d, left alive %d; want at least 1 opened and 0 left alive", d.fake.Opened(), alive)
		}
		return nil
	}
	if token == "" {
		return errors.New("no session was opened")
	}
	// The real API has no journal to read, so check whether the token still works.
	sessionID := flame.NewToken(token).SessionID()
	alive, err := flame.New(flame.Config{UserAgent: "terraform-provider-flame/demo"}).Check(ctx, d.endpoint, flame.NewToken(token))
	switch {
	case err != nil:
		return fmt.Errorf("cannot check whether session %s is still alive: %w", sessionID, err)
	case alive:
		return fmt.Errorf("session %s is still alive: its token works after destroy", sessionID)
	}
	fmt.Printf("   sessions opened 1, revoked 1, left alive 0: Flame no longer accepts the token of session %s\n", sessionID)
	return nil
}
